"""Finite worlds: exact solving, what can be lost, soft values, and the delivery grid."""

import math

import numpy as np
import pytest
import torch

from pluralign.tabular import (
    WEIGHTS,
    Table,
    advantages,
    best_values,
    delivery,
    endless,
    expected,
    extremes,
    occupancy,
    random_world,
    reached,
    regret,
    returns,
    soft_values,
    successor_features,
    uniform,
    values,
    without_unreached,
    worst_of_best,
    worst_regret,
)
from pluralign.tabular.worlds import FEATURES

ORACLE = {
    "transition": torch.tensor(
        [
            [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]],
            [[0.0, 0.5, 0.5], [0.4, 0.4, 0.2]],
            [[0.3, 0.3, 0.4], [0.0, 0.1, 0.9]],
        ],
        dtype=torch.float64,
    ),
    "start": torch.full((3,), 1 / 3, dtype=torch.float64),
    "factors": torch.zeros(3, 2, 1, dtype=torch.float64),
    "discount": 0.9,
}
WORLD = Table(**ORACLE)
ONE = expected(
    WORLD.transition,
    torch.tensor(
        [[[0, 1, -1], [0.5, 0, 2]], [[1, -0.5, 0], [0, 0.25, 1]], [[-1, 0, 0.5], [2, -2, 1]]],
        dtype=torch.float64,
    ),
)
OTHER = expected(
    WORLD.transition,
    torch.tensor(
        [[[0.5, 0, 0], [1, -1, 1]], [[0, 0.5, -0.5], [1, 0, 0]], [[0, 1, 0], [-1, 0.5, 2]]],
        dtype=torch.float64,
    ),
)
close = lambda a, b: torch.testing.assert_close(a, torch.tensor(b, dtype=torch.float64), atol=1e-9, rtol=0)


def test_values_and_returns_of_the_worked_example():
    even = uniform(WORLD.transition)
    pair = torch.stack([ONE, OTHER], -1)
    found = values(WORLD.transition, pair, even, 0.9)
    close(found[:, 0], (2.397019113118, 2.028469262900, 2.382462765284))
    close(found[:, 1], (4.854890089026, 5.208250706721, 6.428663347538))
    close(torch.stack(extremes(WORLD, ONE)), (-0.833333333333, 5.918375472825))
    close(torch.stack(extremes(WORLD, OTHER)), (0.930161781195, 13.707503434066))
    torch.testing.assert_close(returns(WORLD, pair, even), found.mean(0))
    gap = advantages(WORLD.transition, pair, even, 0.9)
    torch.testing.assert_close(gap.mean(1), torch.zeros(3, 2).double(), atol=1e-12, rtol=0)


def test_worst_regret_of_the_worked_example():
    assert float(worst_regret(WORLD, ONE, OTHER)) == pytest.approx(0.553393016629, abs=1e-9)
    assert float(worst_regret(WORLD, OTHER, ONE)) == pytest.approx(0.617582876649, abs=1e-9)


def test_what_is_lost_by_optimising_another_reward(rng):
    """The linear programme against all fixed policies, one by one."""
    every = torch.cartesian_prod(*[torch.arange(2)] * 3)
    chance = torch.nn.functional.one_hot(every).double()
    gains = torch.stack([returns(WORLD, torch.stack([ONE, OTHER], -1), c) for c in chance])
    low, high = extremes(WORLD, ONE)
    lost = (high - gains[gains[:, 1].argmax(), 0]) / (high - low)
    assert float(worst_of_best(WORLD, ONE, OTHER)) == pytest.approx(float(lost), abs=1e-6)
    assert float(regret(WORLD, ONE, chance[gains[:, 1].argmax()])) == pytest.approx(float(lost), abs=1e-9)
    # Who optimises a reward with many best policies may choose the worst of them.
    half = OTHER.clone()
    half[1:] = 0
    assert float(worst_of_best(WORLD, ONE, ONE)) == pytest.approx(0, abs=1e-6)
    assert float(worst_of_best(WORLD, ONE, -ONE)) == pytest.approx(1, abs=1e-6)
    assert float(worst_regret(WORLD, ONE, half)) >= float(worst_of_best(WORLD, ONE, half)) - 1e-6


@pytest.mark.parametrize("seed", range(8))
def test_losses_against_every_fixed_policy_and_many_mixed_ones(seed):
    """What optimising loses is met exactly; no change that the other reward approves loses more than the programme says."""
    world = random_world(3, 2, discount=(0.5, 0.95)[seed % 2], sparse=False, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, 3, 2, generator=draw, dtype=torch.float64)
    every = torch.nn.functional.one_hot(torch.cartesian_prod(*[torch.arange(2)] * 3)).double()
    mixed = torch.softmax(4 * torch.randn(200, 3, 2, generator=draw, dtype=torch.float64), -1)
    pair = torch.stack([one, other], -1)
    gains = torch.stack([returns(world, pair, chance) for chance in torch.cat([every, mixed])])
    low, high = extremes(world, one)
    best = gains[gains[:, 1].argmax(), 0]
    assert float(worst_of_best(world, one, other)) == pytest.approx(
        float((high - best) / (high - low)), abs=1e-8
    )
    approved = gains[None, :, 1] >= gains[:, None, 1]
    found = float(((gains[:, None, 0] - gains[None, :, 0]) * approved).max() / (high - low))
    bound = float(worst_regret(world, one, other))
    assert 0.5 * bound < found <= bound + 1e-8  # and it is no idle bound


def test_worst_regret_ignores_shaping_and_scale():
    phi = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
    copy = 4 * (OTHER + 0.9 * WORLD.transition @ phi - phi[:, None])
    assert float(worst_regret(WORLD, ONE, copy)) == pytest.approx(0.553393016629, abs=1e-8)
    assert float(worst_regret(WORLD, ONE, ONE * 7)) == pytest.approx(0, abs=1e-8)
    assert float(worst_regret(WORLD, ONE, -ONE)) == pytest.approx(1, abs=1e-8)


def test_a_reward_that_ranks_nothing_is_told():
    phi = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
    for nothing in (0 * ONE, 0 * ONE + 2, 0.9 * WORLD.transition @ phi - phi[:, None]):
        with pytest.raises(ValueError, match=r"all policies have the return .* give a reward that tells"):
            worst_regret(WORLD, nothing, ONE)


def test_successor_features_price_any_reward(rng):
    world = random_world(6, 3, factors=4, seed=3)
    chance = torch.softmax(torch.randn(6, 3, generator=rng, dtype=torch.float64), -1)
    taste = torch.randn(4, generator=rng, dtype=torch.float64)
    state, pair = successor_features(world, chance)
    reward = world.factors @ taste
    value = values(world.transition, reward, chance, world.discount)
    torch.testing.assert_close(state @ taste, value)
    torch.testing.assert_close((chance[..., None] * pair).sum(1), state)
    gap = advantages(world.transition, reward, chance, world.discount)
    torch.testing.assert_close(pair @ taste - value[:, None], gap)
    torch.testing.assert_close(occupancy(world, chance).sum(), torch.tensor(20.0).double())


def test_optimal_advantages_on_a_chain():
    """States 0 to 3, left and right, -1 per move and +10 for the last: worked out by hand."""
    transition = torch.zeros(4, 2, 4, dtype=torch.float64)
    reward = torch.full((4, 2), -1.0, dtype=torch.float64)
    for s in range(3):
        transition[s, 0, max(s - 1, 0)] = transition[s, 1, s + 1] = 1
    transition[3, :, 3], reward[3], reward[2, 1] = 1, 0, 10
    value, gap = best_values(transition, reward, 0.9)
    close(value, (6.2, 8, 10, 0))
    close(gap[:3, 0], (-1.62, -3.42, -3.8))
    close(gap[:3, 1], (0, 0, 0))


def test_soft_values_meet_their_equation_and_its_derivative(rng):
    world = random_world(5, 3, sparse=False, discount=0.9, seed=1)
    reward = torch.randn(5, 3, generator=rng, dtype=torch.float64)
    value, q = soft_values(world.transition, reward, 0.9, 0.7)
    torch.testing.assert_close(value, 0.7 * torch.logsumexp(q / 0.7, -1), atol=1e-11, rtol=0)
    torch.testing.assert_close(q, reward + 0.9 * world.transition @ value, atol=1e-11, rtol=0)
    both = lambda r: soft_values(world.transition, r, 0.9, 0.7)
    assert torch.autograd.gradcheck(both, (reward.clone().requires_grad_(),))
    hard = best_values(world.transition, reward, 0.9)[0]
    cold = soft_values(world.transition, reward, 0.9, 0.01)[0]
    # Entropy is worth at most t log A a step.
    assert bool(((cold >= hard - 1e-9) & (cold <= hard + 0.01 * math.log(3) / 0.1)).all())
    with pytest.raises(ValueError, match="`temperature` must be positive, got 0"):
        soft_values(world.transition, reward, 0.9, 0.0)


def test_the_end_becomes_a_state():
    grid = delivery()
    whole = endless(grid)
    assert whole.transition.shape == (93, 4, 93)
    torch.testing.assert_close(whole.transition.sum(-1), torch.ones(93, 4).double())
    taste = torch.tensor(WEIGHTS, dtype=torch.float64)
    even = uniform(grid.transition)
    short = returns(grid, grid.factors @ taste, even)
    long = returns(whole, whole.factors @ taste, uniform(whole.transition))
    torch.testing.assert_close(short, long)


def test_states_that_no_episode_comes_to():
    transition = torch.eye(3).double()[:, None].expand(3, 2, 3).clone()
    transition[0, 1] = torch.tensor([0.0, 1.0, 0.0])
    world = Table(transition, torch.tensor([1.0, 0, 0]), torch.zeros(3, 2, 1), 0.9)
    assert reached(world).tolist() == [True, True, False]
    assert without_unreached(world).transition.shape == (2, 2, 2)
    assert bool(reached(delivery()).all())


def test_delivery_pays_as_its_rules_say():
    grid = delivery()
    assert len(grid.start) == 92
    assert grid.factor_names == FEATURES
    at = lambda row, column: sum(
        cell not in "#GS"
        for r, line in enumerate(_board())
        for c, cell in enumerate(line)
        if (r, c) < (row, column)
    )
    told = lambda s, a: {n: v for n, v in zip(FEATURES, grid.factors[s, a].tolist()) if v}
    up, down, left, right = range(4)
    assert told(at(0, 0), up) == {"gas": 1}  # off the grid: it stays and pays
    assert float(grid.transition[at(0, 0), up, at(0, 0)]) == 1
    assert told(at(0, 1), down) == {"gas": 1}  # a house
    assert told(at(0, 3), right) == {"gas": 1, "roadblock": 1}
    assert told(at(0, 1), left) == {"gas": 1, "coin": 1}
    assert told(at(1, 3), down) == {"mud": 1}
    assert told(at(9, 8), right) == {"goal": 1}
    assert float(grid.transition[at(9, 8), right].sum()) == 0
    assert told(at(5, 1), left) == {"sheep": 1}
    assert set(np.unique(grid.transition)) == {0.0, 1.0}
    value, _ = best_values(grid.transition, grid.factors @ torch.tensor(WEIGHTS).double(), grid.discount)
    assert 25 < float(value.min()) < float(value.max()) <= 50
    with pytest.raises(ValueError, match="`board` and `mud` must be rows of one length"):
        delivery(board=("..", "."))


def _board():
    from pluralign.tabular.worlds import BOARD

    return BOARD


def test_random_worlds_are_those_of_their_seed():
    one, same, other = (random_world(8, 2, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.transition, same.transition)
    assert not torch.equal(one.transition, other.transition)
    share = float((random_world(64, 4, seed=0).transition > 1e-6).double().mean())
    assert share == pytest.approx(0.1587, abs=4 * math.sqrt(0.16 * 0.84 / 64**2 / 4))
