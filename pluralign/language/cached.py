"""Directions over cached states by gradients, for more texts and answers than exact fits hold; on a CPU or a GPU.

A step reads every state twice: to score its text by 1 + Q directions, and for the slope of these. In between answers are
sparse matrices of raters and texts, whose products touch the two small tables of scores and tastes alone: one number is
written for an answer, never a row.
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
    """M answers about pairs, sorted by rater, as places in sparse matrices that are found once.

    Attributes:
        own: (R, N) a place for each text of each answer, first and second in turn.
        start, rater, place: of an (N, R) matrix with the same places by text: where each text's begin, (2M,) whose answer
            it is, and which place of `own`.
        share: (M,) of the first.
    """

    own: Tensor
    start: Int[Tensor, " N1"]
    rater: Int[Tensor, " M2"]
    place: Int[Tensor, " M2"]
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
        text, rater = data.slate[order].reshape(-1).int(), data.rater[order].int()
        by_text = text.argsort(stable=True)
        start = torch.zeros(len(data.options) + 1, dtype=torch.int32)
        start[1:] = torch.bincount(text.long(), minlength=len(data.options)).cumsum(0)
        mine = torch.zeros(data.raters + 1, dtype=torch.int32)
        mine[1:] = 2 * data.counts.cumsum(0)
        own = _sparse(mine.to(device), text.to(device), torch.zeros(len(text), device=device), len(start) - 1)
        told = (start, rater[by_text // 2], by_text.int(), data.label[order, 0].float())
        return Pairs(own, *(one.to(device) for one in told))


def _sparse(start: Tensor, column: Tensor, value: Tensor, columns: int) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        size = (len(start) - 1, columns)
        return torch.sparse_csr_tensor(start, column, value, size=size, check_invariants=False)


def gradient(
    states: Float[Tensor, "N D"],
    pairs: Pairs,
    directions: Float[Tensor, "Q D"],
    tastes: Float[Tensor, "R Q"],
) -> tuple[Tensor, Float[Tensor, "Q D"], Float[Tensor, "R Q"]]:
    """Nats per answer of Bradley-Terry with worths (states @ directions') . taste, and its gradients.

    States may be bfloat16: products read them as they are and add up in float32.
    """
    score = torch.nn.functional.linear(states, directions.to(states)).float()
    worth = _worths(pairs.own, tastes, score)
    eta = worth[0::2] - worth[1::2]
    loss = (torch.nn.functional.softplus(eta).sum() - pairs.share @ eta) / len(eta)
    slope = (torch.sigmoid(eta) - pairs.share) / len(eta)
    both = torch.stack([slope, -slope], 1).view(-1)
    back = _sparse(pairs.start, pairs.rater, both.index_select(0, pairs.place), len(tastes)) @ tastes
    by_rater = _sparse(pairs.own.crow_indices(), pairs.own.col_indices(), both, len(score))
    return loss, (back.T.to(states) @ states).float(), by_rater @ score


def _worths(own: Tensor, tastes: Float[Tensor, "R Q"], score: Float[Tensor, "N Q"]) -> Float[Tensor, " M2"]:
    """The worth of each text of each answer to who gave it."""
    if own.values().numel() <= own.numel():
        return torch.sparse.sampled_addmm(own, tastes, score.T, beta=0.0).values()
    # More places than raters times texts, which the product refuses: then the whole table is the smaller thing.
    rater = torch.arange(len(tastes), device=score.device).repeat_interleave(own.crow_indices().diff())
    return (tastes @ score.T)[rater, own.col_indices().long()]


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
        if not self.rank:  # a product with one direction runs along columns
            states = states.T.contiguous().T
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
    curve = []
    for step in range(settings.updates):
        loss, one, two = gradient(states, pairs, directions, tastes)
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
