"""Caution about one uncertain reward, inside fairness between people: by hand, by linear programme, by grid."""

import math

import pytest
import torch
from hypothesis import given, settings
from worlds import GROUPS, bandit, voices, worlds

import pluralign
from pluralign.policies import Fair, MaxMin, Tabular, maxmin_value
from pluralign.policies.pessimist import Pessimist
from pluralign.population.ensemble import Ensemble, apart
from pluralign.raters import CampPeople, questions
from pluralign.rewards import CVaR, Mean, Nash, SoftMin, WorstOff, known_voices
from pluralign.rewards.doubt import BRME, Doubts, UncertaintyWeighted
from pluralign.streams import Streams

RETURNS = torch.tensor([1, 0.4, -0.3, 0.9, 0.6], dtype=torch.float64)
EVEN = torch.full((5,), 0.2, dtype=torch.float64)
ONE = torch.ones(1, dtype=torch.float64)


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def arms(utility, weight=None):
    """A bandit and what G people want by K guesses: utility (G, K, N arms)."""
    utility = double(utility)
    groups, guesses, _ = utility.shape
    share = torch.full((groups,), 1 / groups).double() if weight is None else double(weight)
    z = torch.eye(groups * guesses, dtype=torch.float64).view(groups, guesses, -1)
    doubts = Doubts(known_voices(z.flatten(0, 1)).worth, z, share)
    return Tabular(bandit(utility.flatten(0, 1))), doubts


def chance_of(lottery, arm):
    return sum(float(c) * float(p.chance[0, arm]) for p, c in zip(lottery.policies, lottery.chance))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Mean(), 0.52),
        (WorstOff(), -0.3),
        (UncertaintyWeighted(0.5), 0.4132),
        (SoftMin(0.1), -0.1391605240),
        (SoftMin(0.5), 0.2769925094),
        (SoftMin(1.0), 0.4024378178),
        (SoftMin(10.0), 0.5091923594),
        (BRME(0.5), 0.5 * 0.52 - 0.15),
        (BRME(0.25, nominal=0), 0.25 - 0.75 * 0.3),
        (CVaR(0.4), 0.05),
    ],
    ids=str,
)
def test_rules_by_hand(rule, expected):
    assert float(rule.value(RETURNS, EVEN)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("rule", [UncertaintyWeighted(0.7), BRME(0.3), BRME(0.3, nominal=2)], ids=str)
def test_gradients(rule):
    x = RETURNS.clone().requires_grad_()
    found = torch.autograd.grad(rule.value(x, EVEN), x)[0] if rule.smooth else None
    step = 1e-6 * torch.eye(5, dtype=torch.float64)
    slope = (rule.value(RETURNS + step, EVEN) - rule.value(RETURNS - step, EVEN)) / 2e-6
    torch.testing.assert_close(rule.gradient(RETURNS, EVEN), slope, atol=1e-7, rtol=0)
    if found is not None:
        torch.testing.assert_close(found, slope, atol=1e-7, rtol=0)


def test_entropic_is_uncertainty_weighted_to_second_order():
    # The next term is the third central moment over 6 t^2.
    moment = float((RETURNS - 0.52).pow(3).mean())
    for t in (5.0, 10.0):
        gap = float(SoftMin(t).value(RETURNS, EVEN) - UncertaintyWeighted(1 / (2 * t)).value(RETURNS, EVEN))
        assert gap == pytest.approx(moment / (6 * t**2), rel=0.2)


# A sure arm pays .5 whatever the truth; the risky one 0 or 2.
RISK = [[[0.5, 0.0], [0.5, 2.0]]]


@pytest.mark.parametrize(
    ("rule", "risky"),
    [
        (Mean(), 1.0),
        (WorstOff(), 0.0),
        (UncertaintyWeighted(0.5), 0.5),  # .5 + .5 p - .5 p^2
        (UncertaintyWeighted(2.0), 0.125),
        (SoftMin(0.5), math.log(3) / 4),  # exp(2 p / t) = 3
        (BRME(0.6), 1.0),  # .6 (.5 + .5 p) + .4 (.5 - .5 p) rises with p
        (BRME(0.4), 0.0),
    ],
    ids=str,
)
def test_how_much_is_risked(rule, risky):
    learner, doubts = arms(RISK)
    lottery = Pessimist(rule, scale="none").optimise(learner, doubts)
    assert chance_of(lottery, 1) == pytest.approx(risky, abs=1e-5)


def test_guesses_are_not_people():
    # Two people of two guesses each. Person 1 is sure to gain from arm A, person 2 perhaps gains from B, and C is
    # middling for both.
    utility = [[[1, 0, 0.4], [1, 0, 0.4]], [[0, 2, 0.4], [0, 0, 0.4]]]
    learner, doubts = arms(utility)
    play = lambda members, people: [
        round(chance_of(Pessimist(members, people, scale="none").optimise(learner, doubts), arm), 5)
        for arm in range(3)
    ]
    # Careful, then average: A gives 1 + 0, B 0 + 0, C .4 + .4.
    assert play(WorstOff(), Mean()) == [1, 0, 0]
    # Average guesses, then the worst-off person: (1, 0), (0, 1), (.4, .4): A and B by turns.
    assert play(Mean(), WorstOff()) == [0.5, 0.5, 0]
    # Careful, then the worst-off person: B is worth nothing for sure.
    assert play(WorstOff(), WorstOff()) == [0, 0, 1]


def test_worst_of_all_guesses_of_one_voice_is_maxmin_over_them():
    learner, doubts = arms(GROUPS[None].tolist())
    lottery = Pessimist(scale="none").optimise(learner, doubts)
    assert lottery.diagnostics["value"] == pytest.approx(0.4165517241, abs=1e-8)
    exact = maxmin_value(learner.world, GROUPS.T[None])
    assert lottery.diagnostics["value"] == pytest.approx(exact.value, abs=1e-8)


@settings(max_examples=8)
@given(worlds(most_states=4))
def test_worst_case_on_worlds_is_the_linear_programme(world):
    learner = Tabular(world)
    factors = world.factors.shape[2]
    every = voices(factors)
    doubts = Doubts(every.worth, every.z[None], ONE)
    lottery = Pessimist(scale="none").optimise(learner, doubts)
    exact = maxmin_value(world, learner.rewards(every))
    assert lottery.diagnostics["value"] == pytest.approx(exact.value, abs=2e-6 * (1 + abs(exact.value)))


@pytest.mark.parametrize("members", [WorstOff(), UncertaintyWeighted(0.5), SoftMin(0.3), BRME(0.5)], ids=str)
@pytest.mark.parametrize("people", [Mean(), WorstOff(), SoftMin(0.2), Nash(-1.0)], ids=str)
def test_all_pairs_of_rules_against_a_grid(members, people):
    generator = torch.Generator().manual_seed(7)
    utility = torch.rand(2, 3, 3, generator=generator, dtype=torch.float64)
    learner, doubts = arms(utility.tolist(), [0.3, 0.7])
    lottery = Pessimist(members, people, scale="none").optimise(learner, doubts)
    side = torch.linspace(0, 1, 201, dtype=torch.float64)
    a, b = torch.meshgrid(side, side, indexing="ij")
    kept = a + b <= 1
    mixes = torch.stack([a[kept], b[kept], 1 - a[kept] - b[kept]], 1)
    returns = torch.einsum("ma,gka->mgk", mixes, utility)
    sure = members.value(returns, torch.full((3,), 1 / 3).double())
    grid = float(people.value(sure, double([0.3, 0.7])).max())
    found = lottery.diagnostics["value"]
    # Two neighbours of the grid differ by 1/200 times slopes of about one; never worse than the grid, but for rounding.
    assert grid - 1e-6 <= found <= grid + 0.02
    assert lottery.diagnostics["gaps"][-1] <= 1e-5


@pytest.mark.parametrize("people", [WorstOff(), Mean(), CVaR(0.5), Nash(-1.0)], ids=str)
def test_without_doubts_it_is_fair(people):
    every = voices(3, [0.2, 0.3, 0.5])
    learner = Tabular(bandit(GROUPS))
    sure = Doubts(every.worth, every.z[:, None].expand(-1, 4, -1), every.weight)
    pessimist = Pessimist(SoftMin(0.1), people).optimise(learner, sure)
    fair = (MaxMin() if isinstance(people, WorstOff) else Fair(people)).optimise(learner, every)
    assert pessimist.diagnostics["value"] == pytest.approx(fair.diagnostics["value"], abs=1e-5)


def test_voices_of_an_ensemble():
    people = CampPeople(((2.0, -1.0), (-1.0, 2.0)), (0.5, 0.5)).draw(24, 0)
    items = pluralign.Items(torch.randn(12, 2, generator=torch.Generator().manual_seed(0)))
    data = people.answer(items, *questions(12, 10, 24, 0), 0)
    belief = Ensemble(pluralign.Camps(groups=2, ridge=1.0, restarts=2), members=3).fit(data, seed=0)
    doubts = Doubts.of(belief, 24)
    assert doubts.z.shape[1] == 3
    # Every voice's guesses, averaged over its people, are what each member thinks of these people.
    total = torch.einsum("g,gkz->kz", doubts.weight.to(doubts.z), doubts.z)
    for k, one in enumerate(apart(belief)):
        worth = doubts.worth.basis(items) @ total[k]
        mine = (one.worth.basis(items) @ one.draws.mean.T).mean(1)
        torch.testing.assert_close(worth, mine, atol=1e-4, rtol=1e-4)
    lottery = Pessimist(people=2).optimise(Tabular(bandit(items.features.T)), belief)
    assert lottery.diagnostics["matrix"].shape[1:] == (2, 3)
    with pytest.raises(TypeError, match="belief of an Ensemble"):
        Doubts.of(pluralign.Pooled(ridge=1.0).fit(data))


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="`penalty` must be 0 or more, got -1"):
        UncertaintyWeighted(-1.0)
    with pytest.raises(ValueError, match=r"`trust` must be in \[0, 1\], got 2"):
        BRME(2.0)
    with pytest.raises(ValueError, match="must be shares that sum to one"):
        Doubts(known_voices([[1.0]]).worth, torch.ones(1, 2, 1).double(), double([0.5]))
    learner, doubts = arms([[[0.0, 0.1], [0.0, -1.0]]])
    with pytest.raises(
        ValueError, match="minus infinity for every lottery, as somebody is sure of no more than 0 at best"
    ):
        Pessimist(WorstOff(), Nash(), scale="none").optimise(learner, doubts)


class Lucky:
    """A bandit whose returns come with the luck of 400 episodes, the same for all policies of one seed."""

    def __init__(self, learner):
        self.learner, self.improve, self.random = learner, learner.improve, learner.random

    def returns(self, policy, voices, *, seed=0):
        sure = self.learner.returns(policy, voices)
        noise = torch.randn(400, sure.shape[1], generator=Streams.of(seed)("luck"), dtype=torch.float64)
        return sure + 0.5 * noise


def test_returns_that_are_sampled():
    learner, doubts = arms(GROUPS[None].tolist())
    lottery = Pessimist(scale="none").optimise(Lucky(learner), doubts)
    exact = torch.stack([p.chance[0] for p in lottery.policies])
    worst = float((lottery.chance @ exact @ GROUPS.T).min())
    # The luck is common to all policies: it moves a guess's return by a standard error of .5 / 20, twice.
    assert 0.4165517241 - 4 * 0.025 <= worst <= 0.4165517241 + 1e-9
    again = Pessimist(scale="none").optimise(Lucky(learner), doubts)
    assert torch.equal(again.chance, lottery.chance)
