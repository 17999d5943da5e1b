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
        bias: utils by which the first place is preferred. bias_spread: standard deviation of it between people.
        lapse: chance of a guess.
        mistake: chance that an answer is turned round; up to one half the same as a lapse at twice the rate.
        equal: utils; pairs nearer than this are called equal.
        discount: per step; below 1 the last step of a segment counts 1 and older ones fade.
        skip: utils; questions whose options are all worth at most this are left out. -inf for people who skip none.
        pace: seconds that a toss-up takes on average, by drift-diffusion; 0 for answers without a time.
        reaction: seconds that go by besides.
    """

    rationality: float = 1.0
    rationality_spread: float = 0.0
    bias: float = 0.0
    bias_spread: float = 0.0
    lapse: float = 0.0
    mistake: float = 0.0
    equal: float = 0.0
    discount: float = 1.0
    skip: float = -math.inf
    pace: float = 0.0
    reaction: float = 0.0

    def __post_init__(self) -> None:
        if not self.rationality >= 0:
            raise ValueError(f"`rationality` must be 0 or more, got {self.rationality}; math.inf never errs.")
        for name in ("rationality_spread", "bias_spread", "pace", "reaction"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be 0 or more, got {getattr(self, name)}.")
        if not math.isfinite(self.bias):
            raise ValueError(f"`bias` must be a finite number of utils, got {self.bias}.")
        for name in ("lapse", "mistake"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must be a probability, got {getattr(self, name)}.")
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
        if self.bias or self.bias_spread:
            drawn["bias"] = self.bias + self.bias_spread * normal(seeds.number("bias"), stream)
        for name in ("lapse", "mistake", "equal", "discount", "skip", "pace", "reaction"):
            if (value := getattr(self, name)) != getattr(Faults, name):
                drawn[name] = torch.full((len(stream),), value, dtype=torch.float64)
        return drawn


TEACHERS: dict[str, Faults] = {
    "oracle": Faults(rationality=math.inf),
    "noisy": Faults(),
    "mistake": Faults(rationality=math.inf, mistake=0.1),
    "myopic": Faults(rationality=math.inf, discount=0.9),
}
"""Teachers of B-Pref (Lee et al. 2021) that are properties of a person. Its "equal" and "skip" have thresholds relative
to the return of the policy being trained; see `relative_threshold`."""


def relative_threshold(part: float, episode_return: float, steps: int, episode_steps: int) -> float:
    """Utils of B-Pref's adaptive thresholds, for `Faults(equal=...)` and `Faults(skip=...)`: a part of what a segment
    of this length is worth on average under the policy being trained.

    It is meant to be set anew from the return each time. The published code multiplies the last threshold by the
    part once more at every update but the first, so that it soon is `part` squared of what was meant.

    Args:
        part: 0.1 for the teachers "equal" and "skip".
        episode_return: mean true return of an episode, utils; the size of it where returns are negative.
        steps, episode_steps: of a segment, and of an episode.
    """
    if not 0 <= part < math.inf or not 0 < steps <= episode_steps:
        raise ValueError(
            f"`part` must be 0 or more and segments no longer than episodes, got {part}, {steps} and {episode_steps}."
        )
    return part * abs(episode_return) * steps / episode_steps
