"""Policies straight from answers, without a reward: contrastive preference learning and the DPO family."""

from pluralign.policies.direct.direct import METHODS, Direct, Served
from pluralign.policies.direct.worth import PolicyWorth

__all__ = ["METHODS", "Direct", "PolicyWorth", "Served"]
