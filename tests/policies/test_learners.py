"""What every learner promises, and what is special about those from data."""

import dataclasses

import numpy as np
import pytest
import torch
from worlds import LINE, Line

from pluralign.data import Segments
from pluralign.policies import (
    BC,
    IQL,
    PPO,
    SAC,
    Learner,
    MaxMin,
    Personal,
    Personalised,
    Portfolio,
    Simulator,
    load_policy,
)
from pluralign.rewards import known_voices

PAIR = known_voices([[1.0, 0.0, -0.05], [0.0, 1.0, -0.05]], [0.7, 0.3], names=("left", "right"))
LEFT, RIGHT = torch.eye(2)
WORLD = PPO(Line, episodes=32)


class Wobble:
    """Full force to one end or the other, drawn per episode by its first place's digits, with noise: mixed data."""

    def act(self, observation, *, generator=None):
        return np.clip(self.way + generator.normal(0, 0.5, (len(observation), 1)), -1, 1).astype(np.float32)

    def save(self, folder): ...


def mixed(episodes=40):
    """Episodes that go left, right, and nowhere, one third each."""
    parts = []
    for way in (-0.6, 0.0, 0.6):
        policy = Wobble()
        policy.way = way
        parts.append(WORLD.rollout(policy, episodes, seed=int(10 * way) + 20))
    join = lambda name: torch.cat([getattr(p, name) for p in parts])
    return Segments(join("factors"), observation=join("observation"), action=join("action"))


DATA = mixed()
LEARNERS = {
    "iql": IQL(DATA, WORLD, updates=400, batch=64, hidden=(32, 32), learning_rate=3e-3, blend=0.05),
    "bc": BC(DATA, WORLD, best=0.1, updates=300, batch=128, hidden=(32, 32), learning_rate=3e-3),
    "sac": SAC(
        Line,
        steps=1600,
        personal=2400,
        copies=8,
        warmup=160,
        updates=2,
        batch=64,
        hidden=(32,),
        episodes=32,
        learning_rate=5e-3,
    ),
}


def share(learner, policy, voice):
    """0 as good as chance, 1 as good as full force to the end."""
    sure = Wobble()
    sure.act = lambda observation, generator=None: np.full((len(observation), 1), [-1.0, 1.0][voice])
    got, low, high = (float(WORLD.returns(p, PAIR).mean(0)[voice]) for p in (policy, WORLD.random(), sure))
    return (got - low) / (high - low)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_serves_a_voice_repeats_itself_and_is_saved(name, tmp_path):
    learner, told = LEARNERS[name], []
    assert isinstance(learner, Learner)
    assert isinstance(learner, Simulator)
    left = learner.improve(PAIR, LEFT, seed=0, progress=told.append)
    assert sum(told) > 0
    assert share(learner, left, 0) > 0.7
    again = learner.improve(PAIR.scaled(torch.full((2,), 4.0).double()), LEFT, seed=0)
    x = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    assert np.array_equal(left.act(x), again.act(x))  # and the unit of rewards does not matter
    left.save(tmp_path / "left")
    np.testing.assert_allclose(load_policy(tmp_path / "left").act(x), left.act(x), atol=1e-5)
    with pytest.raises(ValueError, match="another world"):
        left.act(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="opposite taste"):
        learner.improve(PAIR, -LEFT)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_serves_tastes_by_one_network_and_a_loud_rater_changes_nothing(name):
    learner = LEARNERS[name]
    policy = learner.personalise(PAIR.worth, PAIR.z, seed=0)
    assert isinstance(policy, Personal)
    for voice, z in enumerate(PAIR.z):
        assert share(learner, policy.of(z), voice) > 0.6
    loud = learner.personalise(PAIR.worth, PAIR.z * torch.tensor([[10.0], [1.0]]).double(), seed=0)
    x = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    for z in PAIR.z:
        assert np.array_equal(policy.of(z).act(x), loud.of(10 * z).act(x))


def test_optimisers_take_learners_from_data():
    lottery = MaxMin(rounds=1).optimise(LEARNERS["bc"], PAIR, seed=0)
    assert lottery.diagnostics["value"] > 0.3
    menu = Portfolio(2).optimise(LEARNERS["bc"], PAIR, seed=0)
    assert menu.diagnostics["gap"] < 0.1
    personal = Personalised().optimise(LEARNERS["bc"], PAIR, seed=0)
    assert share(None, personal.of(PAIR.z[1]), 1) > 0.6


def test_iql_is_better_than_the_data_it_saw():
    """The best recorded episode is full of noise; imitation of all the data goes nowhere."""
    iql = LEARNERS["iql"]
    copied = dataclasses.replace(LEARNERS["bc"], best=1.0).improve(PAIR, RIGHT)
    found = iql.improve(PAIR, RIGHT)
    assert share(iql, copied, 1) < 0.5
    assert share(iql, found, 1) > share(iql, copied, 1) + 0.3


def test_an_expectile_of_a_bandit_by_hand():
    """One state, no future: V is the expectile of what actions paid, and the sharpest policy takes the best."""
    pays = torch.tensor([0.0, 0.0, 0.0, 1.0])
    pick = torch.arange(4).repeat(64)
    data = Segments(
        pays[pick][:, None, None],
        observation=torch.zeros(256, 1, 1),
        action=pick[:, None, None].float(),
    )
    # Single steps that end nothing: append a second step of nothing, so that what follows is known.
    data = Segments(
        torch.cat([data.factors, torch.zeros(256, 1, 1)], 1),
        observation=torch.zeros(256, 2, 1),
        action=data.action.expand(-1, 2, -1),
    )
    one = known_voices([[1.0]])
    policy = IQL(data, actions=4, discount=0.0, updates=300, hidden=(16,), learning_rate=1e-2).improve(
        one, torch.ones(1)
    )
    assert policy.act(np.zeros((1, 1))).tolist() == [3]


def test_counted_actions_by_imitation():
    data = PPO(lambda n: Line(n, discrete=True), episodes=32)
    seen = data.rollout(data.random(), 60, seed=0)
    policy = BC(seen, data, actions=3, best=0.1, updates=200, hidden=(16,)).improve(PAIR, LEFT)
    assert policy.act(np.zeros((2, 1))).shape == (2,)
    assert seen.factors.shape[1] == LINE


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"give simulator=PPO\(world\)"):
        IQL(DATA).returns(WORLD.random(), PAIR)
    with pytest.raises(ValueError, match="observations and actions"):
        IQL(Segments(DATA.factors)).improve(PAIR, LEFT)
    with pytest.raises(ValueError, match="the same all over the data"):
        IQL(DATA).improve(known_voices([[0.0, 0.0, 0.0]]), torch.ones(1))
    with pytest.raises(ValueError, match="expectile"):
        IQL(DATA, expectile=0.3)
    with pytest.raises(ValueError, match="best tenth"):
        BC(DATA, best=0.0)
    with pytest.raises(ValueError, match="use PPO"):
        SAC(lambda n: Line(n, discrete=True)).improve(PAIR, LEFT)
