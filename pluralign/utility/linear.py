"""Linear utility: a taste is a weight for every feature."""

import dataclasses
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Options, Segments, Texts

TALL = 4  # times as many options as features
NARROW = 64  # up to this width a taste is the list of feature weights; beyond, features are rotated


@dataclass(frozen=True)
class Linear:
    """u(x, z) = z . x over standardised features; over segments, the discounted sum of it (partial return).

    Texts and options known by name only also get a worth of their own each (`identity`): a text has the
    worth that its embedding predicts plus what people said of this very text. Wide features are rotated to
    the span of the options met in training, which changes no ridge solution and costs at most N columns.

    Attributes:
        discount: weight of step t of a segment is discount**t; 1 is the plain partial return.
        identity: "auto" (for texts and nameless options), True or False.
        described: with `identity`, the spread of what the features predict relative to an option's own worth,
            before any answer is seen.
        components: at most this many directions when features are wider than 64.
    """

    discount: float = 1.0
    identity: bool | str = "auto"
    described: float = 0.3
    components: int = 1024

    def __post_init__(self) -> None:
        if not 0 < self.discount <= 1:
            raise ValueError(f"`discount` must be in (0, 1], got {self.discount}; give 0.99, not a horizon.")
        if self.identity not in (True, False, "auto"):
            raise ValueError(f'`identity` must be True, False or "auto", got {self.identity!r}.')

    def start(self, data: Comparisons, *, width: int | None, generator: torch.Generator) -> "LinearWorth":
        """Standardise on the options that were shown; `width` is ignored, a linear taste has its own."""
        options, slate = data.options, data.slate
        shown = torch.unique(slate[slate != ABSENT])
        known = options.take(shown)
        # Scales are those of whole options: a segment's is that of its discounted sum. Segments may differ in
        # length, so that a constant per step would matter: they are scaled, not centred.
        rows = known.pool(known.rows.double(), self.discount)
        mean = rows.mean(0) if len(rows) else torch.zeros(rows.shape[-1], dtype=torch.float64)
        spread = (rows - mean).square().mean(0) if len(rows) else torch.zeros_like(mean)
        centre = torch.zeros_like(mean) if isinstance(known, Segments) else mean
        scale = torch.ones_like(mean)
        start = 0
        for size in known.blocks:
            block = slice(start, start + size)
            var = spread[block].mean()
            if var > 1e-20 * (1 + mean[block].square().mean()):
                scale[block] = 1 / (var * size).sqrt()
            start += size
        named = self.identity is True or (
            self.identity == "auto" and (isinstance(options, Texts) or rows.shape[-1] == 0)
        )
        vocabulary: tuple[str, ...] | None = None
        if named:
            scale = scale * self.described
            if isinstance(known, Segments):
                raise ValueError(
                    "`identity` needs items or texts; segments are worth the sum of their steps."
                )
            vocabulary = known.ids or tuple(str(int(i)) for i in shown)
        raw = LinearWorth(centre, scale, vocabulary, None, self.discount)
        if raw.width <= NARROW or raw.nameless:
            return raw
        design = raw.basis(known)
        singular, side = _singular(design)
        keep = singular > 1e-7 * singular[0]
        keep[self.components :] = False
        return dataclasses.replace(raw, matrix=side[:, keep].contiguous())


def _singular(design: Float[Tensor, "N D"]) -> tuple[Float[Tensor, " S"], Float[Tensor, "D S"]]:
    """Singular values, largest first, and right singular vectors; of a tall design by way of its Gram matrix."""
    if len(design) < TALL * design.shape[1]:
        _, singular, rotation = torch.linalg.svd(design, full_matrices=False)
        return singular, rotation.T
    size, side = torch.linalg.eigh(design.T @ design)
    return size.flip(0).clamp_min(0.0).sqrt(), side.flip(1)


@runtime_checkable
class Lift(Protocol):
    """Appends functions of the features to them; a frozen dataclass."""

    @property
    def scale(self) -> Float[Tensor, " L"]: ...

    def __call__(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b DL"]: ...


@dataclass(frozen=True)
class LinearWorth:
    """A linear basis: standardise, append identities, rotate.

    Attributes:
        centre, scale: (D,) a feature x becomes (x - centre) * scale.
        vocabulary: names of the I options that have a worth of their own, or None.
        matrix: (D + I, Z) directions, or None for all D + I of them as they are.
        discount: per step of a segment.
        lift: appends functions of the standardised features (the squares of an ideal point), or None.
    """

    centre: Float[Tensor, " D"]
    scale: Float[Tensor, " D"]
    vocabulary: tuple[str, ...] | None
    matrix: Float[Tensor, "DI Z"] | None
    discount: float
    lift: Lift | None = None

    @property
    def described(self) -> int:
        """Columns that come from features: D, and what `lift` appends."""
        return len(self.scale) + (0 if self.lift is None else len(self.lift.scale))

    @property
    def width(self) -> int:
        """Z, the number of weights in a taste."""
        if self.matrix is not None:
            return self.matrix.shape[1]
        return self.described + len(self.vocabulary or ())

    @property
    def nameless(self) -> bool:
        """True where options are known by name alone: then the basis is the identity itself."""
        return len(self.scale) == 0 and self.matrix is None

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b Z"]:
        """The basis of single rows (steps of a trajectory); no identity is known for a step.

        Raises:
            ValueError: rows have another width than in training.
        """
        rows = self._standard(rows)
        return rows if self.matrix is None else rows @ self.matrix[: self.described]

    def basis(self, options: Options) -> Float[Tensor, "N Z"]:
        """(N, Z) so that worth = basis @ taste; an option never met has only what its features say."""
        value = options.pool(self._standard(options.rows), self.discount)
        if self.vocabulary is None:
            return value if self.matrix is None else value @ self.matrix
        place = self.place(options)
        known = place >= 0
        if self.matrix is None:
            own = torch.zeros(len(options), len(self.vocabulary), dtype=value.dtype)
            own[known.nonzero()[:, 0], place[known]] = 1.0
            return torch.cat([value, own], 1)
        width = self.described
        value = value @ self.matrix[:width]
        value[known] += self.matrix[width:][place[known]]
        return value

    def onto(self, directions: Float[Tensor, "Z Q"]) -> "LinearWorth":
        """The basis of Q combinations of the present one: a taste of width Q is worth directions @ taste."""
        if self.matrix is None:
            return dataclasses.replace(self, matrix=directions)
        return dataclasses.replace(self, matrix=self.matrix @ directions)

    def _standard(self, rows: Tensor) -> Tensor:
        if rows.shape[-1] != len(self.scale):
            raise ValueError(
                f"options must have the {len(self.scale)} features of the training data, got {rows.shape[-1]}; "
                "give the same columns in the same order."
            )
        rows = (rows.double() - self.centre) * self.scale
        return rows if self.lift is None else self.lift(rows)

    def place(self, options: Options) -> Tensor:
        """(N,) where each option stands in the vocabulary, -1 if it was never met."""
        assert self.vocabulary is not None
        if options.ids == self.vocabulary:
            return torch.arange(len(self.vocabulary))
        numbers = {name: k for k, name in enumerate(self.vocabulary)}
        ids = options.ids or tuple(str(i) for i in range(len(options)))
        return torch.tensor([numbers.get(i, -1) for i in ids])
