"""New people are like people met: a prior that is normal around each of many known tastes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.draws import Draws
from pluralign.population.grids import inverse, normal_grid, root
from pluralign.population.newton import modes
from pluralign.population.prior import own_log_prob
from pluralign.population.rows import Rows, buckets

NOBODY = 16  # tastes that stand for those who are like nobody met


@dataclass(frozen=True)
class Around:
    """Tastes from the mixture of N(z_s, spread), all s alike, and N(0, spread) as if `strength` more people had been met.

    Bayes' rule for the few known tastes that explain a rater's answers best: the most probable taste around each,
    weighted by how probable it is (Laplace's approximation, whose determinants are nearly equal). Who has not answered
    is like anybody met, or, where few were, like nobody.

    Attributes:
        z: (S, Z) known tastes. spread: (Z, Z) covariance around each.
        near: how many known tastes a rater who answered is compared with.
        draws: how many known tastes stand for a rater who did not.
        strength: pseudo-people of whom nothing is known.

    Source: a kernel estimate of the population (Kiefer and Wolfowitz 1956 without a kernel), cut off as nearest
    neighbours are; the pseudo-people are those of a Dirichlet process (Ferguson 1973).
    """

    z: Float[Tensor, "S Z"]
    spread: Float[Tensor, "Z Z"]
    near: int = 8
    draws: int = 64
    strength: float = 2.0

    @property
    def met(self) -> float:
        """The chance that somebody new is like somebody met."""
        return len(self.z) / (len(self.z) + self.strength)

    @property
    def size(self) -> int:
        """How many tastes describe a rater."""
        return min(self.draws, len(self.z)) + NOBODY

    @property
    def mean(self) -> Float[Tensor, " Z"]:
        """(Z,) the expected taste."""
        return self.met * self.z.mean(0)

    @property
    def covariance(self) -> Float[Tensor, "Z Z"]:
        """(Z, Z) how tastes differ."""
        return self.met * self.z.T @ self.z / len(self.z) + self.spread - torch.outer(self.mean, self.mean)

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]:
        """Tastes of `count` new raters."""
        which = torch.randint(len(self.z), (count,), generator=generator)
        met = torch.rand(count, 1, generator=generator, dtype=self.z.dtype) < self.met
        noise = torch.randn(count, self.z.shape[1], generator=generator, dtype=self.z.dtype)
        return self.z[which] * met + noise @ root(self.spread).T

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws:
        """Weighted tastes of every rater."""
        rows = Rows.of(data, basis, rule)
        most, raters = len(self.z), data.raters
        count = min(self.draws, most)
        near = min(self.near, count)
        nobody = normal_grid(NOBODY, self.z.shape[1]).to(self.z) @ root(self.spread).T
        like = torch.cat([self.z[torch.arange(count) * most // count], nobody])
        chance = torch.tensor(
            [self.met / count] * count + [(1 - self.met) / NOBODY] * NOBODY, dtype=self.z.dtype
        )
        z = like[:, None].expand(-1, raters, -1).clone()
        weight = chance[:, None].expand(-1, raters).to(z).clone()
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
        rest = torch.zeros(len(z) - near, raters).to(log)
        weight[:, told] = torch.cat([torch.softmax(log, 0), rest])[:, told]
        return Draws(z, weight)


__all__ = ["Around"]
