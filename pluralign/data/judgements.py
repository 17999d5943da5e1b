"""Judgements of answers to prompts, whatever form they came in, become comparisons of texts."""

import dataclasses
import hashlib
import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from pluralign.data.answers import OUTSIDE, rankings, ratings, votes
from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.errors import DataError
from pluralign.data.messages import Exchange
from pluralign.data.options import Texts

Form = Literal["share", "ranking", "rating", "vote"]


@dataclass(frozen=True)
class Judgement:
    """What one rater said of K answers to one prompt.

    Attributes:
        rater: who.
        answers: K exchanges with one prompt.
        form: what `value` is.
        value: K shares of the choice; K ranks, 1 the best; K ratings, higher is better; or one vote, 1, -1 or 0.
        more: columns to keep.
        about: attributes of the rater.
    """

    rater: str
    answers: tuple[Exchange, ...]
    form: Form
    value: tuple[float, ...]
    more: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """Comparisons, and what to write beside them.

    Attributes:
        data: M answers over N texts; the store is ordered by id, so that a place says nothing about the choice.
        items: N rows: prompt, answer.
        raters: R rows: attributes.
        extra: M rows: the columns that were kept, and `set_id`, the prompt, where no session is told.
    """

    data: Comparisons
    items: pd.DataFrame
    raters: pd.DataFrame
    extra: pd.DataFrame


SESSIONS = ("session_id", "conversation_id", "set_id")


def text_id(text: str) -> str:
    """The name of a text: a hash of it."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def judged(every: list[Judgement]) -> Judged:
    """Comparisons of M judgements of one form, each text held once.

    Raises:
        DataError: there is no judgement, or forms differ.
    """
    if not every:
        raise DataError("there is no answer to import; add records.")
    form = every[0].form
    if any(one.form != form for one in every):
        raise DataError(
            f"all records must be of one form, the first is a {form}; import the others on their own."
        )
    known = {text_id(x.text): x for one in every for x in one.answers}
    ids = tuple(sorted(known))
    place = {name: n for n, name in enumerate(ids)}
    store = Texts(tuple(known[name].text for name in ids), None, ids)
    who, names = pd.factorize(np.array([one.rater for one in every], dtype=object), sort=True)
    rater = torch.from_numpy(who.astype(np.int64))
    wide = max(len(one.answers) for one in every)
    slate = torch.full((len(every), wide), ABSENT)
    value = torch.full((len(every), wide), torch.nan, dtype=torch.float64)
    for row, one in enumerate(every):
        slate[row, : len(one.answers)] = torch.tensor([place[text_id(x.text)] for x in one.answers])
        value[row, : len(one.value)] = torch.tensor(one.value, dtype=torch.float64)
    data, rows = _FORMS[form](store, slate, value, rater, every)
    data = dataclasses.replace(data, rater_ids=tuple(names))
    items = pd.DataFrame({"prompt": [known[n].prompt for n in ids], "answer": [known[n].answer for n in ids]})
    if len(data.options) > len(items):
        items.loc[len(items)] = ["", OUTSIDE]
    about = {one.rater: one.about for one in every}
    extra = pd.DataFrame([one.more for one in every]).iloc[rows].reset_index(drop=True)
    if not set(extra) & set(SESSIONS) and form != "vote":
        asked = [one.answers[0].prompt for one in every]
        sets = [text_id(text) if text else f"record {row}" for row, text in enumerate(asked)]
        extra["set_id"] = np.array(sets, dtype=object)[rows]
    return Judged(data, items, pd.DataFrame([about[name] for name in names]), extra)


def _shares(store: Texts, slate: Any, value: Any, rater: Any, every: list) -> tuple[Comparisons, np.ndarray]:
    order = torch.where(slate == ABSENT, len(store), slate).argsort(1)
    label = value.nan_to_num(0.0).float().gather(1, order)
    return Comparisons(store, slate.gather(1, order), rater, label), np.arange(len(slate))


def _ranks(store: Texts, slate: Any, value: Any, rater: Any, every: list) -> tuple[Comparisons, np.ndarray]:
    order = slate.gather(1, value.nan_to_num(torch.inf).argsort(1))
    length = (slate != ABSENT).sum(1).numpy()
    return rankings(store, order, rater), np.repeat(np.arange(len(slate)), length - 1)


def _ratings(store: Texts, slate: Any, value: Any, rater: Any, every: list) -> tuple[Comparisons, np.ndarray]:
    """Ratings of one rater for answers to one prompt become pairs; without prompts, all ratings of a rater."""
    key = [f"{one.rater}\x1f{text_id(one.answers[0].prompt)}" for one in every]
    group, _ = pd.factorize(np.array(key, dtype=object))
    row, column = (slate != ABSENT).nonzero(as_tuple=True)
    part = torch.from_numpy(group.astype(np.int64))[row]
    found = ratings(store, slate[row, column], part, value[row, column].float())
    first = torch.from_numpy(np.unique(group, return_index=True)[1])
    rows = first[found.rater]
    return dataclasses.replace(found, rater=rater[rows], rater_ids=None), rows.numpy()


def _votes(store: Texts, slate: Any, value: Any, rater: Any, every: list) -> tuple[Comparisons, np.ndarray]:
    kept = (value[:, 0] != 0).nonzero()[:, 0]
    if len(kept) < len(value):
        warnings.warn(f"{len(value) - len(kept)} of {len(value)} votes are passes, left out.", stacklevel=4)
    if not len(kept):
        raise DataError("every vote is a pass; there is nothing to import.")
    return votes(store, slate[kept, 0], rater[kept], value[kept, 0]), kept.numpy()


_FORMS = {"share": _shares, "ranking": _ranks, "rating": _ratings, "vote": _votes}
