"""Graded answers: a cumulative logit with cut points that are the same to both sides."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice.outcomes import difference, draw, expected_share, log_likelihood


@dataclass(frozen=True)
class Ordinal:
    """The difference of utilities plus logistic noise falls between two cut points: that is the grade.

    Cut points (.5, 1.5) make the five grades "second much better, second better, equal, first better, first
    much better", with cuts at -1.5, -.5, .5, 1.5 utils and labels (0, 1), (.25, .75), ... (1, 0). Start with
    0 for an even number of grades, without a tie. A share between two grades counts for both in proportion.

    Attributes:
        cuts: 0 or more, ascending, utils.
        temperature: utils; scales the utilities, not the cuts.

    Source: McCullagh (1980); Agresti (1992) for pairs.
    """

    cuts: tuple[float, ...] = (0.5, 1.5)
    temperature: float = 1.0

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.cuts[:-1], self.cuts[1:]))
        if not self.cuts or not rising or not self.cuts[0] >= 0 or not self.cuts[-1] < math.inf:
            raise ValueError(f"`cuts` must be ascending numbers from 0 up, got {self.cuts}.")
        if not self.temperature > 0:
            raise ValueError(f"`temperature` must be positive utils, got {self.temperature}.")

    def log_outcomes(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b O"]:
        """Log-probability of each grade, from "clearly the first" to "clearly the second"."""
        return log_grades(difference(self, utility) / self.temperature, self.cuts)

    def log_prob(self, utility: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
        """Log-likelihood in nats of the share `label`."""
        return log_likelihood(self.log_outcomes(utility), label)

    def share(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]:
        """Expected share of the choice per place; a tie gives half to each."""
        return expected_share(self.log_outcomes(utility), utility.shape[-1])

    def sample(self, utility: Float[Tensor, "M K"], *, generator: torch.Generator) -> Float[Tensor, "M K"]:
        """One answer per row, as a share per place."""
        return draw(self.log_outcomes(utility), utility.shape[-1], generator=generator)


def log_grades(d: Float[Tensor, "*b"], cuts: tuple[float, ...]) -> Float[Tensor, "*b O"]:
    """Log-probability of each grade for cut points `cuts` and their mirror images, the first option's end first."""
    ends = torch.tensor(sorted({*cuts, *(-c for c in cuts)}, reverse=True), dtype=d.dtype, device=d.device)
    above = d[..., None] - ends  # noise must exceed -above
    # s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)): no difference of numbers near 1, no log of 0.
    middle = (
        torch.nn.functional.logsigmoid(above[..., 1:])
        + torch.nn.functional.logsigmoid(-above[..., :-1])
        + torch.log(-torch.expm1(ends[1:] - ends[:-1]))
    )
    first = torch.nn.functional.logsigmoid(above[..., :1])
    last = torch.nn.functional.logsigmoid(-above[..., -1:])
    return torch.cat([first, middle, last], -1)
