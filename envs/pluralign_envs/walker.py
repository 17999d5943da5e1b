"""Gymnasium's two-legged walker, with styles of walking instead of a reward."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pluralign_envs.gymnasium_model import gymnasium_model
from pluralign_envs.locomotion import PLANAR, near, planar

GEAR = np.full(6, 100.0)  # newton metres at full command


@dataclass(frozen=True)
class Walker:
    """Six motors, steps of 0.008 s. A fall ends nothing: it shows in `height` and `upright`, and it can get up."""

    summary = "A two-legged walker that may stride, stand, hop or crawl, at its ease or at full power."
    factors = PLANAR
    substeps = 4
    horizon = 500
    draws = 18
    observation_size = 17
    camera = "track"

    def start(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rest = np.zeros(9)
        rest[1] = 1.25
        return near(rest, 9, 0.005, uniform)

    def observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        return np.concatenate([qpos[..., 1:], np.clip(qvel, -10, 10)], -1)

    def measure(self, qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray) -> np.ndarray:
        return planar(qpos, qvel, action, gear=GEAR, height=0.0)

    @cached_property
    def mjcf(self) -> str:
        return gymnasium_model("walker2d_v5.xml")
