"""What simulated people value: the numbers an option comes with, as they are."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Options, Segments


@runtime_checkable
class Basis(Protocol):
    """Anything that describes each option by Z numbers; every `Worth` that is linear in the taste does."""

    def basis(self, options: Options) -> Float[Tensor, "N Z"]: ...


@dataclass(frozen=True)
class Factors:
    """The rows of the store, not standardised: a taste is in utils per unit of each factor.

    Attributes:
        discount: weight of step t of a segment is discount**t; 1 is the plain sum.
    """

    discount: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.discount <= 1:
            raise ValueError(f"`discount` must be in (0, 1], got {self.discount}; give 0.99, not a horizon.")

    def basis(self, options: Options) -> Float[Tensor, "N Z"]:
        """(N, Z) an item's features, or the discounted sum of a segment's factors."""
        return options.pool(options.rows.double(), self.discount)

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b D"]:
        """Single rows as they are."""
        return rows.double()


@dataclass(frozen=True)
class Attention:
    """The factors of a segment by how well its parts are remembered: weights from its first step to its last.

    Attributes:
        weights: at equal distances along the segment, straight lines between; (1, 1) is the plain sum, (0, 1) rises to the
            end, (1, .2, 1) has a beginning and an end. For a memory that fades step by step see `Faults.discount`.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.weights) < 2 or min(self.weights) < 0 or not 0 < max(self.weights) < float("inf"):
            raise ValueError(
                f"`weights` must be two or more numbers, 0 or more and not all 0, got {self.weights}."
            )

    def basis(self, options: Options) -> Float[Tensor, "N Z"]:
        """(N, Z) weighted sums over each segment's own length.

        Raises:
            ValueError: the options are no segments.
        """
        if not isinstance(options, Segments):
            raise ValueError(f"`Attention` is about steps: it needs Segments, got {type(options).__name__}.")
        rows = options.rows.double()
        there = torch.ones(rows.shape[:2], dtype=torch.bool) if options.mask is None else options.mask
        length = there.sum(1, keepdim=True)
        along = torch.arange(rows.shape[1]) / (length - 1).clamp_min(1) * (len(self.weights) - 1)
        along = along.clamp_max(len(self.weights) - 1).double()
        before = along.floor().long().clamp_max(len(self.weights) - 2)
        weights = torch.tensor(self.weights, dtype=torch.float64)
        weight = torch.lerp(weights[before], weights[before + 1], along - before) * there
        return torch.einsum("nt,ntz->nz", weight, rows)


def fading(options: Segments, discount: Float[Tensor, " m"], index: Tensor) -> Float[Tensor, "m K T"]:
    """Weight of every step for people who forget: the last step counts 1, the one before `discount`, and so on.

    Args:
        options: segments, of any length.
        discount: (m,) per step, in (0, 1].
        index: (m, K) which segments.
    """
    steps = torch.arange(options.factors.shape[1])
    if options.mask is None:
        weight: Tensor = discount[:, None, None] ** (len(steps) - 1 - steps).double()
        return weight.expand(*index.shape, len(steps))
    mask = options.mask[index]
    age = (mask.sum(-1, keepdim=True) - 1 - steps).clamp_min(0)
    return discount[:, None, None] ** age.double() * mask
