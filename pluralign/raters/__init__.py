"""Simulated people who answer comparisons."""

from pluralign.raters.factors import Basis, Factors
from pluralign.raters.faults import TEACHERS, Faults
from pluralign.raters.file import PeopleFromFile
from pluralign.raters.people import CampPeople, GaussianPeople
from pluralign.raters.questions import questions
from pluralign.raters.simulated import SimulatedRaters

__all__ = [
    "TEACHERS",
    "Basis",
    "CampPeople",
    "Factors",
    "Faults",
    "GaussianPeople",
    "PeopleFromFile",
    "SimulatedRaters",
    "questions",
]
