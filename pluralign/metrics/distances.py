"""How far two rewards are apart in what they make of policies: STARC, EPIC, DARD, SRRD. Exact on finite worlds.

    world = pluralign_envs.twin("pluralign/PointMaze-v0")
    pluralign.starc(reward_a, reward_b, world)        # 0 the same order of policies, 2 the opposite order

For worlds without a table, give transitions that were sampled (`metrics.sampled`) in the place of the world.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.metrics.canonical import CANONICAL, STARC
from pluralign.metrics.canonical import canonical as levelled
from pluralign.metrics.estimate import Estimate
from pluralign.metrics.pearson import sampled_pearson
from pluralign.metrics.sampled import Transitions, sampled_starc
from pluralign.tabular.solving import uniform
from pluralign.tabular.table import Table, reached


def starc(
    reward_a: Any,
    reward_b: Any,
    world: Any = None,
    *,
    transition: Any = None,
    discount: float | int | None = None,
    policy: Any = None,
    canonical: str = "val",
    norm: float | int = 2.0,
    metric: float | int | None = None,
    weighted: bool = False,
    level: float = 0.95,
) -> Estimate:
    """Distance between two rewards that ignores what cannot change the order of policies.

    Shaping, redistribution over next states and positive scale vanish; each canonical reward is divided by its length, and
    the difference is measured.

    Args:
        reward_a, reward_b: (S, A, S) or (S, A), utils per step. On sampled transitions: values of the transitions, a
            function of them, weights of the factors, or `Voices` of one voice.
        world: a table (anything with transition, start, discount), or `Transitions`.
        transition, discount: (S, A, S) chances that sum to one, and per step, in [0, 1); in the place of a world.
        policy: (S, A), of the value that levels ("val"); uniform by default.
        canonical: "val", "minimal" (least Euclidean length) or "minimal-weighted" (least length over s' ~ T). Sampled
            transitions know the last alone, which is their default.
        norm: p in [1, inf], of the lengths; `metric`: of the difference, by default the same.
        weighted: lengths over s' ~ T(. | s, a) instead of all (s, a, s') alike.
        level: of the interval, where there is something to be unsure of.

    Returns:
        Without unit: 0 when all policies rank alike, 2 for opposite rewards, 1 where one of two rewards ranks nothing, and, for
        norm 2, 2 sin(angle / 2); a standard error of zero on tables.

    Raises:
        ValueError: bad shapes, chances, discount, or states that no episode comes to.

    Source: Skalse et al., STARC, ICLR 2024; the three canonical rewards are theirs, "minimal" in closed form is ours.
    """
    if canonical not in STARC:
        also = (
            " (it keeps redistribution over next states apart)"
            if canonical in ("val-potential", "minimal-potential")
            else ""
        )
        raise ValueError(
            f"STARC distances take {', '.join(STARC)}, and {canonical!r} is none of them{also}; "
            "`reward_distance` takes all."
        )
    if isinstance(world, Transitions):
        if norm != 2 or metric not in (None, 2):
            raise ValueError("on sampled transitions the norm is 2; leave `norm` and `metric` out.")
        return sampled_starc(reward_a, reward_b, world, level=level)
    return reward_distance(
        reward_a,
        reward_b,
        world,
        transition=transition,
        discount=discount,
        policy=policy,
        canonical=canonical,
        norm=norm,
        metric=metric,
        weighted=weighted,
    )


def reward_distance(
    reward_a: Any,
    reward_b: Any,
    world: Any = None,
    *,
    transition: Any = None,
    discount: float | int | None = None,
    policy: Any = None,
    canonical: str = "val",
    norm: float | int = 2.0,
    metric: float | int | None = None,
    weighted: bool = False,
) -> Estimate:
    """As `starc`, by any canonical reward of `CANONICAL`; most ignore shaping alone, and "none" nothing but scale."""
    for p in (norm, metric):
        if p is not None and not p >= 1:
            raise ValueError(f"a norm needs p in [1, inf], got {p}; give 1, 2 or math.inf.")
    given = _world(world, transition, discount, policy)
    pair = torch.stack([_reward("reward_a", reward_a, given), _reward("reward_b", reward_b, given)])
    weight = _weight(given.transition, weighted)
    one, other = _unit(pair, canonical, given, norm, weight)
    value = float(length(one - other, norm if metric is None else metric, weight))
    return Estimate(value, 0.0, pair[0].numel(), value, value)


def epic(reward_a: Any, reward_b: Any, world: Any = None, **more: Any) -> Estimate:
    """EPIC's Pearson distance, sqrt((1 - correlation) / 2) in [0, 1]; ignores shaping and scale, not redistribution.

    Args:
        reward_a, reward_b, world: as for `starc`; sampled rewards must be functions of (state, action, after).
        more: transition, discount, policy, as for `starc`; `coverage`: "uniform" over (s, a, s'), or "transition" with
            s' ~ T. On sampled transitions: rows, draws, seed, level, as for `metrics.pearson.sampled_pearson`.

    Source: Gleave et al., EPIC, ICLR 2021; D_S uniform, D_A the policy.
    """
    return _pearson("epic", reward_a, reward_b, world, **more)


def dard(reward_a: Any, reward_b: Any, world: Any = None, **more: Any) -> Estimate:
    """DARD's Pearson distance, as `epic` with next states that the world can come to.

    On sampled transitions `lead(state, action)` must say where actions lead, as a simulator does.

    Source: Wulfe et al., Dynamics-aware comparison of learned reward functions, ICLR 2022.
    """
    return _pearson("dard", reward_a, reward_b, world, **more)


def srrd(reward_a: Any, reward_b: Any, world: Any = None, **more: Any) -> Estimate:
    """SRRD's Pearson distance, as `dard` with further states that the world leads to.

    Source: Nyanhongo et al., Reward distance comparisons under transition sparsity, TMLR 2025.
    """
    return _pearson("srrd", reward_a, reward_b, world, **more)


def pearson_distance(
    canonical: str,
    reward_a: Any,
    reward_b: Any,
    world: Any = None,
    *,
    transition: Any = None,
    discount: float | int | None = None,
    policy: Any = None,
    coverage: str = "uniform",
) -> Estimate:
    """sqrt((1 - correlation) / 2) of two canonical rewards of `CANONICAL`, in [0, 1]; as `epic`, which is that of "epic"."""
    if coverage not in ("uniform", "transition"):
        raise ValueError(f'`coverage` must be "uniform" or "transition", got {coverage!r}.')
    given = _world(world, transition, discount, policy)
    pair = torch.stack([_reward("reward_a", reward_a, given), _reward("reward_b", reward_b, given)])
    weight = _weight(given.transition, coverage == "transition")
    weight = torch.full_like(pair[0], 1 / pair[0].numel()) if weight is None else weight
    level = levelled(canonical, pair, given.transition, given.discount, given.policy)
    centred = level - (level * weight).sum((-3, -2, -1), keepdim=True)
    one, other = centred * (~_trivial(pair, centred, given.discount))[:, None, None, None]
    sizes = length(one, 2, weight) * length(other, 2, weight)
    share = float((weight * one * other).sum() / sizes) if float(sizes) > 0 else 0.0
    value = math.sqrt(max(0.0, (1 - share) / 2))
    return Estimate(value, 0.0, one.numel(), value, value)


def length(
    reward: Float[Tensor, "*b S A S"], p: float | int, weight: Float[Tensor, "S A S"] | None = None
) -> Float[Tensor, "*b"]:
    """(E |R|^p)^(1/p) under `weight`, or (sum |R|^p)^(1/p) without; for infinity, the largest where the weight is positive."""
    size = reward.abs()
    if math.isinf(p):
        size = size if weight is None else torch.where(weight > 0, size, torch.zeros_like(size))
        return size.amax((-3, -2, -1))
    total = size**p if weight is None else size**p * weight
    return total.sum((-3, -2, -1)) ** (1 / p)


class _World(NamedTuple):
    transition: Float[Tensor, "S A S"]
    discount: float
    policy: Float[Tensor, "S A"]


def _unit(
    pair: Float[Tensor, "G S A S"], name: str, given: _World, norm: float | int, weight: Tensor | None
) -> Float[Tensor, "G S A S"]:
    """Canonical rewards of length one; zero for a reward that ranks nothing."""
    level = levelled(name, pair, given.transition, given.discount, given.policy)
    size = length(level, norm, weight)
    # Pure shaping levels to rounding noise; scaled to length one it would look like a reward.
    nothing = _trivial(pair, level, given.discount)
    unit = level / torch.where(nothing, torch.ones_like(size), size)[:, None, None, None]
    return torch.where(nothing[:, None, None, None], torch.zeros_like(unit), unit)


def _trivial(reward: Float[Tensor, "G S A S"], level: Float[Tensor, "G S A S"], discount: float) -> Tensor:
    noise = 1e-11 * reward.abs().amax((-3, -2, -1)) / (1 - discount)
    return level.abs().amax((-3, -2, -1)) <= noise


def _weight(transition: Tensor, weighted: bool) -> Float[Tensor, "S A S"] | None:
    return transition / transition[..., 0].numel() if weighted else None


def _pearson(name: str, reward_a: Any, reward_b: Any, world: Any, **more: Any) -> Estimate:
    found = sampled_pearson if isinstance(world, Transitions) else pearson_distance
    return found(name, reward_a, reward_b, world, **more)


def _world(world: Any, transition: Any, discount: float | int | None, policy: Any) -> _World:
    if world is not None:
        if transition is not None or discount is not None:
            raise ValueError("give a world, or `transition` and `discount`, not both.")
        table = Table.of(world)
        step, discount = table.transition, table.discount
        far = (~reached(table)).nonzero()[:, 0]
        if len(far):
            raise ValueError(
                f"every state must be one that episodes come to; {len(far)} of {len(step)} are not, first state "
                f"{int(far[0])}: take `pluralign.tabular.without_unreached(world)` and leave out their rewards."
            )
    elif transition is None or discount is None:
        raise ValueError("a distance between rewards needs a world, or `transition` and `discount`.")
    else:
        step = torch.as_tensor(np.asarray(transition), dtype=torch.float64)
    if step.dim() != 3 or step.shape[0] != step.shape[2]:
        raise ValueError(f"`transition` must be (S, A, S), got {tuple(step.shape)}.")
    total = step.sum(-1)
    off = ((total - 1).abs() > 1e-6).nonzero()
    if len(off) or bool((step < 0).any()):
        at = off[0] if len(off) else (step < 0).any(-1).nonzero()[0]
        s, a = at.tolist()
        raise ValueError(
            f"`transition` rows must be chances that sum to one; {max(len(off), 1)} do not, first state {s}, action {a}: "
            f"{float(total[s, a]):.6g}. If episodes end there, take `pluralign.tabular.endless(world)`."
        )
    if not 0 <= discount < 1:
        raise ValueError(f"`discount` must be in [0, 1), got {discount}; give 0.99, not a horizon.")
    chance = uniform(step) if policy is None else torch.as_tensor(np.asarray(policy), dtype=torch.float64)
    if chance.shape != step.shape[:2] or bool(((chance.sum(-1) - 1).abs() > 1e-6).any()):
        raise ValueError(
            f"`policy` must be {tuple(step.shape[:2])} chances whose rows sum to one, got {tuple(chance.shape)}."
        )
    return _World(step, float(discount), chance)


def _reward(name: str, reward: Any, given: _World) -> Float[Tensor, "S A S"]:
    value = torch.as_tensor(
        reward if isinstance(reward, Tensor) else np.asarray(reward), dtype=torch.float64
    ).detach()
    shape = tuple(given.transition.shape)
    if tuple(value.shape) == shape[:2]:
        value = value[..., None].expand(shape)
    if tuple(value.shape) != shape:
        raise ValueError(f"`{name}` must be {shape} or {shape[:2]}, got {tuple(value.shape)}.")
    off = (~torch.isfinite(value)).nonzero()
    if len(off):
        raise ValueError(
            f"`{name}` must be finite; {len(off)} numbers are not, first at {tuple(off[0].tolist())}."
        )
    return value


__all__ = [
    "CANONICAL",
    "STARC",
    "dard",
    "epic",
    "length",
    "pearson_distance",
    "reward_distance",
    "srrd",
    "starc",
]
