"""A basis of one's own, or of bumps: worths that bend, in a problem that stays convex."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Options, Segments
from pluralign.utility.linear import NARROW, Linear, LinearWorth

LOOKED_AT = 2048  # rows among which landmarks are sought


@dataclass(frozen=True)
class Basis:
    """u(x, z) = z . phi(x) for functions phi of the features; over segments, the discounted sum over the steps.

    With a `function` of yours, phi is that. Without, phi are Gaussian bumps exp(-|x - c|^2 / 2 h^2) over standardised
    features, around `count` landmarks c among the options shown, drawn so that they cover what bumps can tell apart,
    and turned so that a ridge on the taste is the norm of the kernel: with a landmark at every option, a fit is kernel
    logistic regression. More than 64 columns are rotated to the span of the options shown, which changes no ridge
    solution. Far from all landmarks every worth is the same.

    Attributes:
        function: (N, D) features as given to (N, L) numbers, each row by itself, as torch; None: bumps. To save a
            belief, it must lie under its own name in a module, which has to be imported before loading.
        count: landmarks at most.
        width: h, in medians of the distance between two rows.
        discount: weight of step t of a segment is discount**t.
        components: at most this many directions when phi is wider than 64.

    Source: Williams and Seeger (2001), Nystroem features; Chen et al., RPCholesky (2022, arXiv 2207.06503), landmarks.
    """

    function: Callable[[Tensor], Tensor] | None = None
    count: int = 128
    width: float = 1.0
    discount: float = 1.0
    components: int = 1024

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"`count` must be at least 1 landmark, got {self.count}.")
        if not self.width > 0:
            raise ValueError(f"`width` must be a positive number of median distances, got {self.width}.")

    @staticmethod
    def bumps(count: int = 128, width: float = 1.0, discount: float = 1.0) -> "Basis":
        """Gaussian bumps around at most `count` options, `width` median distances wide."""
        return Basis(None, count, width, discount)

    def start(self, data: Comparisons, *, width: int | None, generator: torch.Generator) -> LinearWorth:
        """Place the bumps, or look at the function's values, on the options that were shown; `width` is ignored.

        Raises:
            ValueError: options have no features, or the function's values are not (N, L) finite numbers row by row.
        """
        plain = Linear(self.discount, identity=False, components=1).start(
            data, width=None, generator=generator
        )
        if not len(plain.scale):
            raise ValueError("a basis needs features; these options are known by name alone, use Linear().")
        known = data.options.take(torch.unique(data.slate[data.slate != ABSENT]))
        lift: Bumps | Given
        if self.function is None:
            lift, turn = _bumps(_standard(_steps(known), plain), self.count, self.width, generator)
        else:
            unit = (torch.zeros_like(plain.centre), torch.ones_like(plain.scale))
            plain = dataclasses.replace(plain, centre=unit[0], scale=unit[1])
            lift, turn = _given(self.function, _steps(known))
        features = torch.zeros(
            len(plain.scale), turn.shape[1], dtype=turn.dtype
        )  # they count through phi alone
        worth = dataclasses.replace(plain, lift=lift, matrix=torch.cat([features, turn]))
        design = worth.basis(known)
        # Together the columns vary by one, as a block of features does; a phi that is the same for all says nothing.
        mean = known.pool(lift(_standard(known.rows, plain))[..., len(features) :], self.discount).mean(0)
        total = float((design - mean @ turn).square().sum(1).mean())
        size = total**-0.5 if total > 1e-20 * (1 + float(mean.square().sum())) else 1.0
        # Steps of a segment are summed, and segments may differ in length: they are scaled, not centred.
        centre = torch.zeros_like(mean) if isinstance(known, Segments) else mean
        worth = dataclasses.replace(
            worth, lift=dataclasses.replace(lift, centre=centre, scale=torch.full_like(mean, size))
        )
        if worth.width <= NARROW:
            return worth
        _, singular, rotation = torch.linalg.svd(worth.basis(known), full_matrices=False)
        keep = singular > 1e-7 * singular[0]
        keep[self.components :] = False
        return worth.onto(rotation[keep].T)


@dataclass(frozen=True)
class Bumps:
    """Gaussian bumps around J landmarks; a bump k becomes (k - centre) * scale.

    Attributes:
        landmarks: (J, D), in standardised features. width: h, in their unit.
    """

    landmarks: Float[Tensor, "J D"]
    width: float
    centre: Float[Tensor, " J"]
    scale: Float[Tensor, " J"]

    def __call__(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b DJ"]:
        """Features, followed by the bumps."""
        bump = kernel(rows.reshape(-1, rows.shape[-1]), self.landmarks, self.width)
        bump = bump.reshape(*rows.shape[:-1], -1)
        return torch.cat([rows, (bump - self.centre) * self.scale], -1)


@dataclass(frozen=True)
class Given:
    """A function of the features; a value v becomes (v - centre) * scale."""

    function: Callable[[Tensor], Tensor]
    centre: Float[Tensor, " L"]
    scale: Float[Tensor, " L"]

    def __call__(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b DL"]:
        """Features, followed by the function's values."""
        value = self.function(rows.reshape(-1, rows.shape[-1])).to(rows)
        value = value.reshape(*rows.shape[:-1], len(self.scale))
        return torch.cat([rows, (value - self.centre) * self.scale], -1)


def kernel(a: Float[Tensor, "N D"], b: Float[Tensor, "J D"], width: float) -> Float[Tensor, "N J"]:
    """exp(-|a - b|^2 / (2 width^2))."""
    return torch.exp(torch.cdist(a, b).square() / (-2 * width**2))


def _standard(rows: Float[Tensor, "*b D"], plain: LinearWorth) -> Float[Tensor, "*b D"]:
    return (rows.double() - plain.centre) * plain.scale


def _steps(known: Options) -> Float[Tensor, "n D"]:
    """The rows of the options that were shown, without the padding of short segments."""
    if isinstance(known, Segments) and known.mask is not None:
        return known.rows[known.mask].double()
    return known.rows.reshape(-1, known.rows.shape[-1]).double()


def _bumps(
    rows: Float[Tensor, "n D"], count: int, width: float, generator: torch.Generator
) -> tuple[Bumps, Float[Tensor, "J Z"]]:
    """Bumps around landmarks, and the turn after which their inner products are the kernel (on the landmarks exactly)."""
    rows = torch.unique(rows, dim=0)
    if len(rows) > LOOKED_AT:
        rows = rows[torch.randperm(len(rows), generator=generator)[:LOOKED_AT]]
    far = torch.pdist(rows[torch.randperm(len(rows), generator=generator)[:512]])
    far = far[far > 0]
    size = width * float(far.median()) if len(far) else 1.0
    mark = rows[_spread(rows, min(count, len(rows)), size, generator)]
    value, side = torch.linalg.eigh(kernel(mark, mark, size))
    keep = value > 1e-10 * value[-1]
    empty = torch.zeros(len(mark), dtype=torch.float64)
    return Bumps(mark, size, empty, empty + 1), side[:, keep] / value[keep].sqrt()


def _spread(rows: Float[Tensor, "N D"], count: int, size: float, generator: torch.Generator) -> Tensor:
    """Landmarks drawn in proportion to what those before leave untold (RPCholesky, algorithm 2)."""
    if count == len(rows):
        return torch.arange(count)
    left = torch.ones(len(rows), dtype=torch.float64)
    factor = torch.zeros(len(rows), count, dtype=torch.float64)
    picked: list[int] = []
    for k in range(count):
        if float(left.max()) < 1e-10:
            break
        pick = int(torch.multinomial(left, 1, generator=generator))
        column = kernel(rows, rows[pick : pick + 1], size)[:, 0] - factor[:, :k] @ factor[pick, :k]
        factor[:, k] = column / column[pick].sqrt()
        left = (left - factor[:, k].square()).clamp_min(0.0)
        left[pick] = 0.0
        picked.append(pick)
    return torch.tensor(picked)


def _given(
    function: Callable[[Tensor], Tensor], rows: Float[Tensor, "n D"]
) -> tuple[Given, Float[Tensor, "L L"]]:
    value = function(rows)
    if not isinstance(value, Tensor) or value.dim() != 2 or len(value) != len(rows) or not value.shape[1]:
        came = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"`function` must turn ({len(rows)}, {rows.shape[1]}) features into ({len(rows)}, L) numbers, got {came}; "
            "return a tensor with one row per row."
        )
    off = (~torch.isfinite(value.double())).any(1).nonzero()[:, 0]
    if len(off):
        raise ValueError(
            f"`function` must give finite numbers; {len(off)} of {len(rows)} rows have others, first row {int(off[0])}; "
            "check its logarithms and quotients."
        )
    if not torch.allclose(function(rows[:1]).double(), value[:1].double(), rtol=1e-6, atol=1e-9):
        raise ValueError(
            "`function` must treat each row by itself; the first row alone got other numbers than among all: "
            "take averages over rows out of it."
        )
    width = value.shape[1]
    empty = torch.zeros(width, dtype=torch.float64)
    return Given(function, empty, empty + 1), torch.eye(width, dtype=torch.float64)
