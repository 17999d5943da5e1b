"""Read a folder of answers: comparisons or votes, options, raters, and how they are split."""

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int, Shaped

from pluralign.data.answers import add_outside
from pluralign.data.comparisons import Comparisons
from pluralign.data.covariates import Coding
from pluralign.data.errors import DataError, nearest
from pluralign.data.meta import read_meta, restore
from pluralign.data.options import Items
from pluralign.data.parsing import FLOAT32, item_names, parse_comparisons, parse_votes
from pluralign.data.roles import adapt_order, read_fold, read_roles, read_session
from pluralign.data.stores import attributes, read_options
from pluralign.data.tables import FORMATS, Table, find_table, read_table

Answers = Literal["auto", "comparisons", "votes"]


@dataclass(frozen=True)
class Folder:
    """M answers of R raters about N options, and what a folder says beside them.

    Attributes:
        name: of the folder.
        data: the answers.
        role: (M,) one of pluralign.data.roles.ROLES, or None where the folder has no split.
        adapt_order: (M,) place of an answer (or of its session) among those a rater is adapted on, -1 for others.
        session: (M,) names of groups of answers that belong together.
        fold: (M,) cross-validation fold, -1 for none.
        item_attributes: N rows, index `item_id`; columns that are no features.
        rater_attributes: R rows, index `rater_id`.
        extra: M rows; the other columns of the answers.
        coding: how columns of raters.csv became the covariates of raters, or None where none were asked for.
    """

    name: str
    data: Comparisons
    role: Shaped[np.ndarray, " M"] | None
    adapt_order: Int[np.ndarray, " M"] | None
    session: Shaped[np.ndarray, " M"] | None
    fold: Int[np.ndarray, " M"] | None
    item_attributes: pd.DataFrame
    rater_attributes: pd.DataFrame
    extra: pd.DataFrame
    coding: Coding | None = None


def read(
    folder: str | Path, answers: Answers = "auto", *, covariates: Sequence[str] | Coding = ()
) -> Comparisons:
    """The answers in `folder`: comparisons.* (or votes.*), items.*, raters.*, embeddings.npy.

    Args:
        folder: see docs, "Data on disk".
        answers: "comparisons" or "votes", where a folder has both; "auto" prefers comparisons. A vote compares an
            item with an outside option called "(disagree)"; passes are left out with a warning.
        covariates: columns of raters.csv that say something of the raters (country, age), or the `coding` of another
            folder. Never name one that was made from the answers: it would tell what is to be predicted.

    Raises:
        DataError: what is wrong, with file, row, column and value.
    """
    return read_folder(folder, answers, covariates=covariates).data


def read_folder(
    folder: str | Path, answers: Answers = "auto", *, covariates: Sequence[str] | Coding = ()
) -> Folder:
    """Like `read`, with roles, sessions, folds and attributes."""
    folder = Path(folder)
    if not folder.exists():
        beside = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise DataError(f"{folder} does not exist{nearest(folder.name, beside)}; give a folder of answers.")
    if not folder.is_dir():
        raise DataError(f"{folder} should be a folder with comparisons.csv and items.csv, it is a file.")
    kind, table = _answers(folder, answers)
    meta = read_meta(folder)
    widths = meta.get("widths", FLOAT32)
    options, item_frame, where = read_options(folder, widths.get("rows", "float32"))
    known = find_table(folder, "raters")
    rater_frame = pd.DataFrame() if known is None else attributes(read_table(known), (), "rater_id")
    ids = None if known is None else tuple(rater_frame.index)
    if kind == "votes":
        if options is None:
            names = item_names(table)
            options = Items(torch.zeros(len(names), 0), names)
        outside = len(options)
        parsed = parse_votes(table, add_outside(options), ids, where=where, outside=outside)
        passes = len(table) - len(parsed.rows)
        if passes:
            warnings.warn(
                f"{table.source}: {passes} of {len(table)} votes are passes, left out.", stacklevel=3
            )
        rows = np.arange(len(parsed.data))
    else:
        parsed = parse_comparisons(table, options, ids, where=where, widths=widths)
        rows = _distinct(table, parsed.data)
    kept = parsed.rows[rows]
    if not len(kept):
        raise DataError(f"{table.source} has no answer left after those without content; add answers.")
    data = parsed.data.take(torch.from_numpy(rows)) if len(rows) < len(parsed.data) else parsed.data
    role, order = read_roles(folder, table, parsed.rater)
    pick = lambda value: None if value is None else value[kept]
    role, order, session, fold = map(pick, (role, order, read_session(table), read_fold(folder, table)))
    if role is not None and order is None:
        order = adapt_order(role, data.rater.numpy(), session)
    data = restore(data, meta)
    names = data.options.ids or tuple(str(n) for n in range(len(data.options)))
    assert data.rater_ids is not None
    people = rater_frame.reindex(pd.Index(data.rater_ids, name="rater_id"))
    coding = None
    if isinstance(covariates, Coding):
        coding = covariates
    elif covariates:
        coding = Coding.of(people, covariates)
    if coding is not None:
        data = dataclasses.replace(data, covariates=coding(people))
    return Folder(
        folder.resolve().name,
        data,
        role,
        order,
        session,
        fold,
        item_frame.reindex(pd.Index(names, name="item_id")),
        people,
        table.frame(parsed.left).iloc[kept].reset_index(drop=True),
        coding,
    )


def _answers(folder: Path, answers: str) -> tuple[str, Table]:
    if answers not in ("auto", "comparisons", "votes"):
        raise DataError(f"`answers` must be 'auto', 'comparisons' or 'votes', got {answers!r}.")
    for stem in ("comparisons", "votes"):
        if answers in ("auto", stem) and (path := find_table(folder, stem)) is not None:
            return stem, read_table(path)
    wanted = "comparisons or votes" if answers == "auto" else answers
    held = sorted(path.name for path in folder.iterdir())
    near = nearest("votes" if answers == "votes" else "comparisons", [name.split(".")[0] for name in held])
    raise DataError(
        f"{folder} needs a table of {wanted} ({', '.join(FORMATS)}), it holds {', '.join(held[:10]) or 'nothing'}"
        f"{near}; add or rename the file."
    )


def _distinct(table: Table, data: Comparisons) -> np.ndarray:
    """The rows that do not compare an option with itself, which says nothing about it."""
    slate = data.slate.numpy()
    same = np.zeros(len(slate), bool)
    for one in range(data.places):
        for other in range(one + 1, data.places):
            same |= (slate[:, one] == slate[:, other]) & (slate[:, one] >= 0)
    if same.any():
        row = int(same.argmax())
        warnings.warn(
            f"{table.row(row)}: an option is compared with itself; {int(same.sum())} of {len(same)} such rows "
            "are left out.",
            stacklevel=3,
        )
    return np.flatnonzero(~same)
