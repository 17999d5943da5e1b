"""Heads that are no population: what stands between hidden states and a reward when raters are not the question."""

from pluralign.language.heads.attributes import AttributeHeads, Gate, decorrelated, fit_attributes, fit_gate
from pluralign.language.heads.categorical import Categorical, fit_categorical, mean_variance_chance
from pluralign.language.heads.density import density_ratio
from pluralign.language.heads.direction import directions, picked, toward
from pluralign.language.heads.strength import Strength, cleaned, strength

__all__ = [
    "AttributeHeads",
    "Categorical",
    "Gate",
    "Strength",
    "cleaned",
    "decorrelated",
    "density_ratio",
    "directions",
    "fit_attributes",
    "fit_categorical",
    "fit_gate",
    "mean_variance_chance",
    "picked",
    "strength",
    "toward",
]
