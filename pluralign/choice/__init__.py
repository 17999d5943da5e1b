"""From worths to an answer: one rule per file."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice.luce import Luce

__all__ = ["ChoiceRule", "Luce"]


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
