"""A prior learnt as a cloud of tastes with shares: whatever shape a population has, Bayes' rule is exact."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.draws import Draws
from pluralign.population.rows import Rows

AT_ONCE = 1 << 24  # numbers held per piece, 128 MB
LEAST = 1e-3  # of an even share; tastes with less are left out


@dataclass(frozen=True)
class Cloud:
    """S tastes with their shares, many more than there are camps, and none a voice of its own.

    Attributes:
        z: (S, Z). share: (S,), sums to one.
    """

    z: Float[Tensor, "S Z"]
    share: Float[Tensor, " S"]

    @property
    def mean(self) -> Float[Tensor, " Z"]:
        return self.share @ self.z

    @property
    def covariance(self) -> Float[Tensor, "Z Z"]:
        gap = self.z - self.mean
        return (gap * self.share[:, None]).T @ gap

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]:
        """Tastes of `count` new raters."""
        return self.z[torch.multinomial(self.share, count, replacement=True, generator=generator)]

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws:
        """Each rater's chance to have each taste."""
        told = panel(Rows.of(data, basis, rule), self.z)
        return Draws.atoms(self.z, torch.softmax(self.share.log()[:, None] + told, 0))


def panel(rows: Rows, z: Float[Tensor, "S Z"]) -> Float[Tensor, "S R"]:
    """Log-likelihood of all answers of each rater under each taste, in blocks of tastes."""
    block = max(1, AT_ONCE // max(1, len(rows) * rows.x.shape[1]))
    return torch.cat([rows.log_prob(part) for part in z.split(block)])


def clouded(
    draws: Draws, rows: Rows, *, count: int, rounds: int, louder: float, generator: torch.Generator
) -> Cloud:
    """The cloud under which the raters' answers are most likely, among the tastes that their posteriors hold.

    Args:
        draws: of the raters who answered, under a rougher prior. rows: their answers.
        count: tastes drawn from them. rounds: of EM for the shares.
        louder: factor on the tastes; rougher priors hold back people who never err.

    Source: Kiefer and Wolfowitz (1956) for the estimate; as a prior of variational models, VampPrior (Tomczak and
    Welling 2018), whose components are posteriors too.
    """
    present = (torch.bincount(rows.rater, minlength=rows.raters) > 0).nonzero()[:, 0]
    who = present[torch.randint(len(present), (count,), generator=generator)]
    pick = torch.multinomial(draws.weight[:, who].T, 1, generator=generator)[:, 0]
    z = draws.z[pick, who] * louder
    log = panel(rows, z)[:, present]
    chance = (log - log.amax(0)).exp()
    share = torch.full((count,), 1 / count, dtype=chance.dtype)
    for _ in range(rounds):
        mine = chance * share[:, None]
        share = (mine / mine.sum(0)).mean(1)
    kept = share > LEAST / count
    return Cloud(z[kept], share[kept] / share[kept].sum())
