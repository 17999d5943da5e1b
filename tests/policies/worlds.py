"""Small worlds for tests."""

import torch
from hypothesis import strategies as st

from pluralign.policies import Table
from pluralign.rewards import known_voices

# The three-action bandit: rows are groups, columns actions; worked out in the module that uses it.
GROUPS = torch.tensor([[1.0, 0.0, 0.2], [0.1, 0.8, 0.3], [0.2, 0.3, 0.9]], dtype=torch.float64)


def bandit(utility):
    """Actions publish what each of the G groups gets: factors are utilities, voice g pays factor g."""
    return Table.bandit(utility.T)


def voices(count, weight=None):
    return known_voices(torch.eye(count).tolist(), weight)


@st.composite
def worlds(draw, most_states=5, most_actions=3, most_factors=3):
    """Random worlds with rewards and chances of moderate size."""
    states = draw(st.integers(1, most_states))
    actions = draw(st.integers(2, most_actions))
    factors = draw(st.integers(2, most_factors))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    double = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)
    transition = double(states, actions, states) ** 3 + 1e-3
    start = double(states) + 1e-3
    return Table(
        transition / transition.sum(-1, keepdim=True),
        start / start.sum(),
        double(states, actions, factors) - 0.3,
        draw(st.sampled_from([0.0, 0.5, 0.9, 0.97])),
        horizon=20,
    )
