"""A puck in a maze with goals at the ends of different arms: one cannot be at two."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pluralign_envs.above import CAMERA, disc, seen_from_above
from pluralign_envs.maze import Layout, Maze
from pluralign_envs.tabular import Twin, maze_twin
from pluralign_envs.world import Factor

# The way to blue is one cell longer. Going to one goal and then over to the other never pays: the best for
# both camps is a lottery, and rewarding the less happy camp at every step is worth nothing to anybody.
MAZE = Maze(
    rows=(
        "############",
        "#R.#####..B#",
        "##.#####.###",
        "##.......###",
        "#####.######",
        "#####.######",
        "###sssss####",
        "############",
    ),
    goals=(("R", "red"), ("B", "blue")),
    cell=0.5,
)


COLOURS = {
    "red": ".85 .2 .2 1",
    "blue": ".2 .35 .85 1",
    "green": ".2 .6 .3 1",
    "yellow": ".95 .85 .2 1",
    "purple": ".55 .25 .7 1",
    "orange": ".95 .55 .1 1",
    "teal": ".1 .6 .6 1",
    "pink": ".95 .5 .7 1",
    "brown": ".5 .3 .15 1",
    "black": ".1 .1 .1 1",
}


@dataclass(frozen=True)
class PointMaze:
    """A puck that is pushed through a maze with several goals; nobody can be at two.

    Two slide joints, forces in newtons. A puck of 20 g with 0.3 N s/m of drag settles within 0.1 s at
    3.3 m/s per newton: full force for one step of 0.15 s carries it one cell, which is the twin's step."""

    maze: Maze = MAZE
    summary: str = "A puck that is pushed through a maze with a red and a blue goal; nobody can be at both."
    horizon: int = 100  # steps
    discount: float = 0.97  # of the twin, per step

    scale = 0.75  # metres at which closeness has fallen to 1/e
    radius = 0.12
    margin = 0.07  # a bumper: in a physics step the puck moves up to 0.17 m, which must not sink it in a wall
    mass = 0.02
    drag = 0.3
    substeps = 3
    timestep = 0.05
    draws = 2
    observation_size = 4
    camera = CAMERA

    @cached_property
    def factors(self) -> tuple[Factor, ...]:
        closeness = f"exp(-(distance / {self.scale} m)^4)"
        goals = [
            Factor(name, "fraction", f"closeness to the {name} goal, {closeness}")
            for _, name in self.maze.goals
        ]
        hazard = Factor("hazard", "fraction", "1 while the puck's centre is on hazardous ground, else 0")
        effort = Factor("effort", "N^2", "squared force on the puck")
        return (*goals, hazard, effort) if len(self._hazards) else (*goals, effort)

    def start(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y, width, height = self.layout.start
        qpos = np.array([x, y]) + uniform * np.array([width, height])
        return qpos, np.zeros_like(qpos)

    def observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        return np.concatenate([qpos, qvel], -1)

    def closeness(self, position: np.ndarray) -> np.ndarray:
        """(*b, 2) metres -> (*b, goals)."""
        # By coordinates: numpy is slow at sums along an axis of two.
        x, y = (position[..., None, i] - self._goals[:, i] for i in (0, 1))
        return np.exp(-(((x**2 + y**2) / self.scale**2) ** 2))

    def measure(self, qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray) -> np.ndarray:
        effort = (action**2).sum(-1, keepdims=True)
        if not len(self._hazards):
            return np.concatenate([self.closeness(qpos), effort], -1)
        hazard = self.maze.hazardous(qpos)[..., None]
        return np.concatenate([self.closeness(qpos), hazard, effort], -1)

    @cached_property
    def _hazards(self) -> np.ndarray:
        return self.maze.hazards

    @cached_property
    def _goals(self) -> np.ndarray:
        return np.array([self.maze.goal(name) for _, name in self.maze.goals])

    @cached_property
    def layout(self) -> Layout:
        return self.maze.layout(margin=0.2)

    def twin(self) -> Twin:
        """One state per cell. The puck needs half a step to gather speed, which cutting corners gains back."""
        return maze_twin(
            self.maze,
            measure=lambda position, force: self.measure(position, np.zeros_like(position), force),
            factor_names=tuple(factor.name for factor in self.factors),
            discount=self.discount,
            horizon=self.horizon,
        )

    @cached_property
    def mjcf(self) -> str:
        # solref: MuJoCo's stiffest contact is a time constant of two steps, 110 /s^2 and 21 /s. Drag, integrated
        # implicitly, leaves mass / (mass + timestep * drag) = 0.57 of it, hence 110 / 0.57 and 21 / 0.57.
        half, (_, _, width, height) = self.maze.cell / 2, self.layout.bounds
        walls = [
            f'<geom name="wall{i}" type="box" pos="{x + w / 2:.6g} {y + h / 2:.6g} {half:.6g}" '
            f'size="{w / 2:.6g} {h / 2:.6g} {half:.6g}" rgba=".35 .38 .45 1"/>'
            for i, (x, y, w, h) in enumerate(self.layout.walls)
        ]
        goals = [
            disc(name, x, y, half * 0.8, COLOURS.get(name, ".6 .6 .6 1"))
            for name, (x, y) in self.layout.goals.items()
        ]
        hazards = [
            f'<geom name="hazard{i}" type="box" pos="{x:.6g} {y:.6g} .0005" size="{half:.6g} {half:.6g} .0005" '
            'rgba=".95 .75 .65 1" contype="0" conaffinity="0"/>'
            for i, (x, y) in enumerate(self._hazards)
        ]
        puck = f"""
    <body name="puck" pos="0 0 {self.radius}">
      <joint name="x" type="slide" axis="1 0 0" damping="{self.drag}"/>
      <joint name="y" type="slide" axis="0 1 0" damping="{self.drag}"/>
      <geom name="puck" type="sphere" size="{self.radius}" mass="{self.mass}" margin="{self.margin}"
            solref="-190 -36" rgba=".95 .7 .2 1"/>
    </body>"""
        return seen_from_above(
            "point_maze",
            timestep=self.timestep,
            width=width,
            height=height,
            bodies="\n".join([*hazards, *goals, *walls, puck]),
            motors={"x": ("x", 1.0), "y": ("y", 1.0)},
        )


LARGE = PointMaze(
    maze=Maze(
        rows=(
            "###################",
            "#R###B###G###Y###P#",
            "#.###.###.###.###.#",
            "#..##.###.###.##..#",
            "##.##..##.##..##.##",
            "##.###.##.##.###.##",
            "##.....sssss.....##",
            "##.###.##.##.###.##",
            "##.##..##.##..##.##",
            "#..##.###.###.##..#",
            "#.###.###.###.###.#",
            "#O###T###K###N###A#",
            "###################",
        ),
        goals=tuple(zip("RBGYPOTKNA", COLOURS, strict=True)),
        cell=0.5,
    ),
    summary="A puck that is pushed through a large maze with ten goals at the ends of its arms.",
    horizon=120,
)

# Straight to a goal leads over hazardous ground; the way round is four steps longer to green, six to the others.
SAFETY = PointMaze(
    maze=Maze(
        rows=(
            "#############",
            "#.....G.....#",
            "#....!!!....#",
            "#....!!!....#",
            "#.!!.....!!.#",
            "#.!!.....!!.#",
            "#R!!.sss.!!B#",
            "#.!!.....!!.#",
            "#############",
        ),
        goals=(("R", "red"), ("B", "blue"), ("G", "green")),
        cell=0.5,
    ),
    summary="A puck among hazards that nobody wants it to cross, on the way to three goals that people disagree on.",
    horizon=80,
    discount=0.96,
)
