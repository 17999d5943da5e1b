"""Populations by name, for the factors of any world or table."""

import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import Davidson, Luce, Thurstone
from pluralign.raters.changes import Drift, Fatigue, Moods, Swing
from pluralign.raters.changing import ChangingPeople, ChangingRaters
from pluralign.raters.faults import Faults
from pluralign.raters.ideal import IdealPeople
from pluralign.raters.mixed import MixedPeople, MixedRaters
from pluralign.raters.numbers import normal
from pluralign.raters.people import CampPeople, GaussianPeople
from pluralign.raters.ranked import RankedPeople, RankedRaters
from pluralign.raters.simulated import SimulatedRaters
from pluralign.streams import Seed

MINDED = 0.25  # what all people mind, as a part of what a camp cares for
SPREAD = 0.15  # of persons around their camp, likewise

PRESETS: dict[str, str] = {
    "two-camps": "Two equal camps that care for different factors.",
    "ten-camps": "Ten equal camps whose tastes point in ten directions.",
    "continuum": "No camps: everybody has a taste of their own.",
    "long-tail": "Ten camps, the k-th as large as 1/k of the first.",
    "adversaries": "Two camps, and one person in ten who wants the opposite of both.",
    "trolls": "Two camps; one person in ten answers at random.",
    "drifting": "Two camps whose people's tastes walk at random: as far, in a hundred answers, as they are strong.",
    "swinging": "Two camps whose people swing, within a hundred answers, to caring for another factor.",
    "tired": "Two camps; care is half gone after fifty answers, and in the end three answers in ten are guesses.",
    "moody": "Two camps; answers come in sessions of ten, between which tastes differ.",
    "left-leaning": "Two camps who prefer, each more or less, what stands first.",
    "timed": "Two camps; a toss-up takes a person two seconds, and what is clear takes less.",
    "mixed-rules": "Two camps; people who choose by Luce's or Thurstone's rule, who say 'equal', and who often guess.",
}
CURVED: dict[str, str] = {
    "ideal-points": "Two camps who want a factor neither small nor large, but just right, and not the same.",
    "ranked": "Two camps who judge by one factor, and look at the next only where that differs too little (HERON).",
}
"""Presets whose people have no worth that is a sum of factors, so that a taste is not utils per factor."""


@runtime_checkable
class People(Protocol):
    """Settings of a population that people can be drawn from."""

    def draw(
        self, count: int, seed: Seed
    ) -> SimulatedRaters | ChangingRaters | MixedRaters | RankedRaters: ...


def preset(name: str, factors: Mapping[str, float], strength: float = 2.0) -> People:
    """A population that disagrees about `factors`.

    Factors with a positive scale are *goals*: camps differ in which they care for. Those with a negative scale are
    *costs*: all people mind them alike, at a quarter of the strength. With a single goal there are people who want
    more of it and people who want less; with none, the costs are what people differ about.

    Args:
        name: one of `PRESETS` or `CURVED`.
        factors: in the order of the options' numbers, each with the typical difference between two options (in the
            factor's unit; for segments, of sums over steps), negative where people who care want less.
        strength: utils by which two options typically differ to a person who cares for one factor alone.

    Raises:
        ValueError: there is no such preset, or the factors cannot carry it.
    """
    if name not in PRESETS | CURVED:
        raise ValueError(f"There is no population {name!r}; there are {', '.join(PRESETS | CURVED)}.")
    wrong = [factor for factor, scale in factors.items() if not math.isfinite(scale) or scale == 0]
    if not factors or wrong:
        raise ValueError(
            f"`factors` must map names to finite scales other than 0, got {dict(factors)}; leave out a factor in "
            "which no two options differ."
        )
    if not 0 < strength < math.inf:
        raise ValueError(f"`strength` must be a positive number of utils, got {strength}.")
    scale = torch.tensor(list(factors.values()), dtype=torch.float64)
    goal = scale > 0 if bool((scale > 0).any()) else torch.ones_like(scale, dtype=torch.bool)
    wanted = int(goal.sum())

    def tastes(direction: Tensor) -> tuple[tuple[float, ...], ...]:
        """(G, goals) unit vectors -> utils per unit of every factor, costs included."""
        full = torch.full((len(direction), len(scale)), MINDED, dtype=torch.float64)
        full[:, goal] = direction
        return tuple(tuple(row) for row in (strength * full / scale).tolist())

    spread = tuple((SPREAD * strength / scale.abs()).tolist())

    def camps(count: int, share: tuple[float, ...] = (), **settings) -> CampPeople:
        way = directions(wanted, count)
        return CampPeople(tastes(way), share or (1 / count,) * count, spread, **settings)

    if name == "ten-camps":
        return camps(10)
    if name == "long-tail":
        whole = sum(1 / k for k in range(1, 11))
        return camps(10, tuple(1 / k / whole for k in range(1, 11)))
    if name == "continuum":
        wide = torch.where(goal, strength**2 / scale**2 / wanted, 0.0)
        mean = tastes(torch.full((1, wanted), 0.5 / math.sqrt(wanted), dtype=torch.float64))[0]
        return GaussianPeople(mean, tuple(tuple(row) for row in wide.diag().tolist()))
    if name == "adversaries":
        return _with_adversaries(camps(2), wanted, scale, strength)
    if name == "trolls":
        return MixedPeople((camps(2), camps(2, faults=Faults(lapse=1.0))), (0.9, 0.1))
    if name in ("drifting", "moody"):
        felt = torch.where(goal, strength / scale.abs(), 0.0)
        if name == "drifting":
            return ChangingPeople(camps(2), (Drift(tuple((felt / 10).tolist())),))
        return ChangingPeople(camps(2), (Moods(10, tuple((felt / 3).tolist())),))
    if name == "swinging":
        return ChangingPeople(camps(2), (Swing(_turned(scale, goal)),))
    if name == "tired":
        return ChangingPeople(camps(2), (Fatigue(math.log(2) / 50, lapse=0.3),))
    if name == "left-leaning":
        return camps(2, faults=Faults(bias=0.5, bias_spread=0.5))
    if name == "timed":
        return camps(2, faults=Faults(pace=2.0, reaction=0.4))
    if name == "ideal-points":
        return _ideal(scale, goal, strength)
    if name == "ranked":
        return _ranked(scale, goal)
    if name == "mixed-rules":
        rules = (
            camps(2, rule=Luce()),
            camps(2, rule=Thurstone()),
            camps(2, rule=Davidson()),
            camps(2, faults=Faults(rationality=0.5, lapse=0.3)),
        )
        return MixedPeople(rules, (0.4, 0.2, 0.2, 0.2))
    return camps(2)


def directions(width: int, count: int) -> Float[Tensor, "count width"]:
    """(count, width) unit vectors: the axes first, then each as far as can be from all before it.

    Raises:
        ValueError: on a line there are but two directions.
    """
    if width == 1 and count > 2:
        raise ValueError(
            f"{count} camps need at least 2 factors with a positive scale, got 1; try 'two-camps'."
        )
    found = list(torch.eye(width, dtype=torch.float64)[:count])
    cloud = normal(0, torch.arange(4000)[:, None], torch.arange(width))
    cloud = cloud / cloud.norm(dim=1, keepdim=True)
    if width == 1:
        cloud = torch.tensor([[-1.0]], dtype=torch.float64)
    while len(found) < count:
        nearest = (cloud @ torch.stack(found).T).amax(1)
        found.append(cloud[int(nearest.argmin())])
    return torch.stack(found)


def _with_adversaries(honest: CampPeople, wanted: int, scale: Tensor, strength: float) -> CampPeople:
    """The camps, and one person in ten who wants the opposite of what they have in common."""
    centres = honest.centres if wanted > 1 else honest.centres[:1]
    common = (torch.tensor(centres, dtype=torch.float64) * scale).sum(0)  # utils per typical difference
    against = -strength * common / common.norm() / scale
    share = (0.9 / len(centres),) * len(centres)
    return CampPeople((*centres, tuple(against.tolist())), (*share, 0.1), honest.spread)


def _ideal(scale: Tensor, goal: Tensor, strength: float) -> IdealPeople:
    """Points half a typical difference below and above zero in each goal; of costs, zero is the best."""
    size = scale.abs()
    low = torch.where(goal, -size / 2, 0.0)
    care = torch.where(goal, 1.0, MINDED) * strength / size**2 / 2
    points = tuple(tuple(p.tolist()) for p in (low, -low))
    return IdealPeople(points, (0.5, 0.5), tuple(care.tolist()), tuple((SPREAD * size).tolist()))


def _ranked(scale: Tensor, goal: Tensor) -> RankedPeople:
    """Goals in turn and backwards, then costs; margins a third of a typical difference."""
    index, rest = goal.nonzero()[:, 0].tolist(), (~goal).nonzero()[:, 0].tolist()
    orders = ((*index, *rest), (*index[::-1], *rest))
    if len(index) == 1 and rest:  # of one goal and costs, who minds the costs first
        orders = ((*index, *rest), (*rest, *index))
    margin, sign = tuple((scale.abs() / 3).tolist()), tuple(scale.sign().tolist())
    return RankedPeople(orders, (0.5, 0.5), margin, sign, margin_spread=SPREAD)


def _turned(scale: Tensor, goal: Tensor) -> tuple[tuple[float, ...], ...]:
    """The matrix that hands what a person feels about each goal to the next (a single goal is turned over); costs stay."""
    index = goal.nonzero()[:, 0]
    after = index.roll(-1)
    mix = torch.diag((~goal).double())
    mix[after, index] = scale[index] / scale[after] * (1.0 if len(index) > 1 else -1.0)
    return tuple(tuple(row) for row in mix.tolist())
