"""How a choice treats people: values by hand, and what a resample must do."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.metrics import (
    atkinson,
    condorcet_hit,
    condorcet_winner,
    coverage,
    distortion,
    gini,
    iqm,
    left_behind,
    metric_distortion,
    pareto_gap,
    pareto_violations,
    portfolio_gap,
    profile,
    regrets,
    representation,
)
from pluralign.policies.aggregate import RULES, Plurality, RandomDictator, aggregator
from pluralign.policies.voting import Borda, Copeland, MaximalLottery, preferences
from pluralign.rewards.welfare import AlphaFair, Gini, Mean

THREE = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
few = settings(max_examples=20)
shares = st.lists(st.floats(0.05, 10), min_size=2, max_size=6)


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_the_classic_worst_case_of_orders():
    # Half stand at A, half in the middle between A and B (nearer to B by a hair): costs 1/4 and 3/4.
    distance = double([[0.0, 1.0], [0.5, 0.5 - 1e-9]])
    assert metric_distortion(distance, double([0, 1])) == pytest.approx(3, abs=1e-6)
    # A random dictator: (1/4 + 3/4) / 2 over 1/4.
    assert metric_distortion(distance, RandomDictator().choose(-distance)) == pytest.approx(2, abs=1e-6)
    assert metric_distortion(double([[0.0, 1.0]]), double([1, 0])) == 1
    assert metric_distortion(double([[0.0, 1.0]]), double([0, 1])) == math.inf


def test_plurality_is_as_far_off_as_it_can_be():
    # Three options at one place, whose people stand there and split their votes; those of the fourth, a hair more,
    # stand halfway. Costs: (1/4) (1/2) against (1/4) (1/2) + 3/4, so 2 * 4 - 1 = 7.
    hair = 1e-7
    there = hair * (1 - torch.eye(3, dtype=torch.float64))
    halfway = double([[0.5 - hair, 0.5, 0.5, 0.5]])
    distance = torch.cat([halfway, torch.cat([torch.ones(3, 1).double(), there], 1)])
    weight = double([0.25 + 3 * hair, 0.25 - hair, 0.25 - hair, 0.25 - hair])
    chosen = Plurality().choose(-distance, weight)
    assert chosen.tolist() == [1, 0, 0, 0]
    assert metric_distortion(distance, chosen, weight) == pytest.approx(7, abs=1e-4)
    assert metric_distortion(distance, Copeland().choose(-distance, weight), weight) == pytest.approx(
        1, abs=1e-4
    )


@few
@given(st.integers(0, 2**20), st.integers(2, 6), st.integers(2, 9))
def test_no_bound_is_broken(seed, options, people):
    generator = torch.Generator().manual_seed(seed)
    place = lambda count: torch.rand(count, 2, generator=generator, dtype=torch.float64)
    distance = torch.cdist(place(people), place(options))
    bounds = ((RandomDictator(), 3), (Copeland(), 5), (Borda(), 2 * options - 1), (MaximalLottery(), 3))
    for rule, bound in bounds:
        assert 1 - 1e-9 <= metric_distortion(distance, rule.choose(-distance)) <= bound + 1e-9


def test_distortion_by_hand():
    utility = double([[1, 0], [0.4, 0.6], [0.4, 0.6]])
    assert distortion(utility, double([0, 1])) == pytest.approx(1.8 / 1.2)
    assert distortion(utility, double([1, 0])) == 1
    assert distortion(utility, double([0, 1]), double([0, 1, 0])) == 1
    assert distortion(double([[1, 0]]), double([0, 1])) == math.inf


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**20))
def test_rules_on_options_leave_no_option_that_is_better_for_all(name, seed):
    utility = torch.rand(5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    chance = aggregator(name).choose(utility)
    # Nobody may be given an option that all find worse than another; lotteries of undominated ones may be improved.
    for option in (chance > 1e-6).nonzero()[:, 0].tolist():
        assert not (utility > utility[:, option : option + 1]).all(0).any()
    if name in ("mean", "nash", "leximin"):
        assert pareto_gap(utility, chance) <= 1e-4


def test_a_random_dictator_can_be_improved_for_all():
    # Two people with different favourites and a third option nearly as good for both.
    utility = double([[1, 0, 0.9], [0, 1, 0.9]])
    assert pareto_gap(utility, RandomDictator().choose(utility)) == pytest.approx(0.4)
    assert pareto_gap(utility, double([0, 0, 1])) == 0


def test_pairs_on_which_all_agree():
    utility = double([[3, 2, 1], [3, 1, 2]])
    assert pareto_violations(utility, double([1, 0, 0])) == 0
    assert pareto_violations(utility, double([1, 2, 0])) == 0.5
    assert math.isnan(pareto_violations(double([[1, 0], [0, 1]]), double([1, 0])))


def test_condorcet():
    share = preferences(double([[3, 2, 1], [3, 2, 1], [1, 3, 2]]))
    assert condorcet_winner(share) == 0
    assert condorcet_hit(share, double([0.25, 0.75, 0])) == 0.25
    cycle = preferences(double([[3, 2, 1], [1, 3, 2], [2, 1, 3]]))
    assert condorcet_winner(cycle) is None
    assert math.isnan(condorcet_hit(cycle, double([1, 0, 0])))


def test_representation():
    utility = double([[1, 0], [1, 0], [1, 0], [0, 1]])
    assert representation(utility, RandomDictator().choose(utility)) == pytest.approx(1)
    assert representation(utility, double([1, 0])) == 0
    assert representation(utility, double([0.9, 0.1])) == pytest.approx(0.4)


def test_inequality_by_hand():
    # Differences .3, .7, .4 twice each of nine pairs: 2.8 / 9 / 2 / (1.6 / 3).
    assert gini(THREE) == pytest.approx(2.8 / 9 / 2 / (1.6 / 3))
    assert gini(double([2, 2, 2])) == pytest.approx(0)
    assert gini(double([0, 1]), double([0.9, 0.1])) == pytest.approx(0.9)
    # The sheet's equally distributed equivalents of (.2, .5, .9).
    for aversion, same in (
        (0.0, 0.5333333333),
        (0.5, 0.4914027173),
        (1.0, 0.4481404747),
        (2.0, 0.3698630137),
    ):
        assert atkinson(THREE, aversion=aversion) == pytest.approx(1 - same / (1.6 / 3), abs=1e-9)
    assert atkinson(THREE, aversion=math.inf) == pytest.approx(1 - 0.2 / (1.6 / 3))
    assert atkinson(double([0, 1])) == 1


@few
@given(shares, st.integers(0, 2**20), st.floats(0.1, 10))
def test_inequality_agrees_with_the_welfare_functions(numbers, seed, unit):
    x = double(numbers)
    weight = torch.rand(len(x), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.05
    weight = weight / weight.sum()
    mean = Mean().value(x, weight)
    assert gini(x, weight) == pytest.approx(float(1 - Gini(2.0).value(x, weight) / mean), abs=1e-9)
    for aversion in (0.5, 1.0, 2.0):
        same = AlphaFair(aversion).equivalent(x, weight)
        assert atkinson(x, weight, aversion=aversion) == pytest.approx(float(1 - same / mean), abs=1e-9)
    assert gini(unit * x, weight) == pytest.approx(gini(x, weight), abs=1e-9)


def test_regrets_and_portfolios_by_hand():
    random, best = double([0, 1]), double([2, 3])
    assert regrets(double([[2, 1], [1, 3]]), random, best).tolist() == [[0, 1], [0.5, 0]]
    returns = double([[1, 0, 0.5], [0, 0.8, 0.5], [0.2, 0.3, 0.9]])
    own = torch.ones(3, dtype=torch.float64)
    assert portfolio_gap(returns, own) == pytest.approx({"worst": 0.2, "mean": 0.1})
    assert portfolio_gap(returns, own, double([1, 0, 1])) == pytest.approx({"worst": 0.1, "mean": 0.05})
    assert coverage(returns, own, 0.1) == pytest.approx(2 / 3)
    assert coverage(returns, own, 0.1, double([0.5, 0.3, 0.2])) == pytest.approx(0.7)
    with pytest.raises(ValueError, match="person 1 gains nothing"):
        regrets(best, double([0, 3]), best)


def test_who_is_left_behind():
    generator = torch.Generator().manual_seed(0)
    regret = torch.rand(6, 40, generator=generator, dtype=torch.float64)
    found = left_behind(regret)
    assert found["mean"].value == pytest.approx(float(regret.mean()))
    assert found["interquartile mean"].value == pytest.approx(iqm(regret).value)
    tail = regret.sort(1).values[:, -4:].mean()
    assert found["worst decile"].value == pytest.approx(float(tail))
    assert found["worst person"].value == pytest.approx(float(regret.amax(1).mean()))
    assert all(e.low <= e.value <= e.high for name, e in found.items() if name != "worst person")
    alone = left_behind(regret[:1])
    assert alone["mean"].n == 40
    assert alone["mean"].standard_error == pytest.approx(float(regret[0].std()) / 40**0.5, rel=0.1)


def test_the_interval_of_seeds_that_differ_is_wide():
    # Seeds stand .2 apart and people within a seed agree: people drawn again would promise far too much.
    between = 0.2 * torch.arange(5, dtype=torch.float64)[:, None]
    regret = between + 0.01 * torch.rand(
        5, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    error = left_behind(regret)["mean"].standard_error
    assert error == pytest.approx(float(between.std(correction=0)) / 5**0.5, rel=0.1)


def test_profile_counts_runs():
    scores = double([[0.1, 0.9], [0.3, 0.7], [0.5, 0.5]])
    share, low, high = profile(scores, double([0.0, 0.4, 0.95]))
    assert share.tolist() == pytest.approx([1, 4 / 6, 0])
    assert low[1] < share[1] < high[1]
    assert low[0] == high[0] == 1


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="must not be negative for a ratio, the smallest is -1"):
        distortion(double([[-1, 1]]), double([1, 0]))
    with pytest.raises(ValueError, match="measure from what chance gives"):
        gini(double([-1, 1]))
    with pytest.raises(ValueError, match="one number, not negative, for each of the 3 people"):
        gini(THREE, double([1, 1, -1]))
    with pytest.raises(ValueError, match="`tolerance` must be 0 or more"):
        coverage(double([[1]]), double([1]), -0.1)
