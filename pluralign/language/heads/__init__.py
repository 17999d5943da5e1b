"""Heads that are no population: what stands between hidden states and a reward when raters are not the question."""

from pluralign.language.heads.attributes import AttributeHeads, Gate, decorrelated, fit_attributes, fit_gate
from pluralign.language.heads.categorical import Categorical, fit_categorical, mean_variance_chance
from pluralign.language.heads.consistency import fused, inconsistency, outermost
from pluralign.language.heads.contexts import mixture, posterior
from pluralign.language.heads.density import density_ratio
from pluralign.language.heads.direction import directions, picked, toward
from pluralign.language.heads.ensembles import centred, combined
from pluralign.language.heads.mean_variance import MeanVariance, fit_mean_variance
from pluralign.language.heads.sources import Score, fit_sources
from pluralign.language.heads.strength import Strength, cleaned, strength

__all__ = [
    "AttributeHeads",
    "Categorical",
    "Gate",
    "MeanVariance",
    "Score",
    "Strength",
    "centred",
    "cleaned",
    "combined",
    "decorrelated",
    "density_ratio",
    "directions",
    "fit_attributes",
    "fit_categorical",
    "fit_gate",
    "fit_mean_variance",
    "fit_sources",
    "fused",
    "inconsistency",
    "mean_variance_chance",
    "mixture",
    "outermost",
    "picked",
    "posterior",
    "strength",
    "toward",
]
