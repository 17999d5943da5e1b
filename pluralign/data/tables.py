"""Tables from files or memory, which know where in them something is wrong."""

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from pluralign.data.errors import DataError, listed, nearest

FORMATS = (".parquet", ".csv.gz", ".csv")
_REPEATED = re.compile(r"rater_id|item_id|item_[a-z]")  # few values, many rows: read as dictionary codes
_MANY = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class Table:
    """Columns, and how to name one of their cells.

    Attributes:
        source: the file's name.
        data: the columns.
        first: the number of the first record as a person would count it.
        counting: how that person counts.
    """

    source: str
    data: pa.Table
    first: int = 0
    counting: str = "counted from 0"

    def __len__(self) -> int:
        return self.data.num_rows

    @property
    def names(self) -> list[str]:
        return self.data.column_names

    def row(self, row: int) -> str:
        """ "comparisons.csv.gz, row 17 (the header is row 1)"."""
        return f"{self.source}, row {int(row) + self.first} ({self.counting})"

    def cell(self, row: int, column: str) -> str:
        return f"{self.row(row)}, column {column!r}"

    def need(self, *columns: str) -> None:
        """Raise where one of `columns` is missing, with the names that exist."""
        for column in columns:
            if column not in self.names:
                hint = nearest(column, self.names)
                if len(self.names) == 1 and (mark := re.search(r"[;\t|]", self.names[0])):
                    hint = f" (its fields seem to be separated by {mark.group()!r}; save it with commas)"
                raise DataError(
                    f"{self.source} needs a column {column!r}, it has {listed(self.names)}{hint}; "
                    "rename or add the column."
                )

    def column(self, name: str) -> pa.Array:
        """One column in one piece."""
        self.need(name)
        whole = self.data[name].unify_dictionaries().combine_chunks()
        return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole

    def codes(self, name: str) -> tuple[np.ndarray, pa.Array]:
        """(M,) places in the distinct texts of a column, -1 where it is empty; and those texts."""
        column = self.column(name)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        texts = column.dictionary.cast(pa.string())
        code = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        empty = pc.fill_null(pc.equal(texts, ""), True).to_numpy(zero_copy_only=False)
        if empty.any():
            code = np.where((code >= 0) & empty[code], -1, code)
        return code, texts

    def texts(self, name: str) -> pa.Array:
        """A column as texts."""
        column = self.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        return column.cast(pa.string())

    def ids(self, name: str) -> pa.Array:
        """A column of names that must all be given, each once."""
        texts = self.texts(name)
        empty = pc.fill_null(pc.equal(texts, ""), True)
        if pc.any(empty).as_py():
            raise DataError(
                f"{self.cell(pc.index(empty, True).as_py(), name)}: an id is expected, got an empty field; "
                "give every row a name."
            )
        if pc.count_distinct(texts).as_py() < len(texts):
            twice = pd.Series(texts.to_numpy(zero_copy_only=False)).duplicated().to_numpy()
            row = int(twice.argmax())
            raise DataError(
                f"{self.cell(row, name)}: every id must come once, {texts[row].as_py()!r} came before "
                f"({int(twice.sum())} rows repeat an id); keep one row for each."
            )
        return texts

    def numbers(self, name: str, *, missing: float | int | None = None) -> np.ndarray:
        """(M,) a column as float64; an empty field is an error, or `missing` where that is given."""
        column = self.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("us")).cast(pa.int64())
            value = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) / 1e6
        elif is_numeric(column.type):
            if pa.types.is_boolean(column.type):
                column = column.cast(pa.int8())
            value = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        else:
            text = pd.Series(column.cast(pa.string()).to_numpy(zero_copy_only=False), dtype=object)
            value = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64)
            wrong = np.isnan(value) & ~text.isin(["", "nan", "NaN", None]).to_numpy()
            self.refuse(wrong, name, lambda row: f"a number is expected, got {text[row]!r}; correct it")
        gap = np.isnan(value)
        if missing is None:
            self.refuse(gap, name, lambda row: "a number is expected, got an empty field or NaN; fill it")
            self.refuse(
                np.isinf(value),
                name,
                lambda row: f"a finite number is expected, got {value[row]}; correct it",
            )
            return np.require(value, requirements="W")  # torch wants to own its numbers
        return np.where(gap, missing, value)

    def refuse(self, wrong: np.ndarray, column: str, why: Callable[[int], str]) -> None:
        """Raise for the first row where `wrong` is true."""
        if wrong.any():
            row, count = int(wrong.argmax()), int(wrong.sum())
            more = f" ({count} such rows)" if count > 1 else ""
            raise DataError(f"{self.cell(row, column)}: {why(row)}{more}.")

    def frame(self, names: Iterable[str]) -> pd.DataFrame:
        """Some columns for people who want pandas."""
        return self.data.select(list(names)).to_pandas()


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers (truth values count)."""
    types = pa.types
    return (
        types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)
    )


def find_table(folder: Path, stem: str) -> Path | None:
    """The one file `stem`.parquet, .csv.gz or .csv of a folder, or None."""
    found = [path for end in FORMATS if (path := folder / f"{stem}{end}").is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DataError(f"{folder} should hold one table of {stem}, it has {names}; keep one.")
    return found[0] if found else None


def read_table(path: Path) -> Table:
    """Read a .parquet, .csv.gz or .csv file.

    Raises:
        DataError: the file is empty, broken or not a table.
    """
    try:
        if path.suffix == ".parquet":
            # Not pq.read_table, which takes a folder called `a=b` for a column.
            data, first, counting = pq.ParquetFile(path).read(), 1, "the first record is row 1"
            data = data.select([c for c in data.column_names if not c.startswith("__index_level_")])
        else:
            data, first, counting = _read_csv(path), 2, "the header is row 1"
    except PermissionError:
        raise  # nothing is wrong with the table
    except (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path.name} cannot be read as {path.suffix.lstrip('.')} ({str(error).strip().rstrip('.')}); "
            f"it may be cut short or damaged, or not be UTF-8: copy or export it again to {path}."
        ) from error
    if not data.num_rows:
        raise DataError(f"{path.name} should have at least one record, it has columns only; add records.")
    return Table(path.name, data, first, counting)


def _read_csv(path: Path) -> pa.Table:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
    if not header:
        raise DataError(
            f"{path.name} should start with a line of column names, it is empty; export it again."
        )
    for name in header:
        if header.count(name) > 1:
            raise DataError(f"{path.name} should name each column once, {name!r} comes twice; rename one.")
    kinds = {
        name: _MANY if _REPEATED.fullmatch(name) else pa.string()
        for name in header
        if name.endswith("_id") or name == "text" or _REPEATED.fullmatch(name)
    }
    try:
        return pyarrow.csv.read_csv(
            path,
            # A block holds a whole record, however long its text.
            read_options=pyarrow.csv.ReadOptions(block_size=1 << 24),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values="text" in header),
            convert_options=pyarrow.csv.ConvertOptions(column_types=kinds),
        )
    except pa.ArrowInvalid as error:
        _refuse_ragged(path, len(header))
        raise error


def _refuse_ragged(path: Path, wide: int) -> None:
    """Raise for the first record with more or fewer fields than the header."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        before = 0
        for record in lines:
            if len(record) not in (0, wide):
                if any("\n" in field for field in record):
                    hint = "close the quotation mark that is left open"
                else:
                    hint = "add what is missing" if len(record) < wide else "quote a text that has a comma"
                raise DataError(
                    f"{path.name}, row {before + 1} (the header is row 1): {wide} fields are expected, as in the "
                    f"header, got {len(record)}; {hint}, or correct the row."
                )
            before = lines.line_num


def as_table(frame: Any, source: str = "the frame") -> Table:
    """A table out of a pandas, pyarrow or polars frame, or a Hugging Face dataset."""
    if isinstance(frame, Table):
        return frame
    if isinstance(frame, pa.Table):
        data = frame
    elif isinstance(frame, pd.DataFrame):
        data = _from_pandas(frame, source)
    elif hasattr(frame, "to_pandas"):
        data = _from_pandas(frame.to_pandas(), source)
    elif hasattr(frame, "__arrow_c_stream__"):
        data = pa.table(frame)
    else:
        raise DataError(
            f"{source} should be a pandas or Arrow frame, or have `to_pandas`, got {type(frame).__name__}; "
            "build pandas.DataFrame from it first."
        )
    if not data.num_rows:
        raise DataError(f"{source} should have at least one record, it has none; add records.")
    return Table(source, data)


def _from_pandas(frame: pd.DataFrame, source: str) -> pa.Table:
    frame = frame.rename(columns=str)
    if not frame.columns.is_unique:
        name = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{source} should name each column once, {name!r} comes twice; rename one.")
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            f"{source} should have one type in each column ({str(error).splitlines()[0]}); "
            "convert the column with .astype first."
        ) from error
