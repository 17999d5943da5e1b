"""Comparisons and the option stores; reading, writing, splitting."""

from pluralign.data.answers import best_of, rankings, ratings, votes
from pluralign.data.comparisons import Comparisons
from pluralign.data.errors import DataError
from pluralign.data.options import Items, Options, Segments, Texts
from pluralign.data.reading import Folder, read, read_folder

__all__ = [
    "Comparisons",
    "DataError",
    "Folder",
    "Items",
    "Options",
    "Segments",
    "Texts",
    "best_of",
    "rankings",
    "ratings",
    "read",
    "read_folder",
    "votes",
]
