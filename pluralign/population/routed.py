"""Routed: a few judgements, and people who switch from one to another by context, each at a threshold of their own."""

import math
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.camps import Camps
from pluralign.population.held_out import check_ridge, choose, some
from pluralign.population.newton import crowd, information, modes, solve
from pluralign.population.pooled import need_answers
from pluralign.population.prior import Atoms
from pluralign.population.rows import Rows, buckets, likelihood
from pluralign.population.subspace import narrowed
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, Utility, Worth
from pluralign.utility.by_context import ByContext, columns
from pluralign.utility.conditional import laid_out

SIZES = (1, 2, 3, 4)
CAUTION = 1.5  # standard errors by which more heads must be better than fewer
SPARE = 1e-4  # a way to judge with a smaller share is dropped


@dataclass(frozen=True)
class Routed:
    """A mixture of heads with a gate from context and rater; hard gates, a population of them.

    A rater uses one head where a column of the context is up to a threshold, and another above (or one head
    throughout: then this is Camps). Heads, and the shares of all such ways to judge, are found by panel EM; a soft
    gate is a spread of thresholds. A new rater is routed by Hedge over the ways, which at `pace` 1 is Bayes' rule.
    Without a `context` the fit is that of Camps, and `diagnostics["fallback"]` says so.

    Attributes:
        heads: H, or "auto": chosen among 1, 2, 3, 4 by held-out likelihood, cautiously.
        thresholds: how many values of each context column may be a threshold, at its quantiles.
        utility, rule: as in Pooled.
        ridge: 1 / variance of the normal prior that draws each head to the pooled taste.
        pace: learning rate of Hedge for new answers; 1 is Bayes' rule.
        restarts: starting points; the best by panel likelihood is kept.
        sweeps: at most this many EM rounds.
        tolerance: stop when a round gains less than this many nats.

    Source: MiCRo (EMNLP 2025, arXiv 2505.24846), whose gate sees the context and not the rater; Freund and Schapire
    (1997) for Hedge.
    """

    heads: int | str = "auto"
    thresholds: int = 19
    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    ridge: float = 1.0
    pace: float = 1.0
    restarts: int = 6
    sweeps: int = 150
    tolerance: float = 1e-2

    def __post_init__(self) -> None:
        check_ridge(self.ridge)
        if self.heads != "auto" and (not isinstance(self.heads, int) or self.heads < 1):
            raise ValueError(f'`heads` must be a positive number or "auto", got {self.heads!r}.')
        if self.thresholds < 1 or self.restarts < 1:
            raise ValueError(
                f"`thresholds` and `restarts` must be at least 1, got {self.thresholds} and {self.restarts}."
            )
        if self.pace <= 0:
            raise ValueError(f"`pace` must be positive, got {self.pace}; 1 is Bayes' rule.")

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; the belief's draws are the ways to judge, weighted per rater."""
        need_answers(data)
        if data.context is None or bool((columns(data.context) == columns(data.context)[:1]).all()):
            return self._without(data, seed, held)
        streams = Streams.of(seed)
        worth = narrowed(self.utility, self.rule, data, streams)
        if self.heads != "auto":
            return self._fit(data, worth, streams, int(self.heads))
        draft = replace(self, restarts=min(self.restarts, 4), sweeps=min(self.sweeps, 40), tolerance=0.5)
        count, choice = choose(
            {h: partial(draft._fit, worth=worth, streams=streams.below(h), count=h) for h in SIZES},
            data,
            streams.below("heads"),
            held,
            cautious=CAUTION,
        )
        found = self._fit(data, worth, streams.below(count), count)
        return replace(found, diagnostics={**found.diagnostics, "heads_table": choice.table})

    def _without(self, data: Comparisons, seed: Seed, held: Comparisons | None) -> Belief:
        camps = Camps(utility=self.utility, rule=self.rule)
        if self.heads != "auto":
            groups = min(int(self.heads), int((data.counts > 0).sum()))
            camps = replace(camps, groups=groups, ridge=self.ridge, restarts=self.restarts)
        found = camps.fit(data, seed, held=held)
        why = "the answers have no context" if data.context is None else "the context never changes"
        notes = {**found.diagnostics, "fallback": f"{why}: fitted as Camps, nobody is routed."}
        return replace(found, settings=self, diagnostics=notes)

    def _fit(self, data: Comparisons, worth: Worth, streams: Streams, count: int) -> Belief:
        assert data.context is not None
        part = some(data, streams)
        assert part.context is not None
        rows = Rows.of(part, worth.basis(part.options), self.rule)
        gates = Gates.of(columns(part.context), self.thresholds, count)
        place = gates.bins(columns(part.context))[rows.order]
        heads, share, total = _em(rows, gates, place, self, count, streams)
        kept = share > SPARE
        share = share[kept] / share[kept].sum()
        below, above = gates.below[kept], gates.above[kept]
        column, threshold = gates.column[kept], gates.threshold[kept]
        usual = (columns(part.context)[:, column] > threshold).double().mean(0)
        routed = ByContext(worth, heads, below, above, column, threshold, usual)
        prior = Atoms(torch.eye(len(share), dtype=torch.float64), share, None, self.pace)
        draws = prior.posterior(*laid_out(data, routed), self.rule)
        switch = below != above
        notes = {
            "heads": count,
            "ways": len(share),
            "switching": float(share[switch].sum()),
            "effective_ways": float(torch.special.entr(share).sum().exp()),
            "panel_log_likelihood": total,
        }
        assert data.rater_ids is not None
        return Belief(routed, self.rule, prior, draws, data.rater_ids, self, notes)


@dataclass(frozen=True)
class Gates:
    """All ways to judge with H heads: each head alone, then every ordered pair at every threshold of every column.

    Attributes:
        below, above, column: (W,) as in ByContext. threshold: (W,).
        edges: per column, the ascending thresholds that are tried.
        step: (W,) place of the threshold among the edges of its column, counted over all columns; 0 for one head.
    """

    below: Int[Tensor, " W"]
    above: Int[Tensor, " W"]
    column: Int[Tensor, " W"]
    threshold: Float[Tensor, " W"]
    step: Int[Tensor, " W"]
    edges: tuple[Tensor, ...]

    @staticmethod
    def of(context: Float[Tensor, "M C"], thresholds: int, heads: int) -> "Gates":
        """Thresholds halfway between neighbouring values, at quantiles where there are many values."""
        edges = []
        for value in context.T:
            known = torch.unique(value)
            middle = (known[1:] + known[:-1]) / 2
            if len(middle) > thresholds:
                share = torch.arange(1, thresholds + 1).double() / (thresholds + 1)
                middle = torch.unique(torch.quantile(value, share))
            edges.append(middle)
        one = torch.arange(heads)
        flat = torch.cat(edges)
        column = torch.cat([torch.full((len(e),), c) for c, e in enumerate(edges)])
        first, second = torch.cartesian_prod(one, one).T if heads > 1 else (one, one)
        first, second = first[first != second], second[first != second]
        pairs, steps = len(first), len(flat)
        number = torch.arange(steps)
        return Gates(
            torch.cat([one, first.repeat_interleave(steps)]),
            torch.cat([one, second.repeat_interleave(steps)]),
            torch.cat([torch.zeros(heads, dtype=torch.long), column.repeat(pairs)]),
            torch.cat([torch.zeros(heads).double(), flat.repeat(pairs)]),
            torch.cat([torch.zeros(heads, dtype=torch.long), number.repeat(pairs)]),
            tuple(edges),
        )

    def bins(self, context: Float[Tensor, "M C"]) -> Int[Tensor, "M C"]:
        """Between which edges each answer's context lies: bin b is above b of them."""
        return torch.stack([torch.searchsorted(e, v.contiguous()) for e, v in zip(self.edges, context.T)], 1)

    def panel(self, told: Float[Tensor, "H M"], rater: Tensor, raters: int, place: Tensor) -> Tensor:
        """(W, R) log-likelihood of every rater under every way, from that of each answer under each head."""
        heads = len(told)
        total = torch.zeros(heads, raters, dtype=told.dtype).index_add_(1, rater, told)
        below = []  # (H, edges, R): what was answered up to each edge
        for c, edges in enumerate(self.edges):
            size = len(edges) + 1
            cell = torch.zeros(heads, raters * size, dtype=told.dtype)
            cell.index_add_(1, rater * size + place[:, c], told)
            below.append(cell.reshape(heads, raters, size).cumsum(2)[..., :-1].mT)
        low = torch.cat(below, 1)
        alone = total
        if heads == 1:
            return alone
        w = slice(heads, None)
        switched = low[self.below[w], self.step[w]] + total[self.above[w]] - low[self.above[w], self.step[w]]
        return torch.cat([alone, switched])

    def owed(self, weight: Float[Tensor, "W R"], rater: Tensor, place: Tensor, heads: int) -> Tensor:
        """(H, M) how much of each answer is due to each head, when `weight` says which way its rater judges."""
        out = weight[:heads][:, rater].clone()
        if heads == 1:
            return out
        w, start = slice(heads, None), 0
        for c, edges in enumerate(self.edges):
            size = len(edges)
            mine = (self.step[w] >= start) & (self.step[w] < start + size)
            part, step = weight[w][mine], self.step[w][mine] - start
            # by_edge[h, e, r]: ways that use h up to edge e (first), or beyond it (second)
            first = torch.zeros(heads, size, weight.shape[1], dtype=weight.dtype)
            second = torch.zeros_like(first)
            first.index_put_((self.below[w][mine], step), part, accumulate=True)
            second.index_put_((self.above[w][mine], step), part, accumulate=True)
            none = torch.zeros_like(first[:, :1])
            up_to = torch.cat([first.flip(1).cumsum(1).flip(1), none], 1)  # edges at or above the bin
            beyond = torch.cat([none, second.cumsum(1)], 1)  # edges below it
            out += (up_to + beyond)[:, place[:, c], rater]
            start += size
        return out


def _em(
    rows: Rows, gates: Gates, place: Tensor, settings: Routed, count: int, streams: Streams
) -> tuple[Float[Tensor, "H Z"], Float[Tensor, " W"], float]:
    """Panel EM from several starts; short runs first, the best two to the end."""
    ridge = settings.ridge
    flat = torch.zeros(1, rows.width, dtype=torch.float64)
    pooled = crowd(rows, flat, ridge=min(ridge, 1.0), tolerance=1e-6)[0]
    starts = [
        _start(rows, gates, place, pooled, count, streams.below(s), s) for s in range(settings.restarts)
    ]
    if count == 1:
        starts = starts[:1]
    even = torch.ones(len(gates.below), dtype=torch.float64) / len(gates.below)
    tried = [_climb(rows, gates, place, h, even, pooled, ridge, 12, settings.tolerance) for h in starts]
    tried = sorted(tried, key=lambda found: -found[2])[:2]
    done = [
        _climb(rows, gates, place, h, share, pooled, ridge, settings.sweeps, settings.tolerance)
        for h, share, _ in tried
    ]
    return max(done, key=lambda found: found[2])


def _start(
    rows: Rows, gates: Gates, place: Tensor, pooled: Tensor, count: int, streams: Streams, turn: int
) -> Float[Tensor, "H Z"]:
    """Heads on what is said in far corners of the context, or on tastes of raters far apart, or scattered."""
    width = rows.width
    noise = torch.randn(count, width, generator=streams("scatter"), dtype=torch.float64)
    size = torch.maximum(pooled.norm(), 1 / (rows.x.square().mean((0, 1)).sum().sqrt() + 1e-12))
    if turn % 3 == 2 or count == 1:
        return pooled + noise * size / width**0.5 * (count > 1)
    if turn % 3 == 0:
        c = turn // 3 % place.shape[1]
        order = place[:, c].argsort(stable=True).argsort(stable=True)
        weight = torch.nn.functional.one_hot(order * count // len(order), count).T.to(rows.x)
        return crowd(rows, pooled.expand(count, -1), weight, ridge=1.0, centre=pooled, sweeps=8)
    eye = torch.eye(width, dtype=torch.float64)
    own, _, _ = modes(buckets(rows), rows.rule, pooled, eye, rows.raters, sweeps=4)
    picked = [int(torch.multinomial((own - pooled).square().sum(1) + 1e-12, 1, generator=streams("seeds")))]
    while len(picked) < count:
        chance = torch.cdist(own, own[picked]).square().amin(1) + 1e-12
        picked.append(int(torch.multinomial(chance, 1, generator=streams("seeds", len(picked)))))
    return own[picked]


def _climb(
    rows: Rows,
    gates: Gates,
    place: Tensor,
    heads: Float[Tensor, "H Z"],
    share: Float[Tensor, " W"],
    pooled: Tensor,
    ridge: float,
    sweeps: int,
    tolerance: float,
) -> tuple[Tensor, Tensor, float]:
    count, width = heads.shape
    present = torch.bincount(rows.rater, minlength=rows.raters) > 0
    x = rows.x.reshape(-1, width)
    eye = ridge * torch.eye(width, dtype=x.dtype)
    old, last = heads, -math.inf
    best = (heads, share, last)
    for _ in range(sweeps):
        value, slope, bend = likelihood(rows.rule, rows.eta(heads), rows.label)
        log = gates.panel(rows.weighted(value), rows.rater, rows.raters, place) + share.log()[:, None]
        gap = heads - pooled
        total = float((torch.logsumexp(log, 0) * present).sum()) - ridge / 2 * float(gap.square().sum())
        if total < last - 1e-6 * abs(last) and float((heads - old).abs().max()) > 1e-9:
            heads = (heads + old) / 2  # the Newton step went too far
            continue
        best = (heads, share, total)
        if total - last < tolerance + 1e-9 * abs(total):
            break
        old, last = heads, total
        weight = torch.softmax(log, 0) * present
        mass = weight.sum(1) + 1e-3 / len(weight)
        share = mass / mass.sum()
        mine = rows.weighted(gates.owed(weight, rows.rater, place, count))
        gradient = (mine[..., None] * slope).reshape(count, -1) @ x
        curve = information(rows, mine[..., None, None] * bend)
        heads = heads + solve(curve + eye, gradient - ridge * gap)
    return best


def hedge(share: Float[Tensor, " G"], loss: Float[Tensor, " G"], pace: float = 1.0) -> Float[Tensor, " G"]:
    """One Hedge update: weights shrink by exp(-pace * loss), losses in nats; at pace 1 this is Bayes' rule."""
    return torch.softmax(share.log() - pace * loss, 0)


__all__ = ["Routed", "hedge"]
