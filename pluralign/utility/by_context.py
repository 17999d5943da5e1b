"""A worth that depends on a context: below a threshold one judgement, above it another."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options


@dataclass(frozen=True)
class ByContext:
    """G ways to judge; way g uses the head `below[g]` where its context is up to the threshold, else `above[g]`.

    A taste is a weight for every way. Gates are steps; a gate that is soft for a person is a person whose
    threshold is not known, since predictions average probabilities over the ways.

    Attributes:
        inner: a worth with a basis of width Z.
        heads: (H, Z) the judgements.
        below, above: (G,) which head. column: (G,) which column of the context. threshold: (G,) in its unit.
        usual: (G,) how often way g was above its threshold in training; the worth of an option without a context
            is the average over training contexts.
    """

    inner: Any
    heads: Float[Tensor, "H Z"]
    below: Int[Tensor, " G"]
    above: Int[Tensor, " G"]
    column: Int[Tensor, " G"]
    threshold: Float[Tensor, " G"]
    usual: Float[Tensor, " G"]

    @property
    def width(self) -> int:
        """G."""
        return len(self.threshold)

    def basis(self, options: Options) -> Float[Tensor, "N G"]:
        """The worth to each way, on average over the contexts of training."""
        return self._usually(self.inner.basis(options) @ self.heads.T)

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b G"]:
        """The worth of single rows, on average over the contexts of training."""
        return self._usually(self.inner.steps(rows) @ self.heads.T)

    def shown(self, data: Comparisons) -> Float[Tensor, "M K G"]:
        """The worth of every place of every slate to each way, in the context of the answer.

        Raises:
            ValueError: the questions have no context.
        """
        if data.context is None:
            raise ValueError(
                "these tastes depend on the `context`, and the questions have none; say in which."
            )
        value = (self.inner.basis(data.options) @ self.heads.T)[data.slate.clamp_min(0)]
        over = columns(data.context)[:, self.column] > self.threshold
        head = torch.where(over, self.above, self.below)
        return value.gather(2, head[:, None].expand(-1, value.shape[1], -1))

    def _usually(self, value: Tensor) -> Tensor:
        return value[..., self.below] * (1 - self.usual) + value[..., self.above] * self.usual


def columns(context: Tensor) -> Float[Tensor, "M C"]:
    """The context as columns of numbers."""
    return (context[:, None] if context.dim() == 1 else context).double()
