"""What every choice rule can do."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class ChoiceRule(Protocol):
    """How utilities become an answer; a frozen dataclass. Adding a constant to a slate changes nothing."""

    def log_prob(
        self, utility: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"]
    ) -> Float[Tensor, "*b"]: ...

    def share(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]: ...

    def sample(
        self, utility: Float[Tensor, "M K"], *, generator: torch.Generator
    ) -> Float[Tensor, "M K"]: ...


@runtime_checkable
class OutcomeRule(ChoiceRule, Protocol):
    """A rule with finitely many answers, so that wrappers can mix them; see `pluralign.choice.outcomes`."""

    def log_outcomes(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b O"]: ...
