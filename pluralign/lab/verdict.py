"""What a leaderboard says, in plain words and in verdict.json."""

from typing import Any

import pandas as pd

from pluralign.lab.choosing import Chosen, compare
from pluralign.lab.protocol import Result

_NOTHING = 1e-6  # nats: two predictions are the same
CONTROLS = ("shuffled_raters", "oracle")


def verdict(
    table: pd.DataFrame,
    chosen: Chosen,
    results: dict[str, Result],
    about: dict[str, Any],
    failures: list[str],
) -> dict[str, Any]:
    """verdict.json: what to use, how much better than pooled it is on the test answers, and what to be careful about.

    `against_pooled` is the paired difference in log loss (nats per answer, macro-averaged over raters) on new raters
    with all their answers to adapt on, or on known raters where nobody is new; positive means better than pooled.
    """
    best = chosen.best
    personal = chosen.name if chosen.name != "pooled" else best
    whole = table[table.answers == "all"]
    where = [(str(raters), "all") for raters in dict.fromkeys(whole.raters)]
    main = ("unseen", "all") if ("unseen", "all") in where else where[0]
    against = _against(table, chosen.name, main)
    said, told = _alike(chosen) if chosen.name == "pooled" else _apart(table, chosen, results, where)
    notes = [*about["warnings"], *told]
    if personal is not None:
        said += [s for g in where if (s := _sentence(table, personal, g, about["most"])) is not None]
    if chosen.name == "pooled" and personal is not None:
        gains = [_against(table, personal, group) for group in where if group[0] != "items"]
        most = max(gain["high"] for gain in gains)
        if max(abs(gain[end]) for gain in gains for end in ("low", "high")) < _NOTHING:
            said.append(
                f"{say(personal).capitalize()}, free to tell raters apart, settled on one taste for all by itself."
            )
        elif most > 0:
            said.append(
                f"What these answers leave open: telling raters apart by {say(personal)} could still gain up to {most:.3f} nats "
                "per answer (95 %); to see smaller differences takes more answers of each rater, or more raters."
            )
    if personal is not None and ("unseen", "all") in where:
        adapted = _adaptation(results[personal])
        if adapted is not None and adapted <= 0:
            notes.append(f"the answers of a new rater do not help {say(personal)}: with all of them it predicts no better than without.")  # fmt: skip
    notes += _control_notes(table, results, where)
    notes += failures
    for name, result in results.items():
        if name not in CONTROLS:
            notes += [f"{say(name)}: {note}" for note in result.facts.get("notes", [])]
            if result.facts.get("fallback"):
                notes.append(f"{say(name)}: {result.facts['fallback']}")
    return {
        "chosen": chosen.name,
        "against_pooled": against,
        "warnings": list(dict.fromkeys(notes)),
        "words": said,
        "best_personal": None if best is None else {"population": best, **_against(table, best, main)},
        "held_out": chosen.table.to_dict("records"),
        "metric": "log_loss",
        "positive_means": "better than pooled",
    }


def _alike(chosen: Chosen) -> tuple[list[str], list[str]]:
    """What to say, and to be careful about, where pooled was chosen."""
    said = ["Use pooled: one taste for everybody."]
    if chosen.best is None:
        return said, []
    row = chosen.table.set_index("population").loc[chosen.best]
    said.append(
        f"On held-out answers the best model that tells raters apart, {say(chosen.best)}, gains {row.gain:+.4f} nats per "
        f"answer over pooled, with a standard error of {row.error:.4f}: not enough to believe it."
    )
    return said, ["these data show no differences between raters beyond noise: use pooled."]


def _apart(
    table: pd.DataFrame, chosen: Chosen, results: dict[str, Result], where: list[tuple[str, str]]
) -> tuple[list[str], list[str]]:
    """The same, where a model was chosen that tells raters apart."""
    name, notes = say(chosen.name), list[str]()
    row = chosen.table.set_index("population").loc[chosen.name]
    people = [group for group in where if group[0] != "items"]
    clear = sure = any(_against(table, chosen.name, group)["low"] > 0 for group in people)
    if sure and "shuffled_raters" in results and not _knows(results, chosen.name, people):
        sure = False
        notes.append(
            f"{name} gains over pooled, but not clearly over the same model with raters shuffled: the "
            "gain need not come from knowing the rater."
        )
    if not clear:
        notes.append(
            f"{name} was best on held-out answers, but on the test answers its gain over pooled is not clear."
        )
    silent = _against(table, chosen.name, ("unseen", "0")) if _has(table, ("unseen", "0")) else None
    if silent is not None and silent["high"] < 0:
        notes.append(
            f"of people without a single answer pooled predicts more: {name} loses {-silent['value']:.3f} nats "
            f"per answer there (95 % interval over raters {-silent['high']:.3f} to {-silent['low']:.3f}). What people were asked says something of them "
            "(they chose it, or the pairs were made from their votes); ask one question, or serve strangers by pooled."
        )
    gains = all(_against(table, chosen.name, group)["value"] > 0 for group in people)
    if sure:
        first = f"Use {name}: raters differ, and telling them apart pays."
    elif not clear and gains and row.gain > 2 * row.error:
        first = f"Probably {name}: raters differ, but the test answers are too few to show how far telling them apart pays."
    else:
        first = f"{name.capitalize()}, by a hair: raters hardly differ, and pooled may do as well."
    said = [
        first,
        f"On held-out answers {name} gains {row.gain:.4f} nats per answer over pooled (standard error "
        f"{row.error:.4f}); it was chosen by this alone.",
    ]
    return said, notes


def _against(
    table: pd.DataFrame, name: str, group: tuple[str, str], metric: str = "log_loss"
) -> dict[str, Any]:
    rows = table[(table.population == name) & (table.metric == metric)]
    row = rows[(rows.raters == group[0]) & (rows.answers == group[1])].iloc[0]
    return {
        "value": float(row.difference),
        "low": float(row.difference_low),
        "high": float(row.difference_high),
        "metric": metric,
        "raters": group[0],
        "answers": group[1],
    }


def _has(table: pd.DataFrame, group: tuple[str, str]) -> bool:
    return bool(((table.raters == group[0]) & (table.answers == group[1])).any())


def _knows(results: dict[str, Result], name: str, groups: list[tuple[str, str]]) -> bool:
    """Whether a member clearly beats its like to whom raters were shuffled, in any group."""
    gain = compare(results[name], results["shuffled_raters"])
    gain = gain[gain.metric == "log_loss"]
    return any(
        bool((gain[(gain.raters == raters) & (gain.answers == answers)].difference_low > 0).any())
        for raters, answers in groups
    )


def _sentence(table: pd.DataFrame, name: str, group: tuple[str, str], most: int) -> str | None:
    here = (table.raters == group[0]) & (table.answers == group[1])
    rows: Any = table[here].set_index(["population", "metric"])
    if (name, "accuracy") not in rows.index:
        return None
    mine, plain = rows.loc[(name, "accuracy")], rows.loc[("pooled", "accuracy")]
    loss = rows.loc[(name, "log_loss")]
    who = {
        "seen": "For known raters",
        "items": "On options that nobody in training was asked about",
        "unseen": f"For new raters after all their answers (up to {most})" if most else "For new raters",
    }[group[0]]
    if loss.difference_low > 0:
        words = "better than pooled"
    elif loss.difference_high < 0:
        words = "worse than pooled"
    else:
        words = "no clear difference to pooled"
    return (
        f"{who}: {say(name)} is right in {mine.value:.1%} of cases, pooled in {plain.value:.1%}; the gain in log loss is "
        f"{loss.difference:+z.3f} nats per answer (95 % interval over raters {loss.difference_low:+z.3f} to "
        f"{loss.difference_high:+z.3f}), {words}."
    )


def _adaptation(result: Result) -> float | None:
    people = result.people[result.people.raters == "unseen"]
    first = people[people.answers == "0"].set_index("rater_id").log_loss
    last = people[people.answers == "all"].set_index("rater_id").log_loss
    if first.empty or last.empty:
        return None
    return float((first - last).mean())


def _control_notes(
    table: pd.DataFrame, results: dict[str, Result], where: list[tuple[str, str]]
) -> list[str]:
    notes = []
    if "shuffled_raters" in results:
        rows = table[(table.population == "shuffled_raters") & (table.metric == "log_loss")]
        rows = rows[(rows.raters == "seen") & (rows.answers == "all")]
        if len(rows) and float(rows.iloc[0].difference_low) > 0.002:
            notes.append(
                "the control with shuffled raters beats pooled: part of the gain does not come from knowing the rater."
            )
    return notes


def say(name: str) -> str:
    return name.replace("_", " ")
