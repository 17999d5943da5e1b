"""Choosing settings by answers that were held out: the one way this package picks complexity."""

import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.population.belief import Belief
from pluralign.streams import Streams

Name = TypeVar("Name", bound=Hashable)


def check_ridge(ridge: float | str) -> None:
    """Raise ValueError unless `ridge`, 1 / variance of a prior, is "auto" or a finite number of 0 or more."""
    if ridge != "auto" and not (isinstance(ridge, int | float) and 0 <= ridge < math.inf):
        raise ValueError(f'`ridge` must be a finite number of 0 or more, or "auto", got {ridge!r}.')


def check_volume(volume: float | str) -> None:
    """Raise ValueError unless `volume`, a factor on all worths, is "auto" or a finite positive number."""
    if volume != "auto" and not (isinstance(volume, int | float) and 0 < volume < math.inf):
        raise ValueError(f'`volume` must be a finite positive number, or "auto", got {volume!r}.')


def need_raters(name: str, count: int | str, data: Comparisons, kind: str) -> int:
    """The number of raters with answers, which `count`, a setting called `name`, must not exceed unless "auto"."""
    present = int((data.counts > 0).sum())
    if count != "auto" and int(count) > present:
        raise ValueError(
            f"`{name}` must not exceed the number of raters with answers, {present}, got {count}; give fewer {kind}, "
            f'or {name}="auto".'
        )
    return present


def hold_out(data: Comparisons, streams: Streams, share: float = 0.2) -> tuple[Comparisons, Comparisons]:
    """Split off a share of every rater's answers; where nobody has two answers, a share of the raters.

    Two answers of one rater that show the same option tell partly the same thing (pairs made from votes do so
    by construction). So an answer that shares an option with a held-out answer of its rater is dropped from
    the part to fit on, for raters who keep at least half of their answers that way.
    """
    if not len(data):
        return data, data
    noise = torch.rand(len(data), generator=streams("hold out"), dtype=torch.float64)
    order = torch.argsort(data.rater + noise)  # by rater, random inside
    first = (data.counts.cumsum(0) - data.counts)[data.rater[order]]
    rank = torch.empty(len(data), dtype=torch.long)
    rank[order] = torch.arange(len(data)) - first
    quota = (data.counts.double() * share).floor()
    # The fraction that is left over is given by lot, so that raters with two or three answers count too.
    lot = torch.rand(data.raters, generator=streams("lot"), dtype=torch.float64)
    quota = torch.where(data.counts >= 2, quota + (lot < data.counts * share - quota), 0.0)
    held = rank < quota[data.rater]
    if not bool(held.any()):
        out = lot < share
        out[torch.argmax(data.counts)] = False
        held = out[data.rater]
        return data.take(~held), data.take(held)
    place = (data.rater[:, None] * (len(data.options) + 1) + data.slate + 1).reshape(-1)
    _, place = torch.unique(place, return_inverse=True)
    touched = torch.zeros(int(place.max()) + 1, dtype=torch.bool)
    touched[place.reshape(data.slate.shape)[held].reshape(-1)] = True
    shown = data.slate != ABSENT
    near = (touched[place].reshape(data.slate.shape) & shown).any(1) & ~held
    lost = torch.bincount(data.rater[near | held], minlength=data.raters)
    dropped = near & (2 * lost <= data.counts)[data.rater]
    return data.take(~held & ~dropped), data.take(held)


WORTHWHILE = 0.03  # of the whole gain; a last camp that adds less only splits an odd person off
FEW = 5_000  # fewer answers are held out several times over
ENOUGH = 40_000  # answers by which settings are chosen; more would cost time and change nothing


def some(data: Comparisons, streams: Streams, most: int = ENOUGH) -> Comparisons:
    """All answers of as many raters, drawn at random, as have about `most` answers together."""
    if len(data) <= most:
        return data
    order = torch.randperm(data.raters, generator=streams("some"))
    reach = data.counts[order].cumsum(0)
    kept = order[: max(2, int((reach <= most).sum()))]
    mine = torch.zeros(data.raters, dtype=torch.bool)
    mine[kept] = True
    return data.take(mine[data.rater])


def some_of_both(
    data: Comparisons, held: Comparisons, streams: Streams, most: int = ENOUGH
) -> tuple[Comparisons, Comparisons]:
    """`some` answers, and the held-out answers of the same raters: others would be judged as strangers."""
    kept = some(data, streams, most)
    if kept is data:
        return data, held
    assert kept.rater_ids is not None
    assert held.rater_ids is not None
    left = {name for name, count in zip(kept.rater_ids, kept.counts.tolist()) if count}
    return kept, held.take(torch.tensor([name in left for name in held.rater_ids])[held.rater])


def log_loss(belief: Belief, data: Comparisons) -> Float[Tensor, " R"]:
    """Each rater's mean log loss in nats on the decided answers of `data`; NaN for raters without any."""
    share = belief.predict(data).clamp_min(1e-12)
    loss = -(data.label.to(share) * share.log()).sum(1)
    keep = data.decided.to(share)
    total = torch.zeros(data.raters, dtype=share.dtype).index_add_(0, data.rater, loss * keep)
    count = torch.zeros(data.raters, dtype=share.dtype).index_add_(0, data.rater, keep)
    return total / torch.where(count > 0, count, torch.nan)


@dataclass(frozen=True)
class Choice:
    """The chosen name, and the table: mean held-out log loss and its paired standard error to the best."""

    name: object
    table: tuple[tuple[str, float, float], ...]


def held_out_losses(
    candidates: Mapping[Name, Callable[[Comparisons], Belief]],
    data: Comparisons,
    streams: Streams,
    held: Comparisons | None = None,
    *,
    most: int = ENOUGH,
) -> Float[Tensor, "C R"]:
    """Each rater's mean held-out log loss under each candidate; NaN for raters with nothing held out.

    Small data are held out several times over, and the losses averaged: one split of a few hundred answers says
    little about which of two settings is better.
    """
    if held is not None:
        kept, held = some_of_both(data, held, streams, most)
        return torch.stack([log_loss(fit(kept), held) for fit in candidates.values()])
    repeats = min(4, -(-FEW // max(len(data), 1)))
    found = []
    for repeat in range(repeats):
        kept, out = hold_out(some(data, streams, most), streams.below("repeat", repeat))
        if not len(out) or not bool(out.decided.any()):
            return torch.full((len(candidates), data.raters), torch.nan, dtype=torch.float64)
        found.append(torch.stack([log_loss(fit(kept), out) for fit in candidates.values()]))
    return torch.stack(found).nanmean(0)


def choose(
    candidates: Mapping[Name, Callable[[Comparisons], Belief]],
    data: Comparisons,
    streams: Streams,
    held: Comparisons | None = None,
    *,
    cautious: float = 0.0,
    worthwhile: float = WORTHWHILE,
    most: int = ENOUGH,
) -> tuple[Name, Choice]:
    """The candidate with the smallest held-out log loss, macro-averaged over raters.

    `held` are answers set aside by the caller; by default a part of `data` is (see `hold_out`).
    `cautious` (standard errors) takes the first candidate, the simplest put first, that is not worse than the best
    by more than so many standard errors of the paired difference, or that misses less than `worthwhile` (a share) of
    what the best gains over the simplest: complexity must earn its place. `most` bounds the answers that candidates are fitted to.
    """
    names = list(candidates)
    if len(names) == 1:
        return names[0], Choice(names[0], ())
    losses = held_out_losses(candidates, data, streams, held, most=most)
    losses = losses[:, torch.isfinite(losses).all(0)]
    if not losses.shape[1]:
        return names[0], Choice(names[0], ())
    mean = losses.mean(1)
    best = int(mean.argmin())
    gap = losses - losses[best]
    error = gap.std(1, correction=1) / gap.shape[1] ** 0.5 if gap.shape[1] > 1 else torch.zeros(len(names))
    pick = best
    if cautious:
        little = worthwhile * float(mean[0] - mean[best])
        allowed = [max(cautious * float(e), little) for e in error]
        pick = next(k for k in range(len(names)) if float(gap[k].mean()) <= allowed[k])
    table = tuple((str(n), float(m), float(e)) for n, m, e in zip(names, mean, error))
    return names[pick], Choice(names[pick], table)


def settled(model: Any, belief: Any) -> Any:
    """The model with its "auto" settings as they were chosen in `belief`; anything but settings as it is."""
    if not dataclasses.is_dataclass(model) or isinstance(model, type):
        return model
    notes = getattr(belief, "diagnostics", {})
    chosen = {
        f.name: notes[f.name]
        for f in dataclasses.fields(model)
        if getattr(model, f.name) == "auto" and f.name in notes
    }
    within = getattr(model, "population", None)  # of a model that wraps another
    if dataclasses.is_dataclass(within):
        chosen["population"] = settled(within, belief)
    return dataclasses.replace(model, **chosen)
