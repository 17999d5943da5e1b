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
        told: (N, 2R) the same places by text, those of second texts R columns later. What both hold is what the last
            gradient left there.
        answer: (2M,) whose each place of `told` is.
        share: (M,) of the first.
    """

    own: Tensor
    told: Tensor
    answer: Int[Tensor, " M2"]
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
        text, rater = data.slate[order].reshape(-1), data.rater[order].repeat_interleave(2)
        by_text = text.argsort(stable=True)
        own = _sparse(2 * data.counts, text, len(data.options), device)
        count = torch.bincount(text, minlength=len(data.options))
        told = _sparse(count, rater[by_text] + by_text % 2 * data.raters, 2 * data.raters, device)
        share = data.label[order, 0].float().to(device)
        return Pairs(own, told, (by_text // 2).int().to(device), share)


def _sparse(count: Int[Tensor, " rows"], column: Int[Tensor, " M2"], columns: int, device: str) -> Tensor:
    """So many places in each row."""
    start = torch.nn.functional.pad(count.cumsum(0), (1, 0)).int().to(device)
    value = torch.zeros(len(column), device=device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            start, column.int().to(device), value, size=(len(count), columns), check_invariants=False
        )


def gradient(
    states: Float[Tensor, "N D"],
    pairs: Pairs,
    directions: Float[Tensor, "Q D"],
    tastes: Float[Tensor, "R Q"],
) -> tuple[Float[Tensor, " M"], Float[Tensor, "Q D"], Float[Tensor, "R Q"]]:
    """How much more the first text of each answer is worth, (states @ directions') . taste, and the slopes of `nats`.

    States may be bfloat16: products read them as they are and add up in float32.
    """
    score = torch.nn.functional.linear(states, directions.to(states)).float()
    worth = _worths(pairs.own, tastes, score)
    gap = worth[0::2] - worth[1::2]
    slope = gap.sigmoid().sub_(pairs.share).div_(len(gap))
    worth[0::2] = slope
    torch.neg(slope, out=worth[1::2])
    torch.index_select(slope, 0, pairs.answer, out=pairs.told.values())
    back = pairs.told @ torch.cat([tastes, -tastes])
    return gap, _product(back.to(states), states).float(), pairs.own @ score


def nats(gap: Float[Tensor, " M"], share: Float[Tensor, " M"]) -> Float[Tensor, ""]:
    """Nats per answer of Bradley-Terry, where the first is worth `gap` more and got `share` of the choice."""
    return (torch.nn.functional.softplus(gap).sum() - share @ gap) / len(gap)


def _worths(own: Tensor, tastes: Float[Tensor, "R Q"], score: Float[Tensor, "N Q"]) -> Float[Tensor, " M2"]:
    """The worth of each text of each answer to who gave it: what `own` holds from now on."""
    found = own.values()
    if len(found) <= own.numel():
        torch.sparse.sampled_addmm(own, tastes, score.T, beta=0.0, out=own)
        return found
    # More places than raters times texts, which the product refuses: then the whole table is the smaller thing.
    rater = torch.arange(len(tastes), device=score.device).repeat_interleave(own.crow_indices().diff())
    return found.copy_((tastes @ score.T)[rater, own.col_indices().long()])


def _product(back: Float[Tensor, "N Q"], states: Float[Tensor, "N D"]) -> Float[Tensor, "Q D"]:
    """back' @ states; on a CPU each thread goes through rows of its own, where the library would cut columns."""
    parts = torch.get_num_threads()
    if states.device.type != "cpu" or back.shape[1] == 1 or len(states) < 1000 * parts:
        return back.T @ states
    rows = len(states) // parts * parts
    cut = lambda whole: whole[:rows].view(parts, -1, whole.shape[1])
    found = torch.bmm(cut(back).transpose(1, 2), cut(states)).sum(0)
    return found.addmm_(back[rows:].T, states[rows:])


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
        gap, one, two = gradient(states, pairs, directions, tastes)
        if step % max(1, settings.updates // 10) == 0:
            curve.append(float(nats(gap, pairs.share)))
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
