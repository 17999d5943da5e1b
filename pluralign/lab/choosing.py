"""Which member to use: paired differences to the pooled model, and the choice by held-out answers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from pluralign.lab.protocol import SAMPLES, Result
from pluralign.metrics.estimate import Estimate, paired_bootstrap, worst_decile
from pluralign.metrics.evaluation import HIGHER_IS_BETTER


def compare(member: Result, pooled: Result, seed: int = 0, *, samples: int = SAMPLES) -> pd.DataFrame:
    """Paired differences to the pooled model, raters drawn again; positive means better than pooled.

    Returns:
        raters, answers, metric, difference, difference_low, difference_high, difference_error for accuracy,
        log_loss, brier and the two worst deciles.
    """
    out = []
    for (raters, answers), mine in member.people.groupby(["raters", "answers"], sort=False):
        same = pooled.people[(pooled.people.raters == raters) & (pooled.people.answers == answers)]
        both = mine.merge(same, on="rater_id", suffixes=("", "_pooled"))
        for metric in ("accuracy", "log_loss", "brier"):
            sign = 1.0 if metric in HIGHER_IS_BETTER else -1.0
            a = sign * torch.from_numpy(both[metric].to_numpy())
            b = sign * torch.from_numpy(both[f"{metric}_pooled"].to_numpy())
            found = {metric: paired_bootstrap(a, b, samples=samples, seed=seed)}
            if metric != "brier":  # signs are such that low is bad
                found[f"{metric}_worst_decile"] = paired_bootstrap(
                    a, b, worst_decile, samples=samples, seed=seed
                )
            for label, gain in found.items():
                out.append(_difference(raters, answers, label, gain))
    return pd.DataFrame(out)


def _difference(raters: Any, answers: Any, metric: str, gain: Estimate) -> dict[str, Any]:
    known = gain.n > 1
    return {
        "raters": raters,
        "answers": answers,
        "metric": metric,
        "difference": gain.value,
        "difference_low": gain.low if known else np.nan,
        "difference_high": gain.high if known else np.nan,
        "difference_error": gain.standard_error if known else np.nan,
    }


# Combinations and networks: their tastes have no names.
OPAQUE = ("stacked", "ensemble", "variational", "in_context")


@dataclass(frozen=True)
class Chosen:
    """The member to use, by held-out answers alone.

    Attributes:
        name: of the member; pooled unless another is better by more than a standard error.
        table: population, log_loss, gain (over pooled, nats per answer), error (of the gain), best first.
        best: the best member that tells raters apart; None where there is none.
    """

    name: str
    table: pd.DataFrame
    best: str | None


def choose_member(results: dict[str, Result], simple: str = "pooled") -> Chosen:
    """Mean held-out log loss per rater; pooled unless beaten by one standard error of the paired difference.

    A combination of members or a network, whose tastes have no names, is likewise chosen only if it beats the best of the
    others by a standard error. A member that fell back on a simpler one is that one, and is not chosen.
    """
    rows = [
        (name, float(result.held.log_loss.mean()), *_gain(result, results[simple]))
        for name, result in results.items()
    ]
    table = pd.DataFrame(rows, columns=["population", "log_loss", "gain", "error"])
    table = table.sort_values("log_loss", kind="stable", ignore_index=True)
    fell = [name for name, result in results.items() if result.facts.get("fallback")]
    others = table[~table.population.isin([simple, *fell])]
    if others.empty:
        return Chosen(simple, table, None)
    best = str(others.population.iloc[0])
    plain = [str(name) for name in others.population if name not in OPAQUE]
    if best in OPAQUE and plain:
        gain, error = _gain(results[best], results[plain[0]])
        best = best if gain > error else plain[0]
    top = others[others.population == best].iloc[0]
    better = top.gain > top.error and top.gain > 0
    return Chosen(best if better else simple, table, best)


def _gain(one: Result, other: Result) -> tuple[float, float]:
    """How much less `one` loses on held-out answers than `other`, mean over raters, and the standard error."""
    both = one.held.merge(other.held, on="rater_id", suffixes=("", "_other"))
    gap = (both.log_loss_other - both.log_loss).to_numpy()
    return float(gap.mean()), float(gap.std(ddof=1) / len(gap) ** 0.5) if len(gap) > 1 else float("inf")
