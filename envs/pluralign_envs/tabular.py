"""Tabular twins: the same decisions as in a simulated world, on few states, with exact transitions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pluralign_envs.maze import Maze

# Stay; full force along one axis; half the force, for a quarter of the effort and half the speed. Uniformly
# random, they spread as uniformly random forces do: the variance of a step is 1/3 cell^2 along each axis.
DIRECTIONS = np.array([[0, 1], [0, -1], [1, 0], [-1, 0]])  # x and y
FORCES = np.concatenate([[[0.0, 0.0]], DIRECTIONS, DIRECTIONS / 2])


@dataclass(frozen=True)
class Twin:
    """S states, A actions, F factors. `factors[s, a]` is what a step from s with action a is expected to
    publish, the state being measured after the step, as the simulator does."""

    transition: np.ndarray  # (S, A, S), rows sum to one
    start: np.ndarray  # (S,), sums to one
    factors: np.ndarray  # (S, A, F)
    factor_names: tuple[str, ...]
    discount: float  # per step; by the horizon, little is left of it
    horizon: int  # steps after which the simulator truncates
    position: np.ndarray  # (S, 2) x and y in metres, to draw a state
    action_names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, rows in (("transition", self.transition), ("start", self.start)):
            off = np.argwhere(np.abs(rows.sum(-1) - 1) > 1e-9)
            if len(off) or (rows < 0).any():
                raise ValueError(
                    f"`{name}` rows must be chances that sum to 1; the first row that is not: {off[:1]}."
                )


def maze_twin(
    maze: Maze,
    *,
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray],
    factor_names: tuple[str, ...],
    discount: float,
    horizon: int,
) -> Twin:
    """One state per free cell; `measure` takes positions and forces (*b, 2) to factors (*b, F)."""
    cells = maze.cells
    position = maze.centre(cells)
    index = {(row, column): state for state, (row, column) in enumerate(cells.tolist())}
    transition = np.zeros((len(cells), len(FORCES), len(cells)))
    for state, (row, column) in enumerate(cells.tolist()):
        for action, force in enumerate(FORCES):
            speed = np.abs(force).max()  # cells per step, or the chance to move on
            x, y = np.sign(force).astype(int).tolist()
            there = index.get((row - y, column + x), state)  # rows count downwards; walls hold
            transition[state, action, there] += speed
            transition[state, action, state] += 1 - speed
    count = len(cells)
    after = np.broadcast_to(position, (count, len(FORCES), count, 2))
    force = np.broadcast_to(FORCES[None, :, None], after.shape)
    start = maze.start_cells / maze.start_cells.sum()
    way = ("up", "down", "right", "left")
    return Twin(
        transition=transition,
        start=start,
        factors=np.einsum("saz,sazf->saf", transition, measure(after, force)),
        factor_names=factor_names,
        discount=discount,
        horizon=horizon,
        position=position,
        action_names=("stay", *way, *(f"half {word}" for word in way)),
    )
