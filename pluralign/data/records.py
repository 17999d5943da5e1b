"""Records with a rater: JSON lines, and TRL's preference format (prompt, chosen, rejected)."""

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pluralign.data.comparisons import Comparisons
from pluralign.data.errors import DataError, listed, nearest
from pluralign.data.frames import from_frame
from pluralign.data.options import Texts

_EXTRA = ("context", "weight", "time", "response_time")


def read_jsonl(path: str | Path, *, rater: str = "rater_id", items: Any = None) -> Comparisons:
    """Answers from a file (.jsonl or .jsonl.gz) of one JSON object per line; see `from_records`.

    Raises:
        DataError: a line is no JSON object, or lacks a field; with its number, counted from 1.
    """
    records, numbers = json_lines(path)
    return _parse(records, rater, items, Path(path).name, lambda row: f"line {numbers[row]}")


def json_lines(path: str | Path) -> tuple[list[Any], list[int]]:
    """The values of a file with one JSON value per line, and the number of each line, counted from 1.

    Raises:
        DataError: there is no such file, or a line is no JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is not a file; give a .jsonl or .jsonl.gz with one JSON object per line.")
    records, numbers = [], []
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        records.append(json.loads(line))
                    except json.JSONDecodeError as error:
                        raise DataError(
                            f"{path.name}, line {number}: a JSON object is expected, got {line.strip()[:40]!r} ({error}); "
                            "correct or drop the line."
                        ) from error
                    numbers.append(number)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path.name} cannot be read ({error}); it may be cut short: copy it again."
        ) from error
    return records, numbers


def from_records(
    records: Iterable[Mapping[str, Any]], *, rater: str = "rater_id", items: Any = None
) -> Comparisons:
    """Answers from records with `prompt`, `chosen`, `rejected` and a rater; or with the columns of `from_frame`.

    A completion is a string or a list of messages with `role` and `content`; `prompt` may be left out. The options are
    Texts: prompt and completion, each different text once, with an id that is a hash of it. The option with the
    smaller id comes first, so that a place says nothing about the choice.

    Args:
        records: mappings, or a Hugging Face dataset.
        rater: the field with the rater's name.
        items: the options, for records that name them by item_a and item_b.

    Raises:
        DataError: a record lacks a field or is of another form.
    """
    return _parse(list(records), rater, items, "the records", lambda row: f"record {row} (counted from 0)")


def _parse(records: list, rater: str, items: Any, source: str, number: Any) -> Comparisons:
    if not records:
        raise DataError(f"{source} should hold at least one record, it is empty; add records.")
    for row, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise DataError(
                f"{source}, {number(row)}: an object with named fields is expected, got {type(record).__name__}; "
                "correct it."
            )
    if "item_a" in records[0]:
        return from_frame(
            pd.DataFrame(records), items, columns={rater: "rater_id"} if rater != "rater_id" else None
        )
    for row, record in enumerate(records):
        for name in (rater, "chosen", "rejected"):
            if record.get(name) is None:
                hint = (
                    ' (name the rater\'s field with rater="...")' if name == rater else nearest(name, record)
                )
                raise DataError(
                    f"{source}, {number(row)}: a field {name!r} is expected, it has {listed(record)}{hint}; add it."
                )
    where = lambda row, name: f"{source}, {number(row)}, field {name!r}"
    texts = {
        name: [_text(record.get("prompt"), record[name], lambda row=row, name=name: where(row, name))
               for row, record in enumerate(records)]
        for name in ("chosen", "rejected")
    }  # fmt: skip
    code, held = pd.factorize(np.array(texts["chosen"] + texts["rejected"], dtype=object))
    won, lost = code[: len(records)], code[len(records) :]
    if (won == lost).any():
        row = int((won == lost).argmax())
        raise DataError(f"{where(row, 'rejected')}: is the same text as 'chosen'; drop the record.")
    ids = np.array([hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in held])
    first = np.where(ids[won] < ids[lost], won, lost)
    who, names = pd.factorize(np.array([str(record[rater]) for record in records], dtype=object), sort=True)
    return Comparisons.pairs(
        Texts(tuple(held), None, tuple(ids.tolist())),
        torch.from_numpy(first),
        torch.from_numpy(won + lost - first),
        torch.from_numpy(who),
        torch.from_numpy((first == won).astype(np.float32)),
        rater_ids=tuple(names),
        **_columns(records, where),
    )


def _columns(records: list, where: Any) -> dict[str, torch.Tensor]:
    """The optional columns, where every record has them."""
    found = {}
    for name in _EXTRA:
        if name in records[0]:
            value = [record.get(name) for record in records]
            for row, one in enumerate(value):
                if isinstance(one, bool) or not isinstance(one, int | float) or not np.isfinite(one):
                    raise DataError(
                        f"{where(row, name)}: a finite number is expected, got {one!r}; correct it."
                    )
            found[name] = torch.tensor(value, dtype=torch.float64 if name == "time" else torch.float32)
    return found


def _text(prompt: Any, completion: Any, where: Any) -> str:
    return "\n\n".join(part for part in (_said(prompt, where), _said(completion, where)) if part)


def _said(turn: Any, where: Any) -> str:
    if turn is None:
        return ""
    if isinstance(turn, str):
        return turn
    if isinstance(turn, np.ndarray):  # Hugging Face datasets through pandas
        turn = turn.tolist()
    try:
        return "\n\n".join(f"{message['role']}: {message['content']}" for message in turn)
    except (TypeError, KeyError) as error:
        raise DataError(
            f"{where()}: a string or a list of messages with `role` and `content` is expected, got "
            f"{str(turn)[:60]!r}; convert it."
        ) from error
