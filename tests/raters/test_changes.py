"""People who change while they answer: walks, a change of mind, fatigue, moods."""

import math

import pytest
import torch

from pluralign.data.options import Items
from pluralign.raters import (
    CampPeople,
    Change,
    ChangingPeople,
    Drift,
    Factors,
    Fatigue,
    Faults,
    Moods,
    SimulatedRaters,
    Swing,
    Switch,
    preset,
    questions,
)

CAMPS = CampPeople(((1.0, 0.0), (0.0, 1.0)), (0.5, 0.5))
MIX = ((0.0, 1.0), (1.0, 0.0))
APART = Items(torch.tensor([[0.7, 0.0], [0.0, 0.0]], dtype=torch.float64))
EVERY = [
    Drift(0.1),
    Drift((0.1, 0.2), 0.9),
    Swing(MIX, 20.0),
    Switch(MIX, 0.1),
    Fatigue(0.05, lapse=0.2),
    Moods(4, 0.3),
]


def moved(change, number, count=4000):
    people = ChangingPeople(CAMPS, (change,)).draw(count, 0)
    return people.at(number).taste - people.taste


@pytest.mark.parametrize(("keep", "number"), [(1.0, 1), (1.0, 40), (0.9, 5), (0.9, 60), (0.0, 7)])
def test_a_walk_has_the_variance_of_its_steps(keep, number):
    away = moved(Drift((0.2, 0.5), keep), number)
    part = number if keep == 1 else (1 - keep ** (2 * number)) / (1 - keep**2)
    for factor, step in enumerate((0.2, 0.5)):
        expected = step**2 * part
        # The variance of a variance over n normal people is 2 / n of its square.
        assert abs(float(away[:, factor].var()) - expected) < 4 * expected * math.sqrt(2 / 4000)
    assert abs(float(torch.corrcoef(away.T)[0, 1])) < 4 / math.sqrt(4000)


def test_a_walk_is_a_walk():
    """Steps of different times are independent, so the covariance of two places is the variance of the earlier."""
    early, late = moved(Drift(0.3), 10)[:, 0], moved(Drift(0.3), 30)[:, 0]
    assert bool((moved(Drift(0.3), 0) == 0).all())
    found = float(torch.cov(torch.stack([early, late]))[0, 1])
    error = 0.09 * math.sqrt((10 * 30 + 10**2) / 4000)
    assert abs(found - 0.9) < 4 * error
    assert abs(found - 2.7) > 4 * error


def test_a_change_of_mind_comes_at_a_geometric_time_and_once():
    people = ChangingPeople(CAMPS, (Switch(MIX, 0.05),)).draw(4000, 0)
    other = [(people.at(n).taste != people.taste).any(1) for n in (0, 1, 10, 50)]
    assert not bool(other[0].any())
    for n, turned in zip((1, 10, 50), other[1:]):
        chance = 1 - 0.95**n
        assert abs(float(turned.double().mean()) - chance) < 4 * math.sqrt(chance * (1 - chance) / 4000)
    assert bool((other[3] | ~other[2]).all())
    torch.testing.assert_close(people.at(10_000).taste, people.taste.flip(1))


def test_fatigue_halves_care_and_brings_guesses():
    people = ChangingPeople(CAMPS, (Fatigue(math.log(2) / 50, lapse=0.3),)).draw(2, 0)
    slate, one = torch.tensor([[0, 1]]), (people.group == 0).nonzero()[0]
    for n, care in ((0, 1.0), (50, 0.5), (100, 0.25)):
        asked = torch.full((2,), n)
        share = people.share(APART, slate, one, asked=asked)[0, 0].item()
        guess = 0.3 * (1 - care)
        assert share == pytest.approx((1 - guess) / (1 + math.exp(-0.7 * care)) + guess / 2, abs=1e-12)
    # Above 1 people learn; who never errs does not tire.
    assert ChangingPeople(CAMPS, (Fatigue(1.0, end=3.0),)).draw(2, 0).at(100).rationality.tolist() == [
        3.0,
        3.0,
    ]
    sure = CampPeople(((1.0, 0.0),), (1.0,), faults=Faults(rationality=math.inf))
    assert ChangingPeople(sure, (Fatigue(0.5),)).draw(1, 0).at(5000).rationality.tolist() == [math.inf]


def test_moods_last_a_session():
    same, next_one = moved(Moods(5, (0.4, 0.0)), 4), moved(Moods(5, (0.4, 0.0)), 5)
    torch.testing.assert_close(moved(Moods(5, (0.4, 0.0)), 0), same)
    assert abs(float(same[:, 0].std()) - 0.4) < 4 * 0.4 / math.sqrt(8000)
    assert abs(float(torch.corrcoef(torch.stack([same[:, 0], next_one[:, 0]]))[0, 1])) < 4 / math.sqrt(4000)
    assert bool((same[:, 1] == 0).all())


@pytest.mark.parametrize("change", EVERY, ids=lambda c: f"{type(c).__name__}")
def test_answers_follow_the_moment_and_belong_to_the_person(change, rng):
    assert isinstance(change, Change)
    people, options = ChangingPeople(CAMPS, (change,)).draw(60, 0), Items(torch.randn(30, 2, generator=rng))
    slate, rater = questions(30, 12, 60, 0)
    data, share = people.answer(options, slate, rater, 0), people.share(options, slate, rater)
    third = torch.arange(720) % 12 == 3
    torch.testing.assert_close(share[third], people.at(3).share(options, slate[third], rater[third]))
    error = float((share[:, 0] * share[:, 1]).sum().sqrt())
    assert abs(float((data.label[:, 0] - share[:, 0]).sum())) < 4 * error
    some = torch.tensor([41, 3])
    rows = torch.cat([(rater == r).nonzero()[:, 0] for r in some.tolist()])
    alone = people.take(some).answer(options, slate[rows], torch.arange(2).repeat_interleave(12), 0)
    assert torch.equal(alone.label, data.label[rows])
    assert torch.equal(alone.time, torch.arange(12).repeat(2).float())
    again = ChangingPeople(CAMPS, (change,)).draw(60, 0)
    assert torch.equal(again.answer(options, slate, rater, 0).label, data.label)


def test_changes_add_up_and_nothing_is_no_change(rng):
    options = Items(torch.randn(30, 2, generator=rng))
    slate, rater = questions(30, 10, 20, 0)
    people = ChangingPeople(CAMPS, (Drift(0.0), Moods(3, 0.0), Fatigue(0.0))).draw(20, 0)
    still = CAMPS.draw(20, 0)
    torch.testing.assert_close(people.share(options, slate, rater), still.share(options, slate, rater))
    both = ChangingPeople(CAMPS, (Drift(0.3), Fatigue(0.1))).draw(20, 0).at(10)
    torch.testing.assert_close(both.taste, ChangingPeople(CAMPS, (Drift(0.3),)).draw(20, 0).at(10).taste)
    assert float(both.rationality[0]) == pytest.approx(math.exp(-1))


def test_people_drift_by_as_much_as_they_care_in_a_hundred_answers():
    people = preset("drifting", {"a": 5.0, "b": 2.0, "cost": -1.0}).draw(4000, 0)
    away = (people.at(100).taste - people.taste) * torch.tensor([5.0, 2.0, 1.0])
    assert away.std(0).tolist() == pytest.approx([2.0, 2.0, 0.0], abs=4 * 2 / math.sqrt(8000))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Drift(-0.1), "`step` must be 0 or more, got -0.1."),
        (lambda: Drift(0.1, keep=1.1), "`keep` must be in [0, 1], got 1.1; 1 is a random walk."),
        (lambda: Switch(MIX, 0.0), "`hazard` must be a chance between 0 and 1, got 0.0."),
        (lambda: Fatigue(0.1, lapse=2.0), "`lapse` must be a probability, got 2.0."),
        (lambda: Moods(0, 0.1), "`answers` must be 1 or more per session, got 0."),
        (
            lambda: moved(Drift((0.1, 0.2, 0.3)), 1, 4),
            "give one number, or one for each of the 2 factors, got 3.",
        ),
        (lambda: moved(Swing(((1.0,),)), 1, 4), "`mix` must be 2 by 2 numbers like the tastes, got (1, 1)."),
    ],
)
def test_a_wrong_change_is_explained(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


def test_a_rater_that_is_not_there_is_told():
    people = ChangingPeople(CAMPS, (Drift(0.1),)).draw(3, 0)
    with pytest.raises(ValueError, match=r"`rater` must be in 0\.\.2, got 5"):
        people.share(APART, torch.tensor([[0, 1]]), torch.tensor([5]))
    assert isinstance(people.first, SimulatedRaters)
    assert isinstance(people.first.worth, Factors)
