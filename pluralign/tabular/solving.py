"""Exact answers on finite worlds, each a linear solve: values, visits, best and soft-best policies, regret.

`transition` (S, A, S) may sum to less than one where an episode can end; `chance` (S, A) is a policy; `reward` (S, A, *g)
is what a step is expected to pay, for as many rewards as wanted.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.tabular.table import Table

Progress = Callable[[int], Any]
SETTLED = 200  # rounds of policy iteration; about ten are needed


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


def optimal(
    transition: Float[Tensor, "S A S"],
    reward: Float[Tensor, "S A"],
    discount: float | int,
    softness: float | int = 0.0,
    real: Bool[Tensor, "S A"] | None = None,
) -> tuple[Float[Tensor, " S"], Float[Tensor, "S A"]]:
    """V(s) and Q(s, a) of the best policy, with exact first derivatives by `reward`; -inf for moves that are not real.

    Policy iteration, which is Newton's method on Bellman's equation. By the envelope theorem the derivative of V is
    the discounted number of times that the best policy makes each move, so one more solve differentiates it.

    Args:
        reward: expected utils of every move. discount: per step, in [0, 1).
        softness: t, in utils: 0 takes the maximum over moves, else V(s) = t log sum_a exp(Q(s, a) / t) (Ziebart 2010).
        real: which moves exist; a state without any is worth nothing. None: all.

    Raises:
        ValueError: `discount` is outside [0, 1), or `softness` is negative.
    """
    if not 0 <= discount < 1:
        raise ValueError(f"`discount` must be in [0, 1), got {discount}; give 0.99, not a horizon.")
    if softness < 0:
        raise ValueError(f"`softness` must be 0 or more utils, got {softness}.")
    real = torch.ones_like(reward, dtype=torch.bool) if real is None else real
    fixed = torch.where(real, reward.detach(), -torch.inf)
    eye = torch.eye(len(transition), dtype=transition.dtype)
    chance = real.to(transition) / real.sum(1, keepdim=True).clamp_min(1)
    last = torch.full((len(transition),), -torch.inf, dtype=transition.dtype)
    for _ in range(SETTLED):
        value = _worth(transition, chance, fixed, discount, softness, eye)
        if softness > 0 and float((value - last).max()) <= 1e-13 * (1 + float(value.abs().max())):
            break
        last = value
        q = fixed + discount * transition @ value
        if softness > 0:
            chance = torch.softmax(q / softness, 1).nan_to_num(0.0)
        else:
            # Only a gain beyond rounding counts, or two equal moves would take turns for ever.
            here = (chance * q.nan_to_num(neginf=0.0)).sum(1, keepdim=True)
            noise = 1e-12 * (1 + value.abs().max())
            top = torch.nn.functional.one_hot(q.argmax(1), q.shape[1]).to(q) * real.any(1, keepdim=True)
            pure = (chance.amax(1, keepdim=True) == 1) | ~real.any(1, keepdim=True)
            keep = pure & (q.amax(1, keepdim=True) <= here + noise)
            chance = torch.where(keep, chance, top)
            if bool(keep.all()):
                break
    value = _worth(transition, chance, torch.where(real, reward, -torch.inf), discount, softness, eye)
    return value, torch.where(real, reward, -torch.inf) + discount * transition @ value


def _worth(
    transition: Tensor, chance: Tensor, reward: Tensor, discount: float, softness: float, eye: Tensor
) -> Tensor:
    paid = (chance * torch.where(chance > 0, reward, 0.0)).sum(1) + softness * torch.special.entr(chance).sum(
        1
    )
    step = torch.einsum("sa,saz->sz", chance, transition)
    return torch.linalg.solve(eye - discount * step, paid)


def soft_values(
    transition: Float[Tensor, "S A S"],
    reward: Float[Tensor, "S A"],
    discount: float | int,
    temperature: float | int,
) -> tuple[Float[Tensor, " S"], Float[Tensor, "S A"]]:
    """V and Q of the best policy whose every action also pays `temperature` times its entropy; `optimal`, softly.

    A policy is softmax(Q / t) (Haarnoja et al. 2017).
    """
    if not temperature > 0:
        raise ValueError(
            f"`temperature` must be positive, got {temperature}; without entropy take `best_values`."
        )
    return optimal(transition, reward, discount, temperature)


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
