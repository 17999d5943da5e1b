"""Simulated people who answer comparisons, their faults, and who is asked what."""

from pluralign.raters.asking import Asking, Contrast, OnPolicy, Uniform, long_tailed
from pluralign.raters.changes import Drift, Fatigue, Moods, Swing, Switch
from pluralign.raters.changing import Change, ChangingPeople, ChangingRaters
from pluralign.raters.config import population, read_population, write_population
from pluralign.raters.designed import Designed
from pluralign.raters.factors import Attention, Basis, Factors
from pluralign.raters.faults import TEACHERS, Faults, relative_threshold
from pluralign.raters.file import PeopleFromFile
from pluralign.raters.ideal import IdealPeople, Squares, ideal_point
from pluralign.raters.mixed import MixedPeople, MixedRaters
from pluralign.raters.people import CampPeople, GaussianPeople
from pluralign.raters.presets import CURVED, PRESETS, People, preset
from pluralign.raters.questions import questions
from pluralign.raters.ranked import RankedPeople, RankedRaters
from pluralign.raters.simulated import SimulatedRaters

__all__ = [
    "CURVED",
    "PRESETS",
    "TEACHERS",
    "Asking",
    "Attention",
    "Basis",
    "CampPeople",
    "Change",
    "ChangingPeople",
    "ChangingRaters",
    "Contrast",
    "Designed",
    "Drift",
    "Factors",
    "Fatigue",
    "Faults",
    "GaussianPeople",
    "IdealPeople",
    "MixedPeople",
    "MixedRaters",
    "Moods",
    "OnPolicy",
    "People",
    "PeopleFromFile",
    "RankedPeople",
    "RankedRaters",
    "SimulatedRaters",
    "Squares",
    "Swing",
    "Switch",
    "Uniform",
    "ideal_point",
    "long_tailed",
    "population",
    "preset",
    "questions",
    "read_population",
    "relative_threshold",
    "write_population",
]
