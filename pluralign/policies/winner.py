"""The minimax winner: options against options, by the chance that one is preferred; preferences may go in circles.

`wins[i, j]` is the chance that option i is preferred to option j, wins + wins' = 1. A minimax winner is a lottery that
wins at least half the time against everything (von Neumann; Fishburn's maximal lottery). No scores are needed, and
where preferences go in circles no scores can do as well.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.game import best_mix


def minimax_winner(wins: Float[Tensor, "P P"]) -> Float[Tensor, " P"]:
    """(P,) exact chances, by a linear programme; where several lotteries win, one with few options in it.

    `voting.MaximalLottery` solves the same game. As a rule for votes it takes the most even winner, so that no option is
    preferred for its name, at the cost of a quadratic programme; here options are policies that somebody has to keep,
    the game is solved once a round, and a vertex will do. Where the winner is unique, both give it.
    """
    return best_mix(_checked(wins)).chance


def self_play(
    wins: Float[Tensor, "P P"],
    rounds: int,
    start: Float[Tensor, " P"] | None = None,
    *,
    optimistic: bool = False,
) -> Float[Tensor, " P"]:
    """(P,) average of a player who learns by multiplicative weights against its own current choice.

    As the game is symmetric, one player is enough. The average is within sqrt(2 ln P / rounds) of winning half
    the time against everything, from an even `start`. `optimistic` expects the next round to pay as the last one did,
    and nears the winner as fast as 1 / rounds.

    Source: Swamy et al., A minimaximalist approach to RLHF (SPO), ICML 2024; the step is sqrt(ln P / rounds), and
    for optimism (Rakhlin and Sridharan 2013) one half, whatever the rounds.
    """
    wins = _checked(wins)
    step = 0.5 if optimistic else (math.log(len(wins)) / rounds) ** 0.5
    log = torch.zeros(len(wins), dtype=torch.float64) if start is None else start.double().log()
    total, before = torch.zeros_like(log), torch.zeros_like(log)
    for _ in range(rounds):
        chance = torch.softmax(log + step * before, 0)
        total += chance
        gain = wins @ chance
        log, before = log + step * gain, gain if optimistic else before
    return total / rounds


def mirror_descent(
    wins: Float[Tensor, "P P"],
    rounds: int,
    temperature: float = 0.01,
    step: float | None = None,
    reference: Float[Tensor, " P"] | None = None,
) -> Float[Tensor, " P"]:
    """(P,) the last player of Nash mirror descent, who plays against itself drawn towards a reference.

    It tends to the equilibrium of the game in which both pay `temperature` for each nat that they leave the reference
    (even by default): p proportional to reference * exp(wins @ p / temperature). `step` is that of each round, or
    falls as 2 / (temperature * (t + 2)), capped at one, by default.

    Source: Munos et al., Nash learning from human feedback, ICML 2024, theorem 1.
    """
    wins = _checked(wins)
    even = torch.full((len(wins),), 1 / len(wins), dtype=torch.float64)
    home = (even if reference is None else reference.double()).log()
    log = home
    for t in range(rounds):
        pace = min(1.0, 2 / (temperature * (t + 2))) if step is None else step
        pull = min(1.0, pace * temperature)
        mixed = torch.log_softmax((1 - pull) * log + pull * home, 0)
        log = torch.log_softmax(mixed + pace * (wins @ mixed.exp()), 0)
    return log.exp()


def _checked(wins: Tensor) -> Tensor:
    wins = wins.double()
    if wins.dim() != 2 or wins.shape[0] != wins.shape[1]:
        raise ValueError(f"`wins` must have one row and one column for each option, got {tuple(wins.shape)}.")
    total = wins + wins.T
    off = ((total - 1).abs() > 1e-6).nonzero()
    if len(off):
        i, j = off[0].tolist()
        raise ValueError(
            f"`wins` must have wins[i, j] + wins[j, i] = 1, got {float(total[i, j]):.6g} for options {i} and {j}; "
            "count a tie as half a win for both."
        )
    return wins
