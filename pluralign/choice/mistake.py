"""A rater who sometimes hits the wrong key, or answers against their own taste."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice.outcomes import difference, draw, expected_share, log_likelihood, mixed
from pluralign.choice.protocol import OutcomeRule


@dataclass(frozen=True)
class Mistake:
    """With chance `rate` the answer to a pair is turned round; a tie stays one.

    Up to one half the same as `Lapse(rule, 2 * rate)`; beyond, somebody who says the opposite on purpose.

    Attributes:
        rule: what happens otherwise.
        rate: in [0, 1].
    """

    rule: OutcomeRule
    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"`rate` must be a probability, got {self.rate}.")

    def log_outcomes(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b O"]:
        """Log-probability of each outcome of `rule`."""
        difference(self, utility)
        log_chance = self.rule.log_outcomes(utility)
        return mixed(log_chance, log_chance.flip(-1), self.rate)

    def log_prob(self, utility: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
        """Log-likelihood in nats of the share `label`."""
        return log_likelihood(self.log_outcomes(utility), label)

    def share(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]:
        """Expected share of the choice per place; a tie gives half to each."""
        return expected_share(self.log_outcomes(utility), utility.shape[-1])

    def sample(self, utility: Float[Tensor, "M K"], *, generator: torch.Generator) -> Float[Tensor, "M K"]:
        """One answer per row, as a share per place."""
        return draw(self.log_outcomes(utility), utility.shape[-1], generator=generator)
