"""An arm of two links among four targets: people want different ones, and different ways to reach them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pluralign_envs.above import CAMERA, disc, seen_from_above
from pluralign_envs.locomotion import power
from pluralign_envs.world import Factor

LINKS = (0.1, 0.11)  # metres, as in gymnasium's Reacher
TORQUE = 6.0  # newton metres at full command
TARGETS = {  # x and y in metres; the elbow may bend either way at each
    "red": (0.15, 0.0),
    "blue": (0.0, 0.15),
    "green": (-0.15, 0.0),
    "yellow": (0.0, -0.15),
}
COLOURS = (".85 .2 .2 1", ".2 .35 .85 1", ".2 .6 .3 1", ".95 .85 .2 1")


@dataclass(frozen=True)
class Reacher:
    """Two motors; with 1 N m s of damping and 0.1 kg m^2 of armature a full torque settles at 6 rad/s in 0.3 s."""

    summary = "An arm of two links among four targets; people want different ones, elbow left or right, fast or gently."
    scale = 0.08  # metres at which closeness has fallen to 1/e
    factors = (
        *(
            Factor(name, "fraction", f"closeness to the {name} target, exp(-(distance / 0.08 m)^2)")
            for name in TARGETS
        ),
        Factor("elbow", "fraction", "sine of the elbow: 1 bent left, -1 bent right, 0 straight"),
        Factor("haste", "m/s", "speed of the fingertip"),
        Factor("power", "W", "mechanical power of both motors, braking included, at the end of the step"),
    )
    substeps = 2
    horizon = 60
    draws = 2
    observation_size = 8
    camera = CAMERA

    def start(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Any direction of the shoulder; the elbow within 2 radians of straight."""
        qpos = (2 * uniform - 1) * np.array([np.pi, 2.0])
        return qpos, np.zeros_like(qpos)

    def fingertip(self, qpos: np.ndarray) -> np.ndarray:
        """(*b, 2) x and y in metres."""
        first, second = qpos[..., 0], qpos[..., 0] + qpos[..., 1]
        x = LINKS[0] * np.cos(first) + LINKS[1] * np.cos(second)
        return np.stack([x, LINKS[0] * np.sin(first) + LINKS[1] * np.sin(second)], -1)

    def observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        return np.concatenate([np.cos(qpos), np.sin(qpos), qvel, self.fingertip(qpos)], -1)

    def measure(self, qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray) -> np.ndarray:
        off = self.fingertip(qpos)[..., None, :] - np.array(list(TARGETS.values()))
        closeness = np.exp(-(off**2).sum(-1) / self.scale**2)
        # Of two links that turn at different rates, by the law of cosines.
        inner, outer = LINKS[0] * qvel[..., 0], LINKS[1] * (qvel[..., 0] + qvel[..., 1])
        squared = inner**2 + outer**2 + 2 * inner * outer * np.cos(qpos[..., 1])
        style = [
            np.sin(qpos[..., 1]),
            np.sqrt(np.maximum(squared, 0)),
            power(action, np.full(2, TORQUE), qvel),
        ]
        return np.concatenate([closeness, np.stack(style, -1)], -1)

    @cached_property
    def mjcf(self) -> str:
        targets = [
            disc(name, x, y, 0.02, colour)
            for (name, (x, y)), colour in zip(TARGETS.items(), COLOURS, strict=True)
        ]
        joint = 'type="hinge" axis="0 0 1" damping="1" armature=".1"'
        link = 'type="capsule" size=".01" contype="0" conaffinity="0" rgba=".2 .4 .6 1"'
        arm = f"""
    <body name="upper" pos="0 0 .02">
      <joint name="shoulder" {joint}/>
      <geom name="upper" {link} fromto="0 0 0 {LINKS[0]} 0 0"/>
      <body name="lower" pos="{LINKS[0]} 0 0">
        <joint name="elbow" {joint} limited="true" range="-160 160"/>
        <geom name="lower" {link} fromto="0 0 0 {LINKS[1]} 0 0"/>
        <body name="fingertip" pos="{LINKS[1]} 0 0">
          <geom name="fingertip" type="sphere" size=".013" contype="0" conaffinity="0" rgba=".95 .7 .2 1"/>
        </body>
      </body>
    </body>"""
        return seen_from_above(
            "reacher",
            timestep=0.025,
            width=0.6,
            height=0.5,
            bodies="\n".join([*targets, arm]),
            motors={"shoulder": ("shoulder", TORQUE), "elbow": ("elbow", TORQUE)},
        )
