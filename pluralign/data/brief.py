"""Values in a line: what a notebook shows of answers and beliefs that hold thousands of numbers."""

import dataclasses
from typing import Any

import torch

LONG = 6  # entries of a tuple or a mapping that are still written out


def brief(value: Any) -> str:
    """A value as Python would write it, with tensors as their shapes and long collections as their lengths."""
    if isinstance(value, torch.Tensor):
        return f"tensor{list(value.shape)}" if value.dim() else repr(value.item())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        told = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr)
        inside = ", ".join(f"{name}={brief(held)}" for name, held in told if not _left_out(held))
        return f"{type(value).__name__}({inside})"
    if isinstance(value, tuple | list | dict) and len(value) > LONG:
        return f"<{len(value):,} entries>"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {brief(held)}" for key, held in value.items()) + "}"
    if isinstance(value, tuple | list):
        inside = ", ".join(map(brief, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    return repr(value)


def _left_out(value: Any) -> bool:
    return value is None or (isinstance(value, tuple | list | dict) and not value)
