"""Ways to find good policies: exact for small worlds, PPO and SAC for simulators, IQL and BC from data. One per file."""

from pluralign.policies.learners.actor import Actor
from pluralign.policies.learners.cloning import BC
from pluralign.policies.learners.episodes import RandomPolicy
from pluralign.policies.learners.iql import IQL
from pluralign.policies.learners.network import NetworkPolicy, PersonalNetwork
from pluralign.policies.learners.ppo import PPO
from pluralign.policies.learners.sac import SAC
from pluralign.policies.learners.tabular import PersonalTable, Table, Tabular, TabularPolicy, unrolled

__all__ = [
    "BC",
    "IQL",
    "PPO",
    "SAC",
    "Actor",
    "NetworkPolicy",
    "PersonalNetwork",
    "PersonalTable",
    "RandomPolicy",
    "Table",
    "Tabular",
    "TabularPolicy",
    "unrolled",
]
