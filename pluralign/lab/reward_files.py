"""Rewards as files: weights of factors, a fitted belief, a table of people, an array over the states of a finite world."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.population import load
from pluralign.population.voices import Voices
from pluralign.rewards import known_voices
from pluralign.saving import read
from pluralign.utility.judged import JudgedWorth


@dataclass(frozen=True)
class Reward:
    """One reward with a name: a voice over the factors of a world, or a table (S, A) or (S, A, S).

    Attributes:
        weight: share of people behind it, or NaN where nobody counted.
    """

    name: str
    value: Voices | Tensor
    weight: float = float("nan")

    def steps(self, factors: Float[Tensor, "*b F"]) -> Float[Tensor, "*b"]:
        """Utils per step of these factors."""
        if isinstance(self.value, Tensor):
            raise ValueError(
                f"{self.name} is a table, which says nothing of factors; give weights or a belief."
            )
        return self.value.reward(factors)[..., 0].double()


def read_rewards(path: str | Path, factors: Sequence[str]) -> list[Reward]:
    """All rewards in a file or folder.

    Args:
        path: a folder that `Belief.save` or `pluralign fit` wrote; a .json of weights over factors, of one reward
            {"red": 1, "effort": -0.02} or of several by name; a .csv with a row per person, names in the first column and
            factors as columns; a .npy table (S, A), (S, A, S), or several of them.
        factors: names that the world publishes.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it is none of these, or names factors that the world does not have.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; give a belief's folder, a .json of weights, a .csv of people or a .npy table."
        )
    if path.is_dir():
        return _voices(path)
    kinds = {".json": _weights, ".csv": _people, ".npy": _tables}
    if path.suffix not in kinds:
        raise ValueError(f"{path} is no reward: it must be a folder or end in {', '.join(kinds)}.")
    return kinds[path.suffix](path, tuple(factors))


def _voices(folder: Path) -> list[Reward]:
    for home in (folder, folder / "model"):
        if (home / "belief.json").is_file():
            voices = load(home).voices()
            break
    else:
        if not (folder / "voices.json").is_file():
            raise ValueError(
                f"{folder} holds no rewards; give a folder that `Belief.save` or `pluralign fit` wrote."
            )
        voices = read(folder, "voices", "save")
    if isinstance(voices.worth, JudgedWorth) and len(voices.worth.reward) == 1:
        # Camps that judge by different rules want one and the same.
        voices = Voices(voices.worth, voices.z[:1], torch.ones(1, dtype=voices.weight.dtype))
    names = [folder.name] if len(voices) == 1 else [f"{folder.name} {name}" for name in voices.names]
    one = torch.ones(1, dtype=voices.weight.dtype)
    return [
        Reward(name, Voices(voices.worth, voices.z[g : g + 1], one), float(voices.weight[g]))
        for g, name in enumerate(names)
    ]


def _weights(path: Path, factors: tuple[str, ...]) -> list[Reward]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as problem:
        raise ValueError(f"{path} is no JSON ({problem}); write {{'factor': weight}} there.") from None
    if not isinstance(found, dict) or not found:
        raise ValueError(
            f'{path} must hold weights by factor, {{"red": 1}}, or several such rewards by name.'
        )
    several = found if all(isinstance(v, dict) for v in found.values()) else {path.stem: found}
    return [_weighted(str(path), name, row, factors) for name, row in several.items()]


def _people(path: Path, factors: tuple[str, ...]) -> list[Reward]:
    import pandas as pd

    table = pd.read_csv(path, index_col=0)
    here = [c for c in table.columns if c in factors]
    if not here:
        raise ValueError(
            f"{path} has no column that the world publishes; its factors are {', '.join(factors)}."
        )
    return [_weighted(str(path), str(who), row, factors) for who, row in table[here].to_dict("index").items()]


def _weighted(path: str, name: str, row: dict[Any, Any], factors: tuple[str, ...]) -> Reward:
    odd = [k for k in row if k not in factors]
    if odd:
        raise ValueError(
            f"{path}: {name} weighs {odd[0]!r}, which the world does not publish; its factors are "
            f"{', '.join(factors) or 'unknown'}."
        )
    for factor, weight in row.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not np.isfinite(weight):
            raise ValueError(f"{path}: {name} must weigh {factor!r} with a number, got {weight!r}.")
    return Reward(name, known_voices([[float(row.get(factor, 0.0)) for factor in factors]]))


def _tables(path: Path, factors: tuple[str, ...]) -> list[Reward]:
    del factors
    try:
        found = torch.as_tensor(np.load(path, allow_pickle=False), dtype=torch.float64)
    except (ValueError, TypeError) as problem:
        raise ValueError(f"{path} is no table of numbers ({problem}); write it with numpy.save.") from None
    # Two axes: states and actions; three that begin and end alike: next states too; one more: several of them.
    if found.dim() == 2 or (found.dim() == 3 and found.shape[0] == found.shape[2]):
        return [Reward(path.stem, found)]
    if found.dim() not in (3, 4):
        raise ValueError(
            f"{path} must be (S, A), (S, A, S), or several of them; its shape is {tuple(found.shape)}."
        )
    return [Reward(f"{path.stem} {g}", one) for g, one in enumerate(found)]
