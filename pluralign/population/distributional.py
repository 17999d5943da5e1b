"""Distributional: nobody knows who answered, only how many; a few tastes whose votes come out as observed."""

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.held_out import check_ridge, choose, some
from pluralign.population.newton import crowd, information, solve
from pluralign.population.pooled import need_answers
from pluralign.population.prior import Atoms
from pluralign.population.rows import Rows, answer_log_prob, likelihood
from pluralign.population.subspace import narrowed
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, Utility, Worth
from pluralign.utility.conditional import laid_out

SIZES = (1, 2, 3, 4)
CAUTION = 1.5


@dataclass(frozen=True)
class Distributional:
    """G tastes with shares, fitted to vote shares alone: every vote is by somebody unknown.

    Rater ids are not looked at, neither in the fit nor in predictions about raters met in training; the voices are
    the members. A new rater's answers reweight the members by Bayes' rule all the same. Where a label is a share (.7,
    .3), `weight` is the number of votes behind it. Votes on pairs hardly tell a crowd of two minds from one that is
    unsure; more members are taken only where held-out votes clearly ask for them.

    Attributes:
        members: G, or "auto": chosen among 1, 2, 3, 4 by held-out likelihood, cautiously.
        utility, rule: as in Pooled.
        ridge: 1 / variance of the normal prior on each taste.
        restarts: starting points; the best by likelihood is kept.
        sweeps: at most this many EM rounds.
        tolerance: stop when a round gains less than this many nats.

    Source: pairwise-calibrated rewards (NeurIPS 2025, arXiv 2506.06298); here members answer by `rule` and not
    always their favourite, so shares are fitted by likelihood and exactly weighted, not stage by stage.
    """

    members: int | str = "auto"
    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    ridge: float = 0.3
    restarts: int = 4
    sweeps: int = 200
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        check_ridge(self.ridge)
        if self.members != "auto" and (not isinstance(self.members, int) or self.members < 1):
            raise ValueError(f'`members` must be a positive number or "auto", got {self.members!r}.')
        if self.restarts < 1:
            raise ValueError(f"`restarts` must be at least 1, got {self.restarts}.")

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers or vote shares; everybody met is given the population's shares."""
        need_answers(data)
        streams = Streams.of(seed)
        worth = narrowed(self.utility, self.rule, data, streams)
        if self.members != "auto":
            return self._fit(data, worth, streams, int(self.members))
        draft = replace(self, restarts=min(2, self.restarts), sweeps=min(self.sweeps, 60), tolerance=0.1)
        count, choice = choose(
            {g: partial(draft._fit, worth=worth, streams=streams.below(g), count=g) for g in SIZES},
            data,
            streams.below("members"),
            held,
            cautious=CAUTION,
        )
        found = self._fit(data, worth, streams.below(count), count)
        return replace(found, diagnostics={**found.diagnostics, "members_table": choice.table})

    def _fit(self, data: Comparisons, worth: Worth, streams: Streams, count: int) -> Belief:
        rows = Rows.of(*laid_out(some(data, streams), worth), self.rule)
        pooled = crowd(rows, torch.zeros(1, rows.width, dtype=torch.float64), ridge=self.ridge)[0]
        found = []
        for s in range(self.restarts if count > 1 else 1):
            noise = torch.randn(count, rows.width, generator=streams("start", s), dtype=torch.float64)
            size = torch.maximum(pooled.norm(), 1 / (rows.contrast**0.5 + 1e-12) * torch.ones(()).double())
            start = pooled + noise * size / rows.width**0.5 * (count > 1)
            found.append(_em(rows, start, self.ridge, self.sweeps, self.tolerance))
        taste, share, total = max(found, key=lambda one: one[2])
        order = share.argsort(descending=True)
        prior = Atoms(taste[order], share[order])
        draws = Draws.atoms(prior.z, prior.share[:, None].expand(-1, data.raters))
        assert data.rater_ids is not None
        belief = Belief(worth, self.rule, prior, draws, data.rater_ids, self)
        notes = {
            "members": count,
            "log_likelihood": total,
            "calibration_error": calibration_error(belief, data),
        }
        return replace(belief, diagnostics=notes)


def _em(
    rows: Rows, taste: Float[Tensor, "G Z"], ridge: float, sweeps: int, tolerance: float
) -> tuple[Float[Tensor, "G Z"], Float[Tensor, " G"], float]:
    """EM over votes: each of a question's outcomes has its own guess of who voted so."""
    groups, width = taste.shape
    m, places = rows.label.shape
    votes = rows.weighted(rows.label.T)  # (K, M)
    x = rows.x.reshape(-1, width)
    eye = ridge * torch.eye(width, dtype=x.dtype)
    share = torch.full((groups,), 1 / groups, dtype=x.dtype)
    outcome = torch.eye(places, dtype=x.dtype)[:, None].expand(-1, m, -1)  # all votes for the k-th place
    old, last = taste, -math.inf
    best = (taste, share, last)
    for _ in range(sweeps):
        eta = rows.eta(taste)
        log = torch.stack(
            [answer_log_prob(rows.rule, eta, outcome[k]) for k in range(places)], 1
        )  # (G, K, M)
        log = (log + share.log()[:, None, None]).masked_fill((votes == 0)[None], 0.0)
        total = float((votes * torch.logsumexp(log, 0).masked_fill(votes == 0, 0.0)).sum())
        total -= ridge / 2 * float(taste.square().sum())
        if total < last - 1e-6 * abs(last) and float((taste - old).abs().max()) > 1e-9:
            taste = (taste + old) / 2  # the Newton step went too far
            continue
        best = (taste, share, total)
        if total - last < tolerance + 2e-8 * abs(total):
            break
        old, last = taste, total
        mine = torch.softmax(log, 0) * votes  # (G, K, M)
        mass = mine.sum((1, 2)) + 1e-6
        share = mass / mass.sum()
        gradient, curve = -ridge * taste, eye.expand(groups, -1, -1)
        for k in range(places):
            _, slope, bend = likelihood(rows.rule, eta, outcome[k])
            slope = slope.masked_fill((votes[k] == 0)[None, :, None], 0.0)
            gradient = gradient + (mine[:, k, :, None] * slope).reshape(groups, -1) @ x
            curve = curve + information(rows, mine[:, k, :, None, None] * bend)
        taste = taste + solve(curve, gradient)
    return best


def calibration_error(belief: Any, data: Comparisons) -> float:
    """Mean squared gap between the population's share of each question's first place and the share observed.

    Answers to the same question are counted together, and the noise of so many votes, p (1 - p) / (n - 1), is
    subtracted, so that a perfect population scores zero on average; questions with one vote alone say nothing.
    NaN where no question has two votes.
    """
    weight = torch.ones(len(data)).double() if data.weight is None else data.weight.double()
    question, place = torch.unique(data.slate, dim=0, return_inverse=True)
    add = lambda value: torch.zeros(len(question)).double().index_add_(0, place, value)
    votes = add(weight)
    seen = add(weight * data.label[:, 0].double()) / votes.clamp_min(1e-12)
    told = add(weight * belief.predict(data)[:, 0]) / votes.clamp_min(1e-12)
    many = votes > 1
    if not bool(many.any()):
        return math.nan
    noise = seen * (1 - seen) / (votes - 1).clamp_min(1e-12)
    return float(((told - seen).square() - noise)[many].mean())


__all__ = ["Distributional", "calibration_error"]
