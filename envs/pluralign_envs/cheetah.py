"""Gymnasium's half-cheetah, with styles of running instead of a reward."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pluralign_envs.gymnasium_model import gymnasium_model
from pluralign_envs.locomotion import PLANAR, near, planar

GEAR = np.array([120.0, 90.0, 60.0, 120.0, 60.0, 30.0])  # newton metres at full command


@dataclass(frozen=True)
class Cheetah:
    """Six motors, steps of 0.05 s. Where along the track it is cannot be seen: nothing depends on it."""

    summary = "A half-cheetah that may run fast or slowly, forwards or backwards, low or high, smoothly or in leaps."
    factors = PLANAR
    substeps = 5
    horizon = 200
    draws = 18
    observation_size = 17
    camera = "track"

    def start(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return near(np.zeros(9), 9, 0.1, uniform)

    def observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        return np.concatenate([qpos[..., 1:], qvel], -1)

    def measure(self, qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray) -> np.ndarray:
        return planar(qpos, qvel, action, gear=GEAR, height=0.7)

    @cached_property
    def mjcf(self) -> str:
        return gymnasium_model("half_cheetah.xml")
