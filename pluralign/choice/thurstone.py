"""Thurstone's rule: the probit of pairs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice.outcomes import difference, draw, expected_share, log_likelihood


@dataclass(frozen=True)
class Thurstone:
    """The first is chosen with chance Phi(d / temperature), d the difference of utilities (case V).

    The temperature is the standard deviation of the noise in d. A logistic rule with temperature / 1.702 is
    never farther than .0095 from it, but has heavier tails: a slip on a clear question costs Thurstone more.

    Source: Thurstone (1927).
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"`temperature` must be positive utils, got {self.temperature}.")

    def log_outcomes(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b 2"]:
        """Log-probability of first, second."""
        d = difference(self, utility) / self.temperature
        return torch.special.log_ndtr(torch.stack([d, -d], -1))

    def log_prob(self, utility: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
        """Log-likelihood in nats of the share `label`."""
        return log_likelihood(self.log_outcomes(utility), label)

    def share(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]:
        """Expected share of the choice per place."""
        return expected_share(self.log_outcomes(utility), utility.shape[-1])

    def sample(self, utility: Float[Tensor, "M K"], *, generator: torch.Generator) -> Float[Tensor, "M K"]:
        """One answer per row, as a share per place."""
        return draw(self.log_outcomes(utility), utility.shape[-1], generator=generator)
