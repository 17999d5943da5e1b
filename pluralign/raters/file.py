"""People whose tastes stand in a table: estimated elsewhere, or written by hand."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch

from pluralign.choice import Luce, OutcomeRule
from pluralign.raters.factors import Basis, Factors
from pluralign.raters.numbers import uniform
from pluralign.raters.simulated import FAULTS, SimulatedRaters
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class PeopleFromFile:
    """A row per person: a column per factor with the taste, and where wanted `rater_id`, `group`,
    `rationality`, `bias`, `lapse`, `mistake`, `equal`, `discount`, `skip`, `pace`, `reaction`.

    Attributes:
        path: .csv, .csv.gz or .parquet.
        factors: the taste columns in the order of the factors; by default all other columns.
        worth, rule: see `SimulatedRaters`.
    """

    path: str | Path
    factors: tuple[str, ...] = ()
    worth: Basis = field(default_factory=Factors)
    rule: OutcomeRule = field(default_factory=Luce)

    def draw(self, count: int, seed: Seed) -> SimulatedRaters:
        """`count` different people of the table, in its order; a person keeps the row number as stream.

        Raises:
            ValueError: there are fewer people, a column is missing, or a cell is not a number.
        """
        table = _read(Path(self.path))
        if count > len(table):
            raise ValueError(f"{self.path} has {len(table)} people, fewer than the {count} wanted.")
        other = ("rater_id", "group", *FAULTS)
        factors = self.factors or tuple(str(c) for c in table.columns if c not in other)
        if missing := [c for c in factors if c not in table.columns]:
            raise ValueError(f"{self.path} has no column {missing[0]!r}; it has {list(table.columns)}.")
        if not factors:
            raise ValueError(f"{self.path} has no column for a taste; it has {list(table.columns)}.")
        row = (
            uniform(Streams.of(seed).number("people"), torch.arange(len(table)))
            .argsort()[:count]
            .sort()
            .values
        )
        chosen = table.iloc[row.numpy()]
        given = [c for c in FAULTS if c in table.columns and c not in factors]
        numbers = {c: self._numbers(chosen, c) for c in (*factors, *given)}
        group = None
        if "group" in table.columns:
            codes = pd.factorize(table["group"], sort=True)[0][row.numpy()]
            if codes.min() < 0:
                raise ValueError(f"{self.path}, column 'group': row {int(codes.argmin()) + 1} is empty.")
            group = torch.as_tensor(codes, dtype=torch.long)
        taste = torch.stack([numbers[c] for c in factors], 1)
        faults = {c: numbers[c] for c in given}
        return SimulatedRaters(self.worth, taste, self.rule, group, stream=row, **faults)

    def _numbers(self, chosen: pd.DataFrame, column: str) -> torch.Tensor:
        value = pd.to_numeric(chosen[column], errors="coerce")
        if value.isna().any():
            row = int(value.isna().to_numpy().argmax())
            raise ValueError(
                f"{self.path}, column {column!r}, row {int(chosen.index[row]) + 1}: "
                f"{chosen[column].iloc[row]!r} is not a number."
            )
        return torch.as_tensor(value.to_numpy(dtype="float64", copy=True))


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"no people at {path}; give a .csv, .csv.gz or .parquet file.")
    if path.suffix == ".parquet":
        return pd.read_parquet(path).reset_index(drop=True)
    if path.name.endswith((".csv", ".csv.gz")):
        return pd.read_csv(path)
    raise ValueError(f"{path} must end in .csv, .csv.gz or .parquet.")
