"""A worth that knows how people like the rater differ: one column more, that goes by the rater's covariates."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Items, Options
from pluralign.utility.conditional import laid_out
from pluralign.utility.linear import LinearWorth


@dataclass(frozen=True)
class LikeRaters:
    """`inner` over the columns of `first` and one more: what is added to a worth by the rater's covariates.

    Asked without a rater, an option is worth what it is to the average rater, for whom that is nothing.

    Attributes:
        inner: a worth over Q + 1 columns, the last of which is what is added.
        first: options to Q columns.
        shift: (C, Q) how the common taste changes with each covariate.
    """

    inner: Any
    first: LinearWorth
    shift: Float[Tensor, "C Q"]

    @property
    def width(self) -> int:
        """Z, that of `inner`."""
        return self.inner.width

    def basis(self, options: Options) -> Float[Tensor, "N Z"]:
        """The basis to the average rater."""
        rows = self.first.basis(options)
        return self.inner.basis(Items(_with_nothing(rows)))

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b Z"]:
        """The basis of single rows to the average rater."""
        rows = self.first.steps(rows)
        return self.inner.steps(_with_nothing(rows))

    def shown(self, data: Comparisons) -> Float[Tensor, "M K Z"]:
        """The basis of every place of every slate to who was asked.

        Raises:
            ValueError: the raters have no covariates, or another number of them.
        """
        rows = self.first.basis(data.options)
        plain, basis = laid_out(widened(data, rows, added(data, rows, self.shift)), self.inner)
        return basis[plain.slate.clamp_min(0)]


def added(data: Comparisons, rows: Float[Tensor, "N Q"], shift: Float[Tensor, "C Q"]) -> Float[Tensor, "M K"]:
    """What the rater's covariates add to the worth of each place of each slate, in utils; `rows` are the options' columns."""
    told = covariates_of(data, len(shift))
    return ((rows @ shift.T)[data.slate.clamp_min(0)] * told[:, None]).sum(-1)


def widened(data: Comparisons, rows: Float[Tensor, "N Q"], extra: Float[Tensor, "M K"]) -> Comparisons:
    """The same answers over options of Q + 1 features, every place of every slate an option of its own."""
    place = torch.arange(data.slate.numel()).reshape(data.slate.shape)
    place = place.masked_fill(data.slate == ABSENT, ABSENT)
    shown = torch.cat([rows[data.slate.clamp_min(0)], extra[..., None]], -1)
    return dataclasses.replace(data, options=Items(shown.flatten(0, 1)), slate=place, covariates=None)


def covariates_of(data: Comparisons, count: int) -> Float[Tensor, "M C"]:
    """The covariates of who gave each answer.

    Raises:
        ValueError: there are none, or another number of them.
    """
    if not len(data):
        return torch.zeros(0, count, dtype=torch.float64)
    if data.covariates is None or data.covariates.shape[1] != count:
        got = "none" if data.covariates is None else str(data.covariates.shape[1])
        raise ValueError(
            f"these tastes depend on {count} covariates of raters, and the raters have {got}; "
            "read the answers with the covariates of the fit."
        )
    return data.covariates.double()[data.rater]


def _with_nothing(rows: Float[Tensor, "*b Q"]) -> Float[Tensor, "*b Q1"]:
    return torch.nn.functional.pad(rows, (0, 1))
