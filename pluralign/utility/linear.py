"""Linear utility: a taste is a weight for every feature."""

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Options, Segments, Texts
from pluralign.utility.evidence import Unsaid, spreads
from pluralign.utility.style import STYLE, style

TALL = 4  # times as many options as features
NARROW = 64  # up to this width a taste is the list of feature weights; beyond, features are rotated


@dataclass(frozen=True)
class Linear:
    """u(x, z) = z . x over standardised features; over segments, the discounted sum of it (partial return).

    Texts and options known by name only also get a worth of their own each (`identity`): a text has the
    worth that its features predict plus what people said of this very text. Wide features are rotated to
    the span of the options met in training, which changes no ridge solution and costs at most N columns.

    Attributes:
        discount: weight of step t of a segment is discount**t; 1 is the plain partial return.
        identity: "auto" (for texts and nameless options), True or False.
        described: with `identity`, the spread of what each kind of feature predicts, relative to an option's own worth,
            before any answer is seen; "auto" takes the spreads under which the answers are likeliest (`evidence`), and
            tells what a feature means everywhere from what it means among options that are compared with each other.
        components: at most this many directions when features are wider than 64.
        style: whether a text is also described by how it is written (`utility.style`); "auto" does so with `identity`.
    """

    discount: float = 1.0
    identity: bool | str = "auto"
    described: float | str = "auto"
    components: int = 1024
    style: bool | str = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.discount <= 1:
            raise ValueError(f"`discount` must be in (0, 1], got {self.discount}; give 0.99, not a horizon.")
        for name in ("identity", "style"):
            if getattr(self, name) not in (True, False, "auto"):
                raise ValueError(f'`{name}` must be True, False or "auto", got {getattr(self, name)!r}.')
        if self.described != "auto" and not (
            isinstance(self.described, int | float) and 0 < self.described < math.inf
        ):
            raise ValueError(f'`described` must be a positive number or "auto", got {self.described!r}.')

    def start(self, data: Comparisons, *, width: int | None, generator: torch.Generator) -> "LinearWorth":
        """Standardise on the options that were shown; `width` is ignored, a linear taste has its own."""
        options, slate = data.options, data.slate
        shown = torch.unique(slate[slate != ABSENT])
        known = options.take(shown)
        text = isinstance(options, Texts)
        named = self.identity is True or (self.identity == "auto" and (text or options.rows.shape[-1] == 0))
        if named and isinstance(known, Segments):
            raise ValueError("`identity` needs items or texts; segments are worth the sum of their steps.")
        styled = text and (named if self.style == "auto" else bool(self.style))
        # Scales are those of whole options: a segment's is that of its discounted sum. Segments may differ in
        # length, so that a constant per step would matter: they are scaled, not centred.
        rows = known.pool(seen(known, styled), self.discount)
        mean = rows.mean(0) if len(rows) else torch.zeros(rows.shape[-1], dtype=torch.float64)
        spread = (rows - mean).square().mean(0) if len(rows) else torch.zeros_like(mean)
        centre = torch.zeros_like(mean) if isinstance(known, Segments) else mean
        scale = torch.ones_like(mean)
        blocks = (*known.blocks, *((1,) * len(STYLE) if styled else ()))
        for block in _slices(blocks):
            var = spread[block].mean()
            if var > 1e-20 * (1 + mean[block].square().mean()):
                scale[block] = 1 / (var * (block.stop - block.start)).sqrt()
        raw = LinearWorth(centre, scale, None, None, self.discount, styled=styled)
        if not named:
            return raw if raw.width <= NARROW else self._rotated(raw, known, None)
        raw = dataclasses.replace(raw, vocabulary=known.ids or tuple(str(int(i)) for i in shown))
        if raw.nameless:
            return raw
        if self.described == "auto":
            kinds = _kinds(known, styled)
            strength, own, unsaid = spreads(data, shown, (rows - centre) * scale, kinds, generator)
            raw = dataclasses.replace(raw, scale=scale * strength, unsaid=unsaid)
            return self._rotated(raw, known, own)
        raw = dataclasses.replace(raw, scale=scale * float(self.described))
        return raw if raw.width <= NARROW else self._rotated(raw, known, None)

    def _rotated(self, raw: "LinearWorth", known: Options, own: Float[Tensor, "I I"] | None) -> "LinearWorth":
        """The span of what was shown; `own` (I, I) takes the place of the identity."""
        if own is not None:
            first = torch.eye(raw.described, dtype=own.dtype)
            raw = dataclasses.replace(raw, matrix=torch.block_diag(first, own))
        singular, side = _singular(raw.basis(known))
        keep = singular > 1e-7 * singular[0]
        keep[self.components :] = False
        return raw.onto(side[:, keep].contiguous())


def seen(options: Options, styled: bool) -> Float[Tensor, "*rows D"]:
    """The rows of a store, and the style of texts after them."""
    rows = options.rows.double()
    if not styled:
        return rows
    if not isinstance(options, Texts):
        raise ValueError(f"options must be texts, as in training, got {type(options).__name__}.")
    return torch.cat([rows, style(options.texts)], 1)


def _slices(widths: tuple[int, ...]) -> list[slice]:
    stops = list(itertools.accumulate(widths))
    return [slice(stop - width, stop) for stop, width in zip(stops, widths)]


def _kinds(known: Options, styled: bool) -> list[slice]:
    """Columns whose weights are drawn from one normal distribution: a text's length, embedding and style; plain features."""
    plain = sum(size for size in known.blocks if size == 1)
    wide = [size for size in known.blocks if size > 1]
    return _slices(tuple(size for size in (plain, *wide, len(STYLE) if styled else 0) if size))


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
        styled: whether the last features are the style of texts.
        unsaid: what is not known of options that were never met, or None where that is not asked.
    """

    centre: Float[Tensor, " D"]
    scale: Float[Tensor, " D"]
    vocabulary: tuple[str, ...] | None
    matrix: Float[Tensor, "DI Z"] | None
    discount: float
    lift: Lift | None = None
    styled: bool = False
    unsaid: Unsaid | None = None

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
        value = options.pool(self._standard(seen(options, self.styled)), self.discount)
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

    def doubt(self, data: Comparisons) -> Float[Tensor, "M K K"] | None:
        """Covariance, in squared utils, of what is not known of the worths on each slate; None where all were met."""
        if self.vocabulary is None or self.unsaid is None:
            return None
        new = (self.place(data.options) < 0)[data.slate.clamp_min(0)] & (data.slate != ABSENT)
        if not bool(new.any()):
            return None
        rows = self._standard(seen(data.options, self.styled))
        out = torch.zeros(*data.slate.shape, data.places, dtype=rows.dtype)
        for some in new.any(1).nonzero()[:, 0].split(max(1, (1 << 22) // (rows.shape[1] * data.places))):
            out[some] = self.unsaid.covariance(rows[data.slate[some].clamp_min(0)], new[some])
        return out

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
        return torch.tensor([numbers.get(i, -1) for i in ids], dtype=torch.long)
