"""Hierarchical Bayes: normal tastes around a common mean. The mixed logit."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.held_out import check_ridge, check_volume
from pluralign.population.laplace import laplace_em
from pluralign.population.normal import normal_em, surer
from pluralign.population.pooled import need_answers
from pluralign.population.prior import Gaussian, inverse
from pluralign.population.quieter import chosen
from pluralign.population.rows import Rows
from pluralign.population.subspace import narrowed, refined
from pluralign.population.wide import is_wide
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, Utility, Worth
from pluralign.utility.linear import LinearWorth

EM = ("normal", "laplace")
METHODS = ("auto", *EM, "svi", "nuts")
RANKS = (1, 2, 4)


@dataclass(frozen=True)
class Hierarchical:
    """z_r ~ N(mean, covariance), answers by the rule given z_r.

    Attributes:
        utility, rule: as in Pooled.
        method: "normal" (EM with the normal distribution nearest to each rater's posterior), "laplace" (the same
            at the mode: faster; with few answers each it finds a fraction of the spread, which errs on the safe
            side), "auto" (of these two the one that predicts held-out answers better), "svi" or "nuts" (Pyro:
            slower, exact in the limit, with diagnostics).
        rank: for wide utilities, the number of directions along which raters differ; "auto" chooses among
            1, 2, 4 by held-out likelihood. Narrow utilities (up to 64 features) have a full covariance.
        ridge: for wide utilities, 1 / variance of the weights of the common worth and of the directions.
        temper: factor on the fitted covariance; "auto" chooses among 1, 1/2, 1/4 by held-out likelihood, 1 unless another is
            better by half a standard error.
            Directions estimated from the very answers they explain overstate how far raters differ. For EM.
        volume: factor on all worths, what raters have in common too; where answers are fewer than 5,000 and `temper` is
            chosen, "auto" chooses among 1, 1/2, 1/4, .1 and .03 by held-out likelihood, as few answers about wide features
            agree with some direction by chance. Otherwise 1.
        draws: tastes that describe each rater.
        rounds: EM rounds at most.
        strength: pseudo-raters behind the prior guess that raters hardly differ (an inverse Wishart); keeps the
            covariance proper when raters are few.
        chains, warmup: for "nuts". steps: for "svi".

    Source: Train (2009), chapters 6 and 12; the nearest normal distribution by Opper and Archambeau (2009),
    Laplace's approximation as in Rasmussen and Williams (2006), section 3.4.
    """

    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    method: str = "auto"
    rank: int | str = "auto"
    ridge: float = 3.0
    temper: float | str = "auto"
    volume: float | str = "auto"
    draws: int = 64
    rounds: int = 60
    strength: float = 2.0
    chains: int = 2
    warmup: int = 300
    steps: int = 2000

    def __post_init__(self) -> None:
        check_ridge(self.ridge)
        check_volume(self.volume)
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
            if self.method in ("svi", "nuts"):
                raise ValueError(
                    f"`method` {self.method!r} takes up to 64 features, these options have {worth.width} (an own worth "
                    'of each option counted); use method="auto", or describe the options by fewer features.'
                )
            return self._fit_wide(data, streams, held)
        if not isinstance(worth, LinearWorth):
            worth = narrowed(self.utility, self.rule, data, streams)
        if self.method not in ("svi", "nuts"):
            fixed = worth
            return self._chosen(
                data, streams, held, (0,), lambda part, _, way: self._em(part, fixed, way, {})
            )
        from pluralign.population import hierarchical_pyro

        fitted = hierarchical_pyro.svi if self.method == "svi" else hierarchical_pyro.nuts
        prior, draws, notes = fitted(self, data, worth, streams)
        return self._belief(data, worth, prior, draws, notes)

    def _em(self, data: Comparisons, worth: Worth, way: str, notes: dict) -> Belief:
        rows = Rows.of(data, worth.basis(data.options), self.rule)
        fit = laplace_em if way == "laplace" else normal_em
        mean, covariance, middle, sharp, rounds, evidence = fit(
            rows, self.rounds, self.strength, anchored=False
        )
        prior = Gaussian(surer(mean, covariance, sharp, rows), covariance, self.draws)
        draws = prior.around(middle, sharp, rows, inverse(covariance))
        return self._belief(data, worth, prior, draws, {**notes, "rounds": rounds, "log_evidence": evidence})

    def _belief(self, data: Comparisons, worth: Worth, prior: Gaussian, draws: Draws, notes: dict) -> Belief:
        assert data.rater_ids is not None
        notes = {**notes, "spread": float(torch.trace(prior.covariance))}
        belief = Belief(worth, self.rule, prior, draws, data.rater_ids, self, notes)
        return replace(belief, diagnostics={**notes, "shrinkage": belief.shrinkage})

    def _fit_wide(self, data: Comparisons, streams: Streams, held: Comparisons | None) -> Belief:
        """Tastes vary along few directions, found by moments and then refined by alternating exact steps."""

        narrow: dict[tuple[int, int], tuple[Comparisons, LinearWorth]] = {}

        def directions(part: Comparisons, rank: int) -> LinearWorth:
            worth = narrowed(self.utility, self.rule, part, streams, count=rank, ridge=self.ridge)
            assert isinstance(worth, LinearWorth)
            return refined(self.utility, self.rule, part, worth, streams, self.strength, ridge=self.ridge)

        def solve(part: Comparisons, rank: int, way: str) -> Belief:
            key = (id(part), rank)
            if key not in narrow:
                narrow[key] = (part, directions(part, rank))
            return self._em(part, narrow[key][1], way, {"rank": rank})

        ranks = RANKS if self.rank == "auto" else (int(self.rank),)
        return self._chosen(data, streams, held, ranks, solve)

    def _chosen(
        self,
        data: Comparisons,
        streams: Streams,
        held: Comparisons | None,
        ranks: tuple[int, ...],
        solve: Callable[[Comparisons, int, str], Belief],
    ) -> Belief:
        """Rank, method and temper by held-out likelihood."""
        ways = EM if self.method == "auto" else (self.method,)
        pairs = [(rank, way) for rank in ranks for way in ways]
        found, (_, way), notes = chosen(
            lambda part, pair: solve(part, *pair), pairs, self.temper, self.volume, data, streams, held
        )
        return replace(found, diagnostics={**found.diagnostics, "method": way, **notes})
