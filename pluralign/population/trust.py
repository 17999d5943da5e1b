"""Trust: one taste, answered by some more firmly than by others, by some at random, and by some the other way round."""

import math
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float
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
from pluralign.utility.conditional import laid_out

RIDGES = (0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Trust:
    """z_r = t_r * w: a common taste w, and a trust t_r of each rater, negative for adversaries.

    A rater is an atom, a camp's taste times a level of trust, so Bayes' rule is exact. The taste follows the honest;
    adversaries are found and predicted, but speak in no voice. Turning all signs around fits equally well, so the
    majority is presumed honest. In a crowd that truly disagrees an "adversary" may be a minority: compare with Camps.

    Attributes:
        levels: the levels of trust; 1 is the rater whose taste `w` is.
        groups: common tastes; more than one are found by Camps first.
        utility, rule: as in Pooled.
        ridge: 1 / variance of the normal prior on each taste; "auto" chooses by held-out likelihood.
        presumed: pseudo-raters of trust 1; they keep a few contradictory answers from making an adversary.
        sweeps: at most this many EM rounds.
        tolerance: stop when a round gains less than this many nats.

    Source: TriTrust (arXiv 2601.18751, 2026) learns the signed trust by gradient; here it is integrated out.
    """

    levels: tuple[float, ...] = (-1.0, 0.0, 0.5, 1.0, 2.0)
    groups: int = 1
    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    ridge: float | str = "auto"
    presumed: float = 1.0
    sweeps: int = 200
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        check_ridge(self.ridge)
        if 1.0 not in self.levels or len(set(self.levels)) < len(self.levels):
            raise ValueError(f"`levels` must be different numbers, 1 among them, got {self.levels}.")
        if self.groups < 1:
            raise ValueError(f"`groups` must be at least 1, got {self.groups}.")

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; `diagnostics["adversaries"]` gives the chance of negative trust where it is above 1/2."""
        need_answers(data)
        streams = Streams.of(seed)
        worth = narrowed(self.utility, self.rule, data, streams)
        if self.ridge != "auto":
            return self._fit(data, worth, streams, float(self.ridge))
        draft = replace(self, sweeps=min(self.sweeps, 40), tolerance=max(self.tolerance, 0.1))
        ridge, choice = choose(
            {r: partial(draft._fit, worth=worth, streams=streams, ridge=r) for r in RIDGES},
            data,
            streams.below("ridge"),
            held,
        )
        found = self._fit(data, worth, streams, ridge)
        return replace(found, diagnostics={**found.diagnostics, "ridge_table": choice.table})

    def _fit(self, data: Comparisons, worth: Worth, streams: Streams, ridge: float) -> Belief:
        part = some(data, streams)
        rows = Rows.of(*laid_out(part, worth), self.rule)
        level = torch.tensor(self.levels, dtype=torch.float64)
        if self.groups > 1:
            camps = Camps(self.groups, self.utility, self.rule, ridge, restarts=4, sweeps=60)
            starts: tuple[Tensor, ...] = (
                camps._narrow(rows, rows, streams.below("camps"), self.groups, ridge)[0],
            )
        else:
            starts = _starts(rows, ridge)
        climb = lambda taste: _em(rows, taste, level, ridge, self.presumed, self.sweeps, self.tolerance)
        taste, share, _ = max((climb(taste) for taste in starts), key=lambda found: found[2])
        atoms = (taste[:, None] * level[:, None]).flatten(0, 1)
        voice = torch.arange(len(taste))[:, None].expand(-1, len(level))
        voice = voice.masked_fill(level <= 0, -1).flatten()
        prior = Atoms(atoms, share.flatten(), voice)
        draws = prior.posterior(*laid_out(data, worth), self.rule)
        against = draws.weight[(level < 0).repeat(len(taste))].sum(0)
        mass = share.sum(0)
        assert data.rater_ids is not None
        notes: dict[str, object] = {
            "ridge": ridge,
            "trust": {f"{t:g}": float(s) for t, s in zip(level.tolist(), mass)},
            "adversaries": {
                data.rater_ids[r]: float(against[r]) for r in (against > 0.5).nonzero()[:, 0].tolist()
            },
        }
        if float(mass[level < 0].sum()) > float(mass[level > 0].sum()):
            notes["warning"] = (
                "more raters answer against the common taste than with it: these answers do not say who is honest."
            )
        return Belief(worth, self.rule, prior, draws, data.rater_ids, self, notes)


def _starts(rows: Rows, ridge: float) -> tuple[Float[Tensor, "1 Z"], Float[Tensor, "1 Z"]]:
    """What the crowd says on average, and the line along which its raters lie, pointing the way of the average."""
    common = crowd(rows, torch.zeros(1, rows.width, dtype=torch.float64), ridge=ridge)
    eye = torch.eye(rows.width, dtype=torch.float64)
    own, _, _ = modes(buckets(rows), rows.rule, common[0], eye, rows.raters, sweeps=4)
    size, side = torch.linalg.eigh(own.T @ own / len(own))
    line = side[:, -1] * size[-1].clamp_min(0.0).sqrt()
    return common, (line * torch.where(line @ common[0] < 0, -1.0, 1.0))[None]


def _em(
    rows: Rows,
    taste: Float[Tensor, "G Z"],
    level: Float[Tensor, " T"],
    ridge: float,
    presumed: float,
    sweeps: int,
    tolerance: float,
) -> tuple[Float[Tensor, "G Z"], Float[Tensor, "G T"], float]:
    """Panel EM over camp and trust together, with one Newton step for the tastes per round."""
    groups, width = taste.shape
    honest = (level == 1).to(taste)
    # Start from a crowd that is honest for the most part: this is what tells a taste from its opposite.
    share = torch.where(level > 0, 4.0, 1.0)
    share = (share / share.sum() / groups).expand(groups, -1)
    present = torch.bincount(rows.rater, minlength=rows.raters) > 0
    x = rows.x.reshape(-1, width)
    eye = ridge * torch.eye(width, dtype=x.dtype)
    old, last = taste, -math.inf
    best = (taste, share, last)
    for _ in range(sweeps):
        atoms = (taste[:, None] * level[:, None]).flatten(0, 1)
        value, slope, bend = likelihood(rows.rule, rows.eta(atoms), rows.label)
        log = rows.by_rater(rows.weighted(value)) + share.flatten().log()[:, None]
        total = float((torch.logsumexp(log, 0) * present).sum() - ridge / 2 * taste.square().sum())
        total += presumed * float(share[:, level == 1].sum(0).log())
        if total < last - 1e-6 * abs(last) and float((taste - old).abs().max()) > 1e-9:
            taste = (taste + old) / 2  # the Newton step went too far
            continue
        best = (taste, share, total)
        if total - last < tolerance + 2e-8 * abs(total):
            break
        old, last = taste, total
        weight = torch.softmax(log, 0) * present
        mass = weight.sum(1).reshape(groups, -1)
        mass = mass + presumed * honest * mass[:, level == 1] / mass[:, level == 1].sum() + 1e-6
        share = mass / mass.sum()
        mine = rows.weighted(weight[:, rows.rater]).reshape(groups, len(level), -1)
        pull = torch.einsum("gtm,gtmj->gmj", mine * level[:, None], slope.reshape(*mine.shape, -1))
        stiff = mine * level[:, None].square()
        curve = torch.einsum("gtm,gtmjk->gmjk", stiff, bend.reshape(*mine.shape, *bend.shape[-2:]))
        taste = taste + solve(information(rows, curve) + eye, pull.reshape(groups, -1) @ x - ridge * taste)
    return best


__all__ = ["Trust"]
