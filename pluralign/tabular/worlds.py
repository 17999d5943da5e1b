"""Finite worlds to try things on: a delivery grid, and worlds drawn at random."""

import numpy as np
import torch

from pluralign.streams import Seed, Streams
from pluralign.tabular.table import Table

# . blank, # house, G goal, S sheep, c coin, r roadblock; lower row: m mud. Drawn for this package.
BOARD = (
    "c...r....#",
    ".#....r...",
    "....c.....",
    "..r....#.c",
    ".....r....",
    "S..c....#.",
    "......c...",
    ".#.r......",
    "....r...rS",
    "..c......G",
)
MUD = (
    "..........",
    "..mm......",
    "..mm....m.",
    "........m.",
    "...m....m.",
    "...mm.....",
    "....m.....",
    "......mm..",
    ".mm....m..",
    ".m........",
)
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
FEATURES = ("gas", "goal", "sheep", "coin", "roadblock", "mud")
WEIGHTS = (-1.0, 50.0, -50.0, 1.0, -1.0, -2.0)


def delivery(*, board: tuple[str, ...] = BOARD, mud: tuple[str, ...] = MUD, discount: float = 0.999) -> Table:
    """The delivery task: a van on a grid with a goal, sheep, houses, coins, roadblocks and mud.

    Moves are up, down, left, right; off the grid or into a house the van stays where it is, and pays for the move. A move
    pays gas, or mud where it ends on mud (or is blocked there), and on top a coin or a roadblock of the cell it comes
    to. Goal and sheep end the episode and replace what the move would cost. States are the other cells without a house, row by
    row, all equally likely to begin in. The usual taste is `WEIGHTS`.

    Source: Knox et al. (TMLR 2022), the rules; the board is our own.
    """
    if len({len(row) for row in (*board, *mud)}) != 1 or len(board) != len(mud):
        raise ValueError("`board` and `mud` must be rows of one length, as many of one as of the other.")
    cells = np.array([list(row) for row in board])
    muddy = np.array([list(row) for row in mud]) == "m"
    free = np.argwhere(~np.isin(cells, ["#", "G", "S"]))
    state = -np.ones(cells.shape, dtype=int)
    state[tuple(free.T)] = np.arange(len(free))
    transition = torch.zeros(len(free), len(MOVES), len(free), dtype=torch.float64)
    factors = torch.zeros(len(free), len(MOVES), len(FEATURES), dtype=torch.float64)
    for s, here in enumerate(free):
        for a, move in enumerate(MOVES):
            there = here + move
            blocked = bool((there < 0).any() or (there >= cells.shape).any()) or cells[tuple(there)] == "#"
            there = here if blocked else there
            kind = cells[tuple(there)]
            if kind in "GS":
                factors[s, a, FEATURES.index("goal" if kind == "G" else "sheep")] = 1.0
                continue
            transition[s, a, state[tuple(there)]] = 1.0
            factors[s, a, FEATURES.index("mud" if muddy[tuple(there)] else "gas")] = 1.0
            if not blocked and kind in "cr":
                factors[s, a, FEATURES.index("coin" if kind == "c" else "roadblock")] = 1.0
    start = torch.full((len(free),), 1 / len(free), dtype=torch.float64)
    return Table(transition, start, factors, discount, FEATURES, horizon=200)


def random_world(
    states: int = 32,
    actions: int = 4,
    *,
    factors: int = 1,
    discount: float = 0.95,
    sparse: bool = True,
    seed: Seed = 0,
) -> Table:
    """A world whose chances are drawn at random; factors are standard normal, the start is uniform.

    `sparse`: only standard normals above one become chances (by softmax), about a sixth of the states, as in
    the experiments of Skalse et al. (2024); otherwise all do.
    """
    streams = Streams.of(seed)
    normal = lambda name, *shape: torch.randn(*shape, generator=streams(name), dtype=torch.float64)
    drawn = normal("transition", states, actions, states)
    if sparse:
        drawn = torch.where(drawn > 1, drawn, torch.full_like(drawn, -20.0))
    start = torch.full((states,), 1 / states, dtype=torch.float64)
    return Table(torch.softmax(drawn, -1), start, normal("factors", states, actions, factors), discount)
