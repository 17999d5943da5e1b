"""Davidson's rule: pairs that may end in a tie."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice.outcomes import difference, draw, expected_share, log_likelihood


@dataclass(frozen=True)
class Davidson:
    """First, tie, second in proportion to exp(d / 2), nu, exp(-d / 2), with d the difference of utilities.

    Equal options tie with chance nu / (2 + nu); nu = 0 is Bradley-Terry. A label (.5, .5) is a tie, and a
    share p in between is a tie by 1 - |2p - 1|.

    Attributes:
        nu: 0 or more, no unit.
        temperature: utils.

    Source: Davidson (1970).
    """

    nu: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.nu < math.inf:
            raise ValueError(f"`nu` must be 0 (no ties) or more, got {self.nu}.")
        if not self.temperature > 0:
            raise ValueError(f"`temperature` must be positive utils, got {self.temperature}.")

    def log_outcomes(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b 3"]:
        """Log-probability of first, tie, second."""
        half = difference(self, utility) / self.temperature / 2
        tie = torch.full_like(half, math.log(self.nu) if self.nu else -math.inf)
        return torch.log_softmax(torch.stack([half, tie, -half], -1), -1)

    def log_prob(self, utility: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
        """Log-likelihood in nats of the share `label`."""
        return log_likelihood(self.log_outcomes(utility), label)

    def share(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]:
        """Expected share of the choice per place; a tie gives half to each."""
        return expected_share(self.log_outcomes(utility), utility.shape[-1])

    def sample(self, utility: Float[Tensor, "M K"], *, generator: torch.Generator) -> Float[Tensor, "M K"]:
        """One answer per row, as a share per place."""
        return draw(self.log_outcomes(utility), utility.shape[-1], generator=generator)
