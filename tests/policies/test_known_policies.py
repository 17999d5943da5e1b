"""Lotteries over everything known, with chances that luck does not decide; and the way round what stands in the way."""

import dataclasses

import gymnasium
import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3.ppo")

from worlds import bandit, voices

from pluralign.policies import PPO, Constrained, MaxMin, Tabular, TabularPolicy
from pluralign.policies.learners.episodes import RandomPolicy
from pluralign.policies.learners.straying import Straying
from pluralign.rewards import known_voices


def way(number, count):
    return TabularPolicy(torch.eye(count, dtype=torch.float64)[number][None])


class Favourites:
    """Knows a compromise and never finds it: its answer to any weights is some voice's favourite."""

    def __init__(self, known):
        self.table = Tabular(bandit(torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.6]]).double()))
        self.known = known

    def improve(self, voices, weight, *, seed=0, start=None, progress=None):
        return way(int(weight.argmax()), 3)

    def random(self):
        return self.table.random()

    def returns(self, policy, voices, *, seed=0):
        return self.table.returns(policy, voices)


@pytest.mark.parametrize(("known", "worst"), [((), 0.5), ((way(2, 3),), 0.6)])
def test_what_the_learner_knows_may_be_played(known, worst):
    lottery = MaxMin(scale="none", rounds=3).optimise(Favourites(known), voices(2))
    assert lottery.diagnostics["value"] == pytest.approx(worst, abs=1e-6)


class Noisy:
    """Two ways, each worth 1 to one of two voices and 0 to the other, on 64 episodes with a spread of 1."""

    def improve(self, voices, weight, *, seed=0, start=None, progress=None):
        return way(int(weight.argmax()), 3)

    def random(self):
        return way(2, 3)

    def returns(self, policy, voices, *, seed=0):
        number = int(policy.chance.argmax())
        luck = torch.Generator().manual_seed((seed + 7919 * number) % 2**31)
        mean = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])[number]
        return mean + torch.randn(64, 2, generator=luck)


def test_chances_are_as_sure_as_four_times_the_episodes_make_them():
    even = []
    for seed in range(100):
        lottery = MaxMin(scale="none", rounds=1).optimise(Noisy(), voices(2), seed)
        first = [int(policy.chance.argmax()) == 0 for policy in lottery.policies]
        even.append(float(lottery.chance[torch.tensor(first)].sum()) - 0.5)
    # chance = .5 + a quarter of the sum of four errors, each of 1 / sqrt(episodes).
    spread, most = 0.5 / 256**0.5, 1 + 3 / 200**0.5
    assert float(np.sqrt(np.mean(np.square(even)))) < spread * most < 0.5 / 64**0.5 / most


class Local:
    """Three ways: reckless, idle, and round. Who begins with the reckless way finds the way round where that is better,
    unless neither is worth much more than staying idle."""

    def __init__(self):
        self.table = Tabular(bandit(torch.tensor([[1.0, 0.0, 0.7], [1.0, 0.0, 0.0]]).double()))
        self.prices = []

    def improve(self, voices, weight, *, seed=0, start=None, progress=None):
        pays = [float(self.returns(way(k, 3), voices)[0].double() @ weight / weight[0]) for k in range(3)]
        if start is None:
            return way(0 if float(weight[0]) > 0 else 1, 3)
        self.prices.append(float(weight[1] / weight[0]))
        return way(2 if pays[2] > pays[0] > 0.3 else 0 if pays[0] > 0 else 1, 3)

    def random(self):
        return way(1, 3)

    def returns(self, policy, voices, *, seed=0):
        return self.table.returns(policy, voices).expand(2, -1)  # as if sampled


def test_prices_rise_so_that_the_way_round_is_found():
    learner = Local()
    people, cost = known_voices([[1.0, 0.0]]), known_voices([[0.0, 1.0]], names=("harm",))
    lottery = Constrained(cost, (0.05,), scale="none", rounds=10).optimise(learner, people)
    # The price that makes reckless and idle equal is 1, where this learner stays as it is and .05 would be the answer.
    assert learner.prices[:2] == pytest.approx([0.2, 0.36], abs=1e-6)
    assert lottery.diagnostics["value"] == pytest.approx(0.95 * 0.7 + 0.05, abs=1e-6)
    assert float(lottery.diagnostics["costs"][0]) <= 0.05 + 1e-6
    assert float(lottery.diagnostics["prices"][0]) == pytest.approx(0.3, abs=1e-6)


STEPS, GOAL = 25, np.array([1.0, 0.0])


class Fence(gymnasium.vector.VectorEnv):
    """N points in the plane, pushed from about the origin to (1, 0); a fence stands across the straight way."""

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
        self.single_observation_space = gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.factor_names = ("goal", "fence")

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.x, self.time = self.rng.uniform(-0.05, 0.05, (self.num_envs, 2)), 0
        return self.x.astype(np.float32), {}

    def step(self, actions):
        self.x, self.time = np.clip(self.x + 0.15 * np.clip(actions, -1, 1), -1.5, 1.5), self.time + 1
        goal = np.exp(-(((self.x - GOAL) ** 2).sum(1) / 0.1))
        fence = (np.abs(self.x - [0.5, 0]) < [0.15, 0.3]).all(1)
        info = {"factors": np.stack([goal, fence], 1)}
        seen, none = self.x.astype(np.float32), np.zeros(self.num_envs, dtype=bool)
        done = np.full(self.num_envs, self.time == STEPS)
        if done.all():
            final = np.empty(self.num_envs, dtype=object)
            final[:] = list(seen)
            info |= {"final_obs": final, "final_info": info.copy()}
            seen = self.reset()[0]
        return seen, np.zeros(self.num_envs), none, done, info


class Straight:
    """Towards the goal, come what may."""

    def act(self, observation, *, generator=None):
        return np.clip((GOAL - observation) / 0.15, -1, 1).astype(np.float32)

    def save(self, folder):
        raise NotImplementedError


def test_straying_finds_the_way_round_a_fence():
    learner = PPO(Fence, again=0, strays=16, episodes=64, copies=32, imitation=600)
    careful, one = known_voices([[1.0, -4.0]]), torch.ones(1)
    straight = float(learner.returns(Straight(), careful, seed=1).mean())
    found = learner.improve(careful, one, seed=0, start=Straight())
    assert float(learner.returns(found, careful, seed=1).mean()) > straight + 2
    assert float(learner.returns(found, known_voices([[0.0, 1.0]]), seed=1).mean()) < 1.0  # of two steps
    # Imitation alone does as it was shown.
    same = dataclasses.replace(learner, strays=0).improve(careful, one, seed=0, start=Straight())
    assert float(learner.returns(same, careful, seed=1).mean()) < straight + 1


def test_half_of_the_strays_leave_at_once_and_all_come_back():
    class Still:
        def act(self, observation, *, generator=None):
            return np.zeros((len(observation), 1))

        def save(self, folder):
            raise NotImplementedError

    anything = RandomPolicy(-torch.ones(1), torch.ones(1))
    policy = Straying(Still(), anything, 40, np.random.default_rng(0))
    astray = np.stack([policy.act(np.zeros((2000, 1)))[:, 0] != 0 for _ in range(40)], 1)
    assert abs(astray[:, 0].mean() - 0.525) < 4 * 0.0112  # 1/2 + 1/2 of 1/20
    assert (astray.sum(1) >= 1).all()
    assert (astray.sum(1) < 10).all()
    assert not astray[:, 30:].any()
    turns = (np.diff(astray.astype(int), axis=1) == 1).sum(1) + astray[:, 0]
    assert (turns == 1).all()  # once an episode
