"""Tastes as tables: what is known of each rater, with intervals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from pluralign.data import Comparisons
from pluralign.lab.run import write_text
from pluralign.population import Belief, Draws
from pluralign.utility.judged import JudgedWorth
from pluralign.utility.like_raters import LikeRaters
from pluralign.utility.linear import LinearWorth


def tastes(
    belief: Belief, draws: Draws, data: Comparisons, features: list[str], level: float = 0.95
) -> pd.DataFrame:
    """Draws as a table; see `adapt_run`."""
    assert data.rater_ids is not None
    names = taste_names(belief, features)
    low, high = draws.interval(level)
    parts = [_long(data, "taste", names, draws.mean, low, high)]
    if draws.shared and len(draws.z) > 1:
        chance = draws.weight.T
        camps = [f"camp {g + 1}" for g in range(len(draws.z))]
        parts.append(_long(data, "camp", camps, chance, chance, chance))
    return pd.concat(parts, ignore_index=True).sort_values("rater_id", kind="stable", ignore_index=True)


def _long(
    data: Comparisons, kind: str, names: list[str], mean: Tensor, low: Tensor, high: Tensor
) -> pd.DataFrame:
    raters, width = mean.shape
    return pd.DataFrame(
        {
            "rater_id": np.repeat(np.array(data.rater_ids, dtype=object), width),
            "answers": np.repeat(data.counts.numpy(), width),
            "kind": kind,
            "name": np.tile(np.array(names, dtype=object), raters),
            "mean": mean.reshape(-1).numpy(),
            "low": low.reshape(-1).numpy(),
            "high": high.reshape(-1).numpy(),
        }
    )


def taste_names(belief: Belief, features: list[str]) -> list[str]:
    """What the Z numbers of a taste are weights of."""
    worth: Any = belief.worth
    if isinstance(worth, LikeRaters):
        worth = worth.inner
        plain = [features[q] if q < len(features) else f"direction {q + 1}" for q in range(worth.width - 1)]
        features = [*plain, "what people like the rater add"]
    if isinstance(worth, LinearWorth) and worth.matrix is None:
        names = features if len(features) == len(worth.scale) else [f"x{d}" for d in range(len(worth.scale))]
        lifted = [f"square {q + 1}" for q in range(worth.described - len(names))]
        return [*names, *lifted, *(worth.vocabulary or ())]
    if isinstance(worth, JudgedWorth):
        return [f"way {q + 1}: {name}" for q, name in enumerate(worth.names)]
    return [f"direction {q + 1}" for q in range(worth.width)]


def write_tastes(found: pd.DataFrame, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write what `adapt_run` found to a .csv or .json, whole or not at all.

    Raises:
        FileExistsError: the file exists.
        ValueError: the name ends otherwise.
    """
    out = Path(out)
    if out.suffix not in (".csv", ".json"):
        raise ValueError(f"--out must end in .csv or .json, got {out.name!r}.")
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already; name a new file or give --overwrite.")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out.parent} does not exist; make it first.")
    if out.suffix == ".csv":
        write_text(out, found.to_csv(index=False, float_format="%.9g"))
    else:
        write_text(out, json.dumps(found.to_dict("records"), indent=1) + "\n")
    return out
