"""A worth that drifts: tastes that walk at random over the time of the answers."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options


@dataclass(frozen=True)
class OverTime:
    """basis(option) times functions of time: a still taste over these columns is a walking one over the options.

    The functions are Legendre polynomials, the k-th of mean square (stride / (k pi))^2: those are the variances of the
    components of Brownian motion about its mean, so independent tastes of equal spread are the smooth part of a
    random walk. (Its own sines are flat at the last answer, just where one wants to look ahead.) Time runs from 0
    at the first answer in training to 1 at the last; outside, the walk is expected to stay where it is.

    Attributes:
        inner: a worth with a basis of width Z.
        start, end: time of the first and the last answer in training, in the unit of the data.
        modes: F - 1, how many functions follow the constant.
        stride: how far a taste walks in all, relative to its spread at the start.
        matrix: (F Z, Q) the kinds of walk there are, or None: any.
    """

    inner: Any
    start: float
    end: float
    modes: int
    stride: float = 1.0
    matrix: Float[Tensor, "FZ Q"] | None = None

    @property
    def width(self) -> int:
        """Q, or F Z: all weights at the constant first."""
        return (1 + self.modes) * self.inner.width if self.matrix is None else self.matrix.shape[1]

    def onto(self, matrix: Float[Tensor, "FZ Q"]) -> "OverTime":
        """The same with Q kinds of walk."""
        return replace(self, matrix=matrix)

    def functions(self, time: Float[Tensor, " M"]) -> Float[Tensor, "M F"]:
        """The constant, then polynomials of ever higher degree whose size falls like 1 / degree."""
        span = self.end - self.start
        t = ((time.double() - self.start) / (span if span > 0 else 1.0)).clamp(0, 1)
        x = 2 * t - 1
        legendre = [torch.ones_like(t), x]
        for k in range(1, self.modes):
            legendre.append(((2 * k + 1) * x * legendre[k] - k * legendre[k - 1]) / (k + 1))
        size = [1.0] + [self.stride * math.sqrt(2 * k + 1) / (k * math.pi) for k in range(1, self.modes + 1)]
        return torch.stack([p * s for p, s in zip(legendre, size, strict=False)], 1)

    def basis(self, options: Options) -> Float[Tensor, "N Z"]:
        """The basis now: at the time of the last answer in training."""
        return self._at_the_end(self.inner.basis(options))

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b Z"]:
        """The basis of single rows, now."""
        return self._at_the_end(self.inner.steps(rows))

    def shown(self, data: Comparisons) -> Float[Tensor, "M K Z"]:
        """The basis of every place of every slate, at the time of the answer.

        Raises:
            ValueError: the answers do not say when.
        """
        if data.time is None:
            raise ValueError(
                "these tastes change over time, and the questions have no `time`; say when they are asked."
            )
        value = self.inner.basis(data.options)[data.slate.clamp_min(0)]
        crossed = (self.functions(data.time)[:, None, :, None] * value[:, :, None, :]).flatten(2)
        return crossed if self.matrix is None else crossed @ self.matrix

    def _at_the_end(self, value: Tensor) -> Tensor:
        now = self.functions(torch.tensor([self.end], dtype=torch.float64))[0]
        crossed = (now[:, None] * value[..., None, :]).flatten(-2)
        return crossed if self.matrix is None else crossed @ self.matrix
