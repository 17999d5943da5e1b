"""Who is asked what: designs of a study, all with one verb."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.raters.numbers import uniform
from pluralign.raters.questions import questions
from pluralign.raters.simulated import count_up
from pluralign.streams import Seed, Streams

Counts = int | Int[Tensor, " R"]


@runtime_checkable
class Answering(Protocol):
    """Somebody to ask: `asked` says how many questions each rater was asked before; skipped ones have no row."""

    def answer(
        self,
        options: Options,
        slate: Int[Tensor, "M K"],
        rater: Int[Tensor, " M"],
        seed: Seed,
        *,
        asked: Int[Tensor, " R"] | None = None,
    ) -> Comparisons: ...


@runtime_checkable
class Answers(Answering, Protocol):
    """People to ask, as many as it is long."""

    def __len__(self) -> int: ...


@runtime_checkable
class Asking(Protocol):
    """A design: settings with the verb `ask`. `each` is how many questions, for all or for each rater."""

    def ask(self, people: Answers, options: Options, each: Counts, seed: Seed) -> Comparisons: ...


@dataclass(frozen=True)
class Uniform:
    """Random pairs of all options.

    Attributes:
        places: options per slate.
        repeat: allow a rater to meet a set of options again.
    """

    places: int = 2
    repeat: bool = False

    def ask(self, people: Answers, options: Options, each: Counts, seed: Seed) -> Comparisons:
        """Draw the questions, hear the answers."""
        slate, rater = _drawn(len(options), each, len(people), seed, places=self.places, repeat=self.repeat)
        return people.answer(options, slate, rater, seed)


@dataclass(frozen=True)
class Contrast:
    """Of several random pairs the one whose options differ most, or least, in their numbers (each in its own spread).

    Attributes:
        high: the most different; otherwise the most alike.
        pool: pairs to take each question from.
    """

    high: bool = True
    pool: int = 10

    def __post_init__(self) -> None:
        if self.pool < 2:
            raise ValueError(f"`pool` must be 2 or more pairs, got {self.pool}; `Uniform` takes the first.")

    def ask(self, people: Answers, options: Options, each: Counts, seed: Seed) -> Comparisons:
        """Draw `pool` times as many questions, put the best of each `pool`."""
        rows = options.pool(options.rows.double(), 1.0)
        unit = (rows - rows.mean(0)) / rows.std(0).clamp_min(1e-12)
        slate, rater = _drawn(
            len(options), counts_of(each, len(people)) * self.pool, len(people), seed, repeat=True
        )
        apart = (unit[slate[:, 0]] - unit[slate[:, 1]]).norm(dim=1).view(-1, self.pool)
        best = apart.argmax(1) if self.high else apart.argmin(1)
        kept = torch.arange(len(best)) * self.pool + best
        return people.answer(options, slate[kept], rater[kept], seed)


@dataclass(frozen=True)
class OnPolicy:
    """Random pairs of the newest options: what the present policy does, where the store grows at its end.

    Attributes:
        newest: how many options at the end of the store.
        against_all: compare each with any option instead of with another new one.
    """

    newest: int
    against_all: bool = False

    def ask(self, people: Answers, options: Options, each: Counts, seed: Seed) -> Comparisons:
        """Draw the questions, hear the answers.

        Raises:
            ValueError: the store has fewer options.
        """
        count, first = len(options), len(options) - self.newest
        if not 2 <= self.newest <= count:
            raise ValueError(f"`newest` must be 2 to {count}, the number of options, got {self.newest}.")
        slate, rater = _drawn(self.newest, each, len(people), seed, repeat=True)
        slate = slate + first
        if self.against_all:
            number, base = count_up(rater, len(people)), Streams.of(seed).number("against")
            lot = uniform(base, rater, number, torch.tensor(0))
            other = (lot * (count - 1)).long()
            other = other + (other >= slate[:, 0])
            slate = torch.stack([slate[:, 0], other], 1)
            turned = uniform(base, rater, number, torch.tensor(1)) < 0.5
            slate = torch.where(turned[:, None], slate.flip(1), slate)
        return people.answer(options, slate, rater, seed)


def long_tailed(
    raters: int, mean: float | int, seed: Seed, *, least: int = 1, shape: float = 1.5
) -> Int[Tensor, " R"]:
    """(R,) numbers of answers of which few people give many: Pareto distributed, about `mean` on average.

    Args:
        raters: R.
        mean: answers per rater; the sum is within one of raters * mean wherever `least` allows it.
        seed: of the stream "how many answers".
        least: of any rater.
        shape: Pareto's; the smaller, the fewer people give half of all answers. Above 1.

    Raises:
        ValueError: the mean is below the least, or the shape is not above 1.
    """
    if not shape > 1:
        raise ValueError(f"`shape` must be above 1, or there is no mean, got {shape}.")
    if not 0 <= least <= mean:
        raise ValueError(f"`least` must be between 0 and the mean of {mean}, got {least}.")
    size = uniform(Streams.of(seed).number("how many answers"), torch.arange(raters)) ** (-1 / shape)
    share = (size - 1) / (size - 1).sum() * (raters * (mean - least))
    whole = share.floor().long()
    rest = round(float(share.sum())) - int(whole.sum())
    whole[(share - whole).argsort(descending=True, stable=True)[:rest]] += 1
    return whole + least


def counts_of(each: Counts, raters: int) -> Int[Tensor, " R"]:
    """How many questions each rater gets.

    Raises:
        ValueError: a number for each rater is missing, or below 0.
    """
    count = torch.full((raters,), each) if isinstance(each, int) else each
    if count.shape != (raters,) or bool((count < 0).any()):
        raise ValueError(f"`each` must be 0 or more questions for each of the {raters} raters, got {each}.")
    return count


def _drawn(
    options: int, each: Counts, raters: int, seed: Seed, *, places: int = 2, repeat: bool = False
) -> tuple[Int[Tensor, "M K"], Int[Tensor, " M"]]:
    """`questions`, where raters may be asked different numbers of them."""
    if isinstance(each, int):
        return questions(options, each, raters, seed, places=places, repeat=repeat)
    count = counts_of(each, raters)
    most = int(count.max())
    slates, who = [], []
    # People with many answers are few: doubling sizes, each drawn for those alone who need them.
    low = 0
    for size in _sizes(most):
        some = ((count > low) & (count <= size)).nonzero()[:, 0]
        low = size
        if not len(some):
            continue
        seeds = Streams.of(seed).below("questions up to", size)
        slate, place = questions(options, size, len(some), seeds, places=places, repeat=repeat)
        number = torch.arange(size).repeat(len(some))
        kept = number < count[some][place]
        slates.append(slate[kept])
        who.append(some[place[kept]])
    slate, rater = torch.cat(slates), torch.cat(who)
    order = rater.argsort(stable=True)
    return slate[order], rater[order]


def _sizes(most: int) -> list[int]:
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(min(2 * sizes[-1], most))
    return sizes
