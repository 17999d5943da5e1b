"""Directions over cached states by gradients, for more texts and answers than exact fits hold; on a CPU or a GPU.

A step scores every text once, by its 1 + Q directions, and gathers rows of 1 + Q numbers for answers; nothing as wide as
a state is ever gathered. The way back is a product with a sparse matrix, without atomics. What answers need is written to
the same memory in each step: to get fresh memory from the system takes longer than to fill it.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.normal import normal_em
from pluralign.population.prior import Gaussian, inverse
from pluralign.population.rows import Rows
from pluralign.streams import Seed, Streams
from pluralign.utility.linear import LinearWorth


@dataclass(frozen=True)
class Pairs:
    """M answers about pairs, sorted by rater, as sparse matrices that are made once.

    Attributes:
        back: (N, M) +1 for the first text, -1 for the second. sum: (R, M) adds up the answers of each rater.
        first, second: (M,) texts. rater: (M,). share: (M,) of the first.
    """

    back: Tensor
    sum: Tensor
    first: Int[Tensor, " M"]
    second: Int[Tensor, " M"]
    rater: Int[Tensor, " M"]
    share: Float[Tensor, " M"]

    @staticmethod
    def of(data: Comparisons, device: str = "cpu") -> "Pairs":
        """The answers of `data`.

        Raises:
            ValueError: slates are longer than pairs.
        """
        if data.places != 2:
            raise ValueError(
                f"cached heads are trained on pairs, got slates of {data.places}; split them into pairs."
            )
        order = torch.argsort(data.rater, stable=True)
        slate, rater = data.slate[order].int(), data.rater[order].int()
        count, texts = len(order), len(data.options)
        by_text = slate.reshape(-1).argsort(stable=True)
        sign = 1.0 - 2.0 * (by_text % 2)
        text = torch.zeros(texts + 1, dtype=torch.int32)
        text[1:] = torch.bincount(slate.reshape(-1).long(), minlength=texts).cumsum(0)
        mine = torch.zeros(data.raters + 1, dtype=torch.int32)
        mine[1:] = data.counts.cumsum(0)
        every = torch.arange(count, dtype=torch.int32)
        first, second = (slate[:, k].contiguous().to(device) for k in (0, 1))
        share = data.label[order, 0].float().to(device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            back = _sparse(text, (by_text // 2).int(), sign, (texts, count), device)
            total = _sparse(mine, every, torch.ones(count), (data.raters, count), device)
        return Pairs(back, total, first, second, rater.to(device), share)

    def room(self, width: int) -> Float[Tensor, "3 M Q"]:
        """Memory that steps with `width` numbers for an answer may write to."""
        return torch.empty(3, len(self.share), width, device=self.share.device)


def _sparse(start: Tensor, column: Tensor, value: Tensor, size: tuple[int, int], device: str) -> Tensor:
    return torch.sparse_csr_tensor(start, column, value, size=size, check_invariants=False).to(device)


def gradient(
    states: Float[Tensor, "N D"],
    pairs: Pairs,
    directions: Float[Tensor, "Q D"],
    tastes: Float[Tensor, "R Q"],
    room: Float[Tensor, "3 M Q"] | None = None,
) -> tuple[Tensor, Float[Tensor, "Q D"], Float[Tensor, "R Q"]]:
    """Nats per answer of Bradley-Terry with worths (states @ directions') . taste, and its gradients.

    States may be bfloat16: products read them as they are and add up in float32. `room` is written to.
    """
    score = torch.nn.functional.linear(states, directions.to(states)).float()
    gap, mine, both = pairs.room(len(directions)) if room is None else room
    torch.index_select(score, 0, pairs.first, out=gap)
    gap.sub_(torch.index_select(score, 0, pairs.second, out=mine))
    torch.index_select(tastes, 0, pairs.rater, out=mine)
    eta = torch.mul(gap, mine, out=both) @ torch.ones(gap.shape[1], device=gap.device)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(eta, pairs.share)
    slope = ((torch.sigmoid(eta) - pairs.share) / len(eta))[:, None]
    back = pairs.back @ mine.mul_(slope)
    return loss, (back.T.to(states) @ states).float(), pairs.sum @ gap.mul_(slope)


@dataclass(frozen=True)
class Cached:
    """A common worth and `rank` directions over cached states; raters' weights of them are normal, as in `LowRank`.

    Attributes:
        rank: Q. 0 is one taste for all.
        ridge: 1 / variance of a direction's weights on standardised states, in answers.
        updates: steps of Adam on all answers. rate: its largest step, falling to nothing.
        draws: tastes that describe each rater.
        device: "cpu", "cuda", ...; None takes a GPU where there is one.
        number: of the states while training, "float32" or "bfloat16".
    """

    rank: int = 8
    ridge: float = 1.0
    updates: int = 200
    rate: float = 0.05
    draws: int = 64
    device: str | None = None
    number: str = "float32"
    rule: Luce = field(default_factory=Luce)

    def __post_init__(self) -> None:
        if self.number not in ("float32", "bfloat16"):
            raise ValueError(f'`number` must be "float32" or "bfloat16", got {self.number!r}.')
        if self.rank < 0 or self.updates < 1:
            raise ValueError(
                f"`rank` must be 0 or more and `updates` 1 or more, got {self.rank} and {self.updates}."
            )

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers about pairs; `held` is not looked at."""
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        streams = Streams.of(seed)
        rows = data.options.rows.float()
        centre, scale = rows.mean(0), torch.ones(rows.shape[1])
        start = 0
        for size in data.options.blocks:
            block = slice(start, start := start + size)
            scale[block] = 1 / (rows[:, block].var(0).mean() * size).sqrt().clamp_min(1e-9)
        states = ((rows - centre) * scale).to(device, getattr(torch, self.number))
        pairs = Pairs.of(data, device)
        draw = lambda name, *shape: torch.randn(*shape, generator=streams(name)).to(device)
        directions = draw("directions", 1 + self.rank, rows.shape[1]) * 0.1
        tastes = draw("tastes", data.raters, 1 + self.rank) * 0.1
        tastes[:, 0] = 1.0
        curve = _adam(states, pairs, directions, tastes, self)
        matrix = directions.double().cpu().T.contiguous()
        worth = LinearWorth(centre.double(), scale.double(), None, matrix, 1.0)
        table = Rows.of(data, worth.basis(data.options), self.rule)
        mean, covariance, mode, sharp, _, _ = normal_em(table, 40, 2.0, anchored=False)
        prior = Gaussian(mean, covariance, self.draws)
        found = prior.around(mode, sharp, table, inverse(covariance))
        assert data.rater_ids is not None
        notes: dict[str, Any] = {"rank": self.rank, "loss": tuple(curve)}
        return Belief(worth, self.rule, prior, found, data.rater_ids, self, notes)


def _adam(states: Tensor, pairs: Pairs, directions: Tensor, tastes: Tensor, settings: Cached) -> list[float]:
    """Moves `directions` and the columns of `tastes` but the first, in place; the loss at ten points on the way."""
    moments = [torch.zeros_like(x) for x in (directions, directions, tastes, tastes)]
    curve, room = [], pairs.room(len(directions))
    for step in range(settings.updates):
        loss, one, two = gradient(states, pairs, directions, tastes, room)
        if step % max(1, settings.updates // 10) == 0:
            curve.append(float(loss))
        one = one + settings.ridge / len(pairs.share) * directions
        two = two + tastes / len(pairs.share)
        two[:, 0] = 0.0
        pace = settings.rate * (1 - step / settings.updates)
        for value, slope, first, second in ((directions, one, *moments[:2]), (tastes, two, *moments[2:])):
            first.lerp_(slope, 0.1)
            second.lerp_(slope.square(), 0.01)
            size = (second / (1 - 0.99 ** (step + 1))).sqrt() + 1e-12
            value -= pace * first / (1 - 0.9 ** (step + 1)) / size
    return curve
