"""The option store of a folder or a frame: items, texts or segments, and what else is known of them."""

import re
import warnings
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.lib.npyio import NpzFile

from pluralign.data.errors import DataError, listed, nearest
from pluralign.data.options import Items, Options, Segments, Texts
from pluralign.data.tables import Table, find_table, is_numeric, read_table

SEGMENTS = "segments.npz"


def read_options(folder: Path, width: str = "float32") -> tuple[Options | None, pd.DataFrame, str]:
    """The store of a folder, the columns that are no features, and the name of the file with the ids.

    None where the folder has no table of items and no segments: options are then known by name only. `width` is the
    number format of the features.
    """
    path = find_table(folder, "items")
    if path is None:
        near = nearest("items", [p.name.split(".")[0] for p in folder.iterdir() if p.is_file()])
        if near and not (folder / SEGMENTS).is_file():
            raise DataError(f"{folder} should hold items.csv or items.parquet{near}; rename the file.")
    table = None if path is None else read_table(path)
    if (folder / SEGMENTS).is_file():
        options: Options = _read_segments(folder / SEGMENTS, table)
        return options, attributes(table, ()), SEGMENTS
    tracks = find_table(folder, "trajectories")
    if table is None:
        if tracks is not None:
            return _trajectories(read_table(tracks), None), pd.DataFrame(), tracks.name
        if (folder / "embeddings.npy").is_file():
            raise DataError(
                f"{folder} has embeddings.npy and no items.csv; add one with an `item_id` per row."
            )
        return None, pd.DataFrame(), "items"
    table.need("item_id")
    embedding = _embedding(folder, len(table), table.source)
    plain = "text" not in table.names and not feature_names(table) and embedding is None
    if plain and tracks is not None:
        ids = tuple(table.ids("item_id").to_pylist())
        return _trajectories(read_table(tracks), ids), attributes(table, ()), table.source
    options = options_of(table, embedding, width)
    used = ("text",) if isinstance(options, Texts) else feature_names(table)
    return options, attributes(table, used), table.source


def options_of(table: Table, embedding: np.ndarray | None = None, width: str = "float32") -> Items | Texts:
    """Texts where the table has a `text` column; else Items, whose features are the numeric columns."""
    ids = tuple(table.ids("item_id").to_pylist())
    number = getattr(torch, width)
    wide = None if embedding is None else torch.from_numpy(np.ascontiguousarray(embedding)).to(number)
    if "text" in table.names:
        texts = table.texts("text")
        table.refuse(
            texts.is_null().to_numpy(zero_copy_only=False), "text", lambda row: "a text is expected, got none"
        )
        return Texts(tuple(texts.to_pylist()), wide, ids)
    names = feature_names(table)
    _tell_words(table)
    columns = [_narrowed(table, name, number) for name in names]
    features = torch.stack(columns, 1) if columns else torch.zeros(len(table), 0, dtype=number)
    if wide is None:
        return Items(features, ids, names)
    names = (*names, *(f"e{d}" for d in range(wide.shape[1])))
    return Items(torch.cat([features, wide], 1), ids, names, embedding=wide.shape[1])


def feature_names(table: Table) -> tuple[str, ...]:
    """The numeric columns; a column of numbers with a few words in it is refused, not left out."""
    if "text" in table.names:
        return ()
    names = []
    for name in table.names:
        if name == "item_id" or name.endswith("_id"):
            continue
        if is_numeric(table.data[name].type):
            names.append(name)
        elif pa.types.is_string(table.data[name].type):
            text = table.texts(name).to_pandas()
            value = pd.to_numeric(text, errors="coerce")
            wrong = (value.isna() & text.notna() & (text != "")).to_numpy()
            if value.notna().sum() > wrong.sum():
                table.numbers(name)
        elif pa.types.is_null(table.data[name].type):
            raise DataError(f"{table.source}, column {name!r}: is empty throughout; fill or drop it.")
    return tuple(names)


_WRITTEN = re.compile(r"[€$£]?\s*[-+]?\d[\d.,' ]*\s*[%€$£]?")  # a number as people write it
_LEVELS = 12


def _narrowed(table: Table, name: str, number: torch.dtype) -> torch.Tensor:
    """A column in the store's number format; what does not fit into it is refused."""
    value = table.numbers(name)
    found = torch.from_numpy(value).to(number)
    table.refuse(
        ~torch.isfinite(found).numpy(),
        name,
        lambda row: (
            f"a number up to {torch.finfo(number).max:.1e} is expected, got {value[row]:g}; use larger units"
        ),
    )
    return found


def _tell_words(table: Table) -> None:
    """Refuse columns of numbers that only people can read, and say which columns of kinds are no features."""
    kinds = []
    for name in table.names:
        if name.endswith("_id") or not pa.types.is_string(table.data[name].type):
            continue
        text = table.texts(name).fill_null("").to_pandas()
        given = text[text != ""].str.strip()
        if len(given) and given.str.fullmatch(_WRITTEN).all():
            row = int((text != "").to_numpy().argmax())
            raise DataError(
                f"{table.cell(row, name)}: a number is expected as 1200.5, without unit or mark for thousands, got "
                f"{text[row]!r}; write the column so, or call it {name + '_id'!r} if it is a name."
            )
        if 1 < given.nunique() <= min(_LEVELS, len(given) // 2):
            kinds.append(name)
    if kinds:
        warnings.warn(
            f"{table.source}: {listed(kinds, 5)} {'is' if len(kinds) == 1 else 'are'} kept, and no model sees words: "
            "give each kind a column of 0 and 1 to make it a feature.",
            stacklevel=4,
        )


def attributes(table: Table | None, used: tuple[str, ...], key: str = "item_id") -> pd.DataFrame:
    """The columns that are no features, with the ids as the index."""
    if table is None:
        return pd.DataFrame()
    frame = table.frame(name for name in table.names if name not in used and name != key)
    return frame.set_axis(pd.Index(table.ids(key).to_pylist(), name=key))


def load_array(path: Path) -> np.ndarray:
    """An .npy file; never a pickle."""
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(
            f"{path.name} cannot be read as an array ({_unpickled(error)}); save it again with "
            "numpy.save, as numbers."
        ) from error


def _unpickled(error: Exception) -> str:
    """What numpy says, but for its advice to trust the file."""
    told = str(error).rstrip(".")
    return "it is no .npy file, or holds Python objects" if "allow_pickle" in told else told


def _embedding(folder: Path, rows: int, source: str) -> np.ndarray | None:
    """`embeddings.npy`, or the one other array whose rows are the items."""
    named = folder / "embeddings.npy"
    if named.is_file():
        return _fitting(named, rows, source)
    arrays = sorted(path for path in folder.glob("*.npy") if not path.name.startswith("truth"))
    shapes = {path: np.load(path, mmap_mode="r").shape for path in arrays if _is_table(path)}
    found = [path for path, shape in shapes.items() if shape[0] == rows]
    if len(found) > 1:
        names = listed(path.name for path in found)
        raise DataError(f"{folder} should hold one embedding, {names} fit; rename one to embeddings.npy.")
    near = found or [path for path in shapes if path.name.endswith(".float16.npy")]
    return _fitting(near[0], rows, source) if near else None


def _is_table(path: Path) -> bool:
    array = load_array(path)
    return array.ndim == 2 and array.dtype.kind in "fiu"


def _fitting(path: Path, rows: int, source: str) -> np.ndarray:
    array = load_array(path)
    array = array.astype(np.float32 if array.dtype.kind != "f" else array.dtype.newbyteorder("="), copy=False)
    if array.ndim != 2 or len(array) != rows:
        raise DataError(
            f"{path.name} must be two-dimensional with one row for each of the {rows} rows of {source}, got "
            f"shape {array.shape}; encode the items again, in their order."
        )
    bad = ~np.isfinite(array)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{path.name}, row {row} (counted from 0), column {column}: a finite number is expected, got "
            f"{array[row, column]} ({int(bad.sum())} such numbers); encode the item again."
        )
    return array


def _trajectories(table: Table, ids: tuple[str, ...] | None) -> Segments:
    """One row per item and step: the steps of an item become the rows of a segment, in order of `t`."""
    table.need("item_id", "t")
    code, texts = table.codes("item_id")
    table.refuse(code < 0, "item_id", lambda row: "an id is expected, got an empty field; name the item")
    names = tuple(
        name for name in table.names if name not in ("item_id", "t") and is_numeric(table.data[name].type)
    )
    if not names:
        raise DataError(f"{table.source} needs a column of numbers beside item_id and t; add what was seen.")
    ids = tuple(texts.to_pylist()) if ids is None else ids
    place = match(texts, pa.array(ids, pa.string()))[code]
    table.refuse(place < 0, "item_id", lambda row: f"{texts[code[row]].as_py()!r} is not an item; add it")
    time = table.numbers("t")
    order = np.lexsort((time, place))
    place, time = place[order], time[order]
    steps = np.bincount(place, minlength=len(ids))
    if (steps == 0).any():
        gap = ids[int((steps == 0).argmax())]
        raise DataError(f"{table.source} has no step of item {gap!r}; add its steps or drop the item.")
    step = np.arange(len(place)) - np.repeat(np.cumsum(steps) - steps, steps)
    gaps = np.diff(time)[step[1:] > 0]
    dt = round(float(np.median(gaps)), 9) if len(gaps) else 1.0
    if dt <= 0 or (np.abs(gaps - dt) > 0.01 * dt).any():
        raise DataError(
            f"{table.source}, column 't': steps must be evenly spaced, they are {gaps.min():g} to "
            f"{gaps.max():g} apart; resample the trajectories."
        )
    factors = np.zeros((len(ids), int(steps.max()), len(names)), np.float32)
    for column, name in enumerate(names):
        factors[place, step, column] = table.numbers(name)[order]
    mask = np.arange(factors.shape[1]) < steps[:, None]
    return Segments(torch.from_numpy(factors), torch.from_numpy(mask), dt, ids=ids, names=names)


def match(values: pa.Array, known: pa.Array) -> np.ndarray:
    """(V,) the place of each value among `known`, -1 where it is not there."""
    return (
        pc.fill_null(pc.index_in(values, value_set=known), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    )


def _read_segments(path: Path, table: Table | None) -> Segments:
    ids = None if table is None else tuple(table.ids("item_id").to_pylist())
    try:
        archive = np.load(path, allow_pickle=False)
        assert isinstance(archive, NpzFile)
        with archive:
            held = {name: archive[name] for name in archive.files}
        tensor = lambda name: torch.from_numpy(held[name]) if name in held else None
        factors = tensor("factors")
        if factors is None:
            raise KeyError("factors")
        return Segments(
            factors,
            tensor("mask"),
            float(held["dt"]),
            tensor("observation"),
            tensor("action"),
            ids,
            tuple(str(name) for name in held["names"]),
            tensor("reached"),
        )
    except (ValueError, OSError, EOFError, KeyError, AssertionError, BadZipFile) as error:
        raise DataError(
            f"{path.name} cannot be read as segments ({str(error).rstrip('.')}); write the folder again."
        ) from error
