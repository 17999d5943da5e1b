"""What we know of a rater: a weighted set of tastes. Everything downstream sees draws, never the method."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.brief import brief


@dataclass(frozen=True)
class Draws:
    """S weighted tastes for each of R raters.

    One draw is a point estimate (pooled, MAP); G atoms are camps; S samples are a continuous posterior.

    Attributes:
        z: (S, R, Z). Where all raters share the same atoms, the rater axis is expanded and costs no memory.
        weight: (S, R), each rater's weights sum to one.
    """

    z: Float[Tensor, "S R Z"]
    weight: Float[Tensor, "S R"]

    def __post_init__(self) -> None:
        if self.z.dim() != 3 or self.weight.shape != self.z.shape[:2]:
            raise ValueError(
                f"`z` must be (draws, raters, Z) and `weight` (draws, raters), got {tuple(self.z.shape)} "
                f"and {tuple(self.weight.shape)}."
            )
        total = self.weight.sum(0)
        if len(total) and not bool(((total - 1).abs() < 1e-4).all()):
            worst = int((total - 1).abs().nan_to_num(torch.inf).argmax())
            raise ValueError(
                f"`weight` must sum to one over the draws of each rater; rater {worst} has {total[worst]}."
            )

    def __repr__(self) -> str:
        return brief(self)

    @staticmethod
    def atoms(z: Float[Tensor, "S Z"], weight: Float[Tensor, "S R"]) -> "Draws":
        """The same S tastes for everybody, weighted by rater."""
        return Draws(z[:, None].expand(-1, weight.shape[1], -1), weight)

    @property
    def raters(self) -> int:
        """R."""
        return self.z.shape[1]

    @property
    def shared(self) -> bool:
        """Whether all raters have the same tastes and differ in weights alone."""
        return self.raters > 0 and (self.z.stride(1) == 0 or self.raters == 1)

    @property
    def mean(self) -> Float[Tensor, "R Z"]:
        """(R, Z) the expected taste."""
        return torch.einsum("srz,sr->rz", self.z, self.weight)

    @property
    def covariance(self) -> Float[Tensor, "R Z Z"]:
        """(R, Z, Z) how unsure the taste is; zero for a point estimate."""
        gap = self.z - self.mean
        return torch.einsum("sr,srx,sry->rxy", self.weight, gap, gap)

    @property
    def effective(self) -> Float[Tensor, " R"]:
        """(R,) the effective number of draws, 1 / sum of squared weights."""
        return 1 / self.weight.square().sum(0)

    def interval(self, level: float = 0.95) -> tuple[Tensor, Tensor]:
        """(R, Z) twice: the central interval of each coordinate of the taste."""
        order = self.z.argsort(0)
        z = self.z.gather(0, order)
        mass = self.weight[..., None].expand_as(self.z).gather(0, order).cumsum(0)
        low = (mass < (1 - level) / 2).sum(0).clamp(max=len(z) - 1)
        high = (mass < 1 - (1 - level) / 2).sum(0).clamp(max=len(z) - 1)
        return z.gather(0, low[None])[0], z.gather(0, high[None])[0]

    def take(self, rater: Int[Tensor, " n"]) -> "Draws":
        """The draws of these raters, in that order."""
        if self.shared:
            return Draws.atoms(self.z[:, 0], self.weight[:, rater])
        return dataclasses.replace(self, z=self.z[:, rater], weight=self.weight[:, rater])


def joined(known: Draws, new: Draws) -> Draws:
    """The raters of `known`, then those of `new`; where one has fewer draws, its first are repeated with no weight."""
    most = max(len(known.z), len(new.z))
    known, new = _filled(known, most), _filled(new, most)
    weight = torch.cat([known.weight, new.weight], 1)
    if known.shared and new.shared and torch.equal(known.z[:, 0], new.z[:, 0]):
        return Draws.atoms(known.z[:, 0], weight)
    return Draws(torch.cat([known.z, new.z], 1), weight)


def _filled(draws: Draws, most: int) -> Draws:
    lack = most - len(draws.z)
    if not lack:
        return draws
    none = torch.zeros(lack, draws.raters).to(draws.weight)
    return Draws(torch.cat([draws.z, draws.z[:1].expand(lack, -1, -1)]), torch.cat([draws.weight, none]))
