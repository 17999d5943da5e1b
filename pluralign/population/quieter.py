"""How far raters differ, and how loud all worths are, by held-out likelihood: what few answers overstate."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.held_out import FEW, Name, choose
from pluralign.population.normals import Normals
from pluralign.population.prior import Gaussian
from pluralign.streams import Streams

TEMPERS = (1.0, 0.5, 0.25)
CAUTION = 0.5  # standard errors by which a smaller spread must be better than the one that was fitted
VOLUMES = (1.0, 0.5, 0.25, 0.1, 0.03)


def volumes(volume: float | str, temper: float | str, data: Comparisons) -> tuple[float, ...]:
    """Factors on all worths to choose from."""
    if volume != "auto":
        return (float(volume),)
    return VOLUMES if temper == "auto" and len(data) < FEW else (1.0,)


def tempered(belief: Belief, data: Comparisons, temper: float, volume: float = 1.0) -> Belief:
    """The same belief with a smaller spread between raters, or quieter worths, and their tastes drawn in accordingly."""
    if temper == 1 and volume == 1:
        return belief
    assert isinstance(belief.prior, Gaussian | Normals)
    mean, covariance = belief.prior.mean * volume, belief.prior.covariance * temper * volume**2
    prior = replace(belief.prior, mean=mean, covariance=covariance)
    draws = prior.posterior(data, belief.worth.basis(data.options), belief.rule)
    return replace(belief, prior=prior, draws=draws)


def chosen(
    solve: Callable[[Comparisons, Name], Belief],
    ways: Sequence[Name],
    temper: float | str,
    volume: float | str,
    data: Comparisons,
    streams: Streams,
    held: Comparisons | None,
) -> tuple[Belief, Name, dict[str, Any]]:
    """The fit of the way, temper and volume that make held-out answers likeliest; each fit serves all tempers.

    Returns:
        the belief, the way, and diagnostics: "temper", "volume" and the tables they were chosen by.
    """
    tempers = TEMPERS if temper == "auto" else (float(temper),)
    # The part is kept beside its fit: an id is free for another object once its owner is gone.
    fits: dict[tuple[int, Name], tuple[Comparisons, Belief]] = {}

    def candidate(part: Comparisons, way: Name, temper: float, volume: float = 1.0) -> Belief:
        key = (id(part), way)
        if key not in fits:
            fits[key] = (part, solve(part, way))
        return tempered(fits[key][1], part, temper, volume)

    options = {(way, t): partial(candidate, way=way, temper=t) for way in ways for t in tempers}
    (way, best), choice = choose(options, data, streams.below("temper"), held)
    if best != tempers[0]:  # a correction must earn its place
        same = {t: options[way, t] for t in tempers}
        best, _ = choose(same, data, streams.below("temper"), held, cautious=CAUTION, worthwhile=0.0)
    loud = {v: partial(candidate, way=way, temper=best, volume=v) for v in volumes(volume, temper, data)}
    much, heard = choose(loud, data, streams.below("temper"), held)
    found = candidate(data, way, best, much)
    notes = {"temper": best, "volume": much, "choice_table": choice.table, "volume_table": heard.table}
    assert isinstance(found.prior, Gaussian | Normals)
    spread = float(torch.trace(found.prior.covariance))
    return found, way, {**notes, "spread": spread, "shrinkage": found.shrinkage}
