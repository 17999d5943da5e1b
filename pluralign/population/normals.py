"""Several kinds of people, and people of a kind differ: a prior that is a mixture of normal distributions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.draws import Draws
from pluralign.population.grids import inverse, root
from pluralign.population.nearest import posteriors
from pluralign.population.prior import drawn_around, truncated
from pluralign.population.rows import Rows, buckets


@dataclass(frozen=True)
class Normals:
    """Tastes from the mixture of G normal distributions that share a covariance.

    Bayes' rule draws a rater's tastes around the posterior that each kind would have, and weights them by the exact
    posterior: within a kind as `Gaussian` does, and kinds by the evidence that the same draws give.

    Attributes:
        mean: (G, Z) of each kind. share: (G,), sums to one.
        covariance: (Z, Z) of tastes within a kind.
        draws: how many tastes describe a rater in each kind.
    """

    mean: Float[Tensor, "G Z"]
    share: Float[Tensor, " G"]
    covariance: Float[Tensor, "Z Z"]
    draws: int = 64

    @property
    def size(self) -> int:
        """How many tastes describe a rater."""
        return self.draws * len(self.mean)

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]:
        """Tastes of `count` new raters."""
        kind = torch.multinomial(self.share, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.mean.shape[1], generator=generator, dtype=self.mean.dtype)
        return self.mean[kind] + noise @ root(self.covariance).T

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws:
        """Weighted tastes of every rater, those of the first kind first."""
        rows = Rows.of(data, basis, rule)
        precision, groups = inverse(self.covariance), buckets(rows)
        found = [posteriors(groups, rule, mean, precision, data.raters) for mean in self.mean]
        return self.around(
            torch.stack([middle for middle, _, _ in found]),
            torch.stack([sharp for _, sharp, _ in found]),
            rows,
        )

    def around(self, middle: Float[Tensor, "G R Z"], sharp: Float[Tensor, "G R Z Z"], rows: Rows) -> Draws:
        """Draws from N(middle, sharp^-1) of each kind and rater, weighted by the exact posterior over it."""
        precision = inverse(self.covariance)
        tastes, weights, evidence = [], [], []
        for mean, centre, sure in zip(self.mean, middle, sharp, strict=True):
            z, log = drawn_around(mean, precision, centre, sure, rows, self.draws)
            tastes.append(z)
            weights.append(truncated(log))
            evidence.append(torch.logsumexp(log, 0) - torch.logdet(sure) / 2)
        chance = torch.softmax(torch.stack(evidence) + self.share.log()[:, None], 0)  # (G, R)
        chance = torch.where(rows.present, chance, self.share[:, None])
        return Draws(torch.cat(tastes), torch.cat([w * c for w, c in zip(weights, chance, strict=True)]))

    @property
    def corners(self) -> Float[Tensor, "G Z"]:
        """(G, Z) the means, which speak for their kinds."""
        return self.mean

    def shares(self, draws: Draws) -> Float[Tensor, " G"]:
        """(G,) how many of the raters of `draws` are of each kind; without raters, of newcomers."""
        return self.chances(draws).mean(1) if draws.raters else self.share

    def chances(self, draws: Draws) -> Float[Tensor, "G R"]:
        """(G, R) each rater's chance to be of each kind, from that rater's draws."""
        return draws.weight.reshape(len(self.mean), self.draws, -1).sum(1)


__all__ = ["Normals"]
