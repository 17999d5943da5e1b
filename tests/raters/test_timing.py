"""Seconds: first exits of a drifting particle, against transforms and means in closed form."""

import math

import pytest
import torch
from scipy.stats import binomtest

from pluralign.data.options import Items
from pluralign.raters import Factors, Faults, SimulatedRaters, preset, questions
from pluralign.raters.timing import TURN, decision, mean_decision, undecided

APART = (0.0, 0.7, 3.0, 12.0, 40.0)


@pytest.mark.parametrize("d", APART)
@pytest.mark.parametrize("rate", [0.3, 2.0, 20.0])
def test_distribution_has_the_transform_of_a_first_exit(d, rate):
    """E exp(-rate T) is cosh(d / 2) / cosh(sqrt(d^2 + 2 rate') / 2) for bounds one apart; time is in quarters of it."""
    time = torch.linspace(0, 32, 320_001, dtype=torch.float64)
    left = undecided(time, torch.full_like(time, d))
    assert bool((left.diff() <= 1e-12).all())
    found = 1 - rate * torch.trapezoid((-rate * time).exp() * left, time)
    root = math.sqrt(d**2 + 8 * rate)
    expected = math.exp((d - root) / 2) * (1 + math.exp(-d)) / (1 + math.exp(-root))
    assert float(found) == pytest.approx(expected, abs=2e-5)  # of the trapezia
    mean = torch.trapezoid(left, time)
    assert float(mean) == pytest.approx(float(mean_decision(torch.tensor([d]))), abs=1e-7)


def test_images_and_waves_agree_where_they_meet():
    d = torch.linspace(0, 60, 121, dtype=torch.float64)
    near = [undecided(torch.full_like(d, 4 * TURN + step), d) for step in (-1e-12, 1e-12)]
    torch.testing.assert_close(*near, atol=1e-11, rtol=0)


def test_times_invert_the_distribution():
    level = torch.linspace(0.001, 0.999, 400, dtype=torch.float64)
    for d in APART:
        size = torch.full_like(level, d)
        time = decision(-size, level)
        torch.testing.assert_close(1 - undecided(time, size), level, atol=1e-9, rtol=0)
        assert bool((time.diff() > 0).all())


@pytest.mark.parametrize("d", [0.0, 0.7, 3.0])
def test_people_take_the_time_of_the_closed_form_and_answer_by_luce(d):
    count = 8000
    full = lambda value: torch.full((count,), value, dtype=torch.float64)
    taste = torch.ones(count, 1, dtype=torch.float64)
    people = SimulatedRaters(Factors(), taste, pace=full(2.0), reaction=full(0.4), rationality=full(2.0))
    options = Items(torch.tensor([[d / 2], [0.0]], dtype=torch.float64))
    data = people.answer(options, torch.tensor([[0, 1]]).expand(count, 2), torch.arange(count), 0)
    first = data.label[:, 0] == 1
    assert binomtest(int(first.sum()), count, 1 / (1 + math.exp(-d))).pvalue > 1e-3
    time, error = data.response_time.double(), float(data.response_time.std()) / math.sqrt(count)
    expected = 0.4 + (2.0 if d == 0 else 2 * 2 * math.tanh(d / 2) / d)
    assert abs(float(time.mean()) - expected) < 4 * error
    assert abs(float(time.mean()) - 2.4) > 4 * error or d < 1  # a toss-up is another thing
    assert float(time.min()) > 0.4
    # Whichever bound is met, the time has the same distribution.
    gap = time[first].mean() - time[~first].mean()
    both = (time[first].var() / first.sum() + time[~first].var() / (~first).sum()).sqrt()
    assert abs(float(gap)) < 4 * float(both)
    assert float(people.seconds(options, data.slate[:1], data.rater[:1])) == pytest.approx(expected)


def test_times_stay_with_the_person_and_go_to_disk(tmp_path, rng):
    import pluralign

    people = preset("timed", {"a": 1.0, "b": 1.0}).draw(20, 0)
    options = Items(torch.randn(30, 2, generator=rng))
    slate, rater = questions(30, 8, 20, 0)
    data = people.answer(options, slate, rater, 0)
    some = people.take(torch.tensor([7])).answer(options, slate[rater == 7], rater[rater == 7] * 0, 0)
    assert torch.equal(some.response_time, data.response_time[rater == 7])
    pluralign.write(data, tmp_path / "timed")
    torch.testing.assert_close(pluralign.read(tmp_path / "timed").response_time, data.response_time)


def test_only_people_with_a_pace_take_time():
    people = SimulatedRaters(Factors(), torch.ones(1, 1).double())
    options, one = Items(torch.zeros(3, 1)), torch.zeros(1, dtype=torch.long)
    assert people.answer(options, torch.tensor([[0, 1]]), one, 0).response_time is None
    with pytest.raises(ValueError, match="these people take no time"):
        people.seconds(options, torch.tensor([[0, 1]]), one)
    timed = SimulatedRaters(Factors(), torch.ones(1, 1).double(), pace=torch.ones(1).double())
    with pytest.raises(ValueError, match="`pace` is about pairs, got slates of 3"):
        timed.answer(options, torch.tensor([[0, 1, 2]]), one, 0)
    with pytest.raises(ValueError, match="`pace` must be 0 or more, got -1"):
        Faults(pace=-1.0)
