"""Networks that explain differences between rewards away as shaping, and nothing else."""

import dataclasses

import pytest
import torch

from pluralign.metrics.distances import starc
from pluralign.metrics.learned import gaps
from pluralign.metrics.sampled import Transitions, waves


@pytest.fixture(scope="module")
def walk():
    draw = torch.Generator().manual_seed(0)
    state = 2 * torch.rand(6000, 2, generator=draw, dtype=torch.float64) - 1
    action = 0.4 * torch.rand(6000, 2, generator=draw, dtype=torch.float64) - 0.2
    return Transitions(state, action, (state + action)[:, None], 0.9, features=waves(state, 0))


def test_a_bent_potential_is_learned(walk):
    reward = lambda s, a, z: torch.sin(20 * a[:, 0])
    other = lambda s, a, z: torch.sin(20 * a[:, 1])
    bend = lambda x: torch.tanh(6 * (x[:, 0] + x[:, 1] ** 2 - 0.3))
    copy = lambda s, a, z: reward(s, a, z) + 0.9 * bend(z) - bend(s)
    taught = dataclasses.replace(walk, learned=400)
    plain, learned = starc(reward, copy, walk), starc(reward, copy, taught)
    assert plain.value > 0.1
    assert learned.value < plain.value / 4
    assert starc(reward, copy, taught) == learned
    assert starc(reward, other, taught).value == pytest.approx(2**0.5, abs=0.05)


def test_gaps_are_between_neighbours(rng):
    left = torch.randn(1000, 4, generator=rng, dtype=torch.float64)
    left[:, 1] = 3 * left[:, 0] + 0.1 * left[:, 1]
    left[:, 3] = 0
    found = gaps(left)
    assert found is not None
    assert found.shape == (4, 1)
    unit = left / left.square().mean(0).sqrt()
    torch.testing.assert_close((left @ found)[:, 0].abs(), (unit[:, 0] - unit[:, 1]).abs())
    assert gaps(left[:, 2:]) is None
    assert gaps(left[:, [0, 0]]) is None
