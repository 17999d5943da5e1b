"""Adam, without the compiler that torch.optim loads (seconds, the first time it is used); and trees of tensors."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


class Adam:
    """Moves `tensors` in place against their gradients.

    Source: Kingma and Ba (2015); gradients longer than `longest` are cut to that length, all together.
    """

    def __init__(
        self, tensors: list[Tensor], *, betas: tuple[float, float] = (0.9, 0.99), longest: float = 1.0
    ) -> None:
        self.tensors, self.betas, self.longest = tensors, betas, longest
        self.mean = [torch.zeros_like(t) for t in tensors]
        self.square = [torch.zeros_like(t) for t in tensors]
        self.count = 0

    @torch.no_grad()
    def step(self, slopes: Sequence[Tensor], rate: float) -> None:
        """One step of size `rate`."""
        self.count += 1
        one, two = self.betas
        size = torch.stack([slope.square().sum() for slope in slopes]).sum().sqrt()
        cut = min(1.0, self.longest / max(float(size), 1e-12))
        for tensor, slope, mean, square in zip(self.tensors, slopes, self.mean, self.square, strict=True):
            slope = slope * cut
            mean.lerp_(slope, 1 - one)
            square.lerp_(slope.square(), 1 - two)
            scale = (square / (1 - two**self.count)).sqrt() + 1e-8
            tensor -= rate / (1 - one**self.count) * mean / scale


def leaves(tree: Any) -> list[Tensor]:
    """The tensors of nested tuples, in order."""
    return [tree] if isinstance(tree, Tensor) else [t for part in tree for t in leaves(part)]


def filled(tree: Any, tensors: Sequence[Tensor]) -> Any:
    """Nested tuples of the same form, with other tensors."""
    return _filled(tree, iter(tensors))


def _filled(tree: Any, rest: Iterator[Tensor]) -> Any:
    return next(rest) if isinstance(tree, Tensor) else tuple(_filled(part, rest) for part in tree)
