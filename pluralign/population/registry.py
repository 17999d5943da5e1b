"""The population models by the name that the command line and tables use."""

import re
from typing import Any

from pluralign.population.camps import Camps
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

MEMBERS = (
    Pooled,
    PerRater,
    Camps,
    Prototypes,
    LowRank,
    Hierarchical,
    NormalMixture,
    Trust,
    Drifting,
    Routed,
    Ensemble,
    Stacked,
    Distributional,
    Variational,
    InContext,
)
MODELS: dict[str, type[Any]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): kind for kind in MEMBERS
}


def named(name: str) -> type[Any]:
    """The model class called `name`.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    if name.replace("-", "_") not in MODELS:
        raise ValueError(f"no population is called {name!r}; there are {', '.join(MODELS)}.")
    return MODELS[name.replace("-", "_")]
