"""Comparisons and the option stores; reading, writing, splitting."""

from pluralign.data.answers import OUTSIDE, add_outside, best_of, rankings, ratings, votes
from pluralign.data.comparisons import Comparisons
from pluralign.data.describe import Description, describe
from pluralign.data.errors import DataError
from pluralign.data.frames import from_frame, to_arrow, to_frame
from pluralign.data.options import Items, Options, Segments, Texts
from pluralign.data.reading import Folder, read, read_folder
from pluralign.data.records import from_records, read_jsonl
from pluralign.data.splits import check_disjoint, split
from pluralign.data.writing import write

__all__ = [
    "OUTSIDE",
    "Comparisons",
    "DataError",
    "Description",
    "Folder",
    "Items",
    "Options",
    "Segments",
    "Texts",
    "add_outside",
    "best_of",
    "check_disjoint",
    "describe",
    "from_frame",
    "from_records",
    "rankings",
    "ratings",
    "read",
    "read_folder",
    "read_jsonl",
    "split",
    "to_arrow",
    "to_frame",
    "votes",
    "write",
]
