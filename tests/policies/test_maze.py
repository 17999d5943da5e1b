import pluralign_envs
import pytest
import torch

from pluralign.policies import PPO, MaxMin, Tabular, maxmin_value
from pluralign.rewards import known_voices

WORLD = "pluralign/PointMaze-v0"
CAMPS = known_voices([[1.0, 0.0, -0.02], [0.0, 1.0, -0.02]], [0.7, 0.3], names=("red", "blue"))


@pytest.fixture(scope="module")
def twin():
    return Tabular(pluralign_envs.twin(WORLD))


def test_the_fair_lottery_of_the_twin_is_the_linear_programme(twin):
    lottery = MaxMin().optimise(twin, CAMPS)
    scale = lottery.diagnostics
    exact = maxmin_value(
        pluralign_envs.twin(WORLD),
        twin.rewards(CAMPS),
        shift=scale["scale_shift"],
        factor=scale["scale_factor"],
    )
    assert scale["value"] == pytest.approx(exact.value, abs=1e-7)
    assert 0.4 < exact.value < 0.6  # one cannot be at both goals


def test_ppo_comes_near_the_twin_in_two_seconds(twin):
    """Returns as a share of what the twin allows, from a random policy's upwards; episodes end at the horizon."""
    red = torch.tensor([1.0, 0.0])
    best = float(twin.returns(twin.improve(CAMPS, red), CAMPS)[0, 0])
    best *= 1 - twin.discount**twin.table.horizon
    learner = PPO.quick(WORLD, steps=30_000, episodes=64)
    assert learner.discount == twin.discount
    chance = float(learner.returns(learner.random(), CAMPS).mean(0)[0])
    got = float(learner.returns(learner.improve(CAMPS, red, seed=0), CAMPS).mean(0)[0])
    assert (got - chance) / (best - chance) > 0.85
