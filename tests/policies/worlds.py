"""Small worlds for tests."""

import gymnasium
import numpy as np
import torch
from hypothesis import strategies as st

from pluralign.policies import Table
from pluralign.rewards import known_voices

# The three-action bandit: rows are groups, columns actions; worked out in the module that uses it.
GROUPS = torch.tensor([[1.0, 0.0, 0.2], [0.1, 0.8, 0.3], [0.2, 0.3, 0.9]], dtype=torch.float64)


def bandit(utility):
    """Actions publish what each of the G groups gets: factors are utilities, voice g pays factor g."""
    return Table.bandit(utility.T)


def voices(count, weight=None):
    return known_voices(torch.eye(count).tolist(), weight)


@st.composite
def worlds(draw, most_states=5, most_actions=3, most_factors=3):
    """Random worlds with rewards and chances of moderate size."""
    states = draw(st.integers(1, most_states))
    actions = draw(st.integers(2, most_actions))
    factors = draw(st.integers(2, most_factors))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    double = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)
    transition = double(states, actions, states) ** 3 + 1e-3
    start = double(states) + 1e-3
    return Table(
        transition / transition.sum(-1, keepdim=True),
        start / start.sum(),
        double(states, actions, factors) - 0.3,
        draw(st.sampled_from([0.0, 0.5, 0.9, 0.97])),
        horizon=20,
    )


LINE = 20  # steps of an episode on the line


class Line(gymnasium.vector.VectorEnv):
    """N points on [-1, 1] that start in the middle half and are pushed left or right; as fast as numpy is.

    Factors: closeness to the left end, to the right end, and effort.
    """

    def __init__(self, num_envs, discrete=False):
        box = gymnasium.spaces.Box
        self.num_envs, self.discrete = num_envs, discrete
        self.metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}
        self.single_observation_space = box(-1.0, 1.0, (1,), np.float32)
        self.single_action_space = (
            gymnasium.spaces.Discrete(3) if discrete else box(-1.0, 1.0, (1,), np.float32)
        )
        self.factor_names = ("left", "right", "effort")

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.x, self.time = self.rng.uniform(-0.5, 0.5, self.num_envs), 0
        return self.x[:, None].astype(np.float32), {}

    def step(self, actions):
        push = actions.reshape(-1) - 1.0 if self.discrete else np.clip(actions[:, 0], -1, 1)
        self.x, self.time = np.clip(self.x + 0.2 * push, -1, 1), self.time + 1
        left, right = (np.exp(-(((self.x - end) / 0.5) ** 2)) for end in (-1, 1))
        info = {"factors": np.stack([left, right, push**2], 1)}
        seen, none = self.x[:, None].astype(np.float32), np.zeros(self.num_envs, dtype=bool)
        done = np.full(self.num_envs, self.time == LINE)
        if done.all():
            final = np.empty(self.num_envs, dtype=object)
            final[:] = list(seen)
            info |= {"final_obs": final, "final_info": info.copy()}
            seen = self.reset()[0]
        return seen, np.zeros(self.num_envs), none, done, info


class OneLine(gymnasium.Env):
    """The same line, one point at a time, that ends where it leaves [-1, 1]."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = float(self.np_random.uniform(-0.2, 0.2))
        return np.array([self.x], dtype=np.float32), {}

    def step(self, action):
        self.x += 0.2 * float(np.clip(action[0], -1, 1))
        factors = np.array(
            [*(np.exp(-(((self.x - end) / 0.5) ** 2)) for end in (-1, 1)), float(action[0]) ** 2]
        )
        return np.array([self.x], dtype=np.float32), 0.0, abs(self.x) > 1.5, False, {"factors": factors}


gymnasium.register("pluralign-tests/Line-v0", OneLine, max_episode_steps=LINE)
