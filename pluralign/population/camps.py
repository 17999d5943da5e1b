"""Camps: a few tastes, every rater of one of them. The latent-class logit, fitted by panel EM."""

import math
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.held_out import ENOUGH, Choice, check_ridge, choose, need_raters, some
from pluralign.population.newton import crowd, modes, solve
from pluralign.population.pooled import common_taste, need_answers
from pluralign.population.prior import Atoms
from pluralign.population.rows import Rows, buckets, likelihood
from pluralign.population.subspace import narrowed
from pluralign.population.training import train
from pluralign.population.wide import Incidence, crowd_wide, is_wide
from pluralign.streams import Seed, Streams
from pluralign.utility import MLP, Judged, Linear, Utility
from pluralign.utility.linear import LinearWorth

SIZES = (1, 2, 3, 4, 6, 8)
RIDGES = (0.01, 0.1, 1.0, 5.0, 20.0)
FINER = (0.001, 0.0001)  # tried where the smallest of these is best
MANY = 400_000  # answers by which these are chosen: how sure one may be grows with their number
CAUTION = 1.5  # standard errors by which more camps must be better than fewer
MIDDLE = 5.0  # the ridge under which the number of camps is chosen


@dataclass(frozen=True)
class Camps:
    """G tastes with shares; a rater's answers are explained together (panel likelihood).

    Attributes:
        groups: G, or "auto": chosen among 1, 2, 3, 4, 6, 8 by held-out likelihood, the smallest number
            that is not clearly worse than the best.
        utility, rule: as in Pooled.
        ridge: 1 / variance of the normal prior that draws each camp's taste to the pooled one, so that a camp
            departs from the crowd only as far as its answers say; "auto" chooses by held-out likelihood, and looks further
            down where the smallest is best: people who never err have no end of sureness.
        leak: share of every rater's answers that counts for all camps alike, in [0, 1), so that tastes keep what
            raters have in common and no camp starves. A round then climbs (1 - leak) times the panel log-likelihood plus
            leak times the mean over camps of what the camp's taste says of everybody's answers.
        hard: assign every rater to the one most likely camp in each round (k-means style), not in shares.
        restarts: starting points run side by side; the best by panel likelihood is kept.
        sweeps: at most this many EM rounds.
        tolerance: stop when a round gains less than this many nats.

    Source: Kamakura and Russell (1989); McLachlan and Krishnan (2008). Chakraborty et al. (2024) use the hard form for
    MaxMin-RLHF. Leaky EM mixes the guesses of who belongs where with even ones; here the leak stays instead of
    fading, and the sum that it climbs is watched.
    """

    groups: int | str = "auto"
    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    ridge: float | str = "auto"
    hard: bool = False
    restarts: int = 8
    sweeps: int = 300
    tolerance: float = 1e-4
    leak: float = 0.0

    def __post_init__(self) -> None:
        check_ridge(self.ridge)
        if self.groups != "auto" and (not isinstance(self.groups, int) or self.groups < 1):
            raise ValueError(f'`groups` must be a positive number of camps or "auto", got {self.groups!r}.')
        if not 0 <= self.leak < 1:
            raise ValueError(f"`leak` must be a share in [0, 1), got {self.leak}; 0 lets nothing leak.")
        if self.restarts < 1:
            raise ValueError(f"`restarts` must be at least 1, got {self.restarts}.")

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; the belief's draws are the G camps, weighted per rater.

        Raises:
            ValueError: more camps than raters.
        """
        need_answers(data)
        streams = Streams.of(seed)
        present = need_raters("groups", self.groups, data, "camps")
        if self.groups != "auto" and self.ridge != "auto":
            return self._fit(data, streams, int(self.groups), float(self.ridge))
        notes: dict[str, object] = {}
        sizes = [g for g in SIZES if g <= present] if self.groups == "auto" else [int(self.groups)]
        ridge = MIDDLE if self.ridge == "auto" else float(self.ridge)
        # To compare settings, fits need not be polished.
        draft = replace(
            self,
            restarts=min(self.restarts, 4),
            sweeps=min(self.sweeps, 60),
            tolerance=max(self.tolerance, 0.1),
        )
        groups, choice = choose(
            {g: partial(draft._fit, streams=streams.below(g), groups=g, ridge=ridge) for g in sizes},
            data,
            streams.below("groups"),
            held,
            cautious=CAUTION,
        )
        notes["groups_table"] = choice.table
        if self.ridge == "auto" and not isinstance(
            self.utility, MLP | Judged
        ):  # who have a prior of their own

            def best(ridges: tuple[float, ...], most: int) -> tuple[float, Choice]:
                fit = partial(draft._fit, streams=streams.below(groups), groups=groups)
                fits = {r: partial(fit, ridge=r) for r in ridges}
                return choose(fits, data, streams.below("ridge"), held, most=most)

            ridge, choice = best(RIDGES, ENOUGH)
            notes["ridge_table"] = choice.table
            if ridge == RIDGES[0]:
                ridge, choice = best((ridge, *FINER), MANY)
                notes["finer_table"] = choice.table
        found = self._fit(data, streams.below(groups), groups, ridge)
        return replace(found, diagnostics={**found.diagnostics, **notes})

    def _fit(self, data: Comparisons, streams: Streams, groups: int, ridge: float) -> Belief:
        worth = self.utility.start(data, width=groups, generator=streams("start"))
        notes: dict[str, object] = {"groups": groups, "ridge": ridge}
        if not isinstance(worth, LinearWorth):
            if self.leak:
                raise ValueError(
                    f"`leak` is for utilities that are linear in what they learn, got {self.leak} with a network; "
                    "give leak=0 or utility=Basis()."
                )
            eye = torch.eye(groups, dtype=torch.float64)
            worth, share, more = train(
                worth, eye, self.rule, data, streams, learn_share=True, restarts=self.restarts
            )
            prior = Atoms(eye, share)
            return self._belief(data, worth, prior, {**notes, **more})
        if is_wide(worth):
            taste, share, gain = self._wide(data, worth, streams, groups, ridge)
            worth, taste = worth.onto(taste.T.contiguous()), torch.eye(groups, dtype=taste.dtype)
        else:
            rows = Rows.of(data, worth.basis(data.options), self.rule)
            part = some(data, streams)
            few = rows if part is data else Rows.of(part, worth.basis(data.options), self.rule)
            taste, share, gain = self._narrow(rows, few, streams, groups, ridge)
        order = share.argsort(descending=True)
        prior = Atoms(taste[order], share[order])
        return self._belief(data, worth, prior, {**notes, "panel_log_likelihood": gain})

    def _belief(self, data: Comparisons, worth, prior: Atoms, notes: dict) -> Belief:
        draws = prior.posterior(data, worth.basis(data.options), self.rule)
        sure = draws.weight.max(0).values
        notes["effective_camps"] = float(torch.special.entr(prior.share).sum().exp())
        notes["sure"] = float(sure.mean())
        assert data.rater_ids is not None
        return Belief(worth, self.rule, prior, draws, data.rater_ids, self, notes)

    def _narrow(
        self, rows: Rows, few: Rows, streams: Streams, groups: int, ridge: float
    ) -> tuple[Tensor, Tensor, float]:
        """EM with one Newton step per round; all starts share every product, and are tried on `few` rows."""
        flat = torch.zeros(1, rows.width, dtype=torch.float64)
        pooled = crowd(rows, flat, ridge=max(1e-6, min(ridge, 1.0)), tolerance=1e-6)[0]
        if groups == 1:
            alone = float(rows.log_prob(pooled[None]).sum())
            return pooled[None], torch.ones(1, dtype=torch.float64), alone
        start = _starts(few, pooled, groups, self.restarts, streams)
        share = torch.full(start.shape[:2], 1 / groups, dtype=torch.float64)
        if self.restarts > 2 or few is not rows:
            taste, share, total = _em(
                few, start, share, pooled, ridge, self.hard, 15, self.tolerance, self.leak
            )
            best = total.topk(1 if few is not rows else 2).indices
            start, share = taste[best], share[best]
        taste, share, total = _em(
            rows, start, share, pooled, ridge, self.hard, self.sweeps, self.tolerance, self.leak
        )
        top = int(total.argmax())
        panel = torch.logsumexp(rows.log_prob(taste[top]) + share[top].log()[:, None], 0)
        return taste[top], share[top], float(panel.sum())

    def _wide(
        self, data: Comparisons, worth: LinearWorth, streams: Streams, groups: int, ridge: float
    ) -> tuple[Tensor, Tensor, float]:
        """EM over wide features: starts are found among the main directions of disagreement."""
        pooled = common_taste(data, worth, self.rule, min(ridge, 1.0))
        incidence = Incidence.of(data, worth, self.rule)
        if groups == 1:
            own = incidence.weighted(incidence.derivatives(pooled.numpy()[:, None])[0])
            return pooled[None], torch.ones(1, dtype=torch.float64), float(own.sum())
        lean = narrowed(self.utility, self.rule, data, streams.below("narrow"))
        seed = replace(self, ridge=1.0, sweeps=40)
        rows = Rows.of(data, lean.basis(data.options), self.rule)
        taste, share, _ = seed._narrow(rows, rows, streams.below("seed"), groups, 1.0)
        weight = _responsibility(rows.log_prob(taste), share, self.hard)
        taste, last = pooled.expand(groups, -1), -math.inf
        rater = data.rater
        for _ in range(min(self.sweeps, 60)):
            leaked = _leaked(weight, self.leak)
            taste = crowd_wide(
                incidence, taste, leaked[:, rater], ridge=ridge, centre=pooled, sweeps=8, tolerance=1e-7
            )
            value = torch.from_numpy(incidence.weighted(incidence.derivatives(taste.numpy().T)[0]))
            panel = torch.zeros(groups, data.raters, dtype=torch.float64).index_add_(1, rater, value)
            share = _shares(weight, data.counts > 0)
            weight = _responsibility(panel, share, self.hard)
            total = float(torch.logsumexp(panel + share.log()[:, None], 0).sum())
            penalised = (1 - self.leak) * total + self.leak * float(panel.sum()) / groups
            penalised -= ridge / 2 * float((taste - pooled).square().sum())
            if penalised - last < max(self.tolerance, 1e-5 * abs(total)):
                break
            last = penalised
        return taste, share, total


def _starts(
    rows: Rows, pooled: Float[Tensor, "Z"], groups: int, restarts: int, streams: Streams
) -> Float[Tensor, "S G Z"]:
    """Half the starts scatter the pooled taste; half put camps on the tastes of raters picked far apart."""
    width = rows.width
    size = torch.maximum(pooled.norm(), 1 / (rows.x.square().mean((0, 1)).sum().sqrt() + 1e-12))
    noise = torch.randn(restarts, groups, width, generator=streams("scatter"), dtype=torch.float64)
    start = pooled + noise * size / width**0.5
    if restarts > 1:
        eye = torch.eye(width, dtype=torch.float64)
        own, _, _ = modes(buckets(rows), rows.rule, pooled, eye, rows.raters, sweeps=4)
        gap = own - pooled
        for s in range(1, restarts, 2):
            draw = streams("seeds", s)
            chance = gap.square().sum(1) + 1e-12
            picked = [int(torch.multinomial(chance, 1, generator=draw))]
            while len(picked) < groups:  # k-means++ (Arthur and Vassilvitskii 2007)
                chance = torch.cdist(own, own[picked]).square().amin(1) + 1e-12
                picked.append(int(torch.multinomial(chance, 1, generator=draw)))
            start[s] = own[picked]
    return start


def _responsibility(panel: Float[Tensor, "*S G R"], share: Float[Tensor, "*S G"], hard: bool) -> Tensor:
    log = panel + share.log()[..., None]
    if hard:
        return torch.nn.functional.one_hot(log.argmax(-2), log.shape[-2]).movedim(-1, -2).to(log)
    return torch.softmax(log, -2)


def _leaked(weight: Float[Tensor, "*S G R"], leak: float) -> Float[Tensor, "*S G R"]:
    """The guesses of who is in which camp, mixed with even ones."""
    return weight if not leak else (1 - leak) * weight + leak / weight.shape[-2]


def _shares(weight: Float[Tensor, "*S G R"], present: Tensor) -> Float[Tensor, "*S G"]:
    """Shares of the camps; one pseudo-rater spread over all keeps a camp from dying of rounding."""
    mass = (weight * present.to(weight)).sum(-1)
    return (mass + 1e-3 / mass.shape[-1]) / (mass.sum(-1, keepdim=True) + 1e-3)


def _em(
    rows: Rows,
    taste: Float[Tensor, "S G Z"],
    share: Float[Tensor, "S G"],
    pooled: Float[Tensor, "Z"],
    ridge: float,
    hard: bool,
    sweeps: int,
    tolerance: float,
    leak: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    starts, groups, width = taste.shape
    present = torch.bincount(rows.rater, minlength=rows.raters) > 0
    x = rows.x.reshape(-1, width)
    eye = ridge * torch.eye(width, dtype=x.dtype)
    old, old_total = taste, torch.full((starts,), -math.inf, dtype=x.dtype)
    kept = (taste, share, old_total)
    curve: Tensor | None = None
    for sweep in range(sweeps):
        value, slope, bend = likelihood(rows.rule, rows.eta(taste.reshape(-1, width)), rows.label)
        panel = rows.by_rater(rows.weighted(value)).reshape(starts, groups, -1)
        log = panel + share.log()[..., None]
        gap = taste - pooled
        total = (1 - leak) * (torch.logsumexp(log, 1) * present).sum(1) + leak * panel.sum((1, 2)) / groups
        total = total - ridge / 2 * gap.square().sum((1, 2))
        worse = total < old_total - 1e-6 * old_total.abs().nan_to_num(1.0, posinf=1.0)
        if bool(worse.any()) and not hard and sweep:
            # A Newton step went too far: go half the way back and look again.
            taste = torch.where(worse[:, None, None], (taste + old) / 2, taste)
            curve = None
            if float((taste - old).abs().max()) > 1e-9:
                continue
        # Beyond a few parts in 10^8 of the total, sums of many answers differ by rounding alone.
        done = (total - old_total).abs() < tolerance + 2e-8 * total.abs()
        kept = (taste, share, total)
        if bool(done.all()):
            break
        old, old_total = taste, total
        weight = _responsibility(panel, share, hard)
        share = _shares(weight, present)
        weight = _leaked(weight, leak)
        mine = rows.weighted(weight.reshape(starts * groups, -1)[:, rows.rater])
        gradient = (mine[..., None] * slope).reshape(starts * groups, -1) @ x
        # The curvature is most of the work and changes little: between two looks at it, steps are Newton's but for that.
        if curve is not None and sweep > 3 and sweep % 4:
            pass
        elif bend.shape[-1] == 1:
            curve = torch.stack([(x * w[:, None]).T @ x for w in (mine * bend[..., 0, 0])])
        else:
            bent = torch.einsum("cm,cmjk,mkz->cmjz", mine, bend, rows.x).reshape(len(mine), -1, width)
            curve = bent.mT @ x
        step = solve(curve + eye, gradient - ridge * gap.reshape(-1, width))
        taste = taste + step.reshape(taste.shape)
    return kept
