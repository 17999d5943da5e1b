"""Policies straight from answers, without a reward: contrastive preference learning, the DPO family, and their kin."""

from pluralign.policies.direct.direct import Direct
from pluralign.policies.direct.hindsight import Hindsight
from pluralign.policies.direct.implied import Implied
from pluralign.policies.direct.methods import METHODS
from pluralign.policies.direct.served import Served
from pluralign.policies.direct.trainers import TRAINERS, Trainer, trainer
from pluralign.policies.direct.worth import PolicyWorth

__all__ = [
    "METHODS",
    "TRAINERS",
    "Direct",
    "Hindsight",
    "Implied",
    "PolicyWorth",
    "Served",
    "Trainer",
    "trainer",
]
