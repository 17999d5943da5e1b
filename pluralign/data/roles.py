"""Who is trained on and who is judged: the split, order, session and fold of each answer of a folder."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pluralign.data.errors import DataError, listed, nearest
from pluralign.data.stores import match
from pluralign.data.tables import Table, find_table, read_table

ROLES = ("train", "val", "adapt", "test_seen", "test_unseen", "test_items", "unused")
_SAME = {"valid": "val", "validation": "val", "dev": "val", "": "unused", "none": "unused"}
_TEST = ("query", "test")  # seen or unseen: depends on whether the rater has answers to train on
_SESSIONS = ("session_id", "conversation_id", "set_id")
_KEYS = {"cmp_id", "vote_id"}  # one of them is missing when the folder is read for the other's answers


def read_roles(folder: Path, table: Table, rater: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(M,) role and (M,) adapt_order (-1 where there is none), from columns or from files beside the answers.

    Args:
        table: the M answers.
        rater: (M,) who gave them.
    """
    role = order = None
    source = table.source
    if {"role", "split"} <= set(table.names):
        raise DataError(f"{table.source} has a column 'role' and a column 'split'; keep one.")
    for name in ("role", "split"):
        if name in table.names:
            role = _column(table, name)
    if "adapt_order" in table.names:
        order = table.numbers("adapt_order", missing=-1).astype(np.int64)
    for stem in ("splits", "split", "adapt"):
        path = find_table(folder, stem)
        beside = None if path is None else read_table(path)
        if beside is None or (place := join(table, beside, ("role", "split", "adapt_order"))) is None:
            continue
        for name in ("role", "split"):
            if name in beside.names:
                if role is not None:
                    raise DataError(
                        f"{table.source} and {beside.source} both give roles; keep the column or the file."
                    )
                role, source = _at(_column(beside, name), place, ""), beside.source
                if (place < 0).any():
                    warnings.warn(
                        f"{beside.source} names no role for {int((place < 0).sum())} of {len(place)} answers, first "
                        f"{table.row(int((place < 0).argmax()))}; they are unused.",
                        stacklevel=4,
                    )
        if "adapt_order" in beside.names:
            order = _at(beside.numbers("adapt_order", missing=-1).astype(np.int64), place, -1)
    return (None if role is None else _normal(table, role, rater, source)), order


def adapt_order(role: np.ndarray, rater: np.ndarray, session: np.ndarray | None) -> np.ndarray | None:
    """(M,) the place of each answer among the rater's answers to adapt on, by session where there are some."""
    rows = np.flatnonzero(role == "adapt")
    if not len(rows):
        return None
    unit = rows if session is None else pd.factorize(session[rows])[0]
    one = pd.DataFrame({"rater": rater[rows], "unit": unit})
    first = one.drop_duplicates()
    first = first.assign(place=first.groupby("rater").cumcount())
    order = np.full(len(role), -1)
    order[rows] = one.merge(first, how="left", on=["rater", "unit"])["place"].to_numpy()
    return order


def read_session(table: Table) -> np.ndarray | None:
    """(M,) the group of answers that belong together, where a column says so."""
    for name in _SESSIONS:
        if name in table.names:
            return _column(table, name)
    return None


def read_fold(folder: Path, table: Table) -> np.ndarray | None:
    """(M,) the fold of each answer, from a `fold` column or from pair_folds.*."""
    if "fold" in table.names:
        return table.numbers("fold", missing=-1).astype(np.int64)
    path = find_table(folder, "pair_folds")
    if path is None:
        return None
    beside = read_table(path)
    beside.need("fold")
    place = join(table, beside, ("fold",))
    return None if place is None else _at(beside.numbers("fold").astype(np.int64), place, -1)


def join(table: Table, beside: Table, values: tuple[str, ...]) -> np.ndarray | None:
    """(M,) the row of `beside` that speaks of each answer, -1 for none; all its other columns are the key.

    None where the key belongs to the folder's other answers.
    """
    keys = [name for name in beside.names if name not in values]
    missing = [name for name in keys if name not in table.names]
    if not keys or missing:
        if set(missing) & _KEYS:
            return None
        raise DataError(
            f"{beside.source} must be keyed by columns of {table.source} ({listed(table.names)}), it has "
            f"{listed(beside.names)}; rename {missing[0] if missing else 'or add one'!r}."
        )
    known, asked = _key(beside, keys), _key(table, keys)
    if pc.count_distinct(known).as_py() < len(known):
        twice = pd.Series(known.to_numpy(zero_copy_only=False)).duplicated().to_numpy()
        beside.refuse(twice, keys[0], lambda row: "this key came before; keep one row for each")
    beside.refuse(
        match(known, asked) < 0,
        keys[0],
        lambda row: (
            f"{beside.texts(keys[0])[row].as_py()!r} is not in {table.source}"
            f"{_hint(beside.texts(keys[0])[row].as_py(), table, keys)}; drop the row or correct the id"
        ),
    )
    return match(asked, known)


def _hint(name: str, table: Table, keys: list[str]) -> str:
    return nearest(name, table.texts(keys[0]).slice(0, 1000).to_pylist()) if len(keys) == 1 else ""


def _key(table: Table, keys: list[str]) -> pa.Array:
    parts = [table.texts(name) for name in keys]
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "\x1f")


def _column(table: Table, name: str) -> np.ndarray:
    return pc.fill_null(table.texts(name), "").to_numpy(zero_copy_only=False)


def _at(value: np.ndarray, place: np.ndarray, none: object) -> np.ndarray:
    return np.where(place < 0, none, value[place])  # type: ignore[arg-type,call-overload]


def _normal(table: Table, role: np.ndarray, rater: np.ndarray, source: str) -> np.ndarray:
    """Roles under their seven names; `source` is the file that gives them."""
    code, names = pd.factorize(role)
    plain = [_SAME.get(str(name).strip().lower(), str(name).strip().lower()) for name in names]
    for place, name in enumerate(plain):
        if name not in (*ROLES, *_TEST):
            row = table.row(int((code == place).argmax()))
            where = row if source == table.source else f"{source}, for {row}"
            raise DataError(
                f"{where}: a role among {listed((*ROLES, *_TEST))} is expected, got {names[place]!r}"
                f"{nearest(name, ROLES)}; rename it."
            )
    clear = np.array(plain, dtype="U11")[code]
    test = np.isin(clear, _TEST)
    seen = np.zeros(int(rater.max()) + 1, bool)
    seen[rater[clear == "train"]] = True
    return np.where(test, np.where(seen[rater], "test_seen", "test_unseen"), clear)
