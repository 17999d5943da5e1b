"""What is wrong with somebody's data, in one sentence that says where and what to do."""

import difflib
import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class DataError(ValueError):
    """Data that cannot be read, written or split as asked; the message names file, row, column and value."""


def nearest(name: str, names: Iterable[str]) -> str:
    """ " (did you mean 'item_a'?)", or nothing where no name is near."""
    close = difflib.get_close_matches(name, list(itertools.islice(names, 10_000)), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def listed(names: Iterable[str], most: int = 20) -> str:
    """The names, quoted, and how many more there are."""
    every = [repr(name) for name in names]
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def need_tensor(name: str, value: Any, *, floats: bool) -> None:
    """Raise TypeError unless `value` is a tensor of real numbers (whole ones are), or of whole ones."""
    kind, other = ("float()", "real") if floats else ("long()", "whole")
    if not isinstance(value, Tensor):
        raise TypeError(
            f"`{name}` must be a torch tensor, got {type(value).__name__}; give torch.as_tensor({name}).{kind}."
        )
    fits = value.dtype in WHOLE or (floats and value.is_floating_point())
    if not fits:
        raise TypeError(f"`{name}` must hold {other} numbers, got {value.dtype}; give {name}.{kind}.")
