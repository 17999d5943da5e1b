"""The worth of options to tastes: linear in the taste, conditional on the answer's circumstance, or any network."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Options
from pluralign.utility.conditional import laid_out

AT_ONCE = 1 << 23  # numbers held per piece, 64 MB


@runtime_checkable
class Nonlinear(Protocol):
    """A worth that has no basis: features of options go in first, then tastes.

    `score` are the utils by which answers are explained, `paid` what an option is worth when it is asked for.
    """

    @property
    def width(self) -> int: ...

    @property
    def discount(self) -> float: ...

    def features(self, options: Options) -> Float[Tensor, "N *t D"]: ...

    def first(self, x: Float[Tensor, "*n D"]) -> Float[Tensor, "*n H"]: ...

    def score(self, first: Float[Tensor, "*a H"], z: Float[Tensor, "*c Z"]) -> Tensor: ...

    def paid(self, x: Float[Tensor, "*n D"], z: Float[Tensor, "G Z"]) -> Float[Tensor, "*n G"]: ...


def slate_worths(
    worth: Any, data: Comparisons, z: Float[Tensor, "S R Z"], *, shared: bool = False
) -> Float[Tensor, "S M K"]:
    """Utils of the options on each slate to the rater's S tastes; minus infinity where nothing was shown.

    Where all raters share the same tastes, options are scored once for everybody.
    """
    if isinstance(worth, Nonlinear):
        utility = _scored(worth, data, z, shared)
        return utility.masked_fill(data.slate == ABSENT, -torch.inf)
    data, basis = laid_out(data, worth)
    hole = data.slate == ABSENT
    slate = data.slate.clamp_min(0)
    if shared:
        return (basis @ z[:, 0].T).T[:, slate].masked_fill(hole, -torch.inf)
    block = max(1, AT_ONCE // max(1, len(z) * basis.shape[1] * data.places))
    pieces = [
        torch.einsum("smz,mkz->smk", z[:, rater], basis[some])
        for rater, some in zip(data.rater.split(block), slate.split(block), strict=True)
    ]
    return torch.cat(pieces, 1).masked_fill(hole, -torch.inf)


def _scored(worth: Nonlinear, data: Comparisons, z: Tensor, shared: bool) -> Float[Tensor, "S M K"]:
    """A network scores an option once per taste: for all raters at once, or for every rater who met it."""
    # Names are unique, and one option is scored for many raters.
    options: Any = dataclasses.replace(data.options, ids=None)  # type: ignore[type-var]
    count = max(1, len(data.options))
    rater = torch.zeros_like(data.rater) if shared else data.rater
    met, back = torch.unique(rater[:, None] * count + data.slate.clamp_min(0), return_inverse=True)
    option, who = met % count, met // count
    first = worth.first(worth.features(data.options))
    block = max(1, (AT_ONCE >> 5) // max(1, len(z) * first[:1].numel()))  # what a processor keeps near
    pieces = []
    for some, mine in zip(option.split(block), who.split(block), strict=True):
        taste = z[:, mine].reshape(len(z), len(mine), *[1] * (first.dim() - 2), worth.width)
        pieces.append(_pooled(worth, options.take(some), worth.score(first[some], taste)))
    return torch.cat(pieces, 1)[:, back] if pieces else z.new_zeros(len(z), 0, data.places)


def _pooled(worth: Nonlinear, options: Options, value: Float[Tensor, "S N *t"]) -> Float[Tensor, "S N"]:
    """Worths of options from those of their rows."""
    return options.pool(value.movedim(0, -1), worth.discount).T


@dataclass(frozen=True)
class AtTastes:
    """A worth seen by G tastes: a basis with one column for each. What is linear in no taste is linear in a choice of them.

    So voices, policies and simulated raters of a network are those of any basis, with tastes that name a column.
    """

    worth: Any
    z: Float[Tensor, "G Z"]

    @property
    def width(self) -> int:
        """G."""
        return len(self.z)

    @property
    def discount(self) -> float:
        return self.worth.discount

    def basis(self, options: Options) -> Float[Tensor, "N G"]:
        """The worth of every option to each taste."""
        return options.pool(self.steps(options.rows), self.discount)

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b G"]:
        """The worth of single rows to each taste."""
        return self.worth.paid(self.worth.inner.steps(rows), self.z)
