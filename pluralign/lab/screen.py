"""A leaderboard on one screen."""

from typing import Any

import numpy as np
import pandas as pd


def summary(table: pd.DataFrame, metric: str = "log_loss") -> pd.DataFrame:
    """One row per population, one column per group: "seen", "items", "unseen 0", ..."""
    rows = table[table.metric == metric]
    column = np.where(rows.answers == "all", rows.raters, "new " + rows.answers.astype(str))
    column = np.where((rows.raters == "unseen") & (rows.answers == "all"), "new all", column)
    wide = rows.assign(column=column).pivot(index="population", columns="column", values="value")
    return wide.loc[list(dict.fromkeys(rows.population)), list(dict.fromkeys(column))]


def screen(table: pd.DataFrame, told: dict[str, Any]) -> str:
    """One screen for the command line."""
    both = {metric: summary(table, metric) for metric in ("accuracy", "log_loss")}
    columns = list(both["accuracy"].columns)
    new = [c for c in columns if c.startswith("new ") and c != "new all"]
    if new and all(
        wide[new[-1]].dropna().equals(wide["new all"].loc[wide[new[-1]].dropna().index])
        for wide in both.values()
    ):
        columns.remove("new all")  # the same numbers: these are all that there are
    names = list(both["accuracy"].index)
    wide = max(map(len, names)) + 2
    lines = ["accuracy / log loss in nats; new k: raters never met, after k of their answers", ""]
    lines.append(" " * wide + "".join(f"{c:>13}" for c in columns))
    for name in names:
        values = [
            "" if np.isnan(a) else f"{a:.3f}/{b:.3f}"
            for a, b in zip(both["accuracy"].loc[name, columns], both["log_loss"].loc[name, columns])
        ]
        mark = "* " if name == told["chosen"] else "  "
        lines.append(f"{mark}{name:<{wide - 2}}" + "".join(f"{v:>13}" for v in values))
    return "\n".join([*lines, "", *told["words"], *(f"! {w}" for w in told["warnings"])])
