"""Drifting: tastes that change while people answer. A random walk over the time of the answers."""

from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.held_out import choose
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.laplace import laplace_em
from pluralign.population.pooled import need_answers
from pluralign.population.prior import Gaussian, inverse
from pluralign.population.rows import Rows
from pluralign.population.subspace import narrowed
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, Utility, Worth
from pluralign.utility.conditional import laid_out
from pluralign.utility.linear import LinearWorth
from pluralign.utility.over_time import OverTime

MODES = (0, 1, 2, 3)
RANKS = (1, 2, 3, 4, 6, 0)
TEMPERS = (1.0, 0.5)
WIDEST = 96  # weights per taste, functions of time included; a covariance is kept for every rater


@dataclass(frozen=True)
class Drifting:
    """z_r(t) = z_r + a walk; the walk of every rater and what walks have in common are learnt together.

    The walk is written in a few smooth functions of time, so its path is a still, normal taste over
    features crossed with these functions: adapting to answers uses their times, and predictions are for the time of
    the question. Without a `time` column the fit is that of Hierarchical, and `diagnostics["fallback"]` says so.

    Attributes:
        modes: how many functions of time the walk has; 0 stands still. "auto" chooses among 0, 1, 2, 3 by the
            likelihood of every rater's last answers given the earlier ones.
        kinds: Q, how many kinds of walk there are: tastes differ along so many directions in features and time
            together; 0 sets no limit. "auto" chooses among 1, 2, 3, 4, 6 and 0 likewise.
        stride: length of the walk a taste is expected to make, relative to its spread, before any answer is seen.
        utility, rule: as in Pooled.
        temper: factor on the fitted covariance; "auto" chooses among 1 and 1/2 likewise.
        draws, rounds, strength: as in Hierarchical.

    Source: a mixed logit whose tastes are polynomials of time with the spread of a random walk; Laplace-EM as in
    Hierarchical.
    """

    modes: int | str = "auto"
    kinds: int | str = "auto"
    stride: float = 1.0
    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    temper: float | str = "auto"
    draws: int = 64
    rounds: int = 60
    strength: float = 2.0

    def __post_init__(self) -> None:
        if self.modes != "auto" and (not isinstance(self.modes, int) or self.modes < 0):
            raise ValueError(f'`modes` must be 0 or more or "auto", got {self.modes!r}.')

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; the belief's `utility` and `voices` are those at the end of the training time."""
        need_answers(data)
        if data.time is None or float(data.time.max()) == float(data.time.min()):
            return self._still(data, seed, held)
        streams = Streams.of(seed)
        worth = narrowed(self.utility, self.rule, data, streams)
        kept = data
        if held is None:
            kept, held = last_answers(data)
        modes = MODES if self.modes == "auto" else (int(self.modes),)
        draft = replace(self, rounds=min(self.rounds, 20))
        drafts = {m: partial(draft._fit, inner=worth, modes=m) for m in modes}
        count, first = choose(drafts, kept, streams.below("modes"), held)
        ranks = RANKS if self.kinds == "auto" else (int(self.kinds),)
        tempers = TEMPERS if self.temper == "auto" else (float(self.temper),)
        wide: dict[int, Belief] = {}
        fits: dict[tuple[int, int], Belief] = {}

        def candidate(part: Comparisons, rank: int, temper: float) -> Belief:
            if id(part) not in wide:
                wide[id(part)] = self._fit(part, worth, count)
            key = (id(part), rank)
            if key not in fits:
                fits[key] = self._of_kinds(part, wide[id(part)], rank)
            return _tempered(fits[key], part, temper)

        options = {(q, t): partial(candidate, rank=q, temper=t) for q in ranks for t in tempers}
        (rank, temper), second = choose(options, kept, streams.below("kinds"), held)
        found = candidate(data, rank, temper)
        notes = {**found.diagnostics, "modes": count, "kinds": rank, "temper": temper}
        notes = {
            **notes,
            "modes_table": first.table,
            "kinds_table": second.table,
            "shrinkage": found.shrinkage,
        }
        return replace(found, diagnostics=notes)

    def _of_kinds(self, data: Comparisons, belief: Belief, kinds: int) -> Belief:
        """The same walks, kept to the directions that move worths most, and fitted once more."""
        if not 0 < kinds < belief.worth.width:
            return belief
        assert isinstance(belief.prior, Gaussian)
        assert isinstance(belief.worth, OverTime)
        rows = Rows.of(*laid_out(data, belief.worth), self.rule)
        x = rows.x.reshape(-1, rows.width)
        metric = x.T @ x / len(x) + 1e-9 * torch.eye(rows.width, dtype=x.dtype)
        factor = torch.linalg.cholesky(metric)  # the variance of z . x over the answers is |factor' z|^2
        second = belief.prior.covariance + torch.outer(belief.prior.mean, belief.prior.mean)
        _, side = torch.linalg.eigh(factor.T @ second @ factor)
        matrix = torch.linalg.solve(factor.T, side.flip(1)[:, :kinds]).contiguous()
        return self._solved(data, belief.worth.onto(matrix), belief.diagnostics["walk"])

    def _still(self, data: Comparisons, seed: Seed, held: Comparisons | None) -> Belief:
        free = self.temper == "auto"
        still = Hierarchical(
            self.utility,
            self.rule,
            "auto" if free else "normal",
            rank="auto" if free else 2,
            temper=self.temper,
            draws=self.draws,
            rounds=self.rounds,
        )
        found = still.fit(data, seed, held=held)
        why = "the answers have no time column" if data.time is None else "all answers have the same time"
        notes = {**found.diagnostics, "fallback": f"{why}: fitted as Hierarchical, tastes stand still."}
        return replace(found, settings=self, diagnostics=notes)

    def _fit(self, data: Comparisons, inner: Worth, modes: int) -> Belief:
        assert data.time is not None
        start, end = float(data.time.min()), float(data.time.max())
        worth = OverTime(inner, start, end, modes, self.stride)
        if worth.width > WIDEST:
            worth = OverTime(
                self._leading(data, inner, WIDEST // (1 + modes)), start, end, modes, self.stride
            )
        return self._solved(data, worth, None)

    def _solved(self, data: Comparisons, worth: OverTime, moved: float | None) -> Belief:
        rows = Rows.of(*laid_out(data, worth), self.rule)
        mean, covariance, mode, curvature, rounds, evidence = laplace_em(
            rows, self.rounds, self.strength, anchored=False
        )
        prior = Gaussian(mean, covariance, self.draws)
        draws = prior.around(mode, curvature, rows, inverse(covariance))
        moved = walk(mean, covariance, worth.modes) if moved is None else moved
        notes = {"rounds": rounds, "log_evidence": evidence, "walk": moved}
        assert data.rater_ids is not None
        return Belief(worth, self.rule, prior, draws, data.rater_ids, self, notes)

    def _leading(self, data: Comparisons, inner: Worth, count: int) -> Worth:
        """The common taste and the directions along which still tastes differ most."""
        rows = Rows.of(data, inner.basis(data.options), self.rule)
        mean, covariance, *_ = laplace_em(rows, 15, self.strength, anchored=False)
        _, side = torch.linalg.eigh(covariance)
        assert isinstance(inner, LinearWorth)
        return inner.onto(torch.cat([mean[:, None], side.flip(1)[:, : count - 1]], 1))


def last_answers(data: Comparisons, share: float = 0.2) -> tuple[Comparisons, Comparisons]:
    """Set aside the last `share` of every rater's answers by time, at least one of two: the future is what counts."""
    assert data.time is not None
    by_time = torch.argsort(data.time, stable=True)
    order = by_time[torch.argsort(data.rater[by_time], stable=True)]
    first = (data.counts.cumsum(0) - data.counts)[data.rater[order]]
    rank = torch.empty(len(data), dtype=torch.long)
    rank[order] = torch.arange(len(data)) - first
    count = data.counts
    kept = torch.where(count > 1, torch.minimum((count * (1 - share)).long().clamp_min(1), count - 1), count)
    held = rank >= kept[data.rater]
    return data.take(~held), data.take(held)


def walk(mean: Tensor, covariance: Tensor, modes: int) -> float:
    """Share of the tastes' second moment that moves: 0 where nothing drifts."""
    size = torch.diagonal(covariance) + mean.square()
    still = size.reshape(1 + modes, -1)[0].sum()
    return float(1 - still / size.sum().clamp_min(1e-12))


def _tempered(belief: Belief, data: Comparisons, temper: float) -> Belief:
    """The same belief with a smaller spread between raters, and their tastes drawn in accordingly."""
    if temper == 1:
        return belief
    assert isinstance(belief.prior, Gaussian)
    prior = replace(belief.prior, covariance=belief.prior.covariance * temper)
    return replace(belief, prior=prior, draws=prior.posterior(*laid_out(data, belief.worth), belief.rule))


__all__ = ["Drifting"]
