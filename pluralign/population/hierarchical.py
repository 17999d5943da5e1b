"""Hierarchical Bayes: normal tastes around a common mean. The mixed logit."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.held_out import choose
from pluralign.population.newton import modes
from pluralign.population.pooled import need_answers
from pluralign.population.prior import Gaussian, inverse
from pluralign.population.rows import Bucket, Rows, buckets
from pluralign.population.subspace import narrowed, refined
from pluralign.population.wide import is_wide
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, Utility, Worth
from pluralign.utility.linear import LinearWorth

METHODS = ("laplace", "svi", "nuts")
RANKS = (1, 2, 4)
RIDGES = (1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Hierarchical:
    """z_r ~ N(mean, covariance), answers by the rule given z_r.

    Attributes:
        utility, rule: as in Pooled.
        method: "laplace" (EM with a normal approximation per rater: fast), "svi" or "nuts" (Pyro: slower,
            exact in the limit, with diagnostics).
        rank: for wide utilities, the number of directions along which raters differ; "auto" chooses among
            1, 2, 4 by held-out likelihood. Narrow utilities (up to 64 features) have a full covariance.
        ridge: for wide utilities, 1 / variance of the weights of the common worth and of the directions; "auto"
            chooses among 1, 3, 10.
        draws: tastes that describe each rater.
        rounds: EM rounds at most.
        strength: pseudo-raters behind the prior guess that raters hardly differ (an inverse Wishart); keeps the
            covariance proper when raters are few.
        chains, warmup: for "nuts". steps: for "svi".

    Source: Train (2009), chapters 6 and 12; Laplace-EM as in Rasmussen and Williams (2006), section 3.4.
    """

    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    method: str = "laplace"
    rank: int | str = "auto"
    ridge: float | str = "auto"
    draws: int = 64
    rounds: int = 60
    strength: float = 2.0
    chains: int = 2
    warmup: int = 300
    steps: int = 2000

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {self.method!r}.")
        if self.draws < 1:
            raise ValueError(f"`draws` must be at least 1, got {self.draws}.")

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; the belief has `draws` weighted tastes per rater."""
        need_answers(data)
        streams = Streams.of(seed)
        worth = self.utility.start(data, width=None, generator=streams("start"))
        if isinstance(worth, LinearWorth) and is_wide(worth):
            return self._fit_wide(data, streams, held)
        if not isinstance(worth, LinearWorth):
            worth = narrowed(self.utility, self.rule, data, streams)
        if self.method == "laplace":
            return self._laplace(data, worth, {})
        from pluralign.population import hierarchical_pyro

        fitted = hierarchical_pyro.svi if self.method == "svi" else hierarchical_pyro.nuts
        prior, draws, notes = fitted(self, data, worth, streams)
        return self._belief(data, worth, prior, draws, notes)

    def _laplace(self, data: Comparisons, worth: Worth, notes: dict) -> Belief:
        rows = Rows.of(data, worth.basis(data.options), self.rule)
        mean, covariance, mode, curvature, rounds, evidence = laplace_em(
            rows, self.rounds, self.strength, anchored=False
        )
        prior = Gaussian(mean, covariance, self.draws)
        draws = prior.around(mode, curvature, rows, inverse(covariance))
        return self._belief(data, worth, prior, draws, {**notes, "rounds": rounds, "log_evidence": evidence})

    def _belief(self, data: Comparisons, worth: Worth, prior: Gaussian, draws: Draws, notes: dict) -> Belief:
        assert data.rater_ids is not None
        notes = {**notes, "spread": float(torch.trace(prior.covariance))}
        belief = Belief(worth, self.rule, prior, draws, data.rater_ids, self, notes)
        return replace(belief, diagnostics={**notes, "shrinkage": belief.shrinkage})

    def _fit_wide(self, data: Comparisons, streams: Streams, held: Comparisons | None) -> Belief:
        """Tastes vary along few directions, found by moments and then refined by alternating exact steps."""

        def solve(part: Comparisons, rank: int, ridge: float) -> Belief:
            worth = narrowed(self.utility, self.rule, part, streams, count=rank, ridge=ridge)
            assert isinstance(worth, LinearWorth)
            worth = refined(self.utility, self.rule, part, worth, streams, self.strength, ridge=ridge)
            return self._laplace(part, worth, {"rank": rank, "ridge": ridge})

        ranks = RANKS if self.rank == "auto" else (int(self.rank),)
        ridges = RIDGES if self.ridge == "auto" else (float(self.ridge),)
        middle = ridges[len(ridges) // 2]
        rank, by_rank = choose(
            {q: lambda part, q=q: solve(part, q, middle) for q in ranks}, data, streams.below("rank"), held
        )
        ridge, by_ridge = choose(
            {r: lambda part, r=r: solve(part, rank, r) for r in ridges}, data, streams.below("ridge"), held
        )
        found = solve(data, rank, ridge)
        tables = {"rank_table": by_rank.table, "ridge_table": by_ridge.table}
        return replace(found, diagnostics={**found.diagnostics, **tables})


def laplace_em(
    rows: Rows, rounds: int, strength: float, *, anchored: bool, tolerance: float = 1e-4
) -> tuple[Tensor, Tensor, Tensor, Tensor, int, float]:
    """Mean, covariance, and every rater's mode and curvature, by EM with Laplace's approximation.

    Args:
        anchored: the first coordinate is the common worth: its mean stays at one, the others' at zero.

    Returns:
        mean (Z,), covariance (Z, Z), mode (R, Z), curvature (R, Z, Z), rounds run, log evidence in nats.
    """
    groups: list[Bucket] = buckets(rows)
    width = rows.width
    eye = torch.eye(width, dtype=rows.x.dtype)
    present = torch.bincount(rows.rater, minlength=rows.raters) > 0
    count = int(present.sum())
    mean = torch.zeros(width, dtype=rows.x.dtype)
    if anchored:
        mean[0] = 1.0
    # A typical answer should be worth a few utils at most under the first guess.
    typical = rows.x.square().sum(-1).mean().clamp_min(1e-12)
    guess = eye * (0.5 * width / typical).clamp(max=1.0)
    covariance = guess
    mode: Tensor | None = None
    evidence = -torch.inf
    done = 0
    for done in range(1, rounds + 1):
        precision = inverse(covariance)
        mode, curvature, fit = modes(
            groups, rows.rule, mean, precision, rows.raters, start=mode, sweeps=20 if done == 1 else 4
        )
        gap = mode - mean
        pull = torch.einsum("rx,xy,ry->r", gap, precision, gap)
        size = torch.logdet(precision) - torch.logdet(curvature)
        new = float((fit - pull / 2 + size / 2)[present].sum())
        if done > 3 and abs(new - evidence) < tolerance * count:
            evidence = new
            break
        evidence = new
        spread = torch.cholesky_inverse(torch.linalg.cholesky(curvature))
        if not anchored:
            mean = mode[present].sum(0) / (count + 1e-3)
        gap = (mode - mean)[present]
        moment = spread[present].sum(0) + gap.T @ gap
        covariance = (moment + strength * 0.1 * guess) / (count + strength)
    precision = inverse(covariance)
    mode, curvature, _ = modes(groups, rows.rule, mean, precision, rows.raters, start=mode)
    return mean, covariance, mode, curvature, done, evidence


def quadrature_check(rows: Rows, mean: Float[Tensor, " Z"], covariance: Float[Tensor, "Z Z"]) -> Tensor:
    """(R,) log evidence per rater by a dense grid, for one or two dimensions; an oracle for tests."""
    width = len(mean)
    axis = torch.linspace(-8, 8, 401 if width == 1 else 161, dtype=mean.dtype)
    mesh = torch.stack(torch.meshgrid(*[axis] * width, indexing="ij"), -1).reshape(-1, width)
    step = float(axis[1] - axis[0])
    log = (
        -mesh.square().sum(1) / 2
        - width / 2 * torch.log(torch.tensor(2 * torch.pi))
        + width * torch.log(torch.tensor(step))
    )
    z = mean + mesh @ torch.linalg.cholesky(covariance).T
    return torch.logsumexp(rows.log_prob(z) + log[:, None], 0)
