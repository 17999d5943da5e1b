"""Simulated people who answer comparisons."""

from pluralign.raters.factors import Basis, Factors
from pluralign.raters.faults import TEACHERS, Faults
from pluralign.raters.file import PeopleFromFile
from pluralign.raters.mixed import MixedPeople, MixedRaters
from pluralign.raters.people import CampPeople, GaussianPeople
from pluralign.raters.presets import PRESETS, People, preset
from pluralign.raters.questions import questions
from pluralign.raters.simulated import SimulatedRaters
from pluralign.raters.turning import TurningPeople, TurningRaters

__all__ = [
    "PRESETS",
    "TEACHERS",
    "Basis",
    "CampPeople",
    "Factors",
    "Faults",
    "GaussianPeople",
    "MixedPeople",
    "MixedRaters",
    "People",
    "PeopleFromFile",
    "SimulatedRaters",
    "TurningPeople",
    "TurningRaters",
    "preset",
    "questions",
]
