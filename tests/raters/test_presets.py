"""Populations by name: who disagrees about what, for any factors; people who turn, and who choose differently."""

import math

import pytest
import torch

from pluralign.choice import Davidson, Luce
from pluralign.data.options import Items
from pluralign.raters import (
    PRESETS,
    CampPeople,
    ChangingPeople,
    ChangingRaters,
    Factors,
    GaussianPeople,
    MixedPeople,
    People,
    SimulatedRaters,
    Swing,
    preset,
    questions,
)
from pluralign.raters.presets import MINDED, directions

CHEETAH = {"speed": 20.0, "power": -3000.0, "height": 1.5, "upright": 4.0, "bounce": -2.0}
SCALE = torch.tensor(list(CHEETAH.values()), dtype=torch.float64)
MANY = {f"goal{g}": 0.5 for g in range(10)} | {"effort": -1.0}


def options(rng, factors, count=60):
    """Items whose pairs differ by the factors' scales, as root mean square."""
    scale = torch.tensor([abs(s) for s in factors.values()])
    return Items(torch.randn(count, len(factors), generator=rng) * scale / math.sqrt(2), names=tuple(factors))


@pytest.mark.parametrize("name", list(PRESETS))
@pytest.mark.parametrize("factors", [CHEETAH, MANY, {"a": 1.0, "b": 1.0}], ids=["cheetah", "maze", "two"])
def test_every_preset_answers_about_any_factors(name, factors, rng):
    people = preset(name, factors)
    assert isinstance(people, People)
    drawn, shown = people.draw(60, 0), options(rng, factors)
    slate, rater = questions(60, 8, 60, 0)
    data = drawn.answer(shown, slate, rater, 0)
    again = people.draw(60, 0).answer(shown, slate, rater, 0)
    assert torch.equal(data.label, again.label)
    assert not torch.equal(data.label, drawn.answer(shown, slate, rater, 1).label)
    share = drawn.share(shown, slate, rater)
    # Labels follow the shares: their sum is within 4 standard errors of what is expected.
    error = (share[:, 0] * share[:, 1]).sum().sqrt()
    assert abs(float((data.label[:, 0] - share[:, 0]).sum())) < 4 * float(error)
    some = torch.tensor([3, 41])
    mine = torch.isin(rater, some)
    alone = drawn.take(some).answer(shown, slate[mine], (rater[mine] == 41).long(), 0)
    assert torch.equal(alone.label, data.label[mine])


def test_a_typical_pair_differs_by_the_strength(rng):
    people = preset("two-camps", {"a": 5.0, "b": 0.1}, strength=3.0).draw(400, 0)
    worth = people.utility(options(rng, {"a": 5.0, "b": 0.1}, 2000))
    apart = (worth[:, ::2] - worth[:, 1::2]).square().mean().sqrt()
    # The persons' spread of .15 in two factors adds 1 + 2 * .15^2; 2000 options leave 2 %.
    assert float(apart) == pytest.approx(3 * math.sqrt(1 + 2 * 0.15**2), rel=0.06)


def test_camps_differ_in_goals_and_agree_on_costs():
    for name in ("two-camps", "ten-camps", "long-tail"):
        people = preset(name, CHEETAH)
        assert isinstance(people, CampPeople)
        felt = torch.tensor(people.centres, dtype=torch.float64) * SCALE
        torch.testing.assert_close(
            felt[:, [1, 4]], torch.full((len(felt), 2), 2 * MINDED, dtype=torch.float64)
        )
        assert (torch.tensor(people.centres)[:, [1, 4]] < 0).all()
        torch.testing.assert_close(
            felt[:, [0, 2, 3]].norm(dim=1), torch.full((len(felt),), 2.0, dtype=torch.float64)
        )
    assert sorted(preset("long-tail", CHEETAH).share, reverse=True) == list(
        preset("long-tail", CHEETAH).share
    )
    assert preset("long-tail", CHEETAH).share[0] == pytest.approx(10 * preset("long-tail", CHEETAH).share[-1])


@pytest.mark.parametrize(("width", "least"), [(2, 25), (3, 45), (5, 60), (10, 89.9)])
def test_ten_directions_are_apart(width, least):
    """Degrees between the nearest two; ten on a circle leave 36 at best, and the axes come first."""
    found = directions(width, 10)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(10, dtype=torch.float64))
    cosine = (found @ found.T - 2 * torch.eye(10)).amax()
    assert math.degrees(math.acos(min(1.0, float(cosine)))) > least


def test_the_continuum_has_no_camps_and_everybody_minds_costs():
    people = preset("continuum", CHEETAH)
    assert isinstance(people, GaussianPeople)
    felt = people.draw(4000, 0).taste * SCALE
    assert (felt[:, [1, 4]] == 2 * MINDED).all()
    torch.testing.assert_close(felt[:, [0, 2, 3]].var(0).sum(), torch.tensor(4.0).double(), rtol=0.1, atol=0)


def test_one_in_ten_is_an_adversary(rng):
    people = preset("adversaries", CHEETAH).draw(100, 0)
    assert torch.bincount(people.group).tolist() == [45, 45, 10]
    worth = people.utility(options(rng, CHEETAH, 400))
    against, honest = worth[people.group == 2].mean(0), worth[people.group != 2].mean(0)
    assert float(torch.corrcoef(torch.stack([against, honest]))[0, 1]) < -0.95


def test_a_single_factor_is_wanted_by_some_and_not_by_others():
    centres = torch.tensor(preset("two-camps", {"speed": 4.0}).centres)
    assert centres[:, 0].tolist() == [0.5, -0.5]
    assert preset("adversaries", {"speed": 4.0}).draw(10, 0).taste.shape == (10, 1)
    with pytest.raises(ValueError, match="10 camps need at least 2 factors with a positive scale, got 1"):
        preset("ten-camps", {"speed": 4.0})


def test_costs_alone_are_disagreed_on():
    centres = torch.tensor(preset("two-camps", {"power": -10.0, "noise": -1.0}).centres)
    torch.testing.assert_close(centres, torch.tensor([[-0.2, 0.0], [0.0, -2.0]]), atol=1e-9, rtol=0)


def test_tastes_swing_and_answers_follow(rng):
    people = preset("swinging", CHEETAH)
    assert isinstance(people, ChangingPeople)
    drawn = people.draw(200, 0)
    felt = [drawn.at(n).taste * SCALE for n in (0, 50, 100, 200)]
    goals = [0, 2, 3]
    torch.testing.assert_close(felt[2][:, goals], felt[0][:, goals].roll(1, dims=1))
    torch.testing.assert_close(felt[1], (felt[0] + felt[2]) / 2)
    torch.testing.assert_close(felt[3], felt[0])
    torch.testing.assert_close(felt[2][:, [1, 4]], felt[0][:, [1, 4]])
    shown = options(rng, CHEETAH)
    slate, rater = questions(60, 120, 200, 0)
    data = drawn.answer(shown, slate, rater, 0)
    late = (data.time >= 90) & (data.time < 110)
    assert data.time.max() == 119
    # Against the tastes of the beginning and of the hundredth answer.
    begin, then = (drawn.at(n).share(shown, slate[late], rater[late])[:, 0] for n in (0, 100))
    first = data.label[late][:, 0].double()
    gain = (first - begin).square() - (first - then).square()
    assert float(gain.mean()) > 5 * float(gain.std()) / math.sqrt(len(gain))


@pytest.mark.parametrize("name", ["swinging", "drifting", "tired", "moody"])
def test_a_study_in_batches_equals_one_in_one_go(name, rng):
    people, shown = preset(name, CHEETAH).draw(5, 0), options(rng, CHEETAH)
    slate, rater = questions(60, 12, 5, 0)
    whole = people.answer(shown, slate, rater, 0)
    early, asked = slice(0, 30), torch.bincount(rater[:30], minlength=5)
    first = people.answer(shown, slate[early], rater[early], 0)
    rest = people.answer(shown, slate[30:], rater[30:], 0, asked=asked)
    assert torch.equal(torch.cat([first.label, rest.label]), whole.label)
    assert torch.equal(torch.cat([first.time, rest.time]), whole.time)


def test_kinds_choose_by_their_rule(rng):
    people = preset("mixed-rules", CHEETAH)
    assert isinstance(people, MixedPeople)
    drawn, shown = people.draw(100, 0), options(rng, CHEETAH)
    assert torch.bincount(drawn.kind).tolist() == [40, 20, 20, 20]
    slate, rater = questions(60, 40, 100, 0)
    data = drawn.answer(shown, slate, rater, 0)
    tie = (data.label[:, 0] == 0.5).double()
    assert tie[drawn.kind[rater] != 2].sum() == 0
    assert tie[drawn.kind[rater] == 2].mean() > 0.05
    # Those who guess agree less with what they like best.
    worth = drawn.utility(shown)
    best = worth[rater, slate[:, 0]] > worth[rater, slate[:, 1]]
    right = [
        (data.label[k, 0] == best[k].float()).double().mean()
        for k in (drawn.kind[rater] == i for i in (0, 3))
    ]
    assert right[0] - right[1] > 0.1


def test_mixed_people_are_the_simulated_ones_of_their_kind(rng):
    camps = CampPeople(((1.0, 0.0), (0.0, 1.0)), (0.5, 0.5))
    tied = CampPeople(((1.0, 0.0), (0.0, 1.0)), (0.5, 0.5), rule=Davidson())
    drawn = MixedPeople((camps, tied), (0.5, 0.5)).draw(20, 3)
    assert torch.equal(drawn.taste, camps.draw(20, 3).taste)
    assert torch.equal(drawn.group, camps.draw(20, 3).group)
    shown = options(rng, {"a": 1.0, "b": 1.0})
    slate, rater = questions(60, 10, 20, 0)
    for place, people in enumerate((camps, tied)):
        rows = drawn.kind[rater] == place
        alone = people.draw(20, 3).answer(shown, slate[rows], rater[rows], 5)
        assert torch.equal(alone.label, drawn.answer(shown, slate, rater, 5).label[rows])


def test_who_never_turns_answers_as_ever(rng):
    still = SimulatedRaters(Factors(), torch.eye(2, dtype=torch.float64), Luce())
    turning = ChangingRaters(still, (Swing(((-1.0, 0.0), (0.0, -1.0)), math.inf),))
    shown = options(rng, {"a": 1.0, "b": 1.0})
    slate, rater = questions(60, 10, 2, 0)
    assert torch.equal(turning.share(shown, slate, rater), still.share(shown, slate, rater))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda: preset("camps", CHEETAH),
            "There is no population 'camps'; there are two-camps, ten-camps, ",
        ),
        (lambda: preset("two-camps", {}), "`factors` must map names to finite scales other than 0, got {}"),
        (lambda: preset("two-camps", {"a": 0.0}), "`factors` must map names to finite scales other than 0"),
        (
            lambda: preset("two-camps", {"a": math.nan}),
            "`factors` must map names to finite scales other than 0",
        ),
        (
            lambda: preset("two-camps", CHEETAH, strength=0.0),
            "`strength` must be a positive number of utils, got 0.0.",
        ),
        (lambda: MixedPeople((), ()), "`share` must have one number for each of 0 kinds"),
        (
            lambda: MixedPeople((CampPeople(((1.0,),), (1.0,)),) * 2, (0.5, 0.6)),
            "`share` must be positive and sum to 1, got (0.5, 0.6).",
        ),
        (
            lambda: Swing(((1.0,),), answers=0.0),
            "`answers` must be positive, got 0.0",
        ),
    ],
)
def test_a_wrong_call_is_explained(act, message):
    with pytest.raises(ValueError) as caught:
        act()
    assert message in str(caught.value)
