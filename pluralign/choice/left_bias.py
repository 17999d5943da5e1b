"""A rater who prefers what stands first."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice.outcomes import draw, expected_share, log_likelihood
from pluralign.choice.protocol import OutcomeRule


@dataclass(frozen=True)
class LeftBias:
    """The first place is worth `bias` utils more than its option; for pairs and Luce s(d + bias).

    Only an order that was randomised tells this from taste.

    Attributes:
        rule: judges the utilities after that.
        bias: utils; negative for a bias against the first place.
    """

    rule: OutcomeRule
    bias: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.bias):
            raise ValueError(f"`bias` must be a finite number of utils, got {self.bias}.")

    def log_outcomes(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b O"]:
        """Log-probability of each outcome of `rule`."""
        first = torch.zeros(utility.shape[-1], dtype=utility.dtype, device=utility.device)
        first[0] = self.bias
        return self.rule.log_outcomes(utility + first)

    def log_prob(self, utility: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
        """Log-likelihood in nats of the share `label`."""
        return log_likelihood(self.log_outcomes(utility), label)

    def share(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]:
        """Expected share of the choice per place; a tie gives half to each."""
        return expected_share(self.log_outcomes(utility), utility.shape[-1])

    def sample(self, utility: Float[Tensor, "M K"], *, generator: torch.Generator) -> Float[Tensor, "M K"]:
        """One answer per row, as a share per place."""
        return draw(self.log_outcomes(utility), utility.shape[-1], generator=generator)
