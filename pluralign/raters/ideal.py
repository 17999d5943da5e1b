"""People with an ideal in mind: too much is as bad as too little."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import Luce, OutcomeRule
from pluralign.data.options import Options
from pluralign.raters.faults import Faults
from pluralign.raters.people import CampPeople
from pluralign.raters.simulated import FAULTS, SimulatedRaters
from pluralign.streams import Seed


@dataclass(frozen=True)
class Squares:
    """Each row with its squares: worths that are quadratic are linear in these. Steps of a segment are summed.

    Attributes:
        discount: weight of step t of a segment is discount**t.
    """

    discount: float = 1.0

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b Z"]:
        """(*b, 2 D) the numbers, then their squares."""
        rows = rows.double()
        return torch.cat([rows, rows.square()], -1)

    def basis(self, options: Options) -> Float[Tensor, "N Z"]:
        """(N, 2 D) sums over the rows of each option."""
        return options.pool(self.steps(options.rows), self.discount)


@dataclass(frozen=True)
class IdealPeople:
    """People in camps, each person with a point that would be just right: a row x is worth -sum_f care_f (x_f - point_f)^2.

    A person's point stands near that of the camp. The constant care point^2 is left out: it is the same for all rows, so
    that comparisons of segments of equal length are as if it were there. For segments the point is about single steps, for
    example a speed.

    Attributes:
        points: G ideal points, in units of the factors.
        share: G shares of the people, sum 1.
        care: utils per squared unit, one per factor; 0 for a factor that nobody minds.
        spread: standard deviation of a person's point around the camp's; one for all, or one per factor.
        rule, faults: see `SimulatedRaters`.

    Source: Coombs (1950), unfolding.
    """

    points: tuple[tuple[float, ...], ...]
    share: tuple[float, ...]
    care: tuple[float, ...]
    spread: float | tuple[float, ...] = 0.0
    rule: OutcomeRule = field(default_factory=Luce)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        CampPeople(self.points, self.share)  # says what is wrong with camps
        if len(self.care) != len(self.points[0]):
            raise ValueError(
                f"`care` must have one number for each of {len(self.points[0])} factors, got {self.care}."
            )
        if min(self.care) < 0:
            raise ValueError(f"`care` must be 0 or more utils per squared unit, got {self.care}.")

    def draw(self, count: int, seed: Seed) -> SimulatedRaters:
        """`count` people, whose tastes are (2 care point, -care)."""
        near = CampPeople(self.points, self.share, self.spread, rule=self.rule, faults=self.faults)
        people = near.draw(count, seed)
        care = torch.tensor(self.care, dtype=torch.float64)
        taste = torch.cat([2 * care * people.taste, -care.expand_as(people.taste)], 1)
        kept = {name: getattr(people, name) for name in ("group", "stream", *FAULTS)}
        return SimulatedRaters(Squares(), taste, self.rule, **kept)


def ideal_point(taste: Float[Tensor, "*b Z"]) -> Float[Tensor, "*b D"]:
    """The points of tastes over `Squares`, not a number where nobody minds."""
    first, second = taste.chunk(2, -1)
    return first / (-2 * second)
