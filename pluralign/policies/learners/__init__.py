"""Ways to find good policies: exact ones for small worlds, PPO for simulators. One per file."""

from pluralign.policies.learners.tabular import Table, Tabular, TabularPolicy, unrolled

__all__ = ["Table", "Tabular", "TabularPolicy", "unrolled"]
