"""What changes in people while they answer: drift, swings, a change of mind, fatigue, moods."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.signal import lfilter
from torch import Tensor

from pluralign.raters.numbers import normal, uniform
from pluralign.raters.simulated import SimulatedRaters
from pluralign.streams import Streams

AT_ONCE = 4_000_000  # numbers of a walk per piece, 32 MB
Spread = float | tuple[float, ...]


@dataclass(frozen=True)
class Drift:
    """Tastes walk at random: before answer n a taste has moved by n independent normal steps.

    Attributes:
        step: standard deviation of a step, utils per unit; one for all, or one per factor.
        keep: part of what was moved that is left after each answer. 1 is a random walk, whose variance n step^2 grows for
            ever; below, people stay about where they began, at a variance of at most step^2 / (1 - keep^2).
    """

    step: Spread
    keep: float = 1.0

    def __post_init__(self) -> None:
        _not_negative("step", self.step)
        if not 0 <= self.keep <= 1:
            raise ValueError(f"`keep` must be in [0, 1], got {self.keep}; 1 is a random walk.")

    def apply(
        self, people: SimulatedRaters, who: Tensor, number: Tensor, streams: Streams
    ) -> SimulatedRaters:
        """Tastes after `number` steps."""
        person, row = who.unique(return_inverse=True)
        moved = torch.zeros_like(people.taste, dtype=torch.float64)
        longest, width = int(number.max()) if len(number) else 0, moved.shape[1]
        step = _per_factor(self.step, width)
        size = max(1, AT_ONCE // (max(longest, 1) * width))
        for start in range(0, len(person) if longest else 0, size):
            some = person[start : start + size]
            when, factor = torch.arange(longest)[:, None], torch.arange(width)
            noise = normal(streams.number("walk"), some[:, None, None], when, factor)
            path = torch.from_numpy(lfilter([1.0], [1.0, -self.keep], noise.numpy(), axis=1))
            path = torch.cat([torch.zeros_like(path[:, :1]), path], 1)
            mine = ((row >= start) & (row < start + size)).nonzero()[:, 0]
            moved[mine] = path[row[mine] - start, number[mine]] * step
        return dataclasses.replace(people, taste=people.taste + moved)


@dataclass(frozen=True)
class Swing:
    """Tastes swing to another and back: before answer n a part sin^2(pi n / (2 answers)) of the way. Nothing is random.

    Attributes:
        mix: Z by Z; the other taste is this matrix times the first.
        answers: how many answers the way there takes; as many again lead back.
    """

    mix: tuple[tuple[float, ...], ...]
    answers: float = 100.0

    def __post_init__(self) -> None:
        if not self.answers > 0:
            raise ValueError(f"`answers` must be positive, got {self.answers}; math.inf never turns.")

    def apply(
        self, people: SimulatedRaters, who: Tensor, number: Tensor, streams: Streams
    ) -> SimulatedRaters:
        """Tastes on the way."""
        part = (math.pi / 2 / self.answers * number.double()).sin()[:, None] ** 2
        return dataclasses.replace(people, taste=torch.lerp(people.taste, _other(people, self.mix), part))


@dataclass(frozen=True)
class Switch:
    """Tastes change once, at a moment of each person's own, and stay changed.

    Attributes:
        mix: Z by Z; the other taste is this matrix times the first.
        hazard: chance at each answer that it is the moment; the first answer is never after it.
    """

    mix: tuple[tuple[float, ...], ...]
    hazard: float

    def __post_init__(self) -> None:
        if not 0 < self.hazard < 1:
            raise ValueError(f"`hazard` must be a chance between 0 and 1, got {self.hazard}.")

    def apply(
        self, people: SimulatedRaters, who: Tensor, number: Tensor, streams: Streams
    ) -> SimulatedRaters:
        """The taste before or after."""
        last = (uniform(streams.number("switch"), who).log() / math.log1p(-self.hazard)).floor()
        after = (number > last)[:, None]
        return dataclasses.replace(people, taste=torch.where(after, _other(people, self.mix), people.taste))


@dataclass(frozen=True)
class Fatigue:
    """Care falls with every answer: rationality times end + (1 - end) e^(-rate n), and guesses that grow alike.

    Attributes:
        rate: per answer; care is half gone after .69 / rate answers.
        end: part of the rationality that is left in the end; above 1 people learn instead.
        lapse: chance of a guess in the end, besides that of the person.
    """

    rate: float
    end: float = 0.0
    lapse: float = 0.0

    def __post_init__(self) -> None:
        _not_negative("rate", self.rate)
        _not_negative("end", self.end)
        if not 0 <= self.lapse <= 1:
            raise ValueError(f"`lapse` must be a probability, got {self.lapse}.")

    def apply(
        self, people: SimulatedRaters, who: Tensor, number: Tensor, streams: Streams
    ) -> SimulatedRaters:
        """The care that is left."""
        fresh = (-self.rate * number.double()).exp()
        before = torch.ones_like(fresh) if people.rationality is None else people.rationality.double()
        left = (self.end + (1 - self.end) * fresh).clamp_min(1e-300)  # infinity times zero is no number
        guess = self.lapse * (1 - fresh)
        lapse = guess if people.lapse is None else 1 - (1 - people.lapse.double()) * (1 - guess)
        return dataclasses.replace(
            people, rationality=before * left, lapse=lapse if self.lapse else people.lapse
        )


@dataclass(frozen=True)
class Moods:
    """Answers are given in sessions, and tastes differ a little from one session to the next.

    Attributes:
        answers: of one session.
        spread: standard deviation of a session's taste around the person's, utils per unit; for all, or per factor.
    """

    answers: int
    spread: Spread

    def __post_init__(self) -> None:
        if self.answers < 1:
            raise ValueError(f"`answers` must be 1 or more per session, got {self.answers}.")
        _not_negative("spread", self.spread)

    def apply(
        self, people: SimulatedRaters, who: Tensor, number: Tensor, streams: Streams
    ) -> SimulatedRaters:
        """The taste of the session."""
        width = people.taste.shape[1]
        session = number // self.answers
        mood = normal(streams.number("mood"), who[:, None], session[:, None], torch.arange(width))
        return dataclasses.replace(people, taste=people.taste + mood * _per_factor(self.spread, width))


def _other(people: SimulatedRaters, mix: tuple[tuple[float, ...], ...]) -> Tensor:
    matrix = torch.tensor(mix, dtype=torch.float64)
    width = people.taste.shape[1]
    if matrix.shape != (width, width):
        raise ValueError(
            f"`mix` must be {width} by {width} numbers like the tastes, got {tuple(matrix.shape)}."
        )
    return people.taste.double() @ matrix.T


def _per_factor(spread: Spread, width: int) -> Float[Tensor, " Z"]:
    found = torch.tensor(spread, dtype=torch.float64)
    if found.dim() and len(found) != width:
        raise ValueError(f"give one number, or one for each of the {width} factors, got {len(found)}.")
    return found.expand(width)


def _not_negative(name: str, value: Spread) -> None:
    for number in value if isinstance(value, tuple) else (value,):
        if not 0 <= number < math.inf:
            raise ValueError(f"`{name}` must be 0 or more, got {value}.")
