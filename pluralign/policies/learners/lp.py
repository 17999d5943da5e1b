"""The exact answer on small worlds: one linear programme over how often each action is taken in each state."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.learners.tabular import TabularPolicy
from pluralign.tabular.programme import flow
from pluralign.tabular.table import Table


@dataclass(frozen=True)
class Solution:
    """A policy, exact to the solver's rounding (about 1e-9 of the rewards' size).

    Attributes:
        value: the largest possible return of the worst-off voice. returns: (G,) of all voices.
        weight: (G,) the voice weights for which even the best policy has a weighted return of `value`.
        policy: a single policy that draws its actions; a lottery over fixed ones does as well, not better.
        occupancy: (S, A) discounted expected visits.
    """

    value: float
    returns: Float[Tensor, " G"]
    weight: Float[Tensor, " G"]
    policy: TabularPolicy
    occupancy: Float[Tensor, "S A"]


def maxmin_value(
    world: Any,
    rewards: Float[Tensor, "S A G"],
    *,
    shift: Float[Tensor, " G"] | None = None,
    factor: Float[Tensor, " G"] | None = None,
) -> Solution:
    """Largest smallest return over all policies, each return J_g counted as (J_g - shift_g) * factor_g.

    Args:
        world: a `Table` or a twin. rewards: expected reward of each step for each voice.
        shift, factor: a scale, for example `relative_gain`; by default returns as they are.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, hstack

    table = Table.of(world)
    states, actions, voices = rewards.shape
    if (states, actions) != tuple(table.factors.shape[:2]):
        raise ValueError(
            f"`rewards` must be for {tuple(table.factors.shape[:2])} states and actions, got {(states, actions)}."
        )
    zero, one = torch.zeros(voices).double(), torch.ones(voices).double()
    shift, factor = zero if shift is None else shift.double(), one if factor is None else factor.double()
    if not bool((factor > 0).all()):
        raise ValueError(f"`factor` must be positive for every voice, got {factor.tolist()}.")
    # Scaled so that the answer is about one, whatever the unit of the rewards.
    size = float((rewards.double().abs().amax((0, 1)) * factor).max()) or 1.0
    gain = (rewards.double() * factor).reshape(-1, voices).numpy() / size
    found = linprog(  # type: ignore[call-overload]
        np.append(np.zeros(states * actions), -1.0),
        A_ub=hstack([csr_array(-gain.T), csr_array(np.ones((voices, 1)))]),
        b_ub=-(shift * factor).numpy() / size,
        A_eq=hstack([flow(table), csr_array((states, 1))]),
        b_eq=table.start.numpy(),
        bounds=[(0, None)] * (states * actions) + [(None, None)],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.status != 0:
        raise RuntimeError(f"the linear programme was not solved: {found.message}")
    visits = torch.as_tensor(found.x[:-1]).clamp_min(0.0).reshape(states, actions)
    weight = torch.as_tensor(-found.ineqlin.marginals).clamp_min(0.0)
    returns = (torch.einsum("sa,sag->g", visits, rewards.double()) - shift) * factor
    total = visits.sum(1, keepdim=True)
    # A state never visited may do as it likes.
    chance = torch.where(total > 0, visits / total, torch.full_like(visits, 1 / actions))
    return Solution(float(returns.min()), returns, weight / weight.sum(), TabularPolicy(chance), visits)
