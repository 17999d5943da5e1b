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
from pluralign.tabular.solving import best, occupancy
from pluralign.tabular.table import Table, unrolled
from pluralign.utility import Worth


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
        states = len(self.chance)
        state = np.asarray(observation)
        if state.size != len(state) or (state < 0).any() or (state >= states).any():
            raise ValueError(
                f"observations must be (B,) numbers of states below {states}, got shape {state.shape}; the policy "
                "belongs to another world."
            )
        state = state.reshape(-1).astype(np.int64)
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
        begin = None
        for first in several(start)[:1]:
            begin = self._checked(first).argmax(1)
        choice = best(self.table.transition, reward, self.table.discount, start=begin, progress=progress)
        return TabularPolicy(torch.nn.functional.one_hot(choice, reward.shape[1]).double())

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
        return occupancy(self.table, self._checked(policy))

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
