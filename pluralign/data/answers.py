"""Rankings, best-of-n choices, votes and ratings become comparisons."""

import dataclasses
import warnings
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.errors import DataError
from pluralign.data.options import Items, Options, Segments, Texts
from pluralign.streams import Seed, Streams

OUTSIDE = "(disagree)"


def rankings(
    options: Options,
    order: Int[Tensor, "M K"],
    rater: Int[Tensor, " M"],
    *,
    top: int | None = None,
    **more: Any,
) -> Comparisons:
    """Rankings as repeated choice: the best of all, then the best of the rest, down to the last two.

    Nothing is lost under the Plackett-Luce rule, where a ranking's chance is the product of these choices.

    Args:
        options: the store.
        order: (M, K) options from best to worst; -1 at the end of a shorter ranking.
        rater: (M,) who ranked.
        top: how many of the first places were really ranked; the rest is known to be worse, in no order.
        more: columns of Comparisons, one row per ranking; each is repeated for the ranking's answers.

    Returns:
        The answers of a ranking one after the other; a slate shows its options in the store's order, so a place
        says nothing about the choice.

    Raises:
        DataError: an option comes twice in a ranking, or a ranking has fewer than two.
    """
    length = (order != ABSENT).sum(1)
    short = (length < 2).nonzero()[:, 0]
    if len(short):
        raise DataError(
            f"`order` row {int(short[0])} must rank two options or more; drop the {len(short)} rows."
        )
    ordered = order.sort(1).values
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != ABSENT)).any(1).nonzero()[:, 0]
    if len(twice):
        wrong = int(twice[0])
        raise DataError(
            f"`order` row {wrong} must name an option once, got {order[wrong].tolist()}; correct it."
        )
    if top is not None and top < 1:
        raise DataError(f"`top` must be the number of ranked places, 1 or more, got {top}.")
    stages = order.shape[1] - 1 if top is None else min(top, order.shape[1] - 1)
    places = torch.arange(stages)
    row, stage = (places < length[:, None] - 1).nonzero(as_tuple=True)  # in the order of the rankings
    far = torch.iinfo(order.dtype).max
    rest = torch.arange(order.shape[1]) >= stage[:, None]
    left = torch.where(rest & (order[row] != ABSENT), order[row], far).sort(1).values
    label = (left == order[row, stage][:, None]).float()
    columns: dict[str, Any] = {
        name: value[row] if isinstance(value, Tensor) else value for name, value in more.items()
    }
    return Comparisons(
        options,
        torch.where(left == far, ABSENT, left).long(),
        rater[row],
        label,
        kind="ranking",
        **columns,
    )


def best_of(
    options: Options,
    slate: Int[Tensor, "M K"],
    chosen: Int[Tensor, " M"],
    rater: Int[Tensor, " M"],
    **more: Any,
) -> Comparisons:
    """One choice out of each slate; `chosen` (M,) is the place, 0 to K - 1.

    Raises:
        DataError: a place that does not exist or shows nothing.
    """
    off = ((chosen < 0) | (chosen >= slate.shape[1])).nonzero()[:, 0]
    if len(off):
        raise DataError(
            f"`chosen` must be a place 0 to {slate.shape[1] - 1}, first row {int(off[0])}: {int(chosen[off[0]])} "
            f"({len(off)} such rows); count places from 0."
        )
    empty = (slate.gather(1, chosen[:, None])[:, 0] == ABSENT).nonzero()[:, 0]
    if len(empty):
        raise DataError(f"`chosen` row {int(empty[0])} names a place that shows no option; correct the row.")
    label = torch.nn.functional.one_hot(chosen.long(), slate.shape[1]).float()
    return Comparisons(options, slate, rater, label, **more)


def votes(
    options: Options, item: Int[Tensor, " M"], rater: Int[Tensor, " M"], vote: Tensor, **more: Any
) -> Comparisons:
    """Agreement (1) and disagreement (-1) as choices between an item and an outside option, added at the end.

    Passes (0) say neither and are left out with a warning.

    Raises:
        DataError: a vote that is none of the three.
    """
    off = ((vote != 1) & (vote != -1) & (vote != 0)).nonzero()[:, 0]
    if len(off):
        raise DataError(
            f"`vote` must be 1, -1 or 0, first row {int(off[0])}: {vote[off[0]].item()}; recode it."
        )
    said = (vote != 0).nonzero()[:, 0]
    if len(said) < len(vote):
        warnings.warn(f"{len(vote) - len(said)} of {len(vote)} votes are passes, left out.", stacklevel=2)
    pick = {name: value[said] if isinstance(value, Tensor) else value for name, value in more.items()}
    outside = torch.full((len(said),), len(options))
    agreed = (vote[said] == 1).float()
    return Comparisons.pairs(
        add_outside(options), item[said].long(), outside, rater[said], agreed, kind="vote", **pick
    )


def ratings(
    options: Options,
    item: Int[Tensor, " M"],
    rater: Int[Tensor, " M"],
    rating: Float[Tensor, " M"] | Int[Tensor, " M"],
    *,
    neighbours: int | None = None,
    seed: Seed | Streams = 0,
    rater_ids: tuple[str, ...] | None = None,
) -> Comparisons:
    """Pairs of items that one rater rated: the higher rating wins, equal ratings tie.

    Lossy, and says so: how far apart two ratings are is forgotten, and pairs that share a rating are not independent.

    Args:
        options: the store.
        item, rater, rating: (M,) rater `rater[m]` gave `item[m]` this rating; higher is better.
        neighbours: compare each rating with so many others of its rater, drawn by chance, instead of with all.
        seed: for that draw.
        rater_ids: names of the raters.

    Raises:
        DataError: a rating is not finite, or no rater rated two items.
    """
    bad = (~torch.isfinite(rating.float())).nonzero()[:, 0]
    if len(bad):
        raise DataError(
            f"`rating` must be finite, first row {int(bad[0])}: {float(rating[bad[0]])}; drop the row."
        )
    chance = torch.rand(len(item), generator=Streams.of(seed)("ratings"))
    order = torch.arange(len(item)) if neighbours is None else chance.argsort()
    order = order[rater[order].argsort(stable=True)]
    most = int(torch.bincount(rater).max()) - 1 if len(rater) else 0
    parts = []
    for gap in range(1, (most if neighbours is None else min(most, neighbours)) + 1):
        first, second = order[:-gap], order[gap:]
        parts.append(
            torch.stack([first, second])[:, (rater[first] == rater[second]) & (item[first] != item[second])]
        )
    pair = torch.cat(parts, 1) if parts else torch.zeros(2, 0, dtype=torch.long)
    if not pair.shape[1]:
        raise DataError("ratings become pairs within a rater, and no rater rated two items; rate more items.")
    warnings.warn(
        f"{len(item)} ratings became {pair.shape[1]} pairs: distances between ratings are lost, and pairs that share "
        "a rating are not independent.",
        stacklevel=2,
    )
    first, second = pair[:, pair.min(0).values.argsort(stable=True)]
    share = (torch.sign((rating[first] - rating[second]).float()) + 1) / 2
    return Comparisons.pairs(
        options,
        item[first].long(),
        item[second].long(),
        rater[first],
        share,
        kind="rating",
        rater_ids=rater_ids,
    )


def add_outside(options: Options) -> Options:
    """The same store with one more option at the end, of which nothing is known: zeros, or the text "(disagree)"."""
    ids = None if options.ids is None else (*options.ids, OUTSIDE)
    zero = lambda x: torch.cat([x, torch.zeros_like(x[:1])])
    longer = lambda x: None if x is None else zero(x)
    if isinstance(options, Items):
        return dataclasses.replace(options, features=zero(options.features), ids=ids)
    if isinstance(options, Texts):
        return Texts((*options.texts, OUTSIDE), longer(options.embedding), ids)
    if isinstance(options, Segments):
        steps = options.factors.shape[:2]
        mask = torch.ones(steps, dtype=torch.bool) if options.mask is None else options.mask
        return dataclasses.replace(
            options,
            factors=zero(options.factors),
            mask=longer(mask),
            observation=longer(options.observation),
            action=longer(options.action),
            ids=ids,
            reached=longer(options.reached),
        )
    raise TypeError(f"an outside option can join Items, Texts or Segments, not {type(options).__name__}.")
