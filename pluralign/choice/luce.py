"""Luce's rule: Bradley-Terry for pairs, multinomial logit for best-of-n, Plackett-Luce for rankings."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Luce:
    """Share of the choice in proportion to exp(utility / temperature).

    A full or partial ranking is a run of best-of-n choices from what is left (Plackett-Luce), so it needs
    no rule of its own; see `pluralign.data.rankings`.

    Source: Luce (1959); Bradley and Terry (1952); Plackett (1975).
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"`temperature` must be positive utils, got {self.temperature}.")

    def log_outcomes(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]:
        """Log-probability of each place; a place with utility -inf was not shown."""
        # Not log(softmax(.)), which is -inf beyond about 100 utils in float32.
        return torch.log_softmax(utility / self.temperature, -1)

    def log_prob(self, utility: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
        """Log-likelihood in nats of the share `label`; a place with utility -inf was not shown."""
        log_share = self.log_outcomes(utility)
        # 0 * -inf is NaN: a place that got nothing adds nothing.
        return torch.where(label > 0, label * log_share, 0.0).sum(-1)

    def share(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]:
        """Expected share of the choice per place."""
        return torch.softmax(utility / self.temperature, -1)

    def sample(self, utility: Float[Tensor, "M K"], *, generator: torch.Generator) -> Float[Tensor, "M K"]:
        """One answer per row, as a share per place."""
        place = torch.multinomial(self.share(utility), 1, generator=generator)[:, 0]
        return torch.nn.functional.one_hot(place, utility.shape[-1]).to(utility)
