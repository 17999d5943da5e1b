"""What walkers have in common: how they start, and what is measured of those that move in a plane."""

import numpy as np

from pluralign_envs.world import Factor

POWER = Factor("power", "W", "mechanical power of all motors, braking included, at the end of the step")
HEIGHT = Factor("height", "m", "height of the torso's centre")
UPRIGHT = Factor("upright", "fraction", "cosine of the torso's tilt: 1 upright, -1 upside down")
BOUNCE = Factor("bounce", "m^2/s^2", "squared vertical speed of the torso")
SPEED = Factor("speed", "m/s", "speed of the torso forwards, negative backwards")
PLANAR = (SPEED, POWER, HEIGHT, UPRIGHT, BOUNCE)


def near(rest: np.ndarray, speeds: int, noise: float, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A first state within `noise` of the pose `rest` (nq,) at rest, in every coordinate and speed.

    `uniform` is (*b, nq + speeds) in [0, 1).
    """
    off = noise * (2 * uniform - 1)
    return rest + off[..., : len(rest)], off[..., len(rest) : len(rest) + speeds]


def power(action: np.ndarray, gear: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """(*b, A) actions, gears in newton metres and joint speeds in rad/s -> (*b) watts."""
    return np.abs(action * gear * speed).sum(-1)


def planar(
    qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray, *, gear: np.ndarray, height: float
) -> np.ndarray:
    """Factors `PLANAR` (*b, 5) of a body on rails x, z and a hinge; `height` of the torso where z is 0, in metres."""
    return np.stack(
        [
            qvel[..., 0],
            power(action, gear, qvel[..., 3:]),
            qpos[..., 1] + height,
            np.cos(qpos[..., 2]),
            qvel[..., 1] ** 2,
        ],
        -1,
    )
