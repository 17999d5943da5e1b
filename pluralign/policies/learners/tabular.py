"""Small worlds with known transitions: best policies and returns to rounding, no sampling."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.policies.learner import Policy, Progress, Start, checked_weight, several
from pluralign.policies.saving import save_policy
from pluralign.population.voices import Voices
from pluralign.streams import Seed, Streams
from pluralign.utility import Worth


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
        total = self.transition.sum(-1)
        off = ((total > 1 + 1e-9) | (self.transition < 0).any(-1)).nonzero()
        if len(off):
            s, a = off[0].tolist()
            raise ValueError(
                f"`transition` rows must be chances that sum to one at most; {len(off)} are not, first state {s}, "
                f"action {a}: {float(total[s, a])}."
            )
        if abs(float(self.start.sum()) - 1) > 1e-9 or bool((self.start < 0).any()):
            raise ValueError(
                f"`start` must be chances that sum to one, got {float(self.start.sum())} in total."
            )
        if not 0 <= self.discount <= 1:
            raise ValueError(f"`discount` must be in [0, 1], got {self.discount}; give 0.99, not a horizon.")
        if self.discount == 1 and bool((total >= 1 - 1e-9).all()):
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


@dataclass(frozen=True)
class TabularPolicy:
    """chance[s, a] of action a in state s; observations are numbers of states."""

    chance: Float[Tensor, "S A"]

    def __post_init__(self) -> None:
        off = ((self.chance.sum(1) - 1).abs() > 1e-6) | (self.chance < 0).any(1)
        if bool(off.any()):
            s = int(off.nonzero()[0, 0])
            raise ValueError(
                f"`chance` rows must be chances that sum to one, state {s} has {self.chance[s].tolist()}."
            )

    def act(self, observation: np.ndarray, *, generator: np.random.Generator | None = None) -> np.ndarray:
        """(B,) or (B, 1) states to (B,) actions."""
        state = np.asarray(observation).reshape(len(observation)).astype(np.int64)
        chance = self.chance.numpy()[state]
        if (chance.max(1) == 1).all():
            return chance.argmax(1)
        if generator is None:
            raise ValueError(
                "this policy draws its actions: give act(..., generator=np.random.default_rng(0))."
            )
        return (chance.cumsum(1) < generator.random((len(state), 1)) * chance.sum(1, keepdims=True)).sum(1)

    def save(self, folder: str | Path) -> None:
        """Write JSON + safetensors into a new folder."""
        save_policy(self, folder)


@dataclass(frozen=True)
class Tabular:
    """Exact best policies and returns by policy iteration (Howard 1960) with linear solves.

    Attributes:
        world: a `Table`, or anything with the same attributes, for example a twin of pluralign_envs.
    """

    world: Any

    @cached_property
    def table(self) -> Table:
        return Table.of(self.world)

    @property
    def discount(self) -> float:
        return self.table.discount

    def rewards(self, voices: Voices) -> Float[Tensor, "S A G"]:
        """Expected utils of each step, exact for rewards linear in the factors."""
        return voices.reward(self.table.factors).double()

    def improve(
        self,
        voices: Voices,
        weight: Float[Tensor, " G"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> TabularPolicy:
        """The best policy, exactly. A (first) `start` that is already best is kept."""
        del seed
        reward = self.rewards(voices) @ checked_weight(weight, voices)
        states, actions = reward.shape
        choice = torch.zeros(states, dtype=torch.long)
        for first in several(start)[:1]:
            choice = self._checked(first).argmax(1)
        here = torch.arange(states)
        for _ in range(10 * states + 100):
            value = self._solve(self.table.transition[here, choice], reward[here, choice])
            worth = reward + self.table.discount * self.table.transition @ value
            # Only a gain beyond rounding counts, or two equal actions would take turns for ever.
            noise = 1e-11 * (1 + worth.abs().max())
            better = worth.amax(1) > worth[here, choice] + noise
            if progress is not None:
                progress(1)
            if not bool(better.any()):
                return TabularPolicy(torch.nn.functional.one_hot(choice, actions).double())
            choice = torch.where(better, worth.argmax(1), choice)
        raise RuntimeError("policy iteration did not settle; look for rewards of very different size.")

    def random(self) -> TabularPolicy:
        """Every action equally likely."""
        states, actions, _ = self.table.factors.shape
        return TabularPolicy(torch.full((states, actions), 1 / actions, dtype=torch.float64))

    def returns(self, policy: Policy, voices: Voices, *, seed: Seed = 0) -> Float[Tensor, "1 G"]:
        """(1, G) expected discounted returns, exact."""
        del seed
        return torch.einsum("sa,sag->g", self.occupancy(policy), self.rewards(voices))[None]

    def personalise(
        self,
        worth: Worth,
        tastes: Float[Tensor, "K Z"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> "PersonalTable":
        """Nothing to train: the best policy for a taste is worked out when it is asked for."""
        del tastes, seed, start, progress
        return PersonalTable(self, worth)

    def occupancy(self, policy: Policy) -> Float[Tensor, "S A"]:
        """Discounted expected number of times that each action is taken in each state."""
        chance = self._checked(policy)
        step = torch.einsum("sa,saz->sz", chance, self.table.transition)
        visits = self._solve(step.T, self.table.start)
        return visits[:, None] * chance

    def rollout(self, policy: Policy, episodes: int, *, seed: Seed = 0) -> Segments:
        """Episodes as they happen; `observation` holds states and `action` actions, as numbers."""
        self._checked(policy)
        stream = Streams.of(seed)
        starts, moves, acts = (
            np.random.default_rng(stream.number(n)) for n in ("start", "transition", "action")
        )
        pick = lambda chance, u: (chance.cumsum(-1) < u[:, None]).sum(-1)
        start, transition = self.table.start.numpy(), self.table.transition.numpy()
        state = pick(np.broadcast_to(start, (episodes, len(start))), starts.random(episodes))
        state = np.minimum(state, len(start) - 1)
        there = np.ones(episodes, dtype=bool)
        seen: list[tuple[np.ndarray, ...]] = []
        for _ in range(self.table.horizon):
            action = policy.act(state, generator=acts)
            seen.append((state, action, there))
            arrived = pick(transition[state, action], moves.random(episodes))
            there = there & (arrived < len(start))  # what is left of the chance is the end
            state = np.minimum(arrived, len(start) - 1)
        states, actions, mask = (torch.as_tensor(np.stack(x, 1)) for x in zip(*seen))
        factors = self.table.factors[states, actions] * mask[..., None]
        return Segments(
            factors,
            None if bool(mask.all()) else mask,
            observation=states[..., None].double(),
            action=actions[..., None].double(),
            names=self.table.factor_names,
        )

    def _solve(self, step: Float[Tensor, "S S"], right: Float[Tensor, " S"]) -> Float[Tensor, " S"]:
        return torch.linalg.solve(
            torch.eye(len(step), dtype=torch.float64) - self.table.discount * step, right
        )

    def _checked(self, policy: Policy) -> Float[Tensor, "S A"]:
        shape = tuple(self.table.factors.shape[:2])
        chance = getattr(policy, "chance", None)
        if not isinstance(policy, TabularPolicy) or chance is None or tuple(chance.shape) != shape:
            found = f"{tuple(chance.shape)}" if isinstance(chance, Tensor) else type(policy).__name__
            raise ValueError(
                f"the policy must be a TabularPolicy for {shape[0]} states and {shape[1]} actions, got {found}; "
                "it belongs to another world."
            )
        return chance.double()


__all__ = ["Table", "Tabular", "TabularPolicy", "unrolled"]


@dataclass(frozen=True)
class PersonalTable:
    """The exactly best policy for every taste."""

    learner: Tabular
    worth: Worth

    def of(self, z: Float[Tensor, " Z"]) -> TabularPolicy:
        """The policy for one taste; its size does not matter."""
        one = torch.ones(1, dtype=torch.float64)
        return self.learner.improve(Voices(self.worth, z[None].double(), one), one)

    def act(
        self,
        observation: np.ndarray,
        z: Float[Tensor, "*B Z"],
        *,
        generator: np.random.Generator | None = None,
    ) -> np.ndarray:
        """(B,) states to (B,) actions that serve taste z, (Z,) for all or (B, Z) for each."""
        if z.dim() == 1:
            return self.of(z).act(observation, generator=generator)
        if len(z) != len(observation):
            raise ValueError(
                f"`z` must be one taste or one for each of the {len(observation)} observations, got {len(z)}."
            )
        kinds, mine = torch.unique(z, dim=0, return_inverse=True)
        action = np.zeros(len(observation), dtype=np.int64)
        for k, kind in enumerate(kinds):
            rows = (mine == k).numpy()
            action[rows] = self.of(kind).act(np.asarray(observation)[rows], generator=generator)
        return action
