"""Well-known sets of preferences, from files that the user has: each template turns their records into plain ones.

A template takes all records of a file and gives, in order, the number of a record and what it says in the fields that
`pluralign.data.preferences` knows. Field names are those the sets were published with.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pluralign.data.errors import DataError, listed

Records = list[dict[str, Any]]
Rows = Iterator[tuple[int, Mapping[str, Any]]]
Where = Callable[[int], str]
P2 = ("helpfulness", "honesty")
P4 = ("helpfulness", "honesty", "instruction_following", "truthfulness")
HELPSTEER = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
PEOPLE = 20  # simulated people who share one attribute


def prism(records: Records, where: Where) -> Rows:
    """utterances.jsonl: the chosen of several answers in a turn; earlier turns are the prompt.

    Source: Kirk et al., PRISM, NeurIPS 2024.
    """
    need(records, where, "user_id", "conversation_id", "turn", "user_prompt", "model_response", "if_chosen")
    turns: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row, one in enumerate(records):
        turns[str(one["conversation_id"]), int(one["turn"])].append(row)
    told: dict[str, list[dict[str, str]]] = defaultdict(list)
    for (talk, turn), rows in sorted(turns.items()):
        asked = {"role": "user", "content": records[rows[0]]["user_prompt"]}
        chosen = [k for k, row in enumerate(rows) if records[row]["if_chosen"]]
        answers = [records[row]["model_response"] for row in rows]
        prompt = [*told[talk], asked]
        if len(rows) > 1 and len(chosen) == 1 and len(set(answers)) == len(answers):
            yield (
                rows[0],
                {
                    "rater_id": records[rows[0]]["user_id"],
                    "prompt": prompt,
                    "completions": [[{"role": "assistant", "content": text}] for text in answers],
                    "choice": chosen[0],
                    "session_id": talk,
                    "turn": turn,
                },
            )
        if chosen:
            told[talk] = [*prompt, {"role": "assistant", "content": answers[chosen[0]]}]


def community_alignment(records: Records, where: Where) -> Rows:
    """The chosen of four answers in the first turn, with the annotator's attributes.

    Source: Zhang et al., Cultivating Pluralism in Algorithmic Monoculture, 2025.
    """
    need(records, where, "annotator_id", "first_turn_prompt", "first_turn_preferred_response")
    for row, one in enumerate(records):
        given = {x: _clean(one.get(f"first_turn_response_{x}")) for x in "abcd"}
        given = {x: text for x, text in given.items() if text}
        choice = str(one["first_turn_preferred_response"] or "")[-1:]
        if one["first_turn_prompt"] and choice in given and len(set(given.values())) == len(given) > 1:
            yield (
                row,
                {
                    "rater_id": one["annotator_id"],
                    "prompt": one["first_turn_prompt"],
                    "completions": list(given.values()),
                    "choice": list(given).index(choice),
                    "session_id": one.get("conversation_id"),
                    "language": one.get("assigned_lang"),
                    "rater_attributes": {
                        k: str(v)
                        for k, v in one.items()
                        if k.startswith("annotator_") and k != "annotator_id"
                    },
                },
            )


def ultrafeedback_p2(records: Records, where: Where) -> Rows:
    """UltraFeedback, judged by simulated people who care for one of two attributes: helpfulness, honesty.

    Source: Cui et al., UltraFeedback, ICML 2024; the simulated raters are those of Poddar et al., VPL, NeurIPS 2024,
    with PEOPLE of each kind and ties kept.
    """
    return _ultrafeedback(records, where, P2)


def ultrafeedback_p4(records: Records, where: Where) -> Rows:
    """The same with four attributes: helpfulness, honesty, instruction following, truthfulness."""
    return _ultrafeedback(records, where, P4)


def helpsteer(records: Records, where: Where) -> Rows:
    """HelpSteer: every attribute is a rater, who rates all answers to a prompt.

    Source: Wang et al., HelpSteer2, NeurIPS 2024.
    """
    need(records, where, "prompt", "response", *HELPSTEER)
    for row, one in enumerate(records):
        for name in HELPSTEER:
            yield row, {
                "rater_id": name, "prompt": one["prompt"], "completion": one["response"], "rating": one[name],
            }  # fmt: skip


def dices(records: Records, where: Where) -> Rows:
    """DICES: whether an answer in a conversation is safe, as a vote; "Unsure" is a pass.

    Source: Aroyo et al., DICES, NeurIPS 2023.
    """
    need(records, where, "rater_id", "context", "response", "Q_overall")
    votes = {"no": 1, "yes": -1, "unsure": 0}  # the question is whether it does harm
    for row, one in enumerate(records):
        said = str(one["Q_overall"]).strip().lower()
        if said not in votes:
            raise DataError(
                f"{where(row)}, field 'Q_overall': Yes, No or Unsure is expected, got {one['Q_overall']!r}; correct it."
            )
        about = {k.removeprefix("rater_"): str(v) for k, v in one.items() if k.startswith("rater_")}
        about.pop("id", None)
        yield row, {
            "rater_id": one["rater_id"], "prompt": one["context"], "completion": one["response"],
            "vote": votes[said], "rater_attributes": about,
        }  # fmt: skip


def personas(records: Records, where: Where) -> Rows:
    """PERSONA: the answer rewritten for a persona against the original one.

    Source: Castricato et al., PERSONA, COLING 2025.
    """
    need(records, where, "persona", "instruction", "data", "original")
    for row, one in enumerate(records):
        yield row, {
            "rater_id": _short(one["persona"]), "prompt": one["instruction"], "chosen": one["data"],
            "rejected": one["original"], "rater_attributes": {"persona": str(one["persona"])},
        }  # fmt: skip


def pets(records: Records, where: Where) -> Rows:
    """Pets and the UltraFeedback pairs of the same authors: `data_subset` names the kind of person.

    Source: Poddar et al., VPL, NeurIPS 2024.
    """
    need(records, where, "chosen", "rejected", "data_subset")
    for row, one in enumerate(records):
        kind = str(one["data_subset"])
        yield row, {
            "rater_id": _person(kind, str(one.get("prompt")) + str(row)), "prompt": one.get("prompt"),
            "chosen": one["chosen"], "rejected": one["rejected"], "rater_attributes": {"kind": kind},
        }  # fmt: skip


TEMPLATES: dict[str, Callable[[Records, Where], Rows]] = {
    "prism": prism,
    "community-alignment": community_alignment,
    "ultrafeedback-p2": ultrafeedback_p2,
    "ultrafeedback-p4": ultrafeedback_p4,
    "helpsteer": helpsteer,
    "dices": dices,
    "personas": personas,
    "pets": pets,
}


def need(records: Records, where: Where, *fields: str) -> None:
    """Raise with the first record that lacks one of `fields`."""
    for row, record in enumerate(records):
        for name in fields:
            if name not in record:
                raise DataError(
                    f"{where(row)}: this template needs a field {name!r}, the record has {listed(record)}; give "
                    "another template or file."
                )


def _ultrafeedback(records: Records, where: Where, attributes: tuple[str, ...]) -> Rows:
    need(records, where, "instruction", "completions")
    for row, one in enumerate(records):
        given = list(one["completions"])
        texts = [answer["response"] for answer in given]
        single = [k for k, text in enumerate(texts) if text.strip() and texts.index(text) == k]
        for name in attributes:
            try:
                scores = [float(given[k]["annotations"][name]["Rating"]) for k in single]
            except (KeyError, TypeError, ValueError):
                continue  # some answers were never rated for it ("N/A")
            if len(single) > 1:
                yield row, {
                    "rater_id": _person(name, str(one["instruction"])), "prompt": one["instruction"],
                    "completions": [texts[k] for k in single], "ratings": scores,
                    "rater_attributes": {"kind": name},
                }  # fmt: skip


def _person(kind: str, text: str) -> str:
    """One of the PEOPLE of a kind, the same for the same text."""
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little") % PEOPLE
    return f"{kind} {number:02d}"


def _short(text: Any) -> str:
    return hashlib.blake2b(str(text).encode(), digest_size=6).hexdigest()


def _clean(text: Any) -> str:
    return str(text or "").replace("<|end_of_text|>", "").strip()
