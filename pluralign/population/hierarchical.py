"""Hierarchical Bayes: normal tastes around a common mean. The mixed logit."""

from collections.abc import Callable
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
TEMPERS = (1.0, 0.5, 0.25)


@dataclass(frozen=True)
class Hierarchical:
    """z_r ~ N(mean, covariance), answers by the rule given z_r.

    Attributes:
        utility, rule: as in Pooled.
        method: "laplace" (EM with a normal approximation per rater: fast), "svi" or "nuts" (Pyro: slower,
            exact in the limit, with diagnostics).
        rank: for wide utilities, the number of directions along which raters differ; "auto" chooses among
            1, 2, 4 by held-out likelihood. Narrow utilities (up to 64 features) have a full covariance.
        ridge: for wide utilities, 1 / variance of the weights of the common worth and of the directions.
        temper: factor on the fitted covariance; "auto" chooses among 1, 1/2, 1/4 by held-out likelihood.
            Directions estimated from the very answers they explain overstate how far raters differ.
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
    ridge: float = 3.0
    temper: float | str = "auto"
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
            fixed = worth
            return self._chosen(data, streams, held, (0,), lambda part, _: self._laplace(part, fixed, {}))
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

        def solve(part: Comparisons, rank: int) -> Belief:
            worth = narrowed(self.utility, self.rule, part, streams, count=rank, ridge=self.ridge)
            assert isinstance(worth, LinearWorth)
            worth = refined(self.utility, self.rule, part, worth, streams, self.strength, ridge=self.ridge)
            return self._laplace(part, worth, {"rank": rank})

        ranks = RANKS if self.rank == "auto" else (int(self.rank),)
        return self._chosen(data, streams, held, ranks, solve)

    def _chosen(
        self,
        data: Comparisons,
        streams: Streams,
        held: Comparisons | None,
        ranks: tuple[int, ...],
        solve: Callable[[Comparisons, int], Belief],
    ) -> Belief:
        """Rank and temper by held-out likelihood; each rank is fitted once for all tempers."""
        tempers = TEMPERS if self.temper == "auto" else (float(self.temper),)
        fits: dict[tuple[int, int], Belief] = {}

        def candidate(part: Comparisons, rank: int, temper: float) -> Belief:
            key = (id(part), rank)
            if key not in fits:
                fits[key] = solve(part, rank)
            return tempered(fits[key], part, temper)

        options = {(q, t): (lambda part, q=q, t=t: candidate(part, q, t)) for q in ranks for t in tempers}
        (rank, temper), choice = choose(options, data, streams.below("temper"), held)
        found = candidate(data, rank, temper)
        notes = {**found.diagnostics, "temper": temper, "shrinkage": found.shrinkage}
        return replace(found, diagnostics={**notes, "choice_table": choice.table})


def tempered(belief: Belief, data: Comparisons, temper: float) -> Belief:
    """The same belief with a smaller spread between raters, and their tastes drawn in accordingly."""
    if temper == 1:
        return belief
    assert isinstance(belief.prior, Gaussian)
    prior = replace(belief.prior, covariance=belief.prior.covariance * temper)
    draws = prior.posterior(data, belief.worth.basis(data.options), belief.rule)
    return replace(belief, prior=prior, draws=draws)


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
    guess = eye * min(1.0, 0.5 * width / max(rows.contrast, 1e-12))
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
