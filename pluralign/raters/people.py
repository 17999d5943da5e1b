"""Populations to draw simulated people from: camps, and one cloud of tastes."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from pluralign.choice import Luce, OutcomeRule
from pluralign.raters.factors import Basis, Factors
from pluralign.raters.faults import Faults
from pluralign.raters.numbers import normal, uniform
from pluralign.raters.simulated import SimulatedRaters
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class CampPeople:
    """People in camps: a centre each, and around it persons who differ a little.

    Camps get their share of the people exactly (largest remainders), in random order.

    Attributes:
        centres: G tastes, utils per unit of each factor.
        share: G shares of the people, sum 1.
        spread: standard deviation of a person around the centre, utils per unit; one for all, or one per factor.
        worth, rule, faults: see `SimulatedRaters`.
    """

    centres: tuple[tuple[float, ...], ...]
    share: tuple[float, ...]
    spread: float | tuple[float, ...] = 0.0
    worth: Basis = field(default_factory=Factors)
    rule: OutcomeRule = field(default_factory=Luce)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        if not self.centres or len({len(c) for c in self.centres}) != 1:
            raise ValueError(
                f"`centres` must be tastes of one length, got lengths {[len(c) for c in self.centres]}."
            )
        if len(self.share) != len(self.centres):
            raise ValueError(
                f"`share` must have one number for each of {len(self.centres)} camps, got {self.share}."
            )
        if abs(sum(self.share) - 1) > 1e-6:
            raise ValueError(f"`share` must sum to 1, got {self.share}, which sums to {sum(self.share):.6g}.")
        if min(self.share) <= 0:
            raise ValueError(
                f"`share` must be positive, got {self.share}; leave out a camp with nobody in it."
            )

    def draw(self, count: int, seed: Seed) -> SimulatedRaters:
        """`count` people.

        Raises:
            ValueError: so few people that a camp has nobody.
        """
        seeds, stream = Streams.of(seed), torch.arange(count)
        size = quota(self.share, count)
        if int(size.min()) == 0:
            shares = ", ".join(f"{part:.3g}" for part in self.share)
            raise ValueError(
                f"{count} people are too few for camps of shares {shares}: camp {int(size.argmin())} would have nobody; "
                "take more people."
            )
        order = uniform(seeds.number("group"), stream).argsort()
        group = torch.empty(count, dtype=torch.long)
        group[order] = torch.repeat_interleave(torch.arange(len(size)), size)
        centre = torch.tensor(self.centres, dtype=torch.float64)
        noise = _noise(seeds, stream, centre.shape[1])
        taste = centre[group] + noise * torch.tensor(self.spread, dtype=torch.float64)
        return SimulatedRaters(self.worth, taste, self.rule, group, **self.faults.draw(stream, seeds))


@dataclass(frozen=True)
class GaussianPeople:
    """People without camps: tastes from one normal distribution. Person r is the same whatever the count.

    Attributes:
        mean: the average taste, utils per unit of each factor.
        covariance: Z by Z; rank may be low, zeros make everybody alike.
        worth, rule, faults: see `SimulatedRaters`.
    """

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    worth: Basis = field(default_factory=Factors)
    rule: OutcomeRule = field(default_factory=Luce)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        width = len(self.mean)
        if [len(row) for row in self.covariance] != [width] * width:
            raise ValueError(f"`covariance` must be {width} by {width} numbers, as `mean` has {width}.")
        matrix = torch.tensor(self.covariance, dtype=torch.float64)
        if not torch.equal(matrix, matrix.T):
            raise ValueError("`covariance` must be symmetric.")
        least = float(torch.linalg.eigvalsh(matrix)[0])
        if least < -1e-9 * float(matrix.abs().max()):
            raise ValueError(f"`covariance` must have no negative eigenvalue, got {least:.3g}.")

    def draw(self, count: int, seed: Seed) -> SimulatedRaters:
        """`count` people."""
        seeds, stream = Streams.of(seed), torch.arange(count)
        value, vector = torch.linalg.eigh(torch.tensor(self.covariance, dtype=torch.float64))
        root = vector * value.clamp_min(0).sqrt()  # also for low rank, where Cholesky gives up
        noise = _noise(seeds, stream, len(self.mean))
        taste = torch.tensor(self.mean, dtype=torch.float64) + noise @ root.T
        return SimulatedRaters(self.worth, taste, self.rule, **self.faults.draw(stream, seeds))


def quota(share: tuple[float, ...], count: int) -> Int[Tensor, " G"]:
    """(G,) whole numbers that sum to `count` and are nearest to the shares (largest remainders)."""
    exact = torch.tensor(share, dtype=torch.float64) * count
    whole = (exact + 1e-9).floor().long()  # .1 * 30 is 2.9999999999999996
    rest = count - int(whole.sum())
    whole[(exact - whole).argsort(descending=True, stable=True)[:rest]] += 1
    return whole


def _noise(seeds: Streams, stream: Tensor, width: int) -> Tensor:
    return normal(seeds.number("taste"), stream[:, None], torch.arange(width))
