"""A basis to begin with: the common worth, and directions along which tastes are standard normal."""

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.laplace import laplace_em
from pluralign.population.prior import root
from pluralign.population.rows import Rows
from pluralign.population.subspace import narrowed, refined
from pluralign.population.wide import is_wide
from pluralign.streams import Streams
from pluralign.utility import Linear
from pluralign.utility.linear import LinearWorth

STRENGTH = 2.0  # pseudo-raters behind the guess that raters hardly differ


def anchored(
    utility: Linear, rule: ChoiceRule, data: Comparisons, streams: Streams, *, width: int, ridge: float
) -> tuple[LinearWorth, Float[Tensor, "W Z1"]]:
    """A linear worth, and 1 + at most `width` combinations of its columns: worth = basis @ T @ (1, z), z ~ N(0, 1).

    By Laplace-EM, of the full covariance where features are narrow and along spectral directions where they are wide,
    so that training by sampling starts near where it will end.
    """
    full = utility.start(data, width=None, generator=streams("start"))
    worth, inner = full, torch.eye(full.width, dtype=torch.float64) if not is_wide(full) else None
    if inner is None:
        lean = narrowed(utility, rule, data, streams, count=min(width, 4), ridge=ridge)
        assert isinstance(lean, LinearWorth)
        worth = refined(utility, rule, data, lean, streams, STRENGTH, ridge=ridge, rounds=3, samples=4)
        assert worth.matrix is not None
        inner = (
            worth.matrix if full.matrix is None else torch.linalg.lstsq(full.matrix, worth.matrix).solution
        )
    rows = Rows.of(data, worth.basis(data.options), rule)
    mean, covariance, *_ = laplace_em(rows, 40, STRENGTH, anchored=False, tolerance=1e-3)
    side = root(covariance).flip(1)[:, :width]  # the widest directions first
    return full, inner @ torch.cat([mean[:, None], side], 1)
