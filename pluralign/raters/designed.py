"""Questions by design: what is known of the options before anybody is asked says which pairs tell most."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.raters.asking import Answers, Counts, counts_of
from pluralign.raters.numbers import uniform
from pluralign.streams import Seed, Streams

AT_ONCE = 4_000_000  # gains of pairs, 32 MB
BLOCKS = 16  # different designs at most


@dataclass(frozen=True)
class Designed:
    """The pairs that together tell most about a taste: D-optimal, greedily.

    With differences d in numbers each in its own spread, the pairs asked tell I = ridge + sum d d' / 4 of a taste of which
    nothing is known yet (Luce's rule, worths equal); the next pair has the largest d' I^-1 d, which adds most to log det I. So
    rare differences are asked about as often as common ones, and what is rare is also compared with what else is rare.
    The most telling question comes first, in either order of its places, and no option comes again while there are fresher
    ones. Where options are more than `pool`, designs are made of as many of them, and raters take turns with `BLOCKS` designs.

    Attributes:
        pool: options that a design is made of; thrice the questions where that is more.
        ridge: 1 / variance of a taste before anybody is asked, in utils per spread of a number.

    Source: Huber and Zwerina, The importance of utility balance in efficient choice designs, JMR 1996, for D-error at equal
    worths; the greedy search is ours.
    """

    pool: int = 400
    ridge: float = 1.0

    def __post_init__(self) -> None:
        if self.pool < 2:
            raise ValueError(f"`pool` must be 2 or more options, got {self.pool}.")
        if not 0 < self.ridge < torch.inf:
            raise ValueError(f"`ridge` must be a positive number, got {self.ridge}.")

    def ask(self, people: Answers, options: Options, each: Counts, seed: Seed) -> Comparisons:
        """Choose the questions, hear the answers.

        Raises:
            ValueError: fewer pairs of options than questions.
        """
        slate, rater = self.choose(options, counts_of(each, len(people)), seed)
        return people.answer(options, slate, rater, seed)

    def choose(
        self, options: Options, count: Int[Tensor, " R"], seed: Seed
    ) -> tuple[Int[Tensor, "M 2"], Int[Tensor, " M"]]:
        """Slate and rater, rater by rater, each one's most telling question first."""
        raters, most = len(count), int(count.max()) if len(count) else 0
        pairs = math.comb(len(options), 2)
        if most > pairs:
            raise ValueError(
                f"{len(options)} options make {pairs} different questions of 2, fewer than {most} per rater; ask less."
            )
        rows = options.pool(options.rows.double(), 1.0)
        unit = (rows - rows.mean(0)) / rows.std(0).clamp_min(1e-12)
        base = Streams.of(seed).number("questions by design")
        wide = min(len(options), max(self.pool, 3 * most))
        blocks = torch.arange(BLOCKS if wide < len(options) else 1)[:, None]
        some = uniform(base, blocks, torch.arange(len(options))).argsort(1)[:, :wide]  # (blocks, wide)
        size = max(1, AT_ONCE // wide**2)
        asked = torch.cat([most_telling(unit[part], most, self.ridge) for part in some.split(size)])
        design = some.gather(1, asked.flatten(1)).view(len(blocks), most, 2)
        who = torch.arange(raters)
        slate = design[who % len(design)]
        turned = uniform(base, who[:, None], torch.arange(most), torch.tensor(0)) < 0.5
        slate = torch.where(turned[..., None], slate.flip(2), slate)
        kept = torch.arange(most) < count[:, None]
        return slate[kept], who.repeat_interleave(count)


def most_telling(unit: Float[Tensor, "B N F"], count: int, ridge: float) -> Int[Tensor, "B count 2"]:
    """The pairs of each block's N options that a greedy D-optimal design takes, in turn; see `Designed`."""
    blocks, options, width = unit.shape
    doubt = torch.eye(width, dtype=unit.dtype).expand(blocks, -1, -1) / ridge  # the inverse of I
    gain = torch.cdist(unit, unit).square() / ridge  # (B, N, N) d' I^-1 d
    gain[:, torch.ones(options, options).tril().bool()] = -torch.inf
    # Gains fall, so that this much less makes any pair come after all that are fresher.
    stale = 1 + gain.flatten(1).amax(1)[:, None]  # (B, 1)
    shown = torch.zeros(blocks, options, dtype=unit.dtype)  # times, in that unit
    each, chosen = torch.arange(blocks), list[Tensor]()
    for _ in range(count):
        best = (gain - shown[:, :, None] - shown[:, None, :]).flatten(1).argmax(1)
        first, second = best // options, best % options
        chosen.append(torch.stack([first, second], 1))
        shown.scatter_add_(1, chosen[-1], stale.expand(-1, 2))
        # Sherman and Morrison: I grows by d d' / 4.
        apart = unit[each, first] - unit[each, second]
        way = (doubt @ apart[..., None])[..., 0]  # (B, F)
        shrink = (1 / (4 + gain[each, first, second]))[:, None, None]
        doubt = doubt - shrink * way[:, :, None] * way[:, None, :]
        felt = (unit @ way[..., None])[..., 0]  # (B, N)
        gain -= shrink * (felt[:, :, None] - felt[:, None, :]).square()
        gain[each, first, second] = -torch.inf
    return torch.stack(chosen, 1) if chosen else torch.zeros(blocks, 0, 2, dtype=torch.long)
