"""What is known of raters beside their answers, as numbers: country, age, profession."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.errors import DataError, listed, nearest

LEVELS = 12  # words that one covariate may take; more would name people rather than groups


@dataclass(frozen=True)
class Covariate:
    """One column of raters.csv as numbers of mean 0 and spread 1 among the raters it was made from.

    Attributes:
        name: of the column.
        levels: its words but the commonest, each a column of its own; empty for a number.
        centre, scale: one for each column; a number x becomes (x - centre) / scale.
    """

    name: str
    levels: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """ "age", or "country=cn" for every level."""
        return tuple(f"{self.name}={level}" for level in self.levels) or (self.name,)

    def numbers(self, values: pd.Series) -> Float[Tensor, "R C"]:
        """A rater of whom nothing is said is average; a word never met is like the commonest."""
        empty = _empty(values)
        if self.levels:
            words = values.astype(str).to_numpy()
            columns = [(words == level).astype(float) for level in self.levels]
        else:
            columns = [_figures(self.name, values)]
        table = (np.stack(columns, 1) - self.centre) / self.scale
        return torch.from_numpy(np.where(empty[:, None], 0.0, table))


@dataclass(frozen=True)
class Coding:
    """How columns of raters.csv become the covariates of raters; another folder is coded as the first was."""

    columns: tuple[Covariate, ...]

    @staticmethod
    def of(people: pd.DataFrame, names: Sequence[str]) -> "Coding":
        """The coding of the columns `names` of a table of raters.

        Raises:
            DataError: a column is missing, is the same for everybody, or has more than 12 different words.
        """
        if not names:
            raise DataError("covariates: at least one column of raters.csv is expected, got none.")
        repeated = [name for k, name in enumerate(names) if name in names[:k]]
        if repeated:
            raise DataError(f"covariates: {repeated[0]!r} is named twice; name each column once.")
        return Coding(tuple(_coded(people, name) for name in names))

    @staticmethod
    def from_tree(columns: Sequence[Mapping[str, Any]]) -> "Coding":
        """The coding that `tree` wrote."""
        numbers = lambda one: (tuple(one["levels"]), tuple(one["centre"]), tuple(one["scale"]))
        return Coding(tuple(Covariate(one["name"], *numbers(one)) for one in columns))

    def tree(self) -> list[dict[str, Any]]:
        """What JSON can say of it."""
        return [dataclasses.asdict(column) for column in self.columns]

    @property
    def names(self) -> tuple[str, ...]:
        """C names."""
        return tuple(name for column in self.columns for name in column.names)

    def __call__(self, people: pd.DataFrame) -> Float[Tensor, "R C"]:
        """The covariates of a table of raters.

        Raises:
            DataError: a column is missing, or a number is none.
        """
        return torch.cat([column.numbers(_column(people, column.name)) for column in self.columns], 1)


def _column(people: pd.DataFrame, name: str) -> pd.Series:
    if name not in people.columns:
        there = [str(column) for column in people.columns]
        found = f"it has {listed(there)}" if there else "there is none"
        raise DataError(
            f"covariates: raters.csv needs a column {name!r}, {found}{nearest(name, there)}; "
            "name columns that are there."
        )
    return people[name]


def _coded(people: pd.DataFrame, name: str) -> Covariate:
    values = _column(people, name)
    empty = _empty(values)
    if bool(empty.all()):
        raise DataError(f"covariates: column {name!r} of raters.csv is empty; leave it out.")
    if bool(empty.any()):
        warnings.warn(
            f"covariates: {int(empty.sum())} of {len(empty)} raters have nothing in column {name!r} of raters.csv, first "
            f"{str(values.index[int(empty.argmax())])!r}; they are taken for average.",
            stacklevel=2,
        )
    said = values[~empty]
    if pd.to_numeric(said, errors="coerce").notna().mean() > 0.5:
        figures = _figures(name, values)[~empty]
        levels: tuple[str, ...] = ()
        columns = figures[:, None]
    else:
        shares = said.astype(str).value_counts()
        if len(shares) > LEVELS + 1:
            raise DataError(
                f"covariates: column {name!r} of raters.csv has {len(shares)} different words, first {shares.index[0]!r}; "
                f"join them to at most {LEVELS + 1} groups."
            )
        levels = tuple(sorted(str(level) for level in shares.index[1:]))
        columns = (
            np.stack([(said.astype(str) == level).to_numpy(float) for level in levels], 1) if levels else None
        )
    spread = None if columns is None else columns.std(0)
    if spread is None or not bool((spread > 0).all()):
        raise DataError(f"covariates: column {name!r} of raters.csv is the same for everybody; leave it out.")
    return Covariate(name, levels, tuple(columns.mean(0).tolist()), tuple(spread.tolist()))


def _empty(values: pd.Series) -> np.ndarray:
    return (values.isna() | (values.astype(str).str.strip() == "")).to_numpy()


def _figures(name: str, values: pd.Series) -> np.ndarray:
    """(R,) numbers, NaN where nothing is said."""
    found = pd.to_numeric(values, errors="coerce").to_numpy(float)
    bad = (~np.isfinite(found)) & ~_empty(values)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"covariates: column {name!r} of raters.csv must hold numbers, rater {values.index[row]!r} has "
            f"{values.iloc[row]!r}; correct it or leave it empty."
        )
    return found
