"""What a table cannot say of the answers in it: their kind, widths of numbers, and names that were never given."""

import dataclasses
from typing import Any

import torch

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Items, Options, Segments, Texts

META = "pluralign.json"
FORMAT = 1


def about(data: Comparisons) -> dict[str, Any]:
    """The content of pluralign.json."""
    columns = ("label", "context", "weight", "time", "response_time")
    widths = {name: _width(getattr(data, name)) for name in columns if getattr(data, name) is not None}
    return {
        "format": FORMAT,
        "kind": data.kind,
        "width": {**widths, "rows": _width(_numbers(data.options))},
        "named": {"ids": data.options.ids is not None, "names": bool(data.options.names)},
        "context": 0 if data.context is None or data.context.dim() == 1 else data.context.shape[1],
    }


def restore(data: Comparisons, meta: dict[str, Any]) -> Comparisons:
    """The answers as they were before they were written."""
    width = meta.get("width", {})
    wide = {
        name: getattr(data, name).to(getattr(torch, kind))
        for name, kind in width.items()
        if name != "rows" and getattr(data, name) is not None
    }
    options = _to(data.options, getattr(torch, width["rows"])) if "rows" in width else data.options
    named = meta.get("named", {})
    if not named.get("ids", True):
        options = dataclasses.replace(options, ids=None)  # type: ignore[type-var]
    if not named.get("names", True) and isinstance(options, Items):
        options = dataclasses.replace(options, names=())
    return dataclasses.replace(data, options=options, kind=meta.get("kind", data.kind), **wide)


def _width(value: torch.Tensor | None) -> str:
    return "float32" if value is None else str(value.dtype).removeprefix("torch.")


def _numbers(options: Options) -> torch.Tensor | None:
    return options.embedding if isinstance(options, Texts) else options.rows


def _to(options: Options, width: torch.dtype) -> Options:
    if isinstance(options, Items):
        return dataclasses.replace(options, features=options.features.to(width))
    if isinstance(options, Texts) and options.embedding is not None:
        return dataclasses.replace(options, embedding=options.embedding.to(width))
    if isinstance(options, Segments):
        return dataclasses.replace(options, factors=options.factors.to(width))
    return options
