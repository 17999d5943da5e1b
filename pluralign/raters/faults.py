"""What is human about simulated people."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pluralign.raters.numbers import normal
from pluralign.streams import Streams


@dataclass(frozen=True)
class Faults:
    """Settings of the faults of a population; by default people are as rational as Luce's rule.

    Attributes:
        rationality: factor on the worths; infinite for people who never err.
        rationality_spread: standard deviation of its logarithm between people; 0 for all the same.
        lapse: chance of a guess; mistakes at rate e are lapses at rate 2 e.
        equal: utils; pairs nearer than this are called equal.
        discount: per step; below 1 the last step of a segment counts 1 and older ones fade.
        skip: utils; questions whose options are all worth at most this are left out. -inf for people who skip none.
    """

    rationality: float = 1.0
    rationality_spread: float = 0.0
    lapse: float = 0.0
    equal: float = 0.0
    discount: float = 1.0
    skip: float = -math.inf

    def __post_init__(self) -> None:
        if not self.rationality >= 0:
            raise ValueError(f"`rationality` must be 0 or more, got {self.rationality}; math.inf never errs.")
        if not 0 <= self.rationality_spread < math.inf:
            raise ValueError(f"`rationality_spread` must be 0 or more, got {self.rationality_spread}.")
        if not 0 <= self.lapse <= 1:
            raise ValueError(f"`lapse` must be a probability, got {self.lapse}.")
        if not 0 <= self.equal < math.inf:
            raise ValueError(f"`equal` must be 0 or more utils, got {self.equal}.")
        if not self.skip < math.inf:
            raise ValueError(f"`skip` must be a number of utils, got {self.skip}; -inf skips nothing.")
        if not 0 < self.discount <= 1:
            raise ValueError(f"`discount` must be in (0, 1], got {self.discount}.")

    def draw(self, stream: Tensor, seeds: Streams) -> dict[str, Tensor]:
        """Arguments of `SimulatedRaters` for the people with these stream numbers."""
        drawn: dict[str, Tensor] = {}
        if self.rationality != 1 or self.rationality_spread:
            spread = self.rationality_spread * normal(seeds.number("rationality"), stream)
            drawn["rationality"] = self.rationality * spread.exp()
        for name, harmless in (("lapse", 0.0), ("equal", 0.0), ("discount", 1.0), ("skip", -math.inf)):
            if (value := getattr(self, name)) != harmless:
                drawn[name] = torch.full((len(stream),), value, dtype=torch.float64)
        return drawn


TEACHERS: dict[str, Faults] = {
    "oracle": Faults(rationality=math.inf),
    "noisy": Faults(),
    "mistake": Faults(rationality=math.inf, lapse=0.2),
    "myopic": Faults(rationality=math.inf, discount=0.9),
}
"""Teachers of B-Pref (Lee et al. 2021) that are properties of a person. Its "equal" and "skip" have thresholds
relative to the return of the policy being trained: set `Faults(equal=...)` or `Faults(skip=...)` in utils."""
