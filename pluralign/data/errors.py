"""What is wrong with somebody's data, in one sentence that says where and what to do."""

import difflib
import itertools
from collections.abc import Iterable


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
