"""Gymnasium's four-legged ant, with a compass and styles instead of a reward."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pluralign_envs.gymnasium_model import gymnasium_model
from pluralign_envs.locomotion import BOUNCE, HEIGHT, POWER, UPRIGHT, near, power
from pluralign_envs.world import Factor

GEAR = np.full(8, 150.0)  # newton metres at full command
REST = np.array([0, 0, 0.55, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1], dtype=float)  # the model's own


@dataclass(frozen=True)
class Ant:
    """Eight motors, steps of 0.05 s. Where on the plane it is cannot be seen: nothing depends on it."""

    summary = "A four-legged ant that can go any way: people want different compass points, pace and comfort."
    factors = (
        Factor("east", "m/s", "speed of the torso along x, negative westwards"),
        Factor("north", "m/s", "speed of the torso along y, negative southwards"),
        POWER,
        HEIGHT,
        UPRIGHT,
        BOUNCE,
    )
    substeps = 5
    horizon = 200
    draws = 29
    observation_size = 27
    camera = "track"

    def start(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        qpos, qvel = near(REST, 14, 0.1, uniform)
        qpos[..., 3:7] /= np.linalg.norm(qpos[..., 3:7], axis=-1, keepdims=True)
        return qpos, qvel

    def observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        return np.concatenate([qpos[..., 2:], qvel], -1)

    def measure(self, qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray) -> np.ndarray:
        # The motors stand in the model in the order of legs 4, 1, 2, 3.
        joints = np.roll(qvel[..., 6:], 2, axis=-1)
        _, x, y, _ = np.moveaxis(qpos[..., 3:7], -1, 0)
        return np.stack(
            [
                qvel[..., 0],
                qvel[..., 1],
                power(action, GEAR, joints),
                qpos[..., 2],
                1 - 2 * (x**2 + y**2),
                qvel[..., 2] ** 2,
            ],
            -1,
        )

    @cached_property
    def mjcf(self) -> str:
        return gymnasium_model("ant.xml")
