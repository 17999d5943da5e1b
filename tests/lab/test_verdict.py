"""The words of a verdict follow its figures: what shuffled raters gain too is not knowledge of raters."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pluralign.lab.choosing import choose_member, compare
from pluralign.lab.protocol import Result
from pluralign.lab.verdict import verdict

GROUPS = (("seen", "all"), ("unseen", "0"), ("unseen", "all"))
ABOUT = {"warnings": [], "most": 16}


def member(name: str, seen: float, silent: float, unseen: float) -> Result:
    """Log losses of 200 raters about .6 less what the member gains in each group; the same luck for every member."""
    draw = np.random.default_rng(0)
    people = []
    for (raters, answers), gain in zip(GROUPS, (seen, silent, unseen), strict=True):
        loss = 0.6 + 0.1 * draw.standard_normal(200) - gain * (1 + 0.1 * draw.standard_normal(200))
        ids = [f"{raters} {r}" for r in range(200)]
        frame = pd.DataFrame({"raters": raters, "answers": answers, "rater_id": ids, "log_loss": loss})
        people.append(frame.assign(accuracy=1 - loss, brier=loss / 2, n=10))
    every = pd.concat(people, ignore_index=True)
    none = pd.DataFrame()
    return Result(name, none, every, none, every[every.raters == "seen"][["rater_id", "log_loss"]], {})


def told(camps: Result, shuffled: Result) -> dict:
    pooled = member("pooled", 0.0, 0.0, 0.0)
    results = {"pooled": pooled, "camps": camps, "shuffled_raters": shuffled}
    rows = [compare(result, pooled, samples=200).assign(population=name) for name, result in results.items()]
    table = pd.concat(rows, ignore_index=True).assign(value=0.7)
    chosen = choose_member({"pooled": pooled, "camps": camps})
    return verdict(table, chosen, results, ABOUT, [])


@pytest.mark.parametrize(
    ("shuffled", "words"),
    [(0.0, "Use camps: raters differ, and telling them apart pays."), (0.1, "Camps, by a hair")],
)
def test_a_gain_that_shuffled_raters_have_too_is_not_called_knowledge(shuffled, words):
    found = told(member("camps", 0.1, 0.1, 0.1), member("shuffled_raters", *[shuffled] * 3))
    assert found["words"][0].startswith(words)
    assert any("need not come from knowing the rater" in note for note in found["warnings"]) == (shuffled > 0)


def test_pooled_is_told_with_what_the_answers_leave_open():
    nothing = member("shuffled_raters", 0.0, 0.0, 0.0)
    hardly = told(member("camps", -0.002, 0.0, 0.003), nothing)["words"]
    alike = told(member("camps", 0.0, 0.0, 0.0), nothing)["words"]
    assert hardly[0] == alike[0] == "Use pooled: one taste for everybody."
    assert any("could still gain up to 0.003 nats" in sentence for sentence in hardly)
    assert alike[-1] == "Camps, free to tell raters apart, settled on one taste for all by itself."


def test_strangers_that_are_better_served_by_pooled_are_told():
    nothing = member("shuffled_raters", 0.0, 0.0, 0.0)
    loses = told(member("camps", 0.1, -0.05, 0.1), nothing)
    gains = told(member("camps", 0.1, 0.05, 0.1), nothing)
    said = [note for note in loses["warnings"] if note.startswith("of people without a single answer")]
    assert len(said) == 1
    assert "loses 0.05" in said[0]
    assert not any("without a single answer" in note for note in gains["warnings"])


def test_a_large_gain_on_too_few_people_is_not_called_a_small_one():
    """Eight people: what they gain on the test answers is large, and its interval holds zero."""

    def few(name: str, gain: float) -> Result:
        found = member(name, gain, 0.0, gain)
        noise = np.tile([3.0, -3.0], 100) * gain
        people = found.people.assign(log_loss=found.people.log_loss + np.resize(noise, len(found.people)))
        people = people[people.rater_id.str.fullmatch(r".* [0-7]")]
        return dataclasses.replace(found, people=people)

    found = told(few("camps", 0.1), few("shuffled_raters", 0.0))
    assert found["against_pooled"]["low"] < 0 < found["against_pooled"]["value"]
    assert found["words"][0].startswith("Probably camps: raters differ, but the test answers are too few")
    assert "nats per answer (95 % interval over raters -" in " ".join(found["words"])
