"""Comparisons and the option stores; reading, writing, splitting."""

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Items, Options, Segments, Texts

__all__ = ["Comparisons", "Items", "Options", "Segments", "Texts"]
