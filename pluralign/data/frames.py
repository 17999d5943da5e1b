"""Answers from and to frames: pandas, Arrow, polars, Hugging Face datasets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from pluralign.data.comparisons import Comparisons, Kind
from pluralign.data.errors import DataError
from pluralign.data.options import Items, Options, Segments, Texts
from pluralign.data.parsing import PLACES, parse_comparisons
from pluralign.data.stores import load_array, options_of
from pluralign.data.tables import as_table


def from_frame(
    answers: Any,
    items: Any = None,
    *,
    embedding: Tensor | np.ndarray | str | None = None,
    raters: Any = None,
    columns: Mapping[str, str] | None = None,
    kind: Kind = "choice",
) -> Comparisons:
    """Comparisons from a frame with columns rater_id, item_a, item_b, ..., label (see `read`).

    Args:
        answers: a pandas, pyarrow or polars frame, or a Hugging Face dataset.
        items: the options: a store, or a frame with `item_id` and features or `text`; None knows them by name only.
        embedding: (N, D) one row for each row of `items`, or the name of an .npy file.
        raters: a frame with `rater_id`, or names; None takes the raters that answered.
        columns: what the frame calls things: {"user": "rater_id", "left": "item_a"}.
        kind: what the answers were.

    Raises:
        DataError: what is wrong, with row, column and value; also where an option is compared with itself.
    """
    table = as_table(answers, "the frame of answers")
    if columns:
        table.need(*columns)
        renamed = table.data.rename_columns([columns.get(name, name) for name in table.names])
        table = type(table)(table.source, renamed, table.first, table.counting)
    options: Options | None
    if items is None or isinstance(items, Items | Texts | Segments):
        if embedding is not None:
            raise DataError("`embedding` needs `items` as a frame, whose rows are its rows; give that frame.")
        options = items
    else:
        held = as_table(items, "the frame of items")
        held.need("item_id")
        options = options_of(held, _array(embedding, len(held)))
    ids = _ids(raters)
    data = parse_comparisons(table, options, ids, where="`items`", kind=kind).data
    slate = data.slate.sort(1).values
    same = ((slate[:, 1:] == slate[:, :-1]) & (slate[:, 1:] >= 0)).any(1).numpy()
    table.refuse(same, "item_b", lambda row: "an option is compared with itself; drop the row")
    return data


def to_frame(data: Comparisons) -> pd.DataFrame:
    """One row per answer: rater_id, item_a, item_b, ..., label, and the columns that are known."""
    return to_arrow(data).to_pandas()


def to_arrow(data: Comparisons) -> pa.Table:
    """`to_frame` for Arrow; names are dictionary codes."""
    names = pa.array(option_ids(data.options), pa.string())
    assert data.rater_ids is not None
    columns: dict[str, pa.Array] = {
        "rater_id": _named(data.rater.numpy(), pa.array(data.rater_ids, pa.string()))
    }
    for place, slate in zip(PLACES, data.slate.T.numpy(), strict=False):
        columns[f"item_{place}"] = _named(slate, names)
    columns |= _labels(data)
    if data.context is not None:
        if data.context.dim() == 1:
            columns["context"] = pa.array(plain(data.context))
        else:
            columns |= {f"context_{c}": pa.array(plain(value)) for c, value in enumerate(data.context.T)}
    for name in ("weight", "time", "response_time"):
        if (value := getattr(data, name)) is not None:
            columns[name] = pa.array(plain(value))
    return pa.table(columns)


def option_ids(options: Options) -> tuple[str, ...]:
    """The options' names; their numbers where they have none."""
    return options.ids if options.ids is not None else tuple(str(n) for n in range(len(options)))


def plain(value: Tensor) -> np.ndarray:
    """A tensor for people without torch; bfloat16, which numpy does not know, becomes float32."""
    value = value.detach().cpu()
    return np.ascontiguousarray((value.float() if value.dtype == torch.bfloat16 else value).numpy())


def _named(code: np.ndarray, names: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(code.astype(np.int32), mask=code < 0), names)


def _labels(data: Comparisons) -> dict[str, pa.Array]:
    """`label` as a share (pairs) or a letter where nothing is lost by it, else a share per place."""
    label = plain(data.label)
    if data.places == 2:
        rest = 1 - label[:, 0].astype(np.float64)
        if np.array_equal(rest.astype(label.dtype), label[:, 1]):
            return {"label": pa.array(label[:, 0])}
    elif np.array_equal(label, np.eye(data.places)[label.argmax(1)]):
        letters = pa.array(PLACES[: data.places])
        return {"label": pa.DictionaryArray.from_arrays(pa.array(label.argmax(1), pa.int32()), letters)}
    return {f"label_{place}": pa.array(value) for place, value in zip(PLACES, np.ascontiguousarray(label.T))}


def _array(embedding: Tensor | np.ndarray | str | None, rows: int) -> np.ndarray | None:
    if embedding is None:
        return None
    if isinstance(embedding, str):
        from pathlib import Path

        embedding = load_array(Path(embedding))
    array = plain(embedding) if isinstance(embedding, Tensor) else np.asarray(embedding)
    if array.ndim != 2 or len(array) != rows:
        raise DataError(
            f"`embedding` must be (N, D) with N = {rows}, one row for each row of `items`, got {array.shape}."
        )
    return array


def _ids(raters: Any) -> tuple[str, ...] | None:
    if raters is None:
        return None
    if isinstance(raters, list | tuple):
        return tuple(str(name) for name in raters)
    return tuple(as_table(raters, "the frame of raters").ids("rater_id").to_pylist())
