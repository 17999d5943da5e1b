"""Write answers to a folder, whole or not at all."""

import errno
import gzip
import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pluralign.data.comparisons import Comparisons
from pluralign.data.errors import DataError, listed
from pluralign.data.frames import option_ids, plain, to_arrow
from pluralign.data.meta import META, about
from pluralign.data.options import Items, Options, Segments, Texts
from pluralign.data.stores import SEGMENTS, feature_names
from pluralign.data.tables import FORMATS, Table

Form = Literal["parquet", "csv.gz", "csv"]


def write(
    data: Comparisons,
    folder: str | Path,
    *,
    form: Form = "parquet",
    extra: pd.DataFrame | None = None,
    item_attributes: pd.DataFrame | None = None,
    rater_attributes: pd.DataFrame | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a folder from which `read` gets the same answers back.

    The folder appears complete or not at all: it is written beside its place and renamed, and removed when the disk
    is full or the writing is interrupted.

    Args:
        data: the answers.
        folder: a new folder.
        form: of the tables.
        extra: M rows; more columns of the answers (role, adapt_order, session_id, ...).
        item_attributes, rater_attributes: N and R rows; more columns of the options and raters.
        overwrite: replace a folder of answers that exists.

    Returns:
        The folder.

    Raises:
        DataError: the folder exists, cannot be written, or the answers cannot be told in tables.
    """
    folder = Path(folder)
    _check_target(folder, overwrite)
    if not len(data):
        raise DataError("a folder needs at least one answer, these are none; nothing was written.")
    assert data.rater_ids is not None
    tables = {
        "comparisons": _joined(to_arrow(data), extra, "extra"),
        "items": _items(data.options, item_attributes),
        "raters": _joined(
            pa.table({"rater_id": pa.array(data.rater_ids)}), rater_attributes, "rater_attributes"
        ),
    }
    for stem, name, ids in (
        ("items", "item_id", option_ids(data.options)),
        ("raters", "rater_id", data.rater_ids),
    ):
        if "" in ids:
            raise DataError(f"an empty {name} cannot be written to {stem}; give each a name.")
    half = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        half.mkdir()
        for stem, table in tables.items():
            _write_table(table, half / f"{stem}.{form}")
        _write_arrays(data.options, half)
        (half / META).write_text(json.dumps(about(data), indent=1) + "\n", "utf-8")
        _rename(half, folder)
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise DataError(f"{folder} could not be written ({why}); nothing was left behind, free some space or "
                        "name another place.") from error  # fmt: skip
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return folder


def _check_target(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not overwrite:
        raise DataError(
            f"{folder} exists already; name a new folder, or give overwrite=True (--overwrite) to replace it."
        )
    known = {META, *(f"comparisons{end}" for end in FORMATS), *(f"votes{end}" for end in FORMATS)}
    if not folder.is_dir() or (any(folder.iterdir()) and not any((folder / name).exists() for name in known)):
        raise DataError(f"{folder} is no folder of answers, so it is not replaced; name another folder.")


def _rename(half: Path, folder: Path) -> None:
    """Put `half` in the place of `folder`; what was there comes back where that fails."""
    if not folder.exists():
        half.rename(folder)
        return
    old = half.with_suffix(".old")
    folder.rename(old)
    try:
        half.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _items(options: Options, attributes: pd.DataFrame | None) -> pa.Table:
    columns: dict[str, Any] = {"item_id": pa.array(option_ids(options), pa.string())}
    if isinstance(options, Texts):
        columns["text"] = pa.array(options.texts, pa.string())
    elif isinstance(options, Items):
        width = options.features.shape[1] - options.embedding
        names = options.names[:width] if options.names else tuple(f"x{d}" for d in range(width))
        bad = [name for name in names if name == "text" or name.endswith("_id") or names.count(name) > 1]
        if bad:
            raise DataError(
                f"features called {listed(sorted(set(bad)))} would be read back as something else; give each "
                "feature a name of its own, not `text` and not ending in `_id`."
            )
        columns |= {name: pa.array(plain(options.features[:, d])) for d, name in enumerate(names)}
    elif not isinstance(options, Segments):
        raise DataError(f"Items, Texts and Segments can be written, {type(options).__name__} cannot.")
    whole = _joined(pa.table(columns), attributes, "item_attributes")
    if isinstance(options, Items) and attributes is not None:
        added = set(feature_names(Table("item_attributes", whole))) - set(columns)
        if added:
            raise DataError(
                f"`item_attributes` {listed(sorted(added))} are numbers and would be read back as features; "
                "make them texts, or features."
            )
    return whole


def _joined(table: pa.Table, frame: pd.DataFrame | None, what: str) -> pa.Table:
    if frame is None:
        return table
    if len(frame) != table.num_rows:
        raise DataError(f"`{what}` must have {table.num_rows} rows, one for each, got {len(frame)}.")
    twice = set(frame.columns) & set(table.column_names)
    if twice:
        raise DataError(f"`{what}` must bring new columns, {listed(sorted(twice))} exist already; drop them.")
    for name in frame.columns:
        table = table.append_column(str(name), pa.array(frame[name], from_pandas=True))
    return table


def _write_table(table: pa.Table, path: Path) -> None:
    if path.suffix == ".parquet":
        pq.write_table(table, path)
        return
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table[field.name].cast(pa.string()))
    with path.open("wb") as file:
        if path.suffix != ".gz":
            pyarrow.csv.write_csv(table, file)
            return
        # Neither name nor time in the header, so that equal answers are equal files.
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
            pyarrow.csv.write_csv(table, packed)


def _write_arrays(options: Options, folder: Path) -> None:
    save: Callable[[str, np.ndarray], None] = lambda name, value: np.save(folder / name, value)
    if isinstance(options, Texts) and options.embedding is not None:
        save("embeddings.npy", plain(options.embedding))
    elif isinstance(options, Items) and options.embedding:
        save("embeddings.npy", plain(options.features[:, -options.embedding :]))
    elif isinstance(options, Segments):
        known = ("factors", "mask", "observation", "action", "reached")
        arrays = {name: plain(value) for name in known if (value := getattr(options, name)) is not None}
        arrays |= {"dt": np.array(options.dt), "names": np.array(options.names, dtype=str)}
        np.savez(folder / SEGMENTS, **arrays)  # type: ignore[arg-type]
