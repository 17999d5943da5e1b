"""A point on a line that publishes what happened."""

import gymnasium
import numpy as np


class Line(gymnasium.Env):
    """Factors: closeness to the left and to the right end, and effort."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = float(self.np_random.uniform(-0.2, 0.2))
        return np.array([self.x], dtype=np.float32), {}

    def step(self, action):
        push = float(np.clip(action[0], -1, 1))
        self.x = float(np.clip(self.x + 0.2 * push, -1, 1))
        factors = np.array([np.exp(-((self.x + 1) ** 2)), np.exp(-((self.x - 1) ** 2)), push**2])
        return np.array([self.x], dtype=np.float32), 0.0, False, False, {"factors": factors}


gymnasium.register("pluralign-tests/SingleLine-v0", Line, max_episode_steps=20)
