import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import GROUPS, bandit, voices, worlds

from pluralign.policies import (
    Fair,
    Learner,
    Lottery,
    MaxMin,
    PerStepMin,
    Single,
    Table,
    Tabular,
    TabularPolicy,
    best_mix,
    load_policy,
    maxmin_value,
)
from pluralign.rewards import (
    AlphaFair,
    CVaR,
    Gini,
    Mean,
    Nash,
    SoftMin,
    WorstOff,
    known_voices,
    relative_gain,
)
from pluralign.rewards.transforms import Scale

# beartype draws which element of a list it checks.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
few = settings(max_examples=15, deadline=None)
SHARE = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
FAIR = torch.tensor([0.3655172414, 0.3793103448, 0.2551724138], dtype=torch.float64)
DUAL = torch.tensor([0.324137931, 0.427586207, 0.248275862], dtype=torch.float64)


def near(a, b, atol):
    torch.testing.assert_close(a.double(), torch.as_tensor(b, dtype=torch.float64), atol=atol, rtol=0)


def chances(lottery, actions):
    """Chance of each action of a bandit."""
    return torch.einsum("p,pa->a", lottery.chance, torch.stack([p.chance[0] for p in lottery.policies]))


# The bandit by hand: all groups get t when (a, b, c) solves U p = t, sum p = 1: p = U^-1 1 / (1' U^-1 1).
def test_maxmin_of_a_bandit_by_hand():
    inverse = torch.linalg.inv(GROUPS)
    point = inverse.sum(1) / inverse.sum()
    near(point, FAIR, 1e-10)
    mix = best_mix(GROUPS.T)  # policies are the actions
    near(mix.chance, point, 1e-12)
    near(mix.returns, [0.4165517241] * 3, 1e-10)
    near(mix.weight, DUAL, 1e-9)
    assert mix.value == pytest.approx(1 / float(inverse.sum()), abs=1e-12)


def test_maxmin_of_a_bandit_by_learning_and_by_linear_programme():
    learner, people = Tabular(bandit(GROUPS)), voices(3, SHARE)
    exact = maxmin_value(bandit(GROUPS), learner.rewards(people))
    near(exact.policy.chance[0], FAIR, 1e-9)
    near(exact.weight, DUAL, 1e-9)
    assert exact.value == pytest.approx(0.4165517241, abs=1e-9)
    lottery = MaxMin(scale="none").optimise(learner, people)
    near(chances(lottery, 3), FAIR, 1e-9)
    near(lottery.returns(learner, people)[0], [exact.value] * 3, 1e-9)
    near(lottery.diagnostics["weight"], DUAL, 1e-9)


@pytest.mark.parametrize("rounds", [50, 200])
def test_hedge_is_within_the_gap_of_the_theorem(rounds):
    """Average of the policies played, before the matrix game is solved: what the theorem is about."""
    solver = MaxMin(rounds=rounds, play="hedge", scale="none", spread=1.0)
    learner, people = Tabular(bandit(GROUPS)), voices(3)
    from pluralign.policies.fair import prepared
    from pluralign.streams import Streams

    field = prepared(learner, people, "none", Streams.of(0), None)
    solver._hedge(field)
    average = field.matrix[3:].mean(0)
    assert len(field.matrix) == 3 + rounds
    assert 0.4165517241 - solver.gap(3) <= float(average.min()) <= 0.4165517242
    assert solver.gap(3) == pytest.approx(math.sqrt(math.log(3) / (2 * rounds)))
    # The last policy alone leaves somebody with next to nothing: it is the lottery that is fair.
    assert float(field.matrix[-1].min()) < 0.4165517241 - solver.gap(3)
    # Solving the game over the same policies can only help.
    assert float(average.min()) <= solver.optimise(learner, people).diagnostics["value"] <= 0.4165517242


def test_a_prize_that_only_one_group_can_hold():
    learner = Tabular(bandit(torch.eye(2)))
    lottery = MaxMin().optimise(learner, voices(2, [0.9, 0.1]))
    near(lottery.returns(learner, voices(2))[0], [0.5, 0.5], 1e-12)
    alone = Single().optimise(learner, voices(2, [0.9, 0.1]))
    near(alone.returns(learner, voices(2))[0], [1.0, 0.0], 0)


def test_minimum_of_expectations_is_not_expectation_of_minima():
    """Two responses, each the delight of one group; a third is second best for both."""
    rewards = torch.tensor([[1.0, 0.0, 0.3], [0.0, 1.0, 0.3]], dtype=torch.float64)
    learner, people = Tabular(bandit(rewards)), voices(2)
    fair = MaxMin(scale="none").optimise(learner, people)
    near(fair.returns(learner, people)[0], [0.5, 0.5], 1e-12)
    # A coin between the delights has E[min] = 0, so the per-step minimum prefers .3 for everybody.
    baseline = PerStepMin().optimise(learner, people)
    near(baseline.returns(learner, people)[0], [0.3, 0.3], 1e-12)


@pytest.mark.parametrize("play", ["oracle", "hedge"])
@few
@given(world=worlds())
def test_maxmin_meets_the_linear_programme(play, world):
    learner, people = Tabular(world), voices(world.factors.shape[-1])
    exact = maxmin_value(world, learner.rewards(people))
    solver = MaxMin(scale="none", play=play, rounds=100 if play == "oracle" else 20)
    lottery = solver.optimise(learner, people)
    worst = float(lottery.returns(learner, people).min())
    assert worst == pytest.approx(lottery.diagnostics["value"], abs=1e-9)
    if play == "oracle":
        assert worst == pytest.approx(exact.value, abs=1e-7 * (1 + abs(exact.value)))
    else:
        spread = float(
            max(
                maxmin_value(world, s * (learner.rewards(people) @ one)[..., None]).value
                for one in torch.eye(len(people)).double()
                for s in (1, -1)
            )
        )
        assert exact.value - solver.gap(len(people), 2 * abs(spread) + 1e-9) <= worst <= exact.value + 1e-7


@few
@given(world=worlds(), unit=st.floats(0.01, 100), shift=st.floats(-3, 3))
def test_relative_scale_ignores_units_and_baselines(world, unit, shift):
    learner = Tabular(world)
    width = world.factors.shape[-1]
    people = voices(width)
    factor = torch.ones(width, dtype=torch.float64)
    factor[0] = unit
    before = MaxMin().optimise(learner, people)
    after = MaxMin().optimise(learner, people.scaled(factor))
    assert before.diagnostics["value"] == pytest.approx(after.diagnostics["value"], abs=1e-7)
    # A constant per step, paid to the first voice, is worth the same under every policy.
    moved = Table(world.transition, world.start, world.factors.clone(), world.discount, horizon=world.horizon)
    moved.factors[..., 0] += shift
    there = MaxMin().optimise(Tabular(moved), people)
    assert before.diagnostics["value"] == pytest.approx(there.diagnostics["value"], abs=1e-6)


def test_without_a_scale_the_smallest_unit_decides():
    learner, people = Tabular(bandit(torch.eye(2))), voices(2)
    small = people.scaled(torch.tensor([1.0, 0.1], dtype=torch.float64))
    raw = MaxMin(scale="none").optimise(learner, small).returns(learner, people)[0]
    near(raw, [1 / 11, 10 / 11], 1e-9)
    near(MaxMin().optimise(learner, small).returns(learner, people)[0], [0.5, 0.5], 1e-9)


@few
@given(world=worlds())
def test_clones_change_nothing(world):
    learner, width = Tabular(world), world.factors.shape[-1]
    once = MaxMin().optimise(learner, voices(width)).diagnostics["value"]
    taste = torch.cat([torch.eye(width), torch.eye(width)[:1]]).tolist()
    twice = MaxMin().optimise(learner, known_voices(taste)).diagnostics["value"]
    assert once == pytest.approx(twice, abs=1e-7)
    # The same is not true of the crowd's average, whose weights have moved.


@few
@given(world=worlds())
def test_relative_values_lie_between_chance_and_everything(world):
    learner, people = Tabular(world), voices(world.factors.shape[-1])
    lottery = MaxMin().optimise(learner, people)
    # Drawing a voice at random and serving it gives everybody 1/G at least, had nobody anything to lose;
    # the random policy gives 0, the own optimum 1.
    assert -1e-9 <= lottery.diagnostics["value"] <= 1 + 1e-9
    scale = Scale(lottery.diagnostics["scale_shift"], lottery.diagnostics["scale_factor"])
    near(scale(learner.returns(learner.random(), people))[0], [0.0] * len(people), 1e-9)
    exact = maxmin_value(world, learner.rewards(people), shift=scale.shift, factor=scale.factor)
    assert lottery.diagnostics["value"] == pytest.approx(exact.value, abs=1e-6)


@pytest.mark.parametrize(
    ("welfare", "share", "returns"),
    [
        (Mean(), SHARE, (1.0, 0.1, 0.2)),
        (Nash(), SHARE, (0.7473250, 0.2768725, 0.2252675)),
        (Nash(), None, (0.4283688, 0.3247312, 0.5592593)),
        (WorstOff(), SHARE, (0.4165517241,) * 3),
    ],
)
def test_welfare_of_the_bandit(welfare, share, returns):
    mix = best_mix(GROUPS.T, welfare, share)
    near(mix.returns, returns, 2e-7)
    learner = Tabular(bandit(GROUPS))
    lottery = Fair(welfare, scale="none").optimise(learner, voices(3, share))
    near(lottery.returns(learner, voices(3))[0], returns, 2e-7)


def test_weighted_nash_value():
    assert best_mix(GROUPS.T, Nash(), SHARE).value == pytest.approx(-0.7090591886, abs=1e-9)
    assert best_mix(GROUPS.T, Nash()).value == pytest.approx(-0.8512234922, abs=1e-9)


def test_nash_is_proportionally_fair():
    """No lottery gives people, on average, a larger share of what they have: sum w J'/J <= 1."""
    mix = best_mix(GROUPS.T, Nash(), SHARE)
    assert float((GROUPS.T / mix.returns @ SHARE).max()) <= 1 + 1e-6


def test_nash_ignores_units_but_maxmin_does_not():
    unit = torch.tensor([10.0, 1.0, 1.0]).double()
    near(best_mix(GROUPS.T * unit, Nash()).chance, best_mix(GROUPS.T, Nash()).chance, 1e-5)
    assert float((best_mix(GROUPS.T * unit).chance - best_mix(GROUPS.T).chance).abs().max()) > 0.1


@pytest.mark.parametrize("welfare", [CVaR(0.4), Gini(2.0), Gini(5.0), SoftMin(0.05), AlphaFair(2.0)], ids=str)
def test_no_lottery_on_a_grid_is_better(welfare):
    mix = best_mix(GROUPS.T, welfare, SHARE)
    grid = torch.linspace(0, 1, 101, dtype=torch.float64)
    a, b = torch.meshgrid(grid, grid, indexing="ij")
    inside = a + b <= 1 + 1e-12
    chance = torch.stack([a[inside], b[inside], 1 - a[inside] - b[inside]], 1).clamp_min(0)
    best = float(welfare.value(chance @ GROUPS.T, SHARE).max())
    assert best <= mix.value + 1e-9
    assert mix.value <= best + 0.05 * abs(best)  # a grid of 1/100 comes this near
    # The weights explain it: no action pays more under them than the lottery does.
    assert float((GROUPS.T @ mix.weight).max()) <= float(mix.returns @ mix.weight) + 1e-6
    lottery = Fair(welfare, scale="none").optimise(Tabular(bandit(GROUPS)), voices(3, SHARE))
    assert lottery.diagnostics["value"] == pytest.approx(mix.value, abs=1e-7)


def test_nash_needs_something_above_the_disagreement_point():
    with pytest.raises(ValueError, match="lower `disagreement`"):
        best_mix(GROUPS.T, Nash(disagreement=0.5), SHARE)


def test_a_voice_that_gains_nothing_is_named():
    people = known_voices([[1.0, 0.0], [0.0, 0.0]], names=("eager", "indifferent"))
    with pytest.raises(ValueError, match="indifferent gains nothing"):
        MaxMin().optimise(Tabular(bandit(torch.eye(2))), people)


def test_equal_seeds_equal_lotteries_and_progress():
    learner, people = Tabular(bandit(GROUPS)), voices(3)
    told = []
    one = MaxMin().optimise(learner, people, seed=3, progress=told.append)
    two = MaxMin().optimise(learner, people, seed=3)
    assert torch.equal(one.chance, two.chance)
    assert sum(told) == len(one.diagnostics["asked"])


def test_lotteries_are_saved_without_pickle(tmp_path):
    learner, people = Tabular(bandit(GROUPS)), voices(3)
    lottery = MaxMin(scale="none").optimise(learner, people)
    lottery.save(tmp_path / "lottery")
    assert sorted(p.name for p in (tmp_path / "lottery").iterdir()) == ["policy.json", "policy.safetensors"]
    again = load_policy(tmp_path / "lottery")
    assert isinstance(again, Lottery)
    near(again.returns(learner, people), lottery.returns(learner, people), 0)
    with pytest.raises(FileExistsError, match="name a new folder"):
        lottery.save(tmp_path / "lottery")
    with pytest.raises(FileNotFoundError, match="holds no policy"):
        load_policy(tmp_path)


def test_lotteries_draw_one_policy_for_an_episode():
    learner = Tabular(bandit(torch.eye(2)))
    lottery = MaxMin().optimise(learner, voices(2))
    drawn = lottery.draw(4000, seed=0)
    assert abs(drawn.mean() - 0.5) < 4.5 * (0.25 / 4000) ** 0.5
    assert lottery.sample(seed=1) in lottery.policies
    with pytest.raises(ValueError, match="sum to one"):
        Lottery(lottery.policies, torch.ones(2))
    with pytest.raises(ValueError, match="each of the 2 policies"):
        Lottery(lottery.policies, torch.ones(1))


def test_relative_gain_by_hand():
    scale = relative_gain(torch.tensor([1.0, 0.0]), torch.tensor([3.0, 0.5]))
    near(scale(torch.tensor([[2.0, 0.5]])), [[0.5, 1.0]], 0)


class Sampled:
    """Answers with the best of four known ways: serve one camp, serve the other, or by the toss of a coin that
    falls once per episode; the fourth is worse for both. Returns are episodes, not expectations."""

    def __init__(self):
        self.asked = []
        self.first = Tabular(bandit(torch.eye(4)))

    def improve(self, voices, weight, *, seed=0, start=None, progress=None):
        self.asked.append(weight)
        way = 2 if float((weight - 0.5).abs().max()) < 0.1 else int(weight.argmax())
        return TabularPolicy(torch.eye(4, dtype=torch.float64)[way][None])

    def random(self):
        return TabularPolicy(torch.eye(4, dtype=torch.float64)[3][None])

    def returns(self, policy, voices, *, seed=0):
        way, episodes = int(policy.chance.argmax()), 64
        coin = torch.rand(episodes, generator=torch.Generator().manual_seed(seed % 2**31)) < 0.5
        left = {
            0: torch.ones(episodes),
            1: torch.zeros(episodes),
            2: coin.double(),
            3: torch.zeros(episodes),
        }[way]
        right = torch.zeros(episodes) if way == 3 else 1 - left
        return torch.stack([left, right], 1).double()


def test_a_sure_lottery_is_preferred_to_one_that_needs_typical_episodes():
    learner = Sampled()
    assert isinstance(learner, Learner)
    lottery = MaxMin().optimise(learner, voices(2), seed=0)
    # The tossed coin comes out uneven over 64 episodes; an even draw between sure policies does not.
    assert [int(p.chance.argmax()) for p in lottery.policies] == [0, 1]
    near(lottery.chance, [0.5, 0.5], 1e-9)
    # Sampled returns end the search once nothing helps beyond their noise.
    assert len(learner.asked) == 3


def test_one_voice_is_simply_served():
    learner, one = Tabular(bandit(GROUPS[:1])), known_voices([[1.0]])
    for play in ("oracle", "hedge"):
        lottery = MaxMin(play=play, rounds=5).optimise(learner, one)
        near(lottery.returns(learner, one)[0], [1.0], 1e-9)


def test_rounding_of_single_precision_is_accepted():
    transition = torch.full((3, 2, 3), 1 / 3)
    factors = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).expand(3, 2, 2)
    world = Table(transition, torch.full((3,), 1 / 3), factors, 0.9)
    assert world.start.dtype == torch.float64
    value = MaxMin(scale="none").optimise(Tabular(world), voices(2)).diagnostics["value"]
    assert value == pytest.approx(5.0, abs=1e-5)  # half of 1 / (1 - 0.9) each


def test_settings_are_checked():
    with pytest.raises(ValueError, match="at least 1"):
        MaxMin(rounds=0)
    with pytest.raises(ValueError, match="positive"):
        MaxMin(spread=0.0)
    # The type checker of the tests speaks first, else it would be a ValueError.
    with pytest.raises((ValueError, TypeError), match="relative"):
        Fair(scale="absolute")
    with pytest.raises((ValueError, TypeError), match="hedge"):
        MaxMin(play="gamble")


def test_nash_finds_policies_that_leave_nobody_below_the_disagreement_point():
    """Nobody's own best policy leaves the others anything; what does has to be looked for."""
    world = bandit(torch.tensor([[1.0, -1.0, 0.4, -0.3], [-1.0, 1.0, 0.3, -0.3]]))
    learner, people = Tabular(world), voices(2)
    lottery = Fair(Nash(), scale="none").optimise(learner, people)
    near(lottery.returns(learner, people)[0], [0.4, 0.3], 1e-6)
    with pytest.raises(ValueError, match="lower `disagreement`"):
        Fair(Nash(0.5), scale="none").optimise(learner, people)
