"""A small network as basis: features to Z numbers, worth linear in the taste."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.utility.linear import Linear, LinearWorth


@dataclass(frozen=True)
class MLP:
    """u(x, z) = z . B(x) with B a perceptron; over segments, the discounted sum of it over the steps.

    Attributes:
        hidden: widths of the hidden layers.
        discount: weight of step t of a segment is discount**t.
    """

    hidden: tuple[int, ...] = (64, 64)
    discount: float = 1.0

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.hidden):
            raise ValueError(f"`hidden` must be positive widths, got {self.hidden}.")

    def start(self, data: Comparisons, *, width: int | None, generator: torch.Generator) -> "MLPWorth":
        """Random layers (He et al. 2015) on standardised features; `width` is Z, the number of outputs."""
        inner = Linear(self.discount, identity=False).start(data, width=None, generator=generator)
        sizes = [inner.width, *self.hidden, 1 if width is None else width]
        layers = []
        for fan, out in zip(sizes[:-1], sizes[1:]):
            weight = (
                torch.randn(fan, out, generator=generator, dtype=torch.float64) * (2 / max(fan, 1)) ** 0.5
            )
            layers.append((weight, torch.zeros(out, dtype=torch.float64)))
        # A quiet last layer: training starts from "no preference", not from random opinions.
        layers[-1] = (layers[-1][0] * 0.1, layers[-1][1])
        return MLPWorth(inner, tuple(layers))


@dataclass(frozen=True)
class MLPWorth:
    """The layers after training; `layers` holds (weight, bias), `inner` standardises."""

    inner: LinearWorth
    layers: tuple[tuple[Tensor, Tensor], ...]

    @property
    def width(self) -> int:
        """Z, the number of outputs."""
        return self.layers[-1][0].shape[1]

    @property
    def discount(self) -> float:
        return self.inner.discount

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b Z"]:
        """B(x) of single rows."""
        value = self.inner.steps(rows).to(self.layers[0][0])
        for weight, bias in self.layers[:-1]:
            value = torch.nn.functional.silu(value @ weight + bias)
        weight, bias = self.layers[-1]
        return value @ weight + bias

    def basis(self, options: Options) -> Float[Tensor, "N Z"]:
        """(N, Z): B summed over the steps of an option, each option once."""
        return options.pool(self.steps(options.rows), self.inner.discount)
