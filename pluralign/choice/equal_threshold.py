"""A rater who calls small differences equal."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pluralign.choice.outcomes import difference, draw, expected_share, log_likelihood
from pluralign.choice.protocol import OutcomeRule


@dataclass(frozen=True)
class EqualThreshold:
    """A tie for certain when the difference is below the threshold, else `rule`.

    The threshold is sharp: a tie beyond it, or a choice below it, has likelihood zero (unless `rule` itself
    has ties), and the likelihood jumps there. To fit a threshold take `RaoKupper`, its smooth sibling.

    Attributes:
        rule: what happens otherwise.
        threshold: utils; 0 never ties.

    Source: teacher "equal" of Lee et al., B-Pref, NeurIPS 2021.
    """

    rule: OutcomeRule
    threshold: float

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < math.inf:
            raise ValueError(f"`threshold` must be 0 or more utils, got {self.threshold}.")

    def log_outcomes(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b O"]:
        """Log-probability of each outcome of `rule`, with the tie in the middle."""
        equal = difference(self, utility).abs() < self.threshold
        return tied(self.rule.log_outcomes(utility), equal)

    def log_prob(self, utility: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
        """Log-likelihood in nats of the share `label`."""
        return log_likelihood(self.log_outcomes(utility), label)

    def share(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]:
        """Expected share of the choice per place; a tie gives half to each."""
        return expected_share(self.log_outcomes(utility), utility.shape[-1])

    def sample(self, utility: Float[Tensor, "M K"], *, generator: torch.Generator) -> Float[Tensor, "M K"]:
        """One answer per row, as a share per place."""
        return draw(self.log_outcomes(utility), utility.shape[-1], generator=generator)


def tied(log_chance: Float[Tensor, "*b O"], equal: Bool[Tensor, "*b"]) -> Float[Tensor, "*b P"]:
    """The outcomes of pairs with a tie in the middle, certain where `equal`.

    Raises:
        ValueError: an even ladder of grades, which has no place for a tie.
    """
    count = log_chance.shape[-1]
    if count == 2:
        never = torch.full_like(log_chance[..., :1], -math.inf)
        log_chance = torch.cat([log_chance[..., :1], never, log_chance[..., 1:]], -1)
    elif count % 2 == 0:
        raise ValueError(
            f"a ladder of {count} grades has no middle for a tie; give `Ordinal` cuts without 0."
        )
    certain = torch.full((log_chance.shape[-1],), -math.inf).to(log_chance)
    certain[log_chance.shape[-1] // 2] = 0.0
    return torch.where(equal[..., None], certain, log_chance)
