"""Questions by design: what is known of the options before anybody is asked says which pairs tell most."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.raters.asking import Answers, Counts, counts_of
from pluralign.raters.questions import questions
from pluralign.streams import Seed

AT_ONCE = 4_000_000  # numbers that describe candidates, 32 MB


@dataclass(frozen=True)
class Designed:
    """For each rater the pairs, out of many random ones, that together tell most about a taste: D-optimal, greedily.

    With differences d in numbers each in its own spread, q pairs tell I = ridge + sum d d' / 4 of a taste of which nothing
    is known yet (Luce's rule, worths equal); the next pair has the largest d' I^-1 d, which adds most to log det I. So rare
    differences are asked about as often as common ones. Each rater's most telling question comes first, and nobody sees an
    option again while there are pairs of options seen less often.

    Attributes:
        pool: random pairs, for each question, to choose from.
        ridge: 1 / variance of a taste before anybody is asked, in utils per spread of a number.

    Source: Huber and Zwerina, The importance of utility balance in efficient choice designs, JMR 1996, for D-error at equal
    worths; greedy search and personal pools are ours.
    """

    pool: int = 25
    ridge: float = 1.0

    def __post_init__(self) -> None:
        if self.pool < 2:
            raise ValueError(f"`pool` must be 2 or more pairs, got {self.pool}; `Uniform` takes the first.")
        if not 0 < self.ridge < torch.inf:
            raise ValueError(f"`ridge` must be a positive number, got {self.ridge}.")

    def ask(self, people: Answers, options: Options, each: Counts, seed: Seed) -> Comparisons:
        """Draw the candidates, choose, hear the answers.

        Raises:
            ValueError: fewer pairs of options than questions.
        """
        count = counts_of(each, len(people))
        slate, rater = self.choose(options, count, seed)
        return people.answer(options, slate, rater, seed)

    def choose(
        self, options: Options, count: Int[Tensor, " R"], seed: Seed
    ) -> tuple[Int[Tensor, "M 2"], Int[Tensor, " M"]]:
        """Slate and rater, rater by rater, each one's most telling question first."""
        raters, most = len(count), int(count.max()) if len(count) else 0
        if not most:
            return torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, dtype=torch.long)
        rows = options.pool(options.rows.double(), 1.0)
        spread = rows.std(0)
        unit = (rows[:, spread > 1e-12] - rows[:, spread > 1e-12].mean(0)) / spread[spread > 1e-12]
        pairs = len(options) * (len(options) - 1) // 2
        candidates = max(most, min(self.pool * most, pairs))
        slate = questions(len(options), candidates, raters, seed)[0].view(raters, candidates, 2)
        size = max(1, AT_ONCE // max(1, candidates * unit.shape[1]))
        asked = torch.cat([most_telling(unit, part, most, self.ridge) for part in slate.split(size)])
        kept = torch.arange(most) < count[:, None]
        return asked[kept], torch.arange(raters).repeat_interleave(count)


def most_telling(
    unit: Float[Tensor, "N F"], slate: Int[Tensor, "R C 2"], count: int, ridge: float
) -> Int[Tensor, "R count 2"]:
    """The pairs of each rater's C candidates that a greedy D-optimal design takes, in turn; see `Designed`."""
    raters, candidates, _ = slate.shape
    apart = unit[slate[..., 0]] - unit[slate[..., 1]]  # (R, C, F)
    doubt = torch.eye(unit.shape[1], dtype=unit.dtype).expand(raters, -1, -1) / ridge  # the inverse of I
    gain = apart.square().sum(-1) / ridge  # (R, C) d' I^-1 d
    seen = torch.zeros(raters, len(unit))
    left = torch.ones(raters, candidates, dtype=torch.bool)
    who, chosen = torch.arange(raters), []
    for _ in range(count):
        worn = torch.where(left, seen.gather(1, slate.flatten(1)).view(slate.shape).amax(-1), torch.inf)
        fresh = worn == worn.amin(1, keepdim=True)
        best = torch.where(fresh, gain, -torch.inf).argmax(1)
        left[who, best] = False
        chosen.append(slate[who, best])
        seen.scatter_add_(1, chosen[-1], torch.ones(raters, 2))
        # Sherman and Morrison: I grows by d d' / 4.
        way = (doubt @ apart[who, best][..., None])[..., 0]  # (R, F)
        shrink = 1 / (4 + gain[who, best])
        doubt = doubt - shrink[:, None, None] * way[:, :, None] * way[:, None, :]
        gain = gain - shrink[:, None] * (apart @ way[..., None])[..., 0].square()
    return torch.stack(chosen, 1)
