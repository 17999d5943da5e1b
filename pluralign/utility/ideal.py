"""Ideal points: everybody likes best what is nearest to a point of their own."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Segments
from pluralign.utility.linear import Linear, LinearWorth

METRICS = ("round", "scaled", "full")
WIDEST = 1024  # columns of the basis


@dataclass(frozen=True)
class Ideal:
    """u(x, z) = -(x - z)' A (x - z) over standardised features, with a learned metric A.

    Only differences between options show in answers, so z' A z drops out and the worth is linear in (2 A z, -A):
    a basis of the features and their squares, and every population's convex fit applies. The tastes of this basis are
    more than ideal points: A may differ between raters, and need not be positive (somebody may like extremes
    best); `point` reads the ideal point back.

    Attributes:
        metric: "round" (A is a multiple of the identity: one square column, |x|^2), "scaled" (diagonal), "full".
        discount: of the steps of a segment.
        components: wide features are rotated to at most this many directions.

    Source: Coombs (1950); Chen et al., PAL (ICLR 2025), theirs with the distance not squared.
    """

    metric: str = "round"
    discount: float = 1.0
    components: int = 1023

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"`metric` must be one of {', '.join(METRICS)}, got {self.metric!r}.")

    def start(self, data: Comparisons, *, width: int | None, generator: torch.Generator) -> LinearWorth:
        """Standardise features, then their squares, on the options that were shown; `width` is ignored.

        Raises:
            ValueError: options have no features, or the metric needs more than 1,024 columns.
        """
        linear = Linear(self.discount, identity=False, components=self.components)
        plain = linear.start(data, width=None, generator=generator)
        features = len(plain.scale)
        if not features:
            raise ValueError(
                "an ideal point needs features; these options are known by name alone, use Linear()."
            )
        kind = Squares(self.metric, torch.zeros(0), torch.zeros(0))
        if plain.width + kind.count(features) > WIDEST:
            raise ValueError(
                f"metric={self.metric!r} needs {kind.count(features):,} squares of {features} features, more than "
                f'{WIDEST:,} columns; give metric="round".'
            )
        known = data.options.take(torch.unique(data.slate[data.slate != ABSENT]))
        single = kind.of((known.rows.double() - plain.centre) * plain.scale)
        value = known.pool(single, self.discount)
        mean = value.mean(0) if len(value) else torch.zeros(value.shape[-1]).double()
        # One square column weighs as much as one feature, so that a ridge asks the same of both.
        goal = known.pool(((known.rows.double() - plain.centre) * plain.scale), self.discount)
        unit = goal.var(0, correction=0).mean() if len(goal) else torch.ones(())
        spread = value.var(0, correction=0) if len(value) else torch.ones_like(mean)
        flat = spread <= 1e-20 * (1 + mean.square())
        scale = torch.where(flat, 1.0, (unit / spread.clamp_min(1e-300)).sqrt()).to(mean)
        # Steps of a segment are summed, and segments may differ in length: they are scaled, not centred.
        centre = torch.zeros_like(mean) if isinstance(known, Segments) else mean
        lifted = dataclasses.replace(plain, lift=dataclasses.replace(kind, centre=centre, scale=scale))
        if plain.matrix is None:
            return lifted
        return dataclasses.replace(
            lifted, matrix=torch.block_diag(plain.matrix, torch.eye(len(mean)).double())
        )

    def point(self, worth: LinearWorth, taste: Float[Tensor, "*b Z"]) -> Float[Tensor, "*b D"]:
        """The ideal point of each taste, in the units of the features; NaN where nothing is best.

        Args:
            worth: of a narrow basis (not rotated), as a belief holds it.
            taste: weights of that basis.
        """
        if not isinstance(worth.lift, Squares) or worth.matrix is not None:
            raise ValueError("`worth` must be the unrotated basis of an Ideal utility.")
        features = len(worth.scale)
        square = taste[..., features:] * worth.lift.scale
        slope = taste[..., :features]
        if self.metric == "round":
            best = slope / (-2 * square)
            best = torch.where(square < 0, best, torch.nan)
        elif self.metric == "scaled":
            best = torch.where((square < 0).all(-1, keepdim=True), slope / (-2 * square), torch.nan)
        else:
            row, column = torch.triu_indices(features, features)
            bend = torch.zeros(*square.shape[:-1], features, features, dtype=square.dtype)
            bend[..., row, column] = square
            bend = bend + bend.mT
            proper = (torch.linalg.eigvalsh(bend).amax(-1) < 0)[..., None]
            best = torch.where(
                proper, torch.linalg.lstsq(-bend, slope[..., None]).solution[..., 0], torch.nan
            )
        return best / worth.scale + worth.centre


@dataclass(frozen=True)
class Squares:
    """The square columns of an ideal-point basis.

    Attributes:
        metric: which squares. centre, scale: (L,) a square q becomes (q - centre) * scale.
    """

    metric: str
    centre: Float[Tensor, " L"]
    scale: Float[Tensor, " L"]

    def count(self, features: int) -> int:
        """L."""
        return {"round": 1, "scaled": features, "full": features * (features + 1) // 2}[self.metric]

    def of(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b L"]:
        """The squares as they are."""
        if self.metric == "round":
            return rows.square().sum(-1, keepdim=True)
        if self.metric == "scaled":
            return rows.square()
        row, column = torch.triu_indices(rows.shape[-1], rows.shape[-1])
        return rows[..., row] * rows[..., column]

    def __call__(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b DL"]:
        """Standardised features, followed by their standardised squares."""
        return torch.cat([rows, (self.of(rows) - self.centre) * self.scale], -1)
