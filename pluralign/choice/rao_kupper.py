"""Rao and Kupper's rule: pairs that end in a tie when the difference is too small to feel."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice.outcomes import difference, draw, expected_share, log_likelihood


@dataclass(frozen=True)
class RaoKupper:
    """First wins with e^d / (e^d + theta), second with 1 / (1 + theta e^d), a tie is the rest.

    The same as a difference with logistic noise that must pass a threshold of log(theta) utils to be felt.
    theta = 1 is Bradley-Terry. A label (.5, .5) is a tie, a share p in between is a tie by 1 - |2p - 1|.

    Attributes:
        theta: 1 or more, no unit.
        temperature: utils; scales the utilities, not the threshold.

    Source: Rao and Kupper (1967).
    """

    theta: float = 1.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.theta < math.inf:
            raise ValueError(f"`theta` must be 1 (no ties) or more, got {self.theta}.")
        if not self.temperature > 0:
            raise ValueError(f"`temperature` must be positive utils, got {self.temperature}.")

    def log_outcomes(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b 3"]:
        """Log-probability of first, tie, second."""
        d, threshold = difference(self, utility) / self.temperature, math.log(self.theta)
        first = torch.nn.functional.logsigmoid(d - threshold)
        second = torch.nn.functional.logsigmoid(-d - threshold)
        # 1 - s(a) - s(b) = (theta^2 - 1) s(a) s(b): no difference of numbers near 1.
        odds = math.expm1(2 * threshold)
        tie = first + second + (math.log(odds) if odds else -math.inf)
        return torch.stack([first, tie, second], -1)

    def log_prob(self, utility: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
        """Log-likelihood in nats of the share `label`."""
        return log_likelihood(self.log_outcomes(utility), label)

    def share(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]:
        """Expected share of the choice per place; a tie gives half to each."""
        return expected_share(self.log_outcomes(utility), utility.shape[-1])

    def sample(self, utility: Float[Tensor, "M K"], *, generator: torch.Generator) -> Float[Tensor, "M K"]:
        """One answer per row, as a share per place."""
        return draw(self.log_outcomes(utility), utility.shape[-1], generator=generator)
