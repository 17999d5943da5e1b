"""What an option is worth to a taste: u(x, z), in utils."""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.utility.basis import Basis
from pluralign.utility.ideal import Ideal
from pluralign.utility.judged import Judged
from pluralign.utility.linear import Linear
from pluralign.utility.mlp import MLP
from pluralign.utility.taste_mlp import TasteMLP

__all__ = ["MLP", "Basis", "Ideal", "Judged", "Linear", "TasteMLP", "Utility", "Worth"]


@runtime_checkable
class Worth(Protocol):
    """A utility with its parameters: `worth(options, z)` for tastes z of width `width`.

    Almost every worth of this package is a *basis*, linear in the taste: worth = z @ basis(options). What is not
    is `scores.Nonlinear`, and for chosen tastes a basis again (`scores.AtTastes`).
    """

    @property
    def width(self) -> int: ...

    def basis(self, options: Options) -> Float[Tensor, "N Z"]: ...

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b Z"]: ...


@runtime_checkable
class Utility(Protocol):
    """Settings of a utility; `start` looks at the data once and returns the worth before training.

    The worth is a `Worth`, or, where it is not linear in the taste, a `scores.Nonlinear`.
    """

    def start(self, data: Comparisons, *, width: int | None, generator: torch.Generator) -> Any: ...
