"""A hand that pushes a red and a blue puck on a table with two trays: what belongs where is a matter of taste."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pluralign_envs.above import CAMERA, disc, fence, seen_from_above
from pluralign_envs.world import Factor

TRAYS = {"left": (-0.35, 0.2), "right": (0.35, 0.2)}  # metres
PUCKS = {"red": ".85 .2 .2 1", "blue": ".2 .35 .85 1"}
RADIUS = 0.05


@dataclass(frozen=True)
class Pusher:
    """Forces in newtons. A hand of 50 g with 1 N s/m of drag moves at 1 m/s per newton, and at a third of it behind
    a puck, which has 2 N s/m: pucks stop where they are left."""

    summary = "A hand pushes a red and a blue puck into two trays: which belongs where is a matter of taste."
    scale = 0.25  # metres at which closeness has fallen to 1/e
    factors = (
        *(
            Factor(
                f"{puck}_{tray}",
                "fraction",
                f"closeness of the {puck} puck to the {tray} tray, exp(-(distance / 0.25 m)^2)",
            )
            for puck in PUCKS
            for tray in TRAYS
        ),
        Factor("effort", "N^2", "squared force on the hand"),
    )
    substeps = 5
    horizon = 150
    draws = 6
    observation_size = 12
    camera = CAMERA

    def start(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The hand near the southern edge, each puck within 5 cm of its place, which is drawn from two."""
        # One drawn number in each half of [0, 1) says who is left, and how far off that place it is.
        left = np.where(uniform[..., 2:3] < 0.5, -1.0, 1.0)
        shift = (2 * uniform - 1)[..., 1:]
        hand = np.stack([0.3 * (2 * uniform[..., 0] - 1), -0.3 + 0.03 * shift[..., 0]], -1)
        side = np.mod(2 * uniform[..., 2:3], 1) * 2 - 1
        red = np.concatenate([0.13 * left + 0.05 * side, 0.05 * shift[..., 2:3]], -1)
        blue = np.concatenate([-0.13 * left + 0.05 * shift[..., 3:4], 0.05 * shift[..., 4:5]], -1)
        qpos = np.concatenate([hand, red, blue], -1)
        return qpos, np.zeros_like(qpos)

    def observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        return np.concatenate([qpos, qvel], -1)

    def measure(self, qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray) -> np.ndarray:
        puck = np.stack([qpos[..., 2:4], qpos[..., 4:6]], -2)
        off = puck[..., :, None, :] - np.array(list(TRAYS.values()))
        closeness = np.exp(-(off**2).sum(-1) / self.scale**2)
        effort = (action**2).sum(-1, keepdims=True)
        return np.concatenate([closeness.reshape(*closeness.shape[:-2], 4), effort], -1)

    @cached_property
    def mjcf(self) -> str:
        def ball(name: str, mass: float, drag: float, colour: str) -> str:
            joints = "".join(
                f'<joint name="{name}_{axis}" type="slide" axis="{way}" damping="{drag}"/>'
                for axis, way in (("x", "1 0 0"), ("y", "0 1 0"))
            )
            return (
                f'<body name="{name}" pos="0 0 {RADIUS}">{joints}<geom name="{name}" type="sphere" '
                f'size="{RADIUS}" mass="{mass}" rgba="{colour}"/></body>'
            )

        trays = [disc(name, x, y, 0.12, ".75 .8 .75 1") for name, (x, y) in TRAYS.items()]
        pucks = [ball(name, 0.05, 2.0, colour) for name, colour in PUCKS.items()]
        return seen_from_above(
            "pusher",
            timestep=0.01,
            width=1.2,
            height=0.9,
            bodies="\n".join([fence(1.2, 0.9, 0.06), *trays, ball("hand", 0.05, 1.0, ".95 .7 .2 1"), *pucks]),
            motors={"x": ("hand_x", 1.0), "y": ("hand_y", 1.0)},
        )
