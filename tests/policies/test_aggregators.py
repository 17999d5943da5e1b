"""Many utilities to one lottery: values anyone can check, axioms that hold, and axioms that must fail."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.choice import Luce
from pluralign.policies.aggregate import (
    RULES,
    MinMaxRegret,
    Plurality,
    RandomDictator,
    Welfarist,
    WorstFirst,
    aggregator,
    comparable,
)
from pluralign.policies.signs import SignEstimator
from pluralign.policies.voting import (
    Borda,
    Copeland,
    Kemeny,
    MaximalLottery,
    Proportional,
    bradley_terry,
    preferences,
)
from pluralign.rewards.welfare import Mean, Nash, WorstOff

CYCLE = torch.tensor([[0.5, 0.7, 0.2], [0.3, 0.5, 0.9], [0.8, 0.1, 0.5]], dtype=torch.float64)
GROUPS = torch.tensor([[1.0, 0.0, 0.2], [0.1, 0.8, 0.3], [0.2, 0.3, 0.9]], dtype=torch.float64)
VOTING = ("borda", "copeland", "kemeny", "maximal-lottery", "proportional", "minimax")
CONDORCET = ("copeland", "kemeny", "maximal-lottery", "minimax")
few = settings(max_examples=8)


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def orders(*rows):
    """Utilities of people who rank A B C ...: ("ABC", 3) is three people with A first."""
    table = [
        [float(len(order) - order.index(c)) for c in sorted(order)] for order, n in rows for _ in range(n)
    ]
    return double(table)


@st.composite
def crowds(draw, most=7, options=5):
    """Utilities without ties, of an odd number of people, so that no majority is a draw."""
    people = 2 * draw(st.integers(1, (most - 1) // 2)) + 1
    count = draw(st.integers(2, options))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    return torch.rand(people, count, generator=generator, dtype=torch.float64) + 0.1


# ---- oracle values


def test_three_options_that_beat_each_other_in_turn():
    # By hand: p' (P - 1/2) = 0 has the solution (4, 3, 2) / 9; rows sum to 1.4, 1.7, 1.4, a third of which is Borda's.
    torch.testing.assert_close(MaximalLottery().on(CYCLE), double([4, 3, 2]) / 9, atol=1e-9, rtol=0)
    assert Copeland().on(CYCLE).tolist() == pytest.approx([1 / 3] * 3)
    assert Borda().on(CYCLE).tolist() == [0, 1, 0]
    expected = double([-0.13515504, 0.27031008, -0.13515504])
    torch.testing.assert_close(bradley_terry(CYCLE), expected, atol=1e-8, rtol=0)


def test_what_a_pooled_reward_picks_loses_to_another_option():
    picked = int(bradley_terry(CYCLE).argmax())
    assert float(CYCLE[:, picked].max()) == pytest.approx(0.7)
    assert float((MaximalLottery().on(CYCLE) @ CYCLE).min()) == pytest.approx(0.5, abs=1e-9)


def test_kemeny_agrees_with_most():
    # ABC agrees with .7 + .2 + .9 = 1.8, BCA with .9 + .8 + .3 = 2.0, CAB with .8 + .1 + .7 = 1.6.
    assert Kemeny().on(CYCLE).tolist() == [0, 1, 0]


def test_proportional_by_hand():
    # Worst shares .2, .3, .1.
    torch.testing.assert_close(Proportional(0.0).on(CYCLE), double([2, 3, 1]) / 6)
    raw = double([0.2 * math.exp(0.4), 0.3 * math.exp(0.6), 0.1 * math.exp(0.2)])
    torch.testing.assert_close(Proportional(2.0).on(CYCLE), raw / raw.sum())
    assert Proportional(math.inf).on(CYCLE).tolist() == [0, 1, 0]


def test_bandit_of_three_groups():
    share = double([0.6, 0.3, 0.1])
    close = lambda rule, expected, weight=None: torch.testing.assert_close(
        rule.choose(GROUPS, weight), double(expected), atol=1e-6, rtol=0
    )
    close(Welfarist(Mean(), "none"), [1, 0, 0], share)
    for fair in (Welfarist(WorstOff(), "none"), WorstFirst("none")):
        close(fair, [0.3655172414, 0.3793103448, 0.2551724138], share)
    close(Welfarist(Nash(), "none"), [0.7473250, 0.2526750, 0], share)
    close(Welfarist(Nash(), "none"), [0.3309184, 0.1818298, 0.4872518])


def test_leximin_goes_on_where_maxmin_stops():
    # The first person has 1 whatever happens, and the second can have at most 1: a third decides.
    utility = double([[1, 1, 1], [2, 2, 0], [0, 5, 9]])
    lottery = WorstFirst("none").choose(utility)
    torch.testing.assert_close(utility @ lottery, double([1, 2, 5]), atol=1e-6, rtol=0)


def test_regret_of_a_small_stake_counts_little():
    # Shares p of A: regrets 1 - p and 3 p, equal at p = 1/4.
    lottery = MinMaxRegret().choose(double([[1, 0], [0, 3]]))
    torch.testing.assert_close(lottery, double([0.25, 0.75]))


def test_favourites():
    crowd = orders(("ABC", 4), ("BCA", 3), ("CBA", 2))
    assert Plurality().choose(crowd).tolist() == [1, 0, 0]
    assert RandomDictator().choose(crowd).tolist() == pytest.approx([4 / 9, 3 / 9, 2 / 9])
    flat = double([[1, 1, 0]])
    assert RandomDictator().choose(flat).tolist() == [0.5, 0.5, 0]


def test_preferences_count_people_and_answers():
    crowd = double([[2, 1], [1, 1], [0, 3]])
    assert float(preferences(crowd)[0, 1]) == pytest.approx(0.5)
    weight = double([0.5, 0.2, 0.3])
    assert float(preferences(crowd, weight)[0, 1]) == pytest.approx(0.6)
    sure = (torch.sigmoid(double(1)) + 0.5 + torch.sigmoid(double(-3))) / 3
    assert float(preferences(crowd, rule=Luce())[0, 1]) == pytest.approx(float(sure))


# ---- axioms that hold


@pytest.mark.parametrize("name", RULES)
@few
@given(crowds(), st.integers(0, 2**20))
def test_no_person_and_no_option_is_special(name, utility, seed):
    generator = torch.Generator().manual_seed(seed)
    people, options = (torch.randperm(n, generator=generator) for n in utility.shape)
    before, after = (aggregator(name).choose(u) for u in (utility, utility[people][:, options]))
    # Expected utilities, as several lotteries may be equally fair to all.
    torch.testing.assert_close(utility[:, options] @ after, utility @ before, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", RULES)
@few
@given(crowds())
def test_nobody_gets_what_all_find_worse(name, utility):
    worse = torch.cat([utility, utility[:, :1] - 0.05], 1)
    assert float(aggregator(name).choose(worse)[-1]) < 1e-4


@pytest.mark.parametrize("name", RULES)
@few
@given(crowds(most=5))
def test_a_person_twice_is_a_person_of_twice_the_weight(name, utility):
    twice = torch.cat([utility, utility[:1]])
    weight = torch.ones(len(utility), dtype=torch.float64)
    weight[0] = 2
    rule = aggregator(name)
    torch.testing.assert_close(
        utility @ rule.choose(twice), utility @ rule.choose(utility, weight), atol=2e-4, rtol=0
    )


@pytest.mark.parametrize("name", CONDORCET)
@few
@given(crowds())
def test_who_beats_all_others_is_chosen(name, utility):
    share = preferences(utility)
    beats = ((share > 0.5) | torch.eye(len(share), dtype=torch.bool)).all(1)
    if beats.any():
        torch.testing.assert_close(aggregator(name).choose(utility), beats.double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", VOTING)
@few
@given(crowds())
def test_votes_know_no_utils(name, utility):
    rule = aggregator(name)
    torch.testing.assert_close(rule.choose(utility), rule.choose(torch.exp(9 * utility)), atol=1e-9, rtol=0)


@pytest.mark.parametrize("rule", [Welfarist(Nash(), "none"), RandomDictator()], ids=["nash", "dictator"])
@few
@given(crowds(), st.floats(0.1, 10))
def test_a_persons_unit_changes_nothing(rule, utility, unit):
    louder = utility.clone()
    louder[0] *= unit
    torch.testing.assert_close(
        utility @ rule.choose(louder), utility @ rule.choose(utility), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("name", ["maximal-lottery", "random-dictator", "borda"])
@few
@given(crowds(), crowds())
def test_what_two_crowds_choose_they_choose_together(name, one, other):
    rule = aggregator(name)
    width = min(one.shape[1], other.shape[1])
    one, other = one[:, :width], other[:, :width]
    if torch.allclose(rule.choose(one), rule.choose(other), atol=1e-9):
        both = rule.choose(torch.cat([one, other]))
        torch.testing.assert_close(both, rule.choose(one), atol=1e-6, rtol=0)


@few
@given(crowds())
def test_copies_of_an_option_share_its_chance(utility):
    for rule in (MaximalLottery(), RandomDictator()):
        before = rule.choose(utility)
        # A copy that everybody finds a trifle worse for half of the people, better for the others.
        trifle = 1e-7 * (torch.arange(len(utility)) % 2 * 2 - 1).double()
        after = rule.choose(torch.cat([utility, utility[:, :1] + trifle[:, None]], 1))
        torch.testing.assert_close(after[1:-1], before[1:], atol=1e-6, rtol=0)
        assert float(after[0] + after[-1]) == pytest.approx(float(before[0]), abs=1e-6)


@few
@given(crowds())
def test_pooled_bradley_terry_has_bordas_order(utility):
    share = preferences(utility, rule=Luce())
    torch.testing.assert_close(bradley_terry(share).argsort(), share.sum(1).argsort())


@few
@given(crowds())
def test_no_option_beats_the_maximal_lottery(utility):
    share = preferences(utility, rule=Luce())
    chance = MaximalLottery().on(share)
    assert float((chance @ (share - 0.5)).min()) > -1e-8


def test_the_even_one_of_many_maximal_lotteries():
    # Everybody is indifferent: all lotteries are maximal.
    assert MaximalLottery().choose(torch.ones(4, 5).double()).tolist() == pytest.approx([0.2] * 5)


# ---- axioms that must fail, so that the tests above can


def test_borda_and_plurality_miss_the_condorcet_winner():
    crowd = orders(("ABC", 3), ("BCA", 2))  # A beats B and C by 3 to 2; Borda's points are 6, 7, 2
    assert Borda().choose(crowd).tolist() == [0, 1, 0]
    split = orders(
        ("ACB", 4), ("BCA", 3), ("CBA", 2)
    )  # C beats A by 5 to 4 and B by 6 to 3, and is last at first places
    assert Plurality().choose(split).tolist() == [1, 0, 0]
    for name in CONDORCET:
        assert aggregator(name).choose(crowd).tolist() == pytest.approx([1, 0, 0], abs=1e-9)
        assert aggregator(name).choose(split).tolist() == pytest.approx([0, 0, 1], abs=1e-9)


def test_the_mean_follows_those_who_shout():
    loud = double([[0, 9], [1, 0], [1, 0]])
    assert Welfarist(Mean(), "none").choose(loud).tolist() == [0, 1]
    loud[0] /= 9
    assert Welfarist(Mean(), "none").choose(loud).tolist() == [1, 0]
    quiet = double([[1, 0], [0, 1]])
    even, shouted = (Welfarist(WorstOff(), "none").choose(u) for u in (quiet, double([[9, 0], [0, 1]])))
    assert float((even - shouted).abs().max()) > 0.3


def test_copies_change_bordas_choice():
    crowd = orders(("AB", 3), ("BA", 2))
    assert Borda().choose(crowd).tolist() == [1, 0]
    # Points 9 + 2 * 0 for A, 3 * 2 + 2 * 3 for the original B: copies of B below it lift B.
    copied = orders(("ABCD", 3), ("BCDA", 2))
    assert Borda().choose(copied).tolist() == [0, 1, 0, 0]
    assert MaximalLottery().choose(copied).tolist() == pytest.approx([1, 0, 0, 0], abs=1e-9)


def test_copeland_can_be_talked_out_of_what_two_crowds_agree_on():
    one = orders(*((order, 1) for order in ("DBACE", "BACED", "EBACD", "CDEAB", "CEDBA")))
    other = orders(*((order, 1) for order in ("EDBCA", "CEABD", "ADECB", "ECDAB", "CDEAB")))
    first = Copeland().choose(one)
    assert float(first.max()) == 1
    assert torch.equal(first, Copeland().choose(other))
    assert float(Copeland().choose(torch.cat([one, other])) @ first) == 0


def test_proportional_is_no_condorcet_rule_and_represents():
    crowd = orders(("AB", 7), ("BA", 3))
    assert Proportional(0.0).choose(crowd).tolist() == pytest.approx([0.7, 0.3])


# ---- the sign estimator


def test_signs_find_the_mean_taste_where_a_pooled_reward_does_not():
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(60, 2, generator=generator).double()
    # Tastes m + d and m - d: symmetric around m = (1, 1); d, along the first axis, drowns what it touches.
    mean, apart = double([1, 1]), double([6, 0])
    crowd = torch.stack([mean + apart, mean - apart]) @ features.T
    share = preferences(crowd, rule=Luce())
    first, second = torch.triu_indices(60, 60, 1)
    gap, said = features[first] - features[second], share[first, second]
    # Majorities are those of the mean taste, whatever d is.
    assert torch.equal((said > 0.5), (gap @ mean > 0))
    taste = torch.zeros(2, dtype=torch.float64)
    for _ in range(50):
        chance = torch.sigmoid(gap @ taste)
        sharp = gap.T @ (gap * (chance * (1 - chance))[:, None])
        taste = taste + torch.linalg.solve(sharp, gap.T @ (said - chance))
    angle = lambda t: float(torch.rad2deg(torch.arccos((t @ mean) / t.norm() / mean.norm())))
    found = SignEstimator(features).direction(share)
    assert angle(taste) > 20
    assert angle(found) < 4
    assert SignEstimator(features).on(share).argmax() == (features @ mean).argmax()


# ---- bad input


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="no rule is called 'bord'; there are mean, maxmin"):
        aggregator("bord")
    with pytest.raises(ValueError, match=r"share\[i, j\] \+ share\[j, i\] = 1; 2 do not, first \(0, 1\)"):
        Borda().on(double([[0.5, 0.7], [0.7, 0.5]]))
    with pytest.raises(ValueError, match="`beta` must be 0 or more, got -1"):
        Proportional(-1.0)
    with pytest.raises(ValueError, match="at most 16 options, got 17"):
        Kemeny().choose(torch.rand(2, 17, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(
        ValueError, match="`weight` must be one number, not negative, for each of the 2 people"
    ):
        Borda().choose(double([[1, 0], [0, 1]]), double([1, -1]))
    with pytest.raises(ValueError, match="`utility` must be finite"):
        Plurality().choose(double([[math.nan, 0]]))
    with pytest.raises(ValueError, match='take "range"'):
        comparable(double([[-1, 0]]), "sum")
    with pytest.raises(ValueError, match="scores grow without end"):
        bradley_terry(double([[0.5, 1], [0, 0.5]]))
