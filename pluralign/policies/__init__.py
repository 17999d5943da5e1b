"""Policies out of voices: fair lotteries, pooled and personalised policies; `learners` find good policies."""

from pluralign.policies.best import PerStepMin, Single
from pluralign.policies.fair import Fair
from pluralign.policies.game import Mix, best_mix
from pluralign.policies.learner import Learner, Personal, Policy, Progress, Simulator, discounted
from pluralign.policies.learners import (
    PPO,
    NetworkPolicy,
    PersonalNetwork,
    PersonalTable,
    RandomPolicy,
    Table,
    Tabular,
    TabularPolicy,
    unrolled,
)
from pluralign.policies.learners.lp import Solution, maxmin_value
from pluralign.policies.lottery import Lottery
from pluralign.policies.maxmin import MaxMin
from pluralign.policies.personalised import Personalised
from pluralign.policies.pessimist import Pessimist
from pluralign.policies.saving import load_policy

__all__ = [
    "PPO",
    "Fair",
    "Learner",
    "Lottery",
    "MaxMin",
    "Mix",
    "NetworkPolicy",
    "PerStepMin",
    "Personal",
    "PersonalNetwork",
    "PersonalTable",
    "Personalised",
    "Pessimist",
    "Policy",
    "Progress",
    "RandomPolicy",
    "Simulator",
    "Single",
    "Solution",
    "Table",
    "Tabular",
    "TabularPolicy",
    "best_mix",
    "discounted",
    "load_policy",
    "maxmin_value",
    "unrolled",
]
