"""People whose taste turns while they answer."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.raters.people import CampPeople, GaussianPeople
from pluralign.raters.simulated import SimulatedRaters, count_up
from pluralign.streams import Seed

MOST = 2**31  # answers of one person, so that every answer has a stream of its own


@dataclass(frozen=True)
class TurningRaters:
    """R people who swing between two tastes: before answer n (from 0) a part sin^2(pi n / (2 answers)) of the
    way from first.taste[r] to towards[r].

    Nothing is random in it, so that the truth is known at every answer. Answers carry their number as `time`.

    Attributes:
        first: the people as they begin.
        towards: (R, Z) the other taste, utils per unit of each factor.
        answers: how many answers the way there takes; as many again lead back.
    """

    first: SimulatedRaters
    towards: Float[Tensor, "R Z"]
    answers: float

    def __post_init__(self) -> None:
        if self.towards.shape != self.first.taste.shape:
            raise ValueError(
                f"`towards` must be {tuple(self.first.taste.shape)} like the tastes, got {tuple(self.towards.shape)}."
            )
        if not self.answers > 0:
            raise ValueError(f"`answers` must be positive, got {self.answers}; math.inf never turns.")

    def __len__(self) -> int:
        return len(self.first)

    @property
    def group(self) -> Int[Tensor, " R"] | None:
        """(R,) the camp in which each person begins."""
        return self.first.group

    @property
    def taste(self) -> Float[Tensor, "R Z"]:
        """(R, Z) as they begin."""
        return self.first.taste

    def at(self, number: int) -> SimulatedRaters:
        """The people as they are before answer `number`."""
        everyone = torch.arange(len(self))
        return dataclasses.replace(self.first, taste=self._taste(everyone, torch.full_like(everyone, number)))

    def take(self, index: Int[Tensor, " n"]) -> "TurningRaters":
        """The raters at `index`, who answer as they did among the others."""
        return TurningRaters(self.first.take(index), self.towards[index], self.answers)

    def utility(self, options: Options) -> Float[Tensor, "R N"]:
        """(R, N) what each option is worth to each rater as they begin, in utils."""
        return self.first.utility(options)

    def share(
        self,
        options: Options,
        slate: Int[Tensor, "M K"],
        rater: Int[Tensor, " M"],
        *,
        asked: Int[Tensor, " R"] | None = None,
    ) -> Float[Tensor, "M K"]:
        """(M, K) the true expected share per place, if the questions are put in this order."""
        number = self._number(rater, asked)
        return self._each(rater, number).share(options, slate, torch.arange(len(rater)))

    def answer(
        self,
        options: Options,
        slate: Int[Tensor, "M K"],
        rater: Int[Tensor, " M"],
        seed: Seed,
        *,
        asked: Int[Tensor, " R"] | None = None,
    ) -> Comparisons:
        """As `SimulatedRaters.answer`, with the number of each answer as its `time`."""
        number = self._number(rater, asked)
        each = self._each(rater, number)
        data = each.answer(options, slate, torch.arange(len(rater)), seed)
        assert self.first.stream is not None
        return dataclasses.replace(
            data,
            rater=rater[data.rater],
            rater_ids=tuple(str(s) for s in self.first.stream.tolist()),
            time=number[data.rater].float(),
        )

    def _number(self, rater: Tensor, asked: Tensor | None) -> Tensor:
        number = count_up(rater, len(self))
        return number if asked is None else number + asked[rater]

    def _taste(self, rater: Tensor, number: Tensor) -> Tensor:
        part = (math.pi / 2 / self.answers * number.double()).sin()[:, None] ** 2
        return torch.lerp(self.first.taste[rater].double(), self.towards[rater].double(), part)

    def _each(self, rater: Tensor, number: Tensor) -> SimulatedRaters:
        """A person for every answer, with the taste of that moment and a stream of their own."""
        if len(rater) and not 0 <= int(rater.min()) <= int(rater.max()) < len(self):
            raise ValueError(f"`rater` must be in 0..{len(self) - 1}, got {int(rater.max())}.")
        assert self.first.stream is not None
        moment = dataclasses.replace(self.first, stream=None)
        names = ("group", "rationality", "lapse", "equal", "discount", "skip")
        kept = {n: value[rater] for n in names if (value := getattr(moment, n)) is not None}
        stream = self.first.stream[rater] * MOST + number
        return dataclasses.replace(moment, taste=self._taste(rater, number), stream=stream, **kept)


@dataclass(frozen=True)
class TurningPeople:
    """People who begin as `people` and swing to the taste that `mix` makes of theirs, and back.

    Attributes:
        people: as they begin.
        mix: Z by Z; the other taste is this matrix times the first.
        answers: how many answers the way there takes.
    """

    people: CampPeople | GaussianPeople
    mix: tuple[tuple[float, ...], ...]
    answers: float = 100.0

    def __post_init__(self) -> None:
        if not self.answers > 0:
            raise ValueError(f"`answers` must be positive, got {self.answers}; math.inf never turns.")

    def draw(self, count: int, seed: Seed) -> TurningRaters:
        """`count` people."""
        first = self.people.draw(count, seed)
        towards = first.taste.double() @ torch.tensor(self.mix, dtype=torch.float64).T
        return TurningRaters(first, towards, self.answers)
