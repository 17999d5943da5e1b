"""People who do not even choose alike: a rule of choice and faults for each kind."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.raters.ideal import IdealPeople
from pluralign.raters.numbers import uniform
from pluralign.raters.people import CampPeople, GaussianPeople, quota
from pluralign.raters.simulated import SimulatedRaters, count_up
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class MixedRaters:
    """R people of several kinds; who is of which kind is in `kind`, for judging a fit.

    Attributes:
        kinds: everybody, as they would be if all were of this kind.
        kind: (R,) whose version of a person is the true one.
    """

    kinds: tuple[SimulatedRaters, ...]
    kind: Int[Tensor, " R"]

    def __post_init__(self) -> None:
        if {len(people) for people in self.kinds} != {len(self.kind)}:
            raise ValueError(
                f"each of `kinds` must hold all {len(self.kind)} raters, got {[len(people) for people in self.kinds]}."
            )

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def group(self) -> Int[Tensor, " R"] | None:
        """(R,) the camp of each person."""
        return self.kinds[0].group

    @property
    def taste(self) -> Float[Tensor, "R Z"]:
        """(R, Z), utils per unit of the basis."""
        stacked = torch.stack([people.taste.double() for people in self.kinds])
        return stacked[self.kind, torch.arange(len(self))]

    def take(self, index: Int[Tensor, " n"]) -> "MixedRaters":
        """The raters at `index`, who answer as they did among the others."""
        return MixedRaters(tuple(people.take(index) for people in self.kinds), self.kind[index])

    def utility(self, options: Options) -> Float[Tensor, "R N"]:
        """(R, N) what each option is worth to each rater, in utils, before any fault."""
        stacked = torch.stack([people.utility(options) for people in self.kinds])
        return stacked[self.kind, torch.arange(len(self))]

    def share(
        self, options: Options, slate: Int[Tensor, "M K"], rater: Int[Tensor, " M"]
    ) -> Float[Tensor, "M K"]:
        """(M, K) the true expected share per place, faults included: the best any model can predict."""
        share = torch.zeros(slate.shape, dtype=torch.float64)
        for place, people in enumerate(self.kinds):
            rows = (self.kind[rater] == place).nonzero()[:, 0]
            share[rows] = people.share(options, slate[rows], rater[rows])
        return share

    def answer(
        self,
        options: Options,
        slate: Int[Tensor, "M K"],
        rater: Int[Tensor, " M"],
        seed: Seed,
        *,
        asked: Int[Tensor, " R"] | None = None,
    ) -> Comparisons:
        """As `SimulatedRaters.answer`; seconds of those who take no time are not a number."""
        streams, number = Streams.of(seed), count_up(rater, len(self))
        if asked is not None:
            number = number + asked[rater]
        label, given = torch.zeros(slate.shape), torch.ones(len(rater), dtype=torch.bool)
        seconds = torch.zeros(len(rater))
        for place, people in enumerate(self.kinds):
            rows = (self.kind[rater] == place).nonzero()[:, 0]
            told = people.told(options, slate[rows], rater[rows], number[rows], streams)
            label[rows], given[rows] = told[0], told[1]
            seconds[rows] = told[2] if told[2] is not None else math.nan
        assert self.kinds[0].stream is not None
        ids = tuple(str(s) for s in self.kinds[0].stream.tolist())
        timed = any(people.pace is not None for people in self.kinds)
        data = Comparisons(
            options, slate, rater, label, response_time=seconds if timed else None, rater_ids=ids
        )
        return data if bool(given.all()) else data.take(given)


@dataclass(frozen=True)
class MixedPeople:
    """People whose kinds differ in how they choose: each person has the taste they have in every kind.

    Attributes:
        kinds: populations that differ in rule and faults.
        share: of the people in each kind, sum 1; exact, as camps are.
    """

    kinds: tuple[CampPeople | GaussianPeople | IdealPeople, ...]
    share: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.share) != len(self.kinds) or not self.kinds:
            raise ValueError(
                f"`share` must have one number for each of {len(self.kinds)} kinds, got {self.share}."
            )
        if abs(sum(self.share) - 1) > 1e-6 or min(self.share) <= 0:
            raise ValueError(f"`share` must be positive and sum to 1, got {self.share}.")

    def draw(self, count: int, seed: Seed) -> MixedRaters:
        """`count` people."""
        streams = Streams.of(seed)
        order = uniform(streams.number("kind"), torch.arange(count)).argsort()
        kind = torch.empty(count, dtype=torch.long)
        kind[order] = torch.repeat_interleave(torch.arange(len(self.share)), quota(self.share, count))
        everybody = tuple(people.draw(count, streams) for people in self.kinds)
        return MixedRaters(everybody, kind)
