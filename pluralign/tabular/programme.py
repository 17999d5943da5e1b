"""What can be lost at worst, by linear programmes over how often each action is taken in each state."""

from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from pluralign.tabular.solving import best_values, extremes
from pluralign.tabular.table import Table


def flow(world: Any) -> Any:
    """(S, S * A): times it, discounted visits give the start of an episode."""
    from scipy.sparse import csr_array

    table = Table.of(world)
    states, actions, _ = table.transition.shape
    leaves = np.repeat(np.eye(states), actions, axis=1)
    return csr_array(leaves - table.discount * table.transition.reshape(-1, states).numpy().T)


def worst_regret(
    world: Any, reward: Float[Tensor, "S A"], approved: Float[Tensor, "S A"]
) -> Float[Tensor, ""]:
    """The largest loss that `approved` calls no loss: max J(p1) - J(p2) over policies with J'(p2) >= J'(p1).

    As a part of what can be lost, max J - min J. This is the regret that STARC distances bound from both sides.

    Args:
        reward: J, that counts. approved: J', by which policies are changed.

    Raises:
        ValueError: all policies have the same return J.
    """
    from scipy.sparse import block_diag, csr_array, hstack

    table, size = Table.of(world), reward.numel()
    low, high = extremes(table, reward)
    one, other = _flat(reward, reward), _flat(approved, approved)
    found = _solved(
        np.concatenate([-one, one]),
        block_diag([flow(table), flow(table)]),
        np.concatenate([table.start.numpy()] * 2),
        hstack([csr_array(other[None]), csr_array(-other[None])]),
        np.zeros(1),
        2 * size,
    )
    return _part(-found, reward, low, high)


def worst_of_best(
    world: Any, reward: Float[Tensor, "S A"], optimised: Float[Tensor, "S A"]
) -> Float[Tensor, ""]:
    """What is lost of `reward` at worst by a policy that is best for `optimised`, as a part of what can be lost.

    Raises:
        ValueError: all policies have the same return under one of the two.
    """
    table = Table.of(world)
    low, high = extremes(table, reward)
    worst, top = extremes(table, optimised)
    # A policy is best where it takes best actions alone.
    gap = best_values(table.transition, optimised, table.discount)[1]
    allowed = (gap >= -1e-9 * (top - worst)).reshape(-1).numpy()
    found = _solved(
        _flat(reward, reward), flow(table), table.start.numpy(), None, None, reward.numel(), allowed=allowed
    )
    return ((high - found * reward.abs().max()) / (high - low)).clamp(0, 1)


def _flat(reward: Tensor, unit: Tensor) -> np.ndarray:
    return (reward / unit.abs().max().clamp_min(1e-300)).double().reshape(-1).numpy()


def _part(gain: float, reward: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (gain * reward.abs().max() / (high - low)).clamp(0, 1)


def _solved(
    cost: Any, equal: Any, to: Any, below: Any, bound: Any, size: int, *, allowed: Any = None
) -> float:
    from scipy.optimize import linprog

    found = linprog(
        cost,
        A_ub=below,
        b_ub=bound,
        A_eq=equal,
        b_eq=to,
        bounds=[(0, None)] * size if allowed is None else [(0, None if here else 0) for here in allowed],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.status != 0:
        raise RuntimeError(f"the linear programme was not solved: {found.message}")
    assert found.fun is not None
    return float(found.fun)
