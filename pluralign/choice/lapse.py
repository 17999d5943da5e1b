"""A rater who sometimes does not look and guesses."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice.outcomes import draw, expected_share, log_likelihood, mixed
from pluralign.choice.protocol import OutcomeRule


@dataclass(frozen=True)
class Lapse:
    """With chance `rate` a guess, else `rule`. A guess is one of the places shown, never a tie.

    On pairs without bias this is also the rater who means well and hits the wrong key with chance rate / 2.

    Attributes:
        rule: what happens otherwise.
        rate: in [0, 1].
        bias: chance that a guess is the first of a pair; longer slates are guessed evenly.
    """

    rule: OutcomeRule
    rate: float
    bias: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"`rate` must be a probability, got {self.rate}.")
        if not 0 <= self.bias <= 1:
            raise ValueError(f"`bias` must be a probability, got {self.bias}.")

    def log_outcomes(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b O"]:
        """Log-probability of each outcome of `rule`."""
        log_chance = self.rule.log_outcomes(utility)
        return mixed(log_chance, log_guess(utility, log_chance.shape[-1], self.bias), self.rate)

    def log_prob(self, utility: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
        """Log-likelihood in nats of the share `label`."""
        return log_likelihood(self.log_outcomes(utility), label)

    def share(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]:
        """Expected share of the choice per place; a tie gives half to each."""
        return expected_share(self.log_outcomes(utility), utility.shape[-1])

    def sample(self, utility: Float[Tensor, "M K"], *, generator: torch.Generator) -> Float[Tensor, "M K"]:
        """One answer per row, as a share per place."""
        return draw(self.log_outcomes(utility), utility.shape[-1], generator=generator)


def log_guess(utility: Float[Tensor, "*b K"], outcomes: int, bias: float = 0.5) -> Float[Tensor, "*b O"]:
    """Log-probability that a guess is each outcome; places with utility -inf are not shown and not guessed.

    Raises:
        ValueError: a bias for slates of more than two.
    """
    places = utility.shape[-1]
    if places > 2:
        if bias != 0.5:
            raise ValueError(
                f"`bias` is about pairs, got slates of {places}; wrap the rule in LeftBias instead."
            )
        shown = ~torch.isneginf(utility.detach())
        return torch.where(shown, -shown.sum(-1, keepdim=True).to(utility).log(), -torch.inf)
    chance = torch.zeros(outcomes, dtype=utility.dtype, device=utility.device)
    chance[0], chance[-1] = bias, 1 - bias
    return chance.log().expand(*utility.shape[:-1], outcomes)
