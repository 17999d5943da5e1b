"""A network of the option and the taste: worth that is not linear in the taste."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.utility.linear import Linear, LinearWorth

WAYS = ("film", "concatenation")


@dataclass(frozen=True)
class TasteMLP:
    """u(x, z), a perceptron that reads the features and the taste; over segments, the discounted sum over steps.

    Attributes:
        hidden: widths of the hidden layers.
        way: "concatenation" feeds (x, z) to the first layer; "film" lets the taste scale and shift every hidden
            layer: h becomes (1 + gamma(z)) h + beta(z).
        discount: weight of step t of a segment is discount**t.
        rivals: 0, or how many rows of the data an option is pitted against whenever its worth is asked for: the worth
            is then its mean chance to win, in [0, 1] for every taste (per step of a segment). Answers are explained by
            the network itself either way.

    Source: Perez et al., FiLM, AAAI 2018; the concatenation is that of Poddar et al., VPL, NeurIPS 2024, and rivals
    are its self-play scale (VPL-SPO).
    """

    hidden: tuple[int, ...] = (64, 64)
    way: str = "film"
    discount: float = 1.0
    rivals: int = 0

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise ValueError(f"`way` must be one of {', '.join(WAYS)}, got {self.way!r}.")
        if not self.hidden or any(size < 1 for size in self.hidden):
            raise ValueError(f"`hidden` must be one or more positive widths, got {self.hidden}.")
        if self.rivals < 0:
            raise ValueError(f"`rivals` must be 0 or more rows, got {self.rivals}.")

    def start(self, data: Comparisons, *, width: int | None, generator: torch.Generator) -> "TasteMLPWorth":
        """Random layers on standardised features; `width` is Z, the width of a taste (default 8)."""
        inner = Linear(self.discount, identity=False).start(data, width=None, generator=generator)
        width = 8 if width is None else width
        sizes = [inner.width, *self.hidden, 1]

        def normal(fan: int, out: int, scale: float) -> tuple[Tensor, Tensor]:
            weight = torch.randn(fan, out, generator=generator, dtype=torch.float64)
            return weight * scale / max(fan, 1) ** 0.5, torch.zeros(out, dtype=torch.float64)

        layers = [normal(fan, out, 2**0.5) for fan, out in zip(sizes[:-1], sizes[1:])]
        # A quiet last layer: training starts from "no preference", not from random opinions.
        layers[-1] = (layers[-1][0] * 0.1, layers[-1][1])
        if self.way == "concatenation":
            told = [normal(width, self.hidden[0], 2**0.5)]
        else:
            told = [normal(width, 2 * size, 1.0) for size in self.hidden]
        rivals = None
        if self.rivals:
            flat = data.options.rows.reshape(-1, data.options.rows.shape[-1])
            pick = torch.randint(len(flat), (self.rivals,), generator=generator)
            rivals = inner.steps(flat[pick])
        return TasteMLPWorth(inner, tuple(layers), tuple(told), width, rivals)


@dataclass(frozen=True)
class TasteMLPWorth:
    """The layers after training.

    Attributes:
        inner: standardises. layers: (weight, bias) of the path of the option.
        told: (weight, bias) of the path of the taste: one for concatenation, one per hidden layer for FiLM.
        width: Z. rivals: (J, D) standardised rows, or None.
    """

    inner: LinearWorth
    layers: tuple[tuple[Tensor, Tensor], ...]
    told: tuple[tuple[Tensor, Tensor], ...]
    width: int
    rivals: Float[Tensor, "J D"] | None = None

    @property
    def discount(self) -> float:
        return self.inner.discount

    def features(self, options: Options) -> Float[Tensor, "N *t D"]:
        """Standardised rows of options."""
        return self.inner.steps(options.rows)

    def first(self, x: Float[Tensor, "*n D"]) -> Float[Tensor, "*n H"]:
        """What of the first layer is the option's alone, to be computed once for all tastes."""
        weight, bias = self.layers[0]
        return x.to(weight) @ weight + bias

    def score(self, first: Float[Tensor, "*a H"], z: Float[Tensor, "*c Z"]) -> Tensor:
        """Utils of rows from `first` to tastes; the axes before the last are broadcast."""
        film = self.told[0][0].shape[1] == 2 * self.layers[0][0].shape[1]
        value = first
        for k, (weight, bias) in enumerate(self.layers):
            if k:
                value = value @ weight + bias
            if k + 1 == len(self.layers):
                break
            if film:
                scale, shift = (z @ self.told[k][0] + self.told[k][1]).chunk(2, -1)
                value = (1 + scale) * value + shift
            elif k == 0:
                value = value + (z @ self.told[0][0] + self.told[0][1])
            value = torch.nn.functional.silu(value)
        return value[..., 0]

    def paid(self, x: Float[Tensor, "*n D"], z: Float[Tensor, "G Z"]) -> Float[Tensor, "*n G"]:
        """What single rows are worth to each of G tastes: utils, or chances to win against the rivals."""
        value = self.score(self.first(x)[..., None, :], z)
        if self.rivals is None:
            return value
        other = self.score(self.first(self.rivals)[:, None, :], z)  # (J, G)
        return torch.stack([torch.sigmoid(value - o) for o in other]).mean(0)
