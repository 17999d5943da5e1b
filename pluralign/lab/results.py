"""Results on disk: tables of a member in its stage, and all of them in leaderboard.csv."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pluralign.lab.choosing import compare
from pluralign.lab.protocol import Result
from pluralign.lab.run import Stage
from pluralign.lab.verdict import CONTROLS

FIXED = ["population", "raters", "answers", "metric", "value", "low", "high", "seconds"]


_TABLES = ("scores", "people", "calibration", "held")


def keep(stage: Stage, result: Result, seed: int) -> dict[str, Any]:
    """Write a result into its stage."""
    for name in _TABLES:
        getattr(result, name).to_csv(stage.folder / f"{name}.csv", index=False, float_format="%.9g")
    row: Any
    for row in result.scores.itertuples():
        step = int(row.answers) if str(row.answers).isdigit() else None
        stage.record(
            row.metric,
            row.value,
            group=f"{result.name}/{row.raters}/{row.answers}",
            seed=seed,
            step=step,
            standard_error=row.standard_error,
        )
    return {"name": result.name, "facts": result.facts}


def read_result(folder: Path, name: str) -> Result:
    """A result from the stage where it was written."""
    facts = json.loads((folder / "result.json").read_text("utf-8"))["facts"]
    return Result(name, facts=facts, **{what: read_table(folder, what) for what in _TABLES})


def read_table(stage: Path, what: str) -> pd.DataFrame:
    """One table of a member; ids and numbers of answers stay texts."""
    kinds = {"answers": str, "rater_id": str}
    return pd.read_csv(stage / f"{what}.csv", dtype=kinds, keep_default_na=False, na_values=[""])


def board(results: dict[str, Result], pooled: Result, seed: int, samples: int) -> pd.DataFrame:
    """leaderboard.csv: the fixed columns, then differences to pooled and costs."""
    parts = []
    for name, result in results.items():
        part = result.scores.assign(population=name, control=name in CONTROLS)
        predict = result.facts.get("predict_seconds", {})
        spent = [predict.get(f"{r} {k}", 0.0) for r, k in zip(part.raters, part.answers)]
        fit = float(result.facts["fit_seconds"])
        part["seconds"] = fit + np.array(spent)
        part["fit_seconds"], part["predict_seconds"] = fit, spent
        part["memory_mib"], part["parameters"] = result.facts["memory_mib"], result.facts["parameters"]
        base = pooled
        if (
            name == "oracle"
        ):  # knows the rater without any answer, so it is set beside every number of answers
            base = _last(pooled)
        gain = compare(result, base, seed, samples=samples)
        parts.append(part.merge(gain, how="left", on=["raters", "answers", "metric"]))
    table = pd.concat(parts, ignore_index=True)
    rest = [c for c in table.columns if c not in FIXED]
    return table[FIXED + rest]


def _last(result: Result) -> Result:
    return dataclasses.replace(result, people=result.people[result.people.answers == "all"])
