"""pluralign: models of raters who differ, and policies that are fair to them.

    data    = pluralign.read(folder)
    train, test = data.split(by="answer")
    belief  = pluralign.Camps(groups=3).fit(train, seed=0)
    share   = belief.predict(test)
    table   = pluralign.evaluate(belief, test)

Names are loaded when they are first used, so that `import pluralign` costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "pluralign.data": ("Comparisons", "Items", "Segments", "Texts", "describe", "read", "write"),
    "pluralign.choice": ("Davidson", "Lapse", "Luce"),
    "pluralign.utility": ("MLP", "Basis", "Ideal", "Linear"),
    "pluralign.population": ("Belief", "Draws", "Voices", "load"),
    "pluralign.population.pooled": ("Pooled",),
    "pluralign.population.per_rater": ("PerRater",),
    "pluralign.population.camps": ("Camps",),
    "pluralign.population.hierarchical": ("Hierarchical",),
    "pluralign.population.normal_mixture": ("NormalMixture",),
    "pluralign.population.distributional": ("Distributional",),
    "pluralign.population.variational": ("Variational",),
    "pluralign.population.in_context": ("InContext",),
    "pluralign.population.ensemble": ("Ensemble",),
    "pluralign.population.covariates": ("WithCovariates",),
    "pluralign.population.stacked": ("Stacked",),
    "pluralign.population.routed": ("Routed",),
    "pluralign.population.drifting": ("Drifting",),
    "pluralign.population.trust": ("Trust",),
    "pluralign.population.low_rank": ("LowRank",),
    "pluralign.population.prototypes": ("Prototypes",),
    "pluralign.raters": ("CampPeople", "Factors", "Faults", "GaussianPeople", "SimulatedRaters"),
    "pluralign.metrics": ("Estimate",),
    "pluralign.metrics.diagnostics": ("diagnose",),
    "pluralign.metrics.distances": ("dard", "epic", "srrd", "starc"),
    "pluralign.metrics.evaluation": ("evaluate",),
    "pluralign.elicitation": ("information_gain", "next_question"),
    "pluralign.policies": (
        "Constrained",
        "MaxMin",
        "Personalised",
        "Pessimist",
        "Portfolio",
        "SelfPlay",
        "Welfare",
    ),
    "pluralign.lab.leaderboard": ("leaderboard",),
}
_WHERE = {name: home for home, names in _HOME.items() for name in names}
__all__ = ["__version__", *_WHERE]

if TYPE_CHECKING:
    from pluralign import recipes as recipes
    from pluralign.choice import Davidson, Lapse, Luce
    from pluralign.data import Comparisons, Items, Segments, Texts, describe, read, write
    from pluralign.elicitation import information_gain, next_question
    from pluralign.lab.leaderboard import leaderboard
    from pluralign.metrics import Estimate
    from pluralign.metrics.diagnostics import diagnose
    from pluralign.metrics.distances import dard, epic, srrd, starc
    from pluralign.metrics.evaluation import evaluate
    from pluralign.policies import Constrained, MaxMin, Personalised, Pessimist, Portfolio, SelfPlay, Welfare
    from pluralign.population import Belief, Draws, Voices, load
    from pluralign.population.camps import Camps
    from pluralign.population.covariates import WithCovariates
    from pluralign.population.distributional import Distributional
    from pluralign.population.drifting import Drifting
    from pluralign.population.ensemble import Ensemble
    from pluralign.population.hierarchical import Hierarchical
    from pluralign.population.in_context import InContext
    from pluralign.population.low_rank import LowRank
    from pluralign.population.normal_mixture import NormalMixture
    from pluralign.population.per_rater import PerRater
    from pluralign.population.pooled import Pooled
    from pluralign.population.prototypes import Prototypes
    from pluralign.population.routed import Routed
    from pluralign.population.stacked import Stacked
    from pluralign.population.trust import Trust
    from pluralign.population.variational import Variational
    from pluralign.raters import CampPeople, Factors, Faults, GaussianPeople, SimulatedRaters
    from pluralign.utility import MLP, Basis, Ideal, Linear


def __getattr__(name: str) -> Any:
    if name == "recipes":
        return importlib.import_module("pluralign.recipes")
    if name not in _WHERE:
        raise AttributeError(f"pluralign has no {name!r}; it has {', '.join(sorted(_WHERE))}.")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
