"""A robot that crosses a hall in which people pace: haste or comfort."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pluralign_envs.above import CAMERA, disc, fence, seen_from_above
from pluralign_envs.world import Factor

GOAL = np.array([3.5, 0.0])  # metres
WALK = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # x of the line that each person paces, metres
REACH = np.array([1.8, 1.2, 1.6, 1.4, 1.8])  # how far from the middle of the hall they turn, metres
PERIOD = np.array([8.0, 6.0, 10.0, 7.0, 9.0])  # seconds to and fro
RATE = 2 * np.pi / PERIOD


@dataclass(frozen=True)
class Crowd:
    """Five people pace north and south, each with an own reach and period; where they are at first is drawn, the
    rest is fixed: they neither see the robot nor feel it. A robot of 0.1 kg with 2/3 N s/m of drag settles within
    0.3 s at 1.5 m/s per newton."""

    summary = (
        "A robot crosses a hall in which people pace: some want it quick, some want it to keep its distance."
    )
    factors = (
        Factor("progress", "m/s", "speed towards the goal; within 0.2 m of it, less in proportion"),
        Factor("arrival", "fraction", "closeness to the goal, exp(-(distance / 0.75 m)^4)"),
        Factor(
            "comfort",
            "fraction",
            "1 with nobody near, 0 at a person's place: product of 1 - exp(-(d / 0.8 m)^2)",
        ),
        Factor("distance", "m", "from the robot's centre to the nearest person's"),
        Factor("effort", "N^2", "squared force on the robot"),
    )
    substeps = 2
    horizon = 120
    draws = 1 + len(WALK)
    observation_size = 4 + 3 * len(WALK)
    camera = CAMERA

    def start(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The robot at the western wall; people anywhere on their way to and fro."""
        y, phase = 4 * uniform[..., :1] - 2, 2 * np.pi * uniform[..., 1:]
        qpos = np.concatenate([np.full_like(y, -3.5), y, REACH * np.cos(phase)], -1)
        still = np.zeros_like(qpos[..., :2])
        return qpos, np.concatenate([still, -REACH * RATE * np.sin(phase)], -1)

    def observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        off = self._off(qpos)
        return np.concatenate([qpos[..., :2], qvel[..., :2], off[..., 0], off[..., 1], qvel[..., 2:]], -1)

    def _off(self, qpos: np.ndarray) -> np.ndarray:
        """(*b, people, 2) from the robot to each person, metres."""
        return np.stack([WALK - qpos[..., :1], qpos[..., 2:] - qpos[..., 1:2]], -1)

    def measure(self, qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray) -> np.ndarray:
        ahead, squared = GOAL - qpos[..., :2], (self._off(qpos) ** 2).sum(-1)
        left = np.sqrt((ahead**2).sum(-1))
        return np.stack(
            [
                (ahead * qvel[..., :2]).sum(-1) / np.maximum(left, 0.2),
                np.exp(-((left / 0.75) ** 4)),
                (1 - np.exp(-squared / 0.8**2)).prod(-1),
                np.sqrt(squared.min(-1)),
                (action**2).sum(-1),
            ],
            -1,
        )

    @cached_property
    def mjcf(self) -> str:
        # A spring and no drag make a person pace for ever; the integrator keeps its energy.
        people = [
            f'<body name="person{i}" pos="{x:.6g} 0 .25"><joint name="person{i}" type="slide" axis="0 1 0" '
            f'stiffness="{rate**2:.9g}"/><geom name="person{i}" type="sphere" size=".25" mass="1" contype="0" '
            'conaffinity="0" rgba=".55 .25 .7 1"/></body>'
            for i, (x, rate) in enumerate(zip(WALK, RATE, strict=True))
        ]
        robot = """
    <body name="robot" pos="0 0 .2">
      <joint name="x" type="slide" axis="1 0 0" damping=".66667"/>
      <joint name="y" type="slide" axis="0 1 0" damping=".66667"/>
      <geom name="robot" type="sphere" size=".2" mass=".1" rgba=".95 .7 .2 1"/>
    </body>"""
        goal = disc("goal", float(GOAL[0]), float(GOAL[1]), 0.3, ".2 .6 .3 1")
        return seen_from_above(
            "crowd",
            timestep=0.05,
            width=9.0,
            height=6.0,
            bodies="\n".join([fence(9.0, 6.0, 0.4), goal, robot, *people]),
            motors={"x": ("x", 1.0), "y": ("y", 1.0)},
        )
