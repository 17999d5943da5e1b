"""How tastes are spread among people we have not met, and what a few answers make of it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.draws import Draws
from pluralign.population.grids import inverse, normal_grid, root
from pluralign.population.nearest import posteriors
from pluralign.population.newton import modes, solve
from pluralign.population.rows import Rows, answer_log_prob, buckets


@runtime_checkable
class Prior(Protocol):
    """A distribution of tastes; `posterior` is Bayes' rule after each rater's answers."""

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]: ...

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws: ...


@dataclass(frozen=True)
class Atoms:
    """G tastes with their shares: camps. Bayes' rule is exact.

    Attributes:
        z: (G, Z). share: (G,), sums to one.
        voice: (G,) in which voice each atom speaks, -1 for none; None: every atom is a voice of its own.
        pace: factor on the log-likelihood of a rater's answers. 1 is Bayes' rule; any other is the Hedge
            algorithm with that learning rate (Freund and Schapire 1997), of which Bayes' rule is one case.
    """

    z: Float[Tensor, "G Z"]
    share: Float[Tensor, " G"]
    voice: Int[Tensor, " G"] | None = None
    pace: float = 1.0

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]:
        """Tastes of `count` new raters."""
        return self.z[torch.multinomial(self.share, count, replacement=True, generator=generator)]

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws:
        """Each rater's chance to be of each atom, from all of that rater's answers together."""
        log = self.share.log()[:, None].expand(-1, data.raters).clone()
        if len(data):
            told = Rows.of(data, basis @ self.z.T, rule).log_prob(torch.eye(len(self.z)).to(basis))
            log = log + self.pace * told
        return Draws.atoms(self.z, torch.softmax(log, 0))


@dataclass(frozen=True)
class Gaussian:
    """Normal tastes. Bayes' rule by the nearest normal distribution, corrected by importance weights.

    Attributes:
        mean: (Z,). covariance: (Z, Z).
        draws: how many tastes describe a rater; 1 keeps the most probable taste alone.
    """

    mean: Float[Tensor, " Z"]
    covariance: Float[Tensor, "Z Z"]
    draws: int = 64

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]:
        """Tastes of `count` new raters."""
        noise = torch.randn(count, len(self.mean), generator=generator, dtype=self.mean.dtype)
        return self.mean + noise @ root(self.covariance).T

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws:
        """Draws around each rater's most probable taste."""
        rows = Rows.of(data, basis, rule)
        precision = inverse(self.covariance)
        find = modes if self.draws == 1 else posteriors
        middle, sharp, _ = find(buckets(rows), rule, self.mean, precision, data.raters)
        return self.around(middle, sharp, rows, precision)

    def around(
        self, middle: Float[Tensor, "R Z"], sharp: Float[Tensor, "R Z Z"], rows: Rows, precision: Tensor
    ) -> Draws:
        """Draws from N(middle, sharp^-1) for each rater, weighted by the exact posterior over it."""
        if self.draws == 1:
            return Draws(middle[None], torch.ones(1, len(middle)).to(middle))
        z, log = drawn_around(self.mean, precision, middle, sharp, rows, self.draws)
        return Draws(z, truncated(log))


def drawn_around(
    mean: Float[Tensor, " Z"],
    precision: Float[Tensor, "Z Z"],
    middle: Float[Tensor, "R Z"],
    sharp: Float[Tensor, "R Z Z"],
    rows: Rows,
    count: int,
) -> tuple[Float[Tensor, "S R Z"], Float[Tensor, "S R"]]:
    """Draws from N(middle, sharp^-1) of each rater, and their log importance weights under the prior N(mean, precision^-1).

    A rater's weights lack what all draws of all such priors share, and the size of `sharp`.
    """
    raters, width = middle.shape
    noise = normal_grid(count, width).to(middle)
    factor = torch.linalg.cholesky(sharp)  # sharp = factor factor', so the spread is factor'^-1
    tail = torch.linalg.solve_triangular(factor.mT, noise.T.expand(raters, -1, -1), upper=True)
    z = middle + tail.permute(2, 0, 1)
    if not len(rows):
        return z, torch.zeros(count, raters).to(z)
    gap = z - mean
    target = own_log_prob(rows, z) - torch.einsum("srx,xy,sry->sr", gap, precision, gap) / 2
    return z, target + noise.square().sum(1)[:, None] / 2


def truncated(log: Float[Tensor, "S R"]) -> Float[Tensor, "S R"]:
    """Importance weights, none more than sqrt(S) times the average (Ionides 2008)."""
    weight = torch.softmax(log, 0).clamp_max(len(log) ** -0.5)
    return weight / weight.sum(0)


def own_log_prob(rows: Rows, z: Float[Tensor, "S R Z"]) -> Float[Tensor, "S R"]:
    """Log-likelihood of each rater's answers under that rater's draws; answers in blocks to bound memory."""
    out = torch.zeros(z.shape[:2], dtype=z.dtype)
    block = max(1, (1 << 22) // max(1, len(z) * z.shape[2]))
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        rater = rows.rater[part]
        eta = torch.einsum("smz,mjz->smj", z[:, rater], rows.x[part])
        if rows.absent is not None:
            eta = eta.masked_fill(rows.absent[part], -torch.inf)
        value = answer_log_prob(rows.rule, eta, rows.label[part])
        if rows.weight is not None:
            value = value * rows.weight[part]
        out.index_add_(1, rater, value)
    return out


__all__ = ["Atoms", "Gaussian", "Prior", "inverse", "normal_grid", "root", "solve"]
