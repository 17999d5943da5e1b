"""Finite worlds as arrays: chances, a start, factors, a discount; and what makes one out of another."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Table:
    """S states, A actions, F factors; a step from s by a is expected to publish factors[s, a].

    Returns are discounted sums without end, which must be finite: discount below one, or an end that every policy
    reaches. A bandit is one state with discount zero.

    Attributes:
        transition: (S, A, S), rows sum to one, or to less where the episode may end.
        start: (S,), sums to one. factors: (S, A, F). discount: per step, in [0, 1].
        horizon: steps of an episode when one is played; returns do not depend on it.
    """

    transition: Float[Tensor, "S A S"]
    start: Float[Tensor, " S"]
    factors: Float[Tensor, "S A F"]
    discount: float
    factor_names: tuple[str, ...] = ()
    horizon: int = 100

    def __post_init__(self) -> None:
        for name in ("transition", "start", "factors"):
            object.__setattr__(self, name, getattr(self, name).double())
        total = self.transition.sum(-1)
        off = ((total > 1 + 1e-6) | (self.transition < 0).any(-1)).nonzero()
        if len(off):
            s, a = off[0].tolist()
            raise ValueError(
                f"`transition` rows must be chances that sum to one at most; {len(off)} are not, first state {s}, "
                f"action {a}: {float(total[s, a])}."
            )
        if abs(float(self.start.sum()) - 1) > 1e-6 or bool((self.start < 0).any()):
            raise ValueError(
                f"`start` must be chances that sum to one, got {float(self.start.sum())} in total."
            )
        if not 0 <= self.discount <= 1:
            raise ValueError(f"`discount` must be in [0, 1], got {self.discount}; give 0.99, not a horizon.")
        if self.discount == 1 and bool((total >= 1 - 1e-6).all()):
            raise ValueError("With `discount` 1 and no end the returns are infinite; see `unrolled`.")
        if not bool(torch.isfinite(self.factors).all()):
            raise ValueError("`factors` must be finite.")

    @staticmethod
    def of(world: Any) -> "Table":
        """From anything that has transition, start, factors and discount, as arrays or tensors."""
        if isinstance(world, Table):
            return world
        missing = [n for n in ("transition", "start", "factors", "discount") if not hasattr(world, n)]
        if missing:
            raise TypeError(
                f"a tabular world has transition (S, A, S), start (S,), factors (S, A, F) and discount; "
                f"{type(world).__name__} has no {', '.join(missing)}."
            )
        tensor = lambda x: torch.as_tensor(np.asarray(x), dtype=torch.float64)
        return Table(
            tensor(world.transition),
            tensor(world.start),
            tensor(world.factors),
            float(world.discount),
            tuple(getattr(world, "factor_names", ())),
            int(getattr(world, "horizon", 100)),
        )

    @staticmethod
    def bandit(factors: Float[Tensor, "A F"]) -> "Table":
        """One decision among A actions."""
        one = torch.ones(1, dtype=torch.float64)
        return Table(
            one.expand(1, len(factors), 1).clone(), one, factors[None].double(), discount=0.0, horizon=1
        )


def unrolled(world: Any, horizon: int) -> Table:
    """The same world ended after `horizon` steps: a state is a state at a step, S * horizon in all.

    Memory grows with the square of that, so this is for small worlds.
    """
    table = Table.of(world)
    states, actions, _ = table.transition.shape
    transition = torch.zeros(horizon, states, actions, horizon, states, dtype=torch.float64)
    for step in range(horizon - 1):
        transition[step, :, :, step + 1] = table.transition
    start = torch.zeros(horizon, states, dtype=torch.float64)
    start[0] = table.start
    return Table(
        transition.reshape(horizon * states, actions, horizon * states),
        start.reshape(-1),
        table.factors.repeat(horizon, 1, 1),
        table.discount,
        table.factor_names,
        horizon,
    )


def endless(world: Any) -> Table:
    """The same world with one more state, in which every end ends: it publishes nothing and is never left.

    Distances between rewards are about worlds without an end. Shaping such a world means a potential of zero there.
    """
    table = Table.of(world)
    states, actions, width = table.factors.shape
    transition = torch.zeros(states + 1, actions, states + 1, dtype=torch.float64)
    transition[:states, :, :states] = table.transition
    transition[:states, :, states] = (1 - table.transition.sum(-1)).clamp_min(0.0)
    transition[states, :, states] = 1.0
    nothing = torch.zeros(1, actions, width, dtype=torch.float64)
    start = torch.cat([table.start, torch.zeros(1, dtype=torch.float64)])
    return replace(table, transition=transition, start=start, factors=torch.cat([table.factors, nothing]))


def reached(world: Any) -> Bool[Tensor, " S"]:
    """Which states an episode can come to."""
    table = Table.of(world)
    step = (table.transition > 0).any(1)
    here = table.start > 0
    for _ in range(len(here)):
        there = here | step[here].any(0)
        if bool((there == here).all()):
            break
        here = there
    return here


def without_unreached(world: Any) -> Table:
    """The world without the states that no episode comes to."""
    table = Table.of(world)
    kept = reached(table)
    return replace(
        table,
        transition=table.transition[kept][:, :, kept],
        start=table.start[kept],
        factors=table.factors[kept],
    )
