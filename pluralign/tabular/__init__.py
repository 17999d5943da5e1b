"""Finite worlds, solved exactly: values, visits, regret and what can be lost at worst."""

from pluralign.tabular.programme import worst_of_best, worst_regret
from pluralign.tabular.solving import (
    advantages,
    best,
    best_values,
    expected,
    extremes,
    occupancy,
    regret,
    returns,
    soft_values,
    successor_features,
    uniform,
    values,
)
from pluralign.tabular.table import Table, endless, reached, unrolled, without_unreached
from pluralign.tabular.worlds import WEIGHTS, delivery, random_world

__all__ = [
    "WEIGHTS",
    "Table",
    "advantages",
    "best",
    "best_values",
    "delivery",
    "endless",
    "expected",
    "extremes",
    "occupancy",
    "random_world",
    "reached",
    "regret",
    "returns",
    "soft_values",
    "successor_features",
    "uniform",
    "unrolled",
    "values",
    "without_unreached",
    "worst_of_best",
    "worst_regret",
]
