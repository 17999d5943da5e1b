"""Episodes that leave a policy's way on purpose, to see whether another one is better."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pluralign.policies.learner import Policy

HELD = 4  # steps for which a random action is kept up on average: white noise goes nowhere


@dataclass
class Straying:
    """A policy that is led astray once an episode by random actions, each kept up for some steps; for one rollout.

    Half of the episodes stray at once, the others somewhere in the first half; for a quarter of the episode at most.

    Attributes:
        policy: who acts before and after. random: whose actions are kept up. steps: of an episode. rng: of its own, as
            equal first states are wanted and different ways.
    """

    policy: Policy
    random: Policy
    steps: int
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self._step = 0

    def act(self, observation: np.ndarray, *, generator: np.random.Generator | None = None) -> np.ndarray:
        """As the policy, or astray."""
        count = len(observation)
        drawn = self.random.act(observation, generator=self.rng)
        if not self._step:
            late = self.rng.integers(0, max(self.steps // 2, 1), count)
            self._begin = np.where(self.rng.random(count) < 0.5, 0, late)
            self._end = self._begin + self.rng.integers(1, max(self.steps // 4, 2), count)
            self._held = drawn
        own = self.policy.act(observation, generator=generator)
        column = (-1, *(1,) * (own.ndim - 1))
        self._held = np.where((self.rng.random(count) < 1 / HELD).reshape(column), drawn, self._held)
        astray = (self._begin <= self._step) & (self._step < self._end)
        self._step += 1
        return np.where(astray.reshape(column), self._held, own)

    def save(self, folder: Any) -> None:
        raise TypeError("who strays is not kept; save the policy that was found.")
