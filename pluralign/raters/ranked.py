"""People who go down a list: the first factor that differs enough decides."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.raters.numbers import normal, uniform
from pluralign.raters.people import CampPeople
from pluralign.raters.simulated import count_up
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class RankedRaters:
    """R people with an order of factors. A pair is judged by the first that differs by more than the person's margin; where
    none does there is no answer. Such people can prefer a to b, b to c and c to a, so no option has a worth to them.

    Attributes:
        order: (R, Z) the factors of each person, the most important first.
        margin: (R, Z) a difference that is too small to count, by factor, in its unit.
        sign: (R, Z) 1 for who wants more, -1 for less, 0 for who does not care; by factor.
        lapse: (R,) chance of a guess instead, also where nothing decides.
        group: (R,) the camp of each person, where there are camps.
        stream: (R,) which random stream is whose.

    Source: Bukharin et al., HERON (2023).
    """

    order: Int[Tensor, "R Z"]
    margin: Float[Tensor, "R Z"]
    sign: Float[Tensor, "R Z"]
    lapse: Float[Tensor, " R"] | None = None
    group: Int[Tensor, " R"] | None = None
    stream: Int[Tensor, " R"] | None = None

    def __post_init__(self) -> None:
        if self.stream is None:
            object.__setattr__(self, "stream", torch.arange(len(self.order)))
        width = self.order.shape[1]
        if not bool((self.order.sort(1).values == torch.arange(width)).all()):
            raise ValueError(f"`order` rows must hold each of the factors 0..{width - 1} once.")
        if not bool((self.margin >= 0).all()):
            raise ValueError(f"`margin` must be 0 or more, got {float(self.margin.min())}.")

    def __len__(self) -> int:
        return len(self.order)

    def take(self, index: Int[Tensor, " n"]) -> "RankedRaters":
        """The raters at `index`, who answer as they did among the others."""
        names = ("order", "margin", "sign", "lapse", "group", "stream")
        return dataclasses.replace(
            self, **{n: v[index] for n in names if (v := getattr(self, n)) is not None}
        )

    def share(
        self, options: Options, slate: Int[Tensor, "M K"], rater: Int[Tensor, " M"]
    ) -> Float[Tensor, "M K"]:
        """(M, 2) expected share per place of an answer that is given; a half each where nothing decides."""
        verdict = self._verdict(options, slate, rater)
        share = (1 + verdict) / 2
        if self.lapse is not None:
            lapse = self.lapse.double()[rater]
            share = torch.where(verdict != 0, (1 - lapse) * share + lapse / 2, share)
        return torch.stack([share, 1 - share], 1)

    def answer(
        self,
        options: Options,
        slate: Int[Tensor, "M K"],
        rater: Int[Tensor, " M"],
        seed: Seed,
        *,
        asked: Int[Tensor, " R"] | None = None,
    ) -> Comparisons:
        """As `SimulatedRaters.answer`; no row for pairs that nothing decides."""
        assert self.stream is not None
        streams, who = Streams.of(seed), self.stream[rater]
        number = count_up(rater, len(self))
        if asked is not None:
            number = number + asked[rater]
        verdict = self._verdict(options, slate, rater)
        if self.lapse is not None:
            guess = uniform(streams.number("guesses"), who, number) < self.lapse.double()[rater]
            side = (uniform(streams.number("answers"), who, number) < 0.5).double() * 2 - 1
            verdict = torch.where(guess, side, verdict)
        first = ((1 + verdict) / 2).float()
        ids = tuple(str(s) for s in self.stream.tolist())
        data = Comparisons(options, slate, rater, torch.stack([first, 1 - first], 1), rater_ids=ids)
        given: Bool[Tensor, " M"] = verdict != 0
        return data.take(given)

    def _verdict(self, options: Options, slate: Tensor, rater: Tensor) -> Tensor:
        """(M,) 1 for the first, -1 for the second, 0 where nothing decides."""
        if slate.shape[1] != 2:
            raise ValueError(f"ranked people judge pairs, got slates of {slate.shape[1]}.")
        rows = options.pool(options.rows.double(), 1.0)
        if rows.shape[1] != self.order.shape[1]:
            raise ValueError(f"people rank {self.order.shape[1]} factors, the options have {rows.shape[1]}.")
        gap = (rows[slate[:, 0]] - rows[slate[:, 1]]) * self.sign.double()[rater]
        counts = (gap.abs() > self.margin.double()[rater]) * gap.sign()
        ranked = counts.gather(1, self.order[rater])
        first = (ranked != 0).double().argmax(1, keepdim=True)  # 0 where none does, and there it is 0
        return ranked.gather(1, first)[:, 0]


@dataclass(frozen=True)
class RankedPeople:
    """People in camps, each with an order of the factors.

    Attributes:
        orders: G orders, each all the factors by number, the most important first.
        share: G shares of the people, sum 1.
        margin: by factor, in its unit: what a typical person does not mind. HERON takes a standard deviation over options.
        sign: by factor: 1 wanted, -1 unwanted.
        margin_spread: standard deviation of the logarithm of the margins between people.
        lapse: chance of a guess.
    """

    orders: tuple[tuple[int, ...], ...]
    share: tuple[float, ...]
    margin: tuple[float, ...]
    sign: tuple[float, ...]
    margin_spread: float = 0.0
    lapse: float = 0.0

    def __post_init__(self) -> None:
        width = len(self.margin)
        CampPeople(
            tuple(tuple(map(float, order)) for order in self.orders), self.share
        )  # says what is wrong with camps
        if any(sorted(order) != list(range(width)) for order in self.orders) or len(self.sign) != width:
            raise ValueError(
                f"`orders` and `sign` must name each of the {width} factors of `margin` once, got {self.orders} and "
                f"{self.sign}."
            )
        if not 0 <= self.lapse <= 1:
            raise ValueError(f"`lapse` must be a probability, got {self.lapse}.")

    def draw(self, count: int, seed: Seed) -> RankedRaters:
        """`count` people."""
        seeds, stream = Streams.of(seed), torch.arange(count)
        camps = CampPeople(tuple((float(g),) for g in range(len(self.orders))), self.share).draw(count, seeds)
        assert camps.group is not None
        wide = self.margin_spread * normal(
            seeds.number("margin"), stream[:, None], torch.arange(len(self.margin))
        )
        margin = torch.tensor(self.margin, dtype=torch.float64) * wide.exp()
        lapse = torch.full((count,), self.lapse, dtype=torch.float64) if self.lapse else None
        sign = torch.tensor(self.sign, dtype=torch.float64).expand(count, -1)
        return RankedRaters(torch.tensor(self.orders)[camps.group], margin, sign, lapse, camps.group)
