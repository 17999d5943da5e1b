"""The worst off first, then the second worst off, and so on: no voice is left low once others cannot be raised."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.fair import check_settings, prepared
from pluralign.policies.game import Floors, Mix, planes
from pluralign.policies.learner import Learner, Progress
from pluralign.policies.lottery import Lottery
from pluralign.population.voices import Voices
from pluralign.rewards.welfare import WorstOff
from pluralign.streams import Seed, Streams

SURE = 1e-6  # a multiplier above this is not rounding


def leximin_mixes(matrix: Float[Tensor, "P G"], share: Float[Tensor, " G"] | None = None) -> list[Mix]:
    """The stages of leximin over P policies: the last is the answer, each explains one level.

    In each stage the worst of the voices still free is raised as far as the levels promised before allow. Voices
    with a positive multiplier cannot be higher in any solution of the stage, so they are promised this level.

    Args:
        matrix: returns of P policies for G voices, on one scale. share: voices with share zero are nobody.

    Source: the chain of linear programmes of Ogryczak, Pioro and Tomaszewski (2005).
    """
    matrix = matrix.double()
    voices = matrix.shape[1]
    free = torch.ones(voices, dtype=torch.bool) if share is None else share > 0
    level = torch.full((voices,), -torch.inf, dtype=torch.float64)
    slack = 1e-9 * (1 + float(matrix.abs().max()))
    mixes = []
    while bool(free.any()):
        held = level.isfinite().nonzero()[:, 0]
        floors = Floors(held, level[held] - slack) if len(held) else None
        chance, weight = planes(matrix, torch.eye(voices).double()[free], floors)
        returns = chance @ matrix
        value = float(returns[free].min())
        mixes.append(Mix(chance, returns, value, weight))
        bound = free & (weight > SURE * float(weight[free].max()))
        level[bound], free = value, free & ~bound
    return mixes


@dataclass(frozen=True)
class Leximin:
    """The lottery whose returns, sorted from worst to best, no other lottery beats at the first place they differ.

    `MaxMin` stops at the worst-off voice and leaves to chance what the others get; this goes on. With exact best
    responses it ends at the exact optimum; where returns are sampled, levels nearer than their error are one level.

    Attributes:
        rounds: best responses at most, besides the voices' own best policies. scale, tolerance: as in `MaxMin`.
    """

    rounds: int = 100
    scale: Literal["relative", "none"] = "relative"
    tolerance: float | None = None

    def __post_init__(self) -> None:
        check_settings(self.rounds, self.scale)

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery:
        """A lottery over policies; `diagnostics` as of `MaxMin`, `weight` that of the last level."""
        field = prepared(learner, voices, self.scale, Streams.of(seed).below("leximin"), progress)
        field.close(lambda matrix: leximin_mixes(matrix, voices.weight), self.rounds, self.tolerance)
        return field.lottery(WorstOff(), lambda matrix: leximin_mixes(matrix, voices.weight)[-1])
