"""Rows of answers become tensors: names are looked up, labels are checked, all columns at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from pluralign.data.comparisons import Comparisons, Kind
from pluralign.data.errors import DataError, listed, nearest
from pluralign.data.options import Items, Options
from pluralign.data.stores import match
from pluralign.data.tables import Table, is_numeric

LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
PLACES = (*LETTERS, *(a + b for a in LETTERS for b in LETTERS))  # a, b, ..., z, aa, ab, ...


FLOAT32: Mapping[str, str] = MappingProxyType(
    {"time": "float64"}
)  # seconds since 1970 need more than float32


@dataclass(frozen=True)
class Parsed:
    """The answers, the row of the table each came from, every row's rater, and the columns left over."""

    data: Comparisons
    rows: np.ndarray
    rater: np.ndarray
    left: list[str]


def places_of(names: list[str]) -> list[str]:
    """item_a, item_b, ... as far as they go."""
    found = []
    for place in PLACES:
        if f"item_{place}" not in names:
            break
        found.append(f"item_{place}")
    return found


def parse_comparisons(
    table: Table,
    options: Options | None,
    ids: tuple[str, ...] | None,
    *,
    where: str,
    kind: Kind = "choice",
    widths: Mapping[str, str] = FLOAT32,
) -> Parsed:
    """Rows of rater_id, item_a, item_b, ..., label.

    Args:
        table: the rows.
        options: the store; None makes one without features out of the names in use.
        ids: the raters' names; None takes those that answered.
        where: the file with the items, for messages.
        kind: of the answers.
        widths: number format of a column, where it is not float32.
    """
    table.need("rater_id", "item_a", "item_b")
    places = places_of(table.names)
    gap = sorted(name for name in table.names if name.removeprefix("item_") in LETTERS and name not in places)
    if gap:
        expected = f"item_{PLACES[len(places)]}"
        raise DataError(f"{table.source} has a column {gap[0]!r} without {expected!r}; name places in order.")
    options, slate = _slate(table, places, options, where)
    rater, rater_ids = _raters(table, ids)
    label, used = _label(table, len(places), slate)
    tensor = lambda name, value: torch.from_numpy(value).to(getattr(torch, widths.get(name, "float32")))
    context, context_names = _context(table)
    one = {
        name: tensor(name, table.numbers(name))
        for name in ("weight", "time", "response_time")
        if name in table.names
    }
    if "weight" in one:
        table.refuse(
            one["weight"].numpy() < 0, "weight", lambda row: "a weight of 0 or more is expected; correct it"
        )
    data = Comparisons(
        options,
        torch.from_numpy(slate),
        torch.from_numpy(rater),
        tensor("label", label),
        context=None if context is None else tensor("context", context),
        rater_ids=rater_ids,
        kind=kind,
        **one,
    )
    taken = {"rater_id", *places, *used, *context_names, *one}
    return Parsed(data, np.arange(len(table)), rater, [name for name in table.names if name not in taken])


def parse_votes(
    table: Table, options: Options | None, ids: tuple[str, ...] | None, *, where: str, outside: int
) -> Parsed:
    """Rows of rater_id, item_id, vote (1 agree, -1 disagree, 0 pass): item against option `outside`.

    Passes say neither, and are left out.
    """
    table.need("rater_id", "item_id", "vote")
    options, item = _slate(table, ["item_id"], options, where)
    rater, rater_ids = _raters(table, ids)
    vote = table.numbers("vote")
    table.refuse(
        ~np.isin(vote, (-1, 0, 1)),
        "vote",
        lambda row: f"1 (agree), -1 (disagree) or 0 (pass) is expected, got {vote[row]:g}; recode it",
    )
    rows = np.flatnonzero(vote != 0)
    slate = np.stack([item[rows, 0], np.full(len(rows), outside)], 1)
    share = torch.from_numpy((vote[rows] > 0).astype(np.float32))
    data = Comparisons(
        options,
        torch.from_numpy(slate),
        torch.from_numpy(rater[rows]),
        torch.stack([share, 1 - share], 1),
        rater_ids=rater_ids,
        kind="vote",
    )
    taken = {"rater_id", "item_id", "vote"}
    return Parsed(data, rows, rater, [name for name in table.names if name not in taken])


def item_names(table: Table) -> tuple[str, ...]:
    """The names that answers use, sorted; for options without a table of their own."""
    columns = places_of(table.names) or [name for name in ("item_id",) if name in table.names]
    found: set[str] = set()
    for name in columns:
        found.update(text for text in table.codes(name)[1].to_pylist() if text)
    return tuple(sorted(found))


def _slate(
    table: Table, places: list[str], options: Options | None, where: str
) -> tuple[Options, np.ndarray]:
    if options is None:
        names = item_names(table)
        options = Items(torch.zeros(len(names), 0), names)
    known = options.ids if options.ids is not None else tuple(str(n) for n in range(len(options)))
    value_set = pa.array(known, pa.string())
    columns = []
    for number, name in enumerate(places):
        code, texts = table.codes(name)
        if number < 2:
            table.refuse(code < 0, name, lambda row: "an item is expected, got an empty field; fill it")
        place = match(texts, value_set)
        column = np.where(code < 0, -1, place[code]) if len(place) else code
        wrong = np.asarray((code >= 0) & (column < 0))
        if wrong.any():
            got = texts[int(code[wrong.argmax()])].as_py()
            table.refuse(
                wrong,
                name,
                lambda row, got=got: (  # type: ignore[misc]
                    f"{got!r} is not an item_id of {where}{nearest(got, known)}; add the item or correct the id"
                ),
            )
        columns.append(column)
    slate = np.stack(columns, 1)
    if len(places) > 2:
        hole = np.any((slate[:, 1:] >= 0) & (slate[:, :-1] < 0), axis=1)
        table.refuse(hole, places[2], lambda row: "a place is empty and a later one is not; move items left")
    return options, slate


def _raters(table: Table, ids: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """(M,) raters and their names: those of the raters' table, or else all that answered, sorted."""
    code, texts = table.codes("rater_id")
    table.refuse(code < 0, "rater_id", lambda row: "a rater is expected, got an empty field; fill it")
    if ids is None:
        used = np.unique(code)
        found = texts.take(pa.array(used))
        order = pc.array_sort_indices(found).to_numpy(zero_copy_only=False)
        place = np.full(len(texts), -1)
        place[used[order]] = np.arange(len(used))
        return place[code], tuple(found.take(pa.array(order)).to_pylist())
    rater = match(texts, pa.array(ids, pa.string()))[code]
    table.refuse(
        rater < 0,
        "rater_id",
        lambda row: (
            f"{texts[int(code[row])].as_py()!r} is not a rater_id of the raters' table"
            f"{nearest(texts[int(code[row])].as_py(), ids)}; add the rater or correct the id"
        ),
    )
    return rater, ids


def _refuse_names(table: Table, code: np.ndarray, texts: pa.Array) -> None:
    """Raise where every label is the name of one of the two options: a share is asked for, nothing is guessed."""
    label = texts.to_pandas().to_numpy()[code]
    first, second = (table.texts(name).to_pandas().to_numpy() for name in ("item_a", "item_b"))
    if ((label == first) | (label == second)).all():
        raise DataError(
            f"{table.cell(0, 'label')}: the share of item_a is expected, got the option's name {label[0]!r}; write 1 "
            "where item_a was chosen and 0 where item_b was."
        )


def _label(table: Table, count: int, slate: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(M, K) shares, and the columns they came from."""
    shares = [f"label_{place}" for place in PLACES[:count]]
    if "label" not in table.names and "label_a" in table.names:
        table.need(*shares)
        value = np.stack([table.numbers(name, missing=0) for name in shares], 1)
        for column, name in enumerate(shares):
            _in_unit(table, value[:, column], name)
        total = value.sum(1)
        off = np.abs(total - 1) > 1e-4
        table.refuse(
            off, "label_a", lambda row: f"shares of a row must sum to 1, got {total[row]:g}; rescale them"
        )
        absent = np.any((slate < 0) & (value > 0), axis=1)
        table.refuse(absent, "label_a", lambda row: "an empty place got a share; name its item")
        return value, shares
    table.need("label")
    kind = table.data["label"].type
    if is_numeric(kind) and count == 2:
        share = table.numbers("label")
        _in_unit(table, share, "label")
        return np.stack([share, 1 - share], 1), ["label"]
    code, texts = table.codes("label")
    table.refuse(code < 0, "label", lambda row: "an answer is expected, got an empty field; drop the row")
    letters = match(pc.utf8_lower(texts), pa.array(PLACES[:count]))
    if count == 2 and not (letters[np.unique(code)] >= 0).any():
        _refuse_names(table, code, texts)
        table.numbers("label")  # says which one is not a number
    letter = letters[code]
    table.refuse(
        letter < 0,
        "label",
        lambda row: (
            f"the letter of the chosen place ({listed(PLACES[:count])}) is expected, got "
            f"{texts[int(code[row])].as_py()!r}; for graded answers give {listed(shares)}"
        ),
    )
    chosen = slate[np.arange(len(slate)), letter]
    table.refuse(chosen < 0, "label", lambda row: "the chosen place is empty; name its item")
    return np.eye(count)[letter], ["label"]


def _in_unit(table: Table, value: np.ndarray, name: str) -> None:
    table.refuse(
        (value < 0) | (value > 1),
        name,
        lambda row: (
            f"a share in [0, 1] is expected, got {value[row]:g}; rescale, for example (rating - low) / range"
        ),
    )


def _context(table: Table) -> tuple[np.ndarray | None, list[str]]:
    """`context` (M,), or context_0, context_1, ... (M, C)."""
    if "context" in table.names:
        return table.numbers("context"), ["context"]
    names: list[str] = []
    while f"context_{len(names)}" in table.names:
        names.append(f"context_{len(names)}")
    return (np.stack([table.numbers(name) for name in names], 1) if names else None), names
