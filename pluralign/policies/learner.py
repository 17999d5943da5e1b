"""The contract between optimisers (MaxMin, Single, Personalised) and what finds good policies (tabular, PPO)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.population.voices import Voices
from pluralign.streams import Seed

Progress = Callable[[int], Any]  # told how much more is done; `tqdm(total=...).update` is one


@runtime_checkable
class Policy(Protocol):
    """Observations (B, ...) to actions (B, ...). A policy that draws its actions needs the generator."""

    def act(self, observation: np.ndarray, *, generator: np.random.Generator | None = None) -> np.ndarray: ...

    def save(self, folder: str | Path) -> None: ...


Start = Policy | Sequence[Policy] | None


@runtime_checkable
class Learner(Protocol):
    """Frozen settings of a way to find good policies in one world.

    `improve` returns the best policy found for the reward sum_g weight[g] r_g. It may go on from `start`: one policy,
    or several, of which the one that does best where an episode begins is the one to begin with.
    `returns` is (E, G), the discounted return of E episodes for every voice; an exact learner returns its
    expectation, (1, G). Equal seeds mean equal episodes where that is possible, so that policies are compared on
    the same luck. A learner may have an attribute `known`, policies found before: lotteries may play them as any other.
    """

    def improve(
        self,
        voices: Voices,
        weight: Float[Tensor, " G"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> Policy: ...

    def returns(self, policy: Policy, voices: Voices, *, seed: Seed = 0) -> Float[Tensor, "E G"]: ...

    def random(self) -> Policy: ...


@runtime_checkable
class Simulator(Protocol):
    """A learner that can also show what a policy does."""

    def rollout(self, policy: Policy, episodes: int, *, seed: Seed = 0) -> Segments: ...


@runtime_checkable
class Personal(Protocol):
    """A policy for every taste: `act(observation, z)` with one taste for all or one each; `of(z)` fixes it."""

    def act(
        self,
        observation: np.ndarray,
        z: Float[Tensor, "*B Z"],
        *,
        generator: np.random.Generator | None = None,
    ) -> np.ndarray: ...

    def of(self, z: Float[Tensor, " Z"]) -> Policy: ...


def several(start: Start) -> tuple[Policy, ...]:
    """The policies to go on from, none, one or many."""
    if start is None:
        return ()
    return tuple(start) if isinstance(start, Sequence) else (start,)


def discounted(voices: Voices, segments: Segments, discount: float) -> Float[Tensor, "E G"]:
    """(E, G) what each voice, true or learned, thinks of the same episodes."""
    return segments.pool(voices.reward(segments.factors), discount)


def checked_weight(weight: Float[Tensor, " *G"], voices: Voices) -> Float[Tensor, " G"]:
    """Weights in float64 that sum to one; only their proportions matter to a best policy.

    Raises:
        ValueError: another number than there are voices, something negative, or nothing positive.
    """
    if weight.shape != (len(voices),):
        raise ValueError(
            f"`weight` must have one number for each of the {len(voices)} voices, got shape {tuple(weight.shape)}."
        )
    if not bool(torch.isfinite(weight).all()) or bool((weight < 0).any()) or not float(weight.sum()) > 0:
        raise ValueError(
            f"`weight` must be finite, not negative, and not all zero, got {weight.tolist()}; to punish what a "
            "voice likes, give a voice of opposite taste."
        )
    return weight.double() / weight.double().sum()
