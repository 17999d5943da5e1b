"""What a table cannot say of the answers in it: their kind, widths of numbers, and names that were never given."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from pluralign.data.comparisons import Comparisons
from pluralign.data.errors import DataError
from pluralign.data.options import Items, Texts

META = "pluralign.json"
FORMAT = 1


def about(data: Comparisons) -> dict[str, Any]:
    """The content of pluralign.json."""
    options = data.options
    columns = ("label", "context", "weight", "time", "response_time")
    widths = {name: _width(value) for name in columns if (value := getattr(data, name)) is not None}
    rows = options.embedding if isinstance(options, Texts) else options.rows
    described = len(options.names) - (options.embedding if isinstance(options, Items) else 0)
    return {
        "format": FORMAT,
        "kind": data.kind,
        "widths": widths | ({} if rows is None else {"rows": _width(rows)}),
        "ids": options.ids is not None,
        "names": bool(options.names),
        "embedding_names": list(options.names[described:])
        if isinstance(options, Items) and options.names
        else [],
    }


def read_meta(folder: Path) -> dict[str, Any]:
    """The content of a folder's pluralign.json, or nothing where there is none.

    Raises:
        DataError: the file is damaged, or a later version's.
    """
    path = folder / META
    if not path.is_file():
        return {}
    try:
        meta = json.loads(path.read_text("utf-8"))
        version = meta["format"]
        for width in meta["widths"].values():
            assert isinstance(getattr(torch, width), torch.dtype)
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, OSError) as error:
        raise DataError(
            f"{path.name} cannot be read ({error}); delete it to read the tables alone."
        ) from error
    if version != FORMAT:
        raise DataError(f"{path.name} must be of format {FORMAT}, got {version!r}; upgrade pluralign.")
    return meta


def restore(data: Comparisons, meta: dict[str, Any]) -> Comparisons:
    """The answers as they were before they were written: kind, and names that were never given."""
    options: Any = data.options
    if not meta.get("ids", True):
        options = dataclasses.replace(options, ids=None)
    if isinstance(options, Items):
        last = meta.get("embedding_names", [])
        if not meta.get("names", True):
            options = dataclasses.replace(options, names=())
        elif last and len(last) == options.embedding:
            first = options.names[: len(options.names) - len(last)]
            options = dataclasses.replace(options, names=(*first, *last))
    return dataclasses.replace(data, options=options, kind=meta.get("kind", data.kind))


def _width(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
