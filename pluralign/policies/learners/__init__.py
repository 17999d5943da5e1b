"""Ways to find good policies: exact ones for small worlds, PPO for simulators. One per file."""

from pluralign.policies.learners.episodes import RandomPolicy
from pluralign.policies.learners.network import NetworkPolicy, PersonalNetwork
from pluralign.policies.learners.ppo import PPO
from pluralign.policies.learners.tabular import PersonalTable, Table, Tabular, TabularPolicy, unrolled

__all__ = [
    "PPO",
    "NetworkPolicy",
    "PersonalNetwork",
    "PersonalTable",
    "RandomPolicy",
    "Table",
    "Tabular",
    "TabularPolicy",
    "unrolled",
]
