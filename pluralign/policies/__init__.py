"""Policies out of voices: fair lotteries, pooled and personalised policies; `learners` find good policies."""

from pluralign.policies.best import PerStepMin, Single
from pluralign.policies.constrained import Constrained
from pluralign.policies.direction import Direction
from pluralign.policies.fair import Fair
from pluralign.policies.fair import Fair as Welfare
from pluralign.policies.game import Mix, best_mix
from pluralign.policies.learner import Learner, Personal, Policy, Progress, Simulator, discounted
from pluralign.policies.learners import (
    BC,
    IQL,
    PPO,
    SAC,
    Actor,
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
from pluralign.policies.leximin import Leximin
from pluralign.policies.lottery import Lottery
from pluralign.policies.maxmin import MaxMin
from pluralign.policies.min_norm import MinNorm
from pluralign.policies.personalised import Personalised, serve
from pluralign.policies.pessimist import Pessimist
from pluralign.policies.portfolio import Menu, Portfolio
from pluralign.policies.registry import WELFARE, Optimiser, optimiser
from pluralign.policies.saving import load_policy
from pluralign.policies.self_play import SelfPlay, Votes
from pluralign.policies.winner import minimax_winner

__all__ = [
    "BC",
    "IQL",
    "PPO",
    "SAC",
    "WELFARE",
    "Actor",
    "Constrained",
    "Direction",
    "Fair",
    "Learner",
    "Leximin",
    "Lottery",
    "MaxMin",
    "Menu",
    "MinNorm",
    "Mix",
    "NetworkPolicy",
    "Optimiser",
    "PerStepMin",
    "Personal",
    "PersonalNetwork",
    "PersonalTable",
    "Personalised",
    "Pessimist",
    "Policy",
    "Portfolio",
    "Progress",
    "RandomPolicy",
    "SelfPlay",
    "Simulator",
    "Single",
    "Solution",
    "Table",
    "Tabular",
    "TabularPolicy",
    "Votes",
    "Welfare",
    "best_mix",
    "discounted",
    "load_policy",
    "maxmin_value",
    "minimax_winner",
    "optimiser",
    "serve",
    "unrolled",
]
