"""Preference files of every form become folders that read back, and bad ones say where they are bad."""

import json
import warnings

import pandas as pd
import pytest

import pluralign
from pluralign.data import DataError
from pluralign.data.messages import turns_of
from pluralign.data.preferences import import_preferences, read_preferences
from pluralign.data.records import from_records
from pluralign.data.templates import TEMPLATES

TALK = lambda *said: [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 4, said)]


@pytest.fixture
def lines(tmp_path):
    def written(*records, name="prefs.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(json.dumps(one) for one in records) + "\n")
        return path

    return written


def read(path, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_preferences(path, **more)


def wins(data):
    """(rater, chosen text, other texts) of each answer."""
    found = []
    for slate, label, rater in zip(data.slate.tolist(), data.label.tolist(), data.rater.tolist()):
        texts = [data.options.texts[i] for i in slate if i >= 0]
        best = max(range(len(texts)), key=lambda k: label[k])
        found.append((data.rater_ids[rater], texts.pop(best), tuple(sorted(texts))))
    return sorted(found)


PAIRS = [
    {"user": "ann", "prompt": "q", "chosen": "one", "rejected": "two", "conversation_id": "c1"},
    {"user": "bob", "prompt": "q", "chosen": "two", "rejected": "one", "conversation_id": "c2"},
    {"user": "ann", "prompt": "r", "chosen": "three", "rejected": "one", "conversation_id": "c3"},
]


def test_pairs_are_those_of_from_records_and_read_back(lines, tmp_path):
    found = import_preferences(lines(*PAIRS), tmp_path / "data")
    back = pluralign.data.read_folder(tmp_path / "data")
    assert wins(back.data) == wins(found.data) == wins(from_records(PAIRS, rater="user"))
    assert len(back.data.options) == 4  # "one" to q and to r are two options, each held once
    assert set(back.item_attributes.prompt) == {"q", "r"}
    assert sorted(back.item_attributes.answer) == ["one", "one", "three", "two"]
    assert list(back.session) == ["c1", "c2", "c3"]
    both = from_records(PAIRS, rater="user").options
    assert dict(zip(both.ids, both.texts)) == dict(zip(back.data.options.ids, back.data.options.texts))


def test_parquet_csv_and_json_say_the_same(lines, tmp_path):
    frame = pd.DataFrame(PAIRS).replace("three", 'three,\n"and" more')
    frame.to_parquet(tmp_path / "p.parquet")
    frame.to_csv(tmp_path / "p.csv", index=False)
    (tmp_path / "p.json").write_text(frame.to_json(orient="records"))
    expected = wins(read(tmp_path / "p.parquet").data)
    assert any("and" in best for _, best, _ in expected)
    for name in ("p.csv", "p.json"):
        assert wins(read(tmp_path / name).data) == expected


@pytest.mark.parametrize("prompt", ["q", [{"role": "user", "content": "q"}]])
def test_an_answer_as_a_message_is_the_plain_answer(lines, prompt):
    as_message = lambda text: [{"role": "assistant", "content": text}]
    plain = [one | {"prompt": prompt} for one in PAIRS[:2]]
    mixed = [plain[0], plain[1] | {name: as_message(plain[1][name]) for name in ("chosen", "rejected")}]
    assert wins(read(lines(*mixed)).data) == wins(read(lines(*plain)).data)
    assert len(read(lines(*mixed)).data.options) == 2


def test_messages_with_the_prompt_inside_beside_or_repeated_are_the_same(lines):
    beside = {
        "rater": "a",
        "prompt": TALK("q"),
        "chosen": [TALK("q", "x")[1]],
        "rejected": [TALK("q", "y")[1]],
    }
    inside = {"rater": "a", "chosen": TALK("q", "x"), "rejected": TALK("q", "y")}
    repeated = {"rater": "a", "prompt": TALK("q"), "chosen": TALK("q", "x"), "rejected": TALK("q", "y")}
    found = [read(lines(one)) for one in (beside, inside, repeated)]
    assert wins(found[0].data) == wins(found[1].data) == wins(found[2].data)
    assert found[1].items.answer.tolist() in (["x", "y"], ["y", "x"])
    assert turns_of(found[1].items.prompt[0]) == TALK("q")
    hh = {"rater": "a", "chosen": "\n\nHuman: q\n\nAssistant: x", "rejected": "\n\nHuman: q\n\nAssistant: y"}
    told = read(lines(hh)).items
    assert set(told.prompt) == {"Human: q\n\nAssistant:"}
    assert set(told.answer) == {"x", "y"}


def test_rankings_are_repeated_choices(lines):
    found = read(lines({"rater": "a", "prompt": "q", "completions": ["x", "y", "z"], "rank": [2, 3, 1]}))
    assert wins(found.data) == [("a", "q\n\nx", ("q\n\ny",)), ("a", "q\n\nz", ("q\n\nx", "q\n\ny"))]
    assert found.data.kind == "ranking"
    assert found.extra.set_id.nunique() == 1


def test_a_choice_of_several_shows_all(lines):
    one = {"rater": "a", "prompt": "q", "responses": ["x", "y", "z"], "choice": 1}
    same = {"rater": "a", "prompt": "q", "chosen": "y", "rejected": ["x", "z"]}
    assert (
        wins(read(lines(one)).data) == wins(read(lines(same)).data) == [("a", "q\n\ny", ("q\n\nx", "q\n\nz"))]
    )


def test_ratings_are_compared_within_a_prompt_only(lines):
    rows = [("q", "x", 4), ("q", "y", 2), ("r", "x", 1), ("r", "y", 1)]
    records = [{"rater": "a", "prompt": p, "completion": c, "rating": v} for p, c, v in rows]
    data = read(lines(*records)).data
    assert len(data) == 2
    assert sorted(data.label.max(1).values.tolist()) == [0.5, 1.0]
    assert wins(data)[0][1:] == ("q\n\nx", ("q\n\ny",)) or wins(data)[1][1:] == ("q\n\nx", ("q\n\ny",))
    beside = {"rater": "a", "prompt": "q", "completions": ["x", "y"], "scores": [4, 2]}
    assert wins(read(lines(beside)).data) == [("a", "q\n\nx", ("q\n\ny",))]


def test_votes_and_graded_pairs(lines, tmp_path):
    votes = [
        {"rater": "a", "completion": "x", "label": True},
        {"rater": "a", "completion": "y", "label": False},
    ]
    import_preferences(lines(*votes), tmp_path / "votes")
    data = pluralign.read(tmp_path / "votes")
    assert wins(data) == [("a", "(disagree)", ("y",)), ("a", "x", ("(disagree)",))]
    pair = {"judge": "a", "response_a": "x", "response_b": "y", "winner": "tie"}
    assert read(lines(pair)).data.label.tolist() == [[0.5, 0.5]]
    assert wins(read(lines(pair | {"winner": "model_b"})).data) == [("a", "y", ("x",))]


def test_a_place_says_nothing_about_the_choice(lines):
    many = [
        {"rater": "a", "prompt": str(k), "chosen": f"good {k}", "rejected": f"bad {k}"} for k in range(400)
    ]
    first = read(lines(*many)).data.label[:, 0].mean().item()
    assert abs(first - 0.5) < 4 * 0.5 / 400**0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": "  \n"}, "prefs.jsonl, line 2, field 'chosen': an answer is expected, got an empty text"),
        ({"chosen": "one"}, "line 2, field 'rejected': is the same text as 'chosen'"),
        (
            {"chosen": [{"role": "robot", "content": "x"}]},
            "a role among 'system', .* is expected, got 'robot'",
        ),
        ({"chosen": [{"role": "user"}]}, "a message needs a `role` and a `content`"),
        ({"chosen": 3}, "a text or a list of messages"),
        ({"user": None}, "line 2, field 'user': a rater is expected"),
        ({"chosen": None}, "line 2, field 'chosen': an answer is expected, got none; fill it"),
    ],
)
def test_bad_records_are_refused_in_one_sentence_and_nothing_is_written(lines, tmp_path, change, message):
    path = lines(PAIRS[0], PAIRS[1] | change)
    with pytest.raises(DataError, match=message):
        import_preferences(path, tmp_path / "data")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["prefs.jsonl"]
    if "user" not in change:
        with pytest.warns(UserWarning, match="1 record is left out"):
            assert len(read_preferences(path, skip=True).data) == 1


def test_files_from_other_systems_and_folders(lines, tmp_path):
    path = lines(*PAIRS)
    plain = read_preferences(path).data
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    again = read_preferences(path).data
    assert (again.slate == plain.slate).all()
    assert again.options.texts == plain.options.texts
    with pytest.raises(DataError, match="is a folder; give a file of preferences"):
        read_preferences(tmp_path)


def test_a_missing_rater_column_lists_the_columns(lines):
    path = lines({"who": "a", "prompt": "q", "chosen": "x", "rejected": "y"})
    with pytest.raises(DataError, match="needs a column with the rater, it has 'who', 'prompt'"):
        read_preferences(path)
    with pytest.raises(DataError, match="no column 'wo' \\(did you mean 'who'"):
        read_preferences(path, rater="wo")
    assert read(path, rater="who").data.rater_ids == ("a",)
    with pytest.raises(DataError, match="no template is called 'prsim' \\(did you mean 'prism'"):
        read_preferences(path, template="prsim")
    with pytest.raises(DataError, match="rank of its own"):
        read_preferences(lines({"rater": "a", "completions": ["x", "y"], "rank": [1, 1]}))


def uttered(talk, turn, prompt, *answers):
    return [
        {"user_id": "u", "conversation_id": talk, "turn": turn, "user_prompt": prompt, "model_response": text,
         "if_chosen": k == 0} for k, text in enumerate(answers)
    ]  # fmt: skip


RATED = lambda *scores: {name: {"Rating": str(s)} for name, s in zip(
    ("helpfulness", "honesty", "instruction_following", "truthfulness"), scores)}  # fmt: skip
EXAMPLES = {
    "prism": ([*uttered("c", 0, "hi", "yes", "no", "maybe"), *uttered("c", 1, "more", "b", "a")], 2),
    "community-alignment": (
        [{"annotator_id": "u", "annotator_country": "x", "conversation_id": "c", "first_turn_prompt": "q",
          "first_turn_preferred_response": "response_b",
          **{f"first_turn_response_{x}": f"r{x}<|end_of_text|>" for x in "abcd"}}], 1),
    "ultrafeedback-p2": (
        [{"instruction": "q", "completions": [{"response": "x", "annotations": RATED(5, 1, 3, 3)},
                                              {"response": "y", "annotations": RATED(1, 5, 3, 4)}]}], 2),
    "ultrafeedback-p4": (
        [{"instruction": "q", "completions": [{"response": "x", "annotations": RATED(5, 1, 3, 3)},
                                              {"response": "y", "annotations": RATED(1, 5, 3, 4)}]}], 4),
    "helpsteer": (
        [{"prompt": "q", "response": r, "helpfulness": h, "correctness": 1, "coherence": 1, "complexity": 1,
          "verbosity": 4 - h} for r, h in (("x", 4), ("y", 0))], 5),
    "dices": ([{"rater_id": "u", "rater_age": "gen z", "context": "q", "response": r, "Q_overall": v}
               for r, v in (("x", "No"), ("y", "Yes"), ("z", "Unsure"))], 2),
    "personas": ([{"persona": "age: 3", "instruction": "q", "data": "x", "original": "y"}], 1),
    "pets": ([{"prompt": "q", "chosen": "x", "rejected": "y", "data_subset": "helpful"}], 1),
}  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_read_what_their_sets_look_like(lines, tmp_path, name):
    records, answers = EXAMPLES[name]
    path = lines(*records)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = import_preferences(path, tmp_path / "data", template=name)
        assert wins(pluralign.read(tmp_path / "data")) == wins(found.data)
    assert len(found.data) == answers
    with pytest.raises(DataError, match="this template needs a field"):
        read_preferences(lines({"something": 1}), template=name)


def test_prism_takes_the_talk_so_far_as_the_prompt(lines):
    found = read(lines(*EXAMPLES["prism"][0]), template="prism")
    later = next(p for p in found.items.prompt if "more" in p)
    assert turns_of(later) == TALK("hi", "yes", "more")
    assert {(who, best.split(": ")[-1]) for who, best, _ in wins(found.data)} == {("u", "yes"), ("u", "b")}
    assert set(found.extra.session_id) == {"c"}


def test_ultrafeedback_people_of_two_kinds_disagree(lines):
    found = read(lines(*EXAMPLES["ultrafeedback-p2"][0]), template="ultrafeedback-p2")
    assert {(who.split()[0], best) for who, best, _ in wins(found.data)} == {
        ("helpfulness", "q\n\nx"),
        ("honesty", "q\n\ny"),
    }
    assert set(found.raters.kind) == {"helpfulness", "honesty"}
