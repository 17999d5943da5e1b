"""How raters differ: population models, their beliefs, and draws of tastes. One model per file."""

from typing import Protocol, runtime_checkable

from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.prior import Atoms, Gaussian, Prior
from pluralign.population.saving import load
from pluralign.population.voices import Voices
from pluralign.streams import Seed

__all__ = ["Atoms", "Belief", "Draws", "Gaussian", "PopulationModel", "Prior", "Voices", "load"]


@runtime_checkable
class PopulationModel(Protocol):
    """How raters differ; a frozen dataclass of settings whose one verb is `fit`.

    `held`: answers by which settings left to "auto" are chosen; without it a part of `data` is set aside.
    """

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief: ...
