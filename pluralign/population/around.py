"""New people are like people met: a prior that is normal around each of many known tastes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.draws import Draws
from pluralign.population.grids import inverse, root
from pluralign.population.newton import modes
from pluralign.population.prior import own_log_prob
from pluralign.population.rows import Rows, buckets


@dataclass(frozen=True)
class Around:
    """Tastes from the mixture of N(z_s, spread), all s alike.

    Bayes' rule for the few known tastes that explain a rater's answers best: the most probable taste around each,
    weighted by how probable it is (Laplace's approximation, whose determinants are nearly equal). Who has not answered
    is like anybody.

    Attributes:
        z: (S, Z) known tastes. spread: (Z, Z) covariance around each.
        near: how many known tastes a rater who answered is compared with.
        draws: how many stand for a rater who did not.

    Source: a kernel estimate of the population (Ferguson 1973, and Kiefer and Wolfowitz 1956 without a kernel), cut off
    as nearest neighbours are.
    """

    z: Float[Tensor, "S Z"]
    spread: Float[Tensor, "Z Z"]
    near: int = 8
    draws: int = 64

    @property
    def mean(self) -> Float[Tensor, " Z"]:
        """(Z,) the expected taste."""
        return self.z.mean(0)

    @property
    def covariance(self) -> Float[Tensor, "Z Z"]:
        """(Z, Z) how tastes differ."""
        gap = self.z - self.mean
        return gap.T @ gap / len(gap) + self.spread

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]:
        """Tastes of `count` new raters."""
        which = torch.randint(len(self.z), (count,), generator=generator)
        noise = torch.randn(count, self.z.shape[1], generator=generator, dtype=self.z.dtype)
        return self.z[which] + noise @ root(self.spread).T

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws:
        """Weighted tastes of every rater."""
        rows = Rows.of(data, basis, rule)
        most, raters = len(self.z), data.raters
        count = min(self.draws, most)
        near = min(self.near, count)
        z = self.z[torch.arange(count) * most // count][:, None].expand(-1, raters, -1).clone()
        weight = torch.full((count, raters), 1 / count).to(z)
        if not len(rows):
            return Draws(z, weight)
        start = self.z[rows.log_prob(self.z).topk(near, 0).indices]  # (near, R, Z)
        precision = inverse(self.spread)
        groups = buckets(rows)
        moved = torch.stack([modes(groups, rule, one, precision, raters)[0] for one in start])
        gap = moved - start
        log = own_log_prob(rows, moved) - torch.einsum("srx,xy,sry->sr", gap, precision, gap) / 2
        told = rows.present
        z[:near, told] = moved[:, told]
        weight[:, told] = torch.cat([torch.softmax(log, 0), torch.zeros(count - near, raters).to(log)])[
            :, told
        ]
        return Draws(z, weight)


__all__ = ["Around"]
