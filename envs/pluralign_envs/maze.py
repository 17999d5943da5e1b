"""A maze drawn in characters: its walls, goals, start region and cells, in metres."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

WALL, FREE, START, HAZARD = "#", ".", "s", "!"


@dataclass(frozen=True)
class Layout:
    """A maze seen from above, ready for matplotlib: `ax.add_patch(Rectangle((x, y), width, height))`.

    Rectangles are rows (x, y, width, height) in metres, x and y being their lower left corner.
    """

    walls: np.ndarray  # (W, 4)
    goals: dict[str, tuple[float, float]]  # centre of each goal
    start: np.ndarray  # (4,) the centre of the puck starts uniformly in this rectangle
    bounds: np.ndarray  # (4,) the whole maze
    cell: float  # width of a corridor


@dataclass(frozen=True)
class Maze:
    """Rows of characters, top row first: `#` wall, `.` free, `s` free and part of the start region,
    `!` free and hazardous, any other letter a goal, named in `goals`. The origin is the middle of the map."""

    rows: tuple[str, ...]
    goals: tuple[tuple[str, str], ...]  # (letter, name)
    cell: float

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows}
        if len(widths) != 1:
            raise ValueError(f"`rows` of a maze must have equal lengths, got lengths {sorted(widths)}.")
        letters = [letter for letter, _ in self.goals]
        text = "".join(self.rows)
        unknown = sorted(set(text) - {WALL, FREE, START, HAZARD, *letters})
        if unknown:
            raise ValueError(f"`rows` use {unknown}; a maze knows {[WALL, FREE, START, HAZARD, *letters]}.")
        for letter in letters:
            if text.count(letter) != 1:
                raise ValueError(
                    f"Goal {letter!r} must be drawn once, it is drawn {text.count(letter)} times."
                )
        start = np.argwhere(self._grid == START)
        if len(start) == 0 or len(start) != np.prod(np.ptp(start, axis=0) + 1):
            raise ValueError(f"The start cells {START!r} must fill one rectangle, got {start.tolist()}.")

    @property
    def _grid(self) -> np.ndarray:
        return np.array([list(row) for row in self.rows])

    def centre(self, row_column: np.ndarray) -> np.ndarray:
        """(*b, 2) row and column -> (*b, 2) x and y in metres."""
        height, width = self._grid.shape
        row, column = np.moveaxis(np.asarray(row_column, dtype=float), -1, 0)
        return self.cell * np.stack([column - (width - 1) / 2, (height - 1) / 2 - row], -1)

    @property
    def cells(self) -> np.ndarray:
        """(S, 2) row and column of every free cell, in reading order."""
        return np.argwhere(self._grid != WALL)

    @property
    def start_cells(self) -> np.ndarray:
        """(S,) whether a free cell belongs to the start region."""
        return np.array([self.rows[row][column] == START for row, column in self.cells])

    @property
    def hazards(self) -> np.ndarray:
        """(H, 2) x and y of the centre of every hazardous cell, in metres."""
        return self.centre(np.argwhere(self._grid == HAZARD))

    def hazardous(self, position: np.ndarray) -> np.ndarray:
        """(*b, 2) x and y in metres -> (*b,) whether they lie in a hazardous cell; by looking it up, not by distances."""
        place = (position * self._cells + self._middle).astype(int)  # column and row
        return self._hazard.take(place[..., 1] * len(self.rows[0]) + place[..., 0], mode="clip")

    @cached_property
    def _hazard(self) -> np.ndarray:
        return (self._grid == HAZARD).ravel()

    @cached_property
    def _cells(self) -> np.ndarray:
        return np.array([1, -1]) / self.cell

    @cached_property
    def _middle(self) -> np.ndarray:
        return np.array([len(self.rows[0]), len(self.rows)]) / 2

    def goal(self, name: str) -> np.ndarray:
        """(2,) x and y of a goal's centre in metres."""
        letter = {known: letter for letter, known in self.goals}[name]
        return self.centre(np.argwhere(self._grid == letter)[0])

    def layout(self, margin: float) -> Layout:
        """`margin`: how far from its outer cells' edges the start rectangle stays, in metres."""
        start = self.centre(self.cells[self.start_cells])
        low = start.min(0) - self.cell / 2 + margin
        size = start.max(0) + self.cell / 2 - margin - low
        height, width = self._grid.shape
        whole = self.cell * np.array([-width / 2, -height / 2, width, height])
        goals = {name: (float(self.goal(name)[0]), float(self.goal(name)[1])) for _, name in self.goals}
        return Layout(self._walls(), goals, np.concatenate([low, size]), whole, self.cell)

    def _walls(self) -> np.ndarray:
        """Wall cells merged into few rectangles: fewer boxes to collide with, and no inner edges."""
        left, found = self._grid == WALL, []
        for row, column in np.argwhere(left):
            if not left[row, column]:
                continue
            right = column
            while right < left.shape[1] and left[row, right]:
                right += 1
            bottom = row
            while bottom < left.shape[0] and left[bottom, column:right].all():
                bottom += 1
            left[row:bottom, column:right] = False
            corner = self.centre(np.array([bottom - 1, column])) - self.cell / 2
            found.append([*corner, self.cell * (right - column), self.cell * (bottom - row)])
        return np.array(found)
