"""Exact answers on finite worlds, each a linear solve: values, visits, best and soft-best policies, regret.

`transition` (S, A, S) may sum to less than one where an episode can end; `chance` (S, A) is a policy; `reward` (S, A, *g)
is what a step is expected to pay, for as many rewards as wanted.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.tabular.table import Table

Progress = Callable[[int], Any]


def expected(
    transition: Float[Tensor, "S A S"], reward: Float[Tensor, "*b S A S"]
) -> Float[Tensor, "*b S A"]:
    """What a step pays on average over next states."""
    return (transition * reward).sum(-1)


def uniform(transition: Float[Tensor, "S A S"]) -> Float[Tensor, "S A"]:
    """The policy to which all actions are alike."""
    return torch.full_like(transition[..., 0], 1 / transition.shape[1])


def values(
    transition: Float[Tensor, "S A S"],
    reward: Float[Tensor, "S A *g"],
    chance: Float[Tensor, "S A"],
    discount: float | int,
) -> Float[Tensor, "S *g"]:
    """V^pi: the discounted return of a policy from each state."""
    step = torch.einsum("sa,saz->sz", chance, transition)
    paid = torch.einsum("sa,sa...->s...", chance, reward)
    return _solved(step, paid, discount)


def advantages(
    transition: Float[Tensor, "S A S"],
    reward: Float[Tensor, "S A *g"],
    chance: Float[Tensor, "S A"],
    discount: float | int,
) -> Float[Tensor, "S A *g"]:
    """A^pi = Q^pi - V^pi."""
    value = values(transition, reward, chance, discount)
    return reward + discount * torch.einsum("saz,z...->sa...", transition, value) - value[:, None]


def successor_features(
    world: Any, chance: Float[Tensor, "S A"]
) -> tuple[Float[Tensor, "S F"], Float[Tensor, "S A F"]]:
    """Discounted factors to come, from each state, and from each state after an action (Dayan 1993; Barreto 2017).

    A reward w . factors has V^pi = psi @ w.
    """
    table = Table.of(world)
    state = values(table.transition, table.factors, chance, table.discount)
    after = table.discount * torch.einsum("saz,zf->saf", table.transition, state)
    return state, table.factors + after


def occupancy(world: Any, chance: Float[Tensor, "S A"]) -> Float[Tensor, "S A"]:
    """Discounted expected number of times that each action is taken in each state."""
    table = Table.of(world)
    step = torch.einsum("sa,saz->sz", chance, table.transition)
    return _solved(step.T, table.start, table.discount)[:, None] * chance


def returns(world: Any, reward: Float[Tensor, "S A *g"], chance: Float[Tensor, "S A"]) -> Float[Tensor, "*g"]:
    """Expected discounted return of a policy."""
    return torch.einsum("sa,sa...->...", occupancy(world, chance), reward)


def best(
    transition: Float[Tensor, "S A S"],
    reward: Float[Tensor, "S A"],
    discount: float | int,
    *,
    start: Int[Tensor, " S"] | None = None,
    progress: Progress | None = None,
) -> Int[Tensor, " S"]:
    """A best action in each state, by policy iteration (Howard 1960); a `start` that is already best is kept."""
    states, _ = reward.shape
    choice = torch.zeros(states, dtype=torch.long) if start is None else start
    here = torch.arange(states)
    for _ in range(10 * states + 100):
        value = _solved(transition[here, choice], reward[here, choice], discount)
        worth = reward + discount * transition @ value
        # Only a gain beyond rounding counts, or two equal actions would take turns for ever.
        noise = 1e-11 * (1 + worth.abs().max())
        better = worth.amax(1) > worth[here, choice] + noise
        if progress is not None:
            progress(1)
        if not bool(better.any()):
            return choice
        choice = torch.where(better, worth.argmax(1), choice)
    raise RuntimeError("policy iteration did not settle; look for rewards of very different size.")


def best_values(
    transition: Float[Tensor, "S A S"], reward: Float[Tensor, "S A"], discount: float | int
) -> tuple[Float[Tensor, " S"], Float[Tensor, "S A"]]:
    """V* and A* = Q* - V*; the second is zero for best actions and negative for others."""
    here = torch.arange(len(reward))
    choice = best(transition, reward, discount)
    value = _solved(transition[here, choice], reward[here, choice], discount)
    return value, reward + discount * transition @ value - value[:, None]


def soft_values(
    transition: Float[Tensor, "S A S"],
    reward: Float[Tensor, "S A"],
    discount: float | int,
    temperature: float | int,
    *,
    sweeps: int = 200,
) -> tuple[Float[Tensor, " S"], Float[Tensor, "S A"]]:
    """V and Q of the best policy whose every action also pays `temperature` times its entropy.

    V(s) = t log sum_a exp(Q(s, a) / t), a policy is softmax(Q / t). Gradients in `reward` are exact: they come from
    the equation that holds at the solution (implicit differentiation), not from the steps that led there. Newton's
    method, which is policy iteration with soft policies (Rust 1987; Haarnoja et al. 2017), settles in a few steps.
    """
    if not temperature > 0:
        raise ValueError(
            f"`temperature` must be positive, got {temperature}; without entropy take `best_values`."
        )
    soft = lambda q: temperature * torch.logsumexp(q / temperature, -1)
    value = torch.zeros(len(reward), dtype=reward.dtype)
    with torch.no_grad():
        for _ in range(sweeps):
            q = reward + discount * transition @ value
            gap = soft(q) - value
            step = torch.einsum("sa,saz->sz", torch.softmax(q / temperature, -1), transition)
            value = value + _solved(step, gap, discount)
            if float(gap.abs().max()) <= 1e-13 * (1 + float(value.abs().max())):
                break
        else:
            raise RuntimeError("soft values did not settle; raise `temperature` or scale the reward down.")
    q = reward + discount * transition @ value
    step = torch.einsum("sa,saz->sz", torch.softmax(q / temperature, -1), transition).detach()
    value = value + _solved(step, soft(q) - value, discount)
    return value, reward + discount * transition @ value


def regret(world: Any, reward: Float[Tensor, "S A"], chance: Float[Tensor, "S A"]) -> Float[Tensor, ""]:
    """The part of what can be lost that a policy loses: 0 for a best policy, 1 for a worst one.

    Raises:
        ValueError: all policies have the same return, so that nothing can be lost.
    """
    low, high = extremes(world, reward)
    return (high - returns(world, reward, chance)) / (high - low)


def extremes(world: Any, reward: Float[Tensor, "S A"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Smallest and largest return of all policies.

    Raises:
        ValueError: they are the same.
    """
    table = Table.of(world)
    high = table.start @ best_values(table.transition, reward, table.discount)[0]
    low = -(table.start @ best_values(table.transition, -reward, table.discount)[0])
    # What can be lost of a potential is the rounding of its size.
    if not float(high - low) > 1e-10 * float(reward.abs().max()) / max(1 - table.discount, 1e-6):
        raise ValueError(
            f"all policies have the return {float(high):.6g} under this reward, so nothing can be lost; give a reward "
            "that tells policies apart (zero, constants and pure shaping do not)."
        )
    return low, high


def _solved(
    step: Float[Tensor, "S S"], right: Float[Tensor, "S *g"], discount: float | int
) -> Float[Tensor, "S *g"]:
    here = torch.eye(len(step), dtype=step.dtype) - discount * step
    if right.dim() > 2:
        return torch.linalg.solve(here, right.flatten(1)).reshape(right.shape)
    return torch.linalg.solve(here, right)
