"""Two parts of the answers that share none, no rater, or no option."""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch

from pluralign.data.comparisons import Comparisons
from pluralign.data.errors import DataError
from pluralign.data.frames import option_ids
from pluralign.data.questions import components, grouped, joined, outside_option, question, rows_of
from pluralign.streams import Seed, Streams

By = Literal["answer", "rater", "item"]


def split(
    data: Comparisons,
    *,
    by: By = "answer",
    share: float = 0.8,
    seed: Seed | Streams = 0,
    session: Sequence | np.ndarray | None = None,
) -> tuple[Comparisons, Comparisons]:
    """Two parts, the first with about `share` of the answers, that share nothing of the kind `by`.

    Args:
        data: the answers; both parts keep its options and rater ids.
        by: "answer": a share of each rater's answers, at least one in the first part; answers to one question by one
            rater stay together. "rater": whole raters. "item": options of one part are never shown in the other, and
            answers that mix them are dropped with a warning; where the comparison graph falls into parts (debates,
            scenes) these stay whole and nothing is dropped, if the share can be met.
        share: in (0, 1).
        seed: for the draw.
        session: (M,) groups of answers that stay together within a rater (a conversation, a choice set).

    Raises:
        DataError: a part would be empty, or `by`, `share` or `session` is none of these.
    """
    if not 0 < share < 1:
        raise DataError(f"`share` must lie between 0 and 1, got {share}; give .8 for four fifths.")
    if session is not None and len(session) != len(data):
        raise DataError(f"`session` must name a group for each of {len(data)} answers, got {len(session)}.")
    ways = {"answer": _by_answer, "rater": _by_rater, "item": _by_item}
    if by not in ways:
        raise DataError(f"`by` must be 'answer', 'rater' or 'item', got {by!r}.")
    group = None if session is None else np.asarray(session)
    first, second = ways[by](data, share, Streams.of(seed)("split"), group)
    if not first.any() or not second.any():
        units = {"answer": "answers of one rater", "rater": "raters", "item": "unconnected options"}[by]
        raise DataError(
            f"a split by {by} needs two or more {units} on either side, {len(data)} answers of "
            f"{int((data.counts > 0).sum())} raters leave one part empty; split otherwise or gather more answers."
        )
    parts = data.take(rows_of(first)), data.take(rows_of(second))
    check_disjoint(*parts, by=by)
    return parts


def check_disjoint(train: Comparisons, test: Comparisons, by: By = "answer") -> None:
    """Raise where `test` leaks from `train`: the same answer, rater or option (by name) in both.

    An answer is the same where one rater was asked the same question. The outside option of votes may be shared.

    Raises:
        DataError: with the first that is in both.
    """
    if by == "rater":
        both = _names(train) & _names(test)
        if both:
            raise DataError(f"rater {min(both)!r} answers in both parts ({len(both)} do); split by rater.")
    elif by == "item":
        both = _shown(train) & _shown(test)
        if both:
            raise DataError(f"option {min(both)!r} is shown in both parts ({len(both)} are); split by item.")
    else:
        first, second = _asked(train, test)
        repeated = np.isin(second, first)
        if repeated.any():
            row = int(repeated.argmax())
            assert test.rater_ids is not None
            raise DataError(
                f"rater {test.rater_ids[int(test.rater[row])]!r} answers the question of test row {row} in both "
                f"parts ({int(repeated.sum())} test answers do); keep answers to one question on one side."
            )


def _by_answer(
    data: Comparisons, share: float, generator: torch.Generator, session: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    rater = data.rater.numpy()
    same = grouped(rater, question(data))
    unit = same if session is None else joined(same, grouped(rater, session))
    first = pd.Series(unit).drop_duplicates().index.to_numpy()  # a unit's first answer stands for it
    units, owner = unit[first], rater[first]
    order = np.lexsort((torch.rand(len(first), generator=generator).numpy(), owner))
    count = np.bincount(owner, minlength=data.raters)
    start = np.cumsum(count) - count
    place = np.empty(len(first), np.int64)
    place[order] = np.arange(len(first)) - start[owner[order]]
    # Rounded up or down by chance, so that many raters of few answers still meet the share.
    quota = np.floor(share * count + torch.rand(data.raters, generator=generator).double().numpy())
    kept = np.zeros(int(unit.max()) + 1 if len(unit) else 0, bool)
    kept[units] = place < np.maximum(quota, 1)[owner]
    return kept[unit], ~kept[unit]


def _by_rater(
    data: Comparisons, share: float, generator: torch.Generator, session: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    people = np.unique(data.rater.numpy())
    mixed = people[torch.randperm(len(people), generator=generator).numpy()]
    kept = np.isin(data.rater.numpy(), mixed[: _cut(len(people), share)])
    return kept, ~kept


def _by_item(
    data: Comparisons, share: float, generator: torch.Generator, session: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    outside = outside_option(data)
    slate = data.slate.numpy()
    real = (slate >= 0) & (slate != outside)
    part = components(data, without=outside)
    whole = part[slate[np.arange(len(slate)), real.argmax(1)]]  # the part of the graph an answer is in
    size = np.bincount(whole, minlength=int(part.max()) + 1)
    mixed = torch.randperm(len(size), generator=generator).numpy()
    reached = np.cumsum(size[mixed]) / len(data)
    near = int(np.abs(reached - share).argmin())
    if abs(reached[near] - share) < 0.1 and near + 1 < len(mixed):
        kept = np.isin(whole, mixed[: near + 1])
        return kept, ~kept
    options = np.unique(slate[real])
    mixed = options[torch.randperm(len(options), generator=generator).numpy()]
    chosen = np.zeros(len(data.options), bool)
    chosen[mixed[: _cut(len(options), share)]] = True
    first = (chosen[slate] | ~real).all(1)
    second = (~chosen[slate] | ~real).all(1)
    dropped = int((~first & ~second).sum())
    if dropped:
        warnings.warn(
            f"split by item: {dropped} of {len(data)} answers show options of both parts and are dropped.",
            stacklevel=4,
        )
    return first, second


def _cut(count: int, share: float) -> int:
    return min(max(round(share * count), 1), count - 1)


def _names(data: Comparisons) -> set[str]:
    assert data.rater_ids is not None
    return {data.rater_ids[r] for r in data.rater.unique().tolist()}


def _shown(data: Comparisons) -> set[str]:
    outside = outside_option(data)
    ids = option_ids(data.options)
    return {ids[n] for n in data.slate.unique().tolist() if n >= 0 and n != outside}


def _asked(one: Comparisons, two: Comparisons) -> tuple[np.ndarray, np.ndarray]:
    """Rater and question of each answer as numbers that mean the same in both sets."""
    codes = []
    for of in (one, two):
        ids = np.array([*option_ids(of.options), ""], dtype=object)
        assert of.rater_ids is not None
        codes.append((np.array(of.rater_ids, dtype=object)[of.rater.numpy()], ids, of.slate.numpy()))
    known = pd.Index(np.unique(np.concatenate([codes[0][1], codes[1][1]]).astype(str)))
    width = max(one.places, two.places)
    rows = []
    for _, ids, slate in codes:
        number = known.get_indexer(pd.Index(ids.astype(str)))[slate]  # -1, an empty place, is the last: ""
        rest = np.full((len(slate), width - slate.shape[1]), known.get_loc(""))
        rows.append(np.sort(np.concatenate([number, rest], 1), 1))
    asked = np.concatenate(rows)
    key = grouped(np.concatenate([codes[0][0], codes[1][0]]), *asked.T)
    return key[: len(one)], key[len(one) :]
