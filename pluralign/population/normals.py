"""Several kinds of people, and people of a kind differ: a prior that is a mixture of normal distributions."""

import math
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

    Bayes' rule draws a rater's tastes around the posterior that each kind would have, and weighs them by importance:
    within a kind as `Gaussian` does, and kinds by the evidence that the same draws give.

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
        tastes, weights, evidence = [], [], []
        for mean in self.mean:
            middle, sharp, _ = posteriors(groups, rule, mean, precision, data.raters)
            z, log = drawn_around(mean, precision, middle, sharp, rows, self.draws)
            tastes.append(z)
            weights.append(truncated(log))
            evidence.append(evidence_of(log, precision, sharp))
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


def evidence_of(
    log: Float[Tensor, "S R"], precision: Float[Tensor, "Z Z"], sharp: Float[Tensor, "R Z Z"]
) -> Float[Tensor, " R"]:
    """(R,) log evidence in nats of each rater's answers, from the log weights of `drawn_around`."""
    size = (torch.logdet(precision) - torch.logdet(sharp)) / 2
    return torch.logsumexp(log, 0) - math.log(len(log)) + size


__all__ = ["Normals", "evidence_of"]
