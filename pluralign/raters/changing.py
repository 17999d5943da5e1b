"""People who do not stay as they are while they answer: what changes from answer to answer."""

import dataclasses
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.raters.ideal import IdealPeople
from pluralign.raters.people import CampPeople, GaussianPeople
from pluralign.raters.simulated import FAULTS, SimulatedRaters, count_up
from pluralign.streams import Seed, Streams

MOST = 2**31  # answers of one person, so that every answer has a stream of its own


@runtime_checkable
class Change(Protocol):
    """What the n-th answer finds changed; see `pluralign.raters.changes`."""

    def apply(
        self, people: SimulatedRaters, who: Int[Tensor, " M"], number: Int[Tensor, " M"], streams: Streams
    ) -> SimulatedRaters:
        """One row of `people` per answer: row m is person `who[m]` before the answer `number[m]`, from 0."""
        ...


@dataclass(frozen=True)
class ChangingRaters:
    """R people who are `first` before their first answer. Answers carry their number as `time`.

    Attributes:
        first: the people as they begin.
        changes: applied one after the other.
        base: what is random in the changes is drawn from this number; the same path each time.
    """

    first: SimulatedRaters
    changes: tuple[Change, ...]
    base: int = 0

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
        found = self._each(everyone, torch.full_like(everyone, number))
        return dataclasses.replace(found, stream=self.first.stream)

    def take(self, index: Int[Tensor, " n"]) -> "ChangingRaters":
        """The raters at `index`, who answer as they did among the others."""
        return dataclasses.replace(self, first=self.first.take(index))

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
        each = self._each(rater, self._number(rater, asked))
        return each.share(options, slate, torch.arange(len(rater)))

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
        data = self._each(rater, number).answer(options, slate, torch.arange(len(rater)), seed)
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

    def _each(self, rater: Tensor, number: Tensor) -> SimulatedRaters:
        """A person for every answer, as of that moment and with a stream of their own."""
        if len(rater) and not 0 <= int(rater.min()) <= int(rater.max()) < len(self):
            raise ValueError(f"`rater` must be in 0..{len(self) - 1}, got {int(rater.max())}.")
        assert self.first.stream is not None
        who = self.first.stream[rater]
        kept = {n: value[rater] for n in ("group", *FAULTS) if (value := getattr(self.first, n)) is not None}
        taste = self.first.taste.double()[rater]
        each = dataclasses.replace(self.first, taste=taste, stream=who * MOST + number, **kept)
        for place, change in enumerate(self.changes):
            each = change.apply(each, who, number, Streams(self.base).below("change", place))
        return each


@dataclass(frozen=True)
class ChangingPeople:
    """People who begin as `people` and change.

    Attributes:
        people: as they begin.
        changes: applied one after the other.
    """

    people: CampPeople | GaussianPeople | IdealPeople
    changes: tuple[Change, ...]

    def draw(self, count: int, seed: Seed) -> ChangingRaters:
        """`count` people."""
        streams = Streams.of(seed)
        return ChangingRaters(self.people.draw(count, streams), self.changes, streams.number("changes"))
