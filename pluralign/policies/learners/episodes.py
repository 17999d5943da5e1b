"""Whole episodes of a world under a policy, and the random policy; what learners with a simulator share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.policies.learner import Policy
from pluralign.policies.learners.batch import World, made, played
from pluralign.policies.saving import save_policy
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class RandomPolicy:
    """Uniformly random actions: numbers between low and high, or one of `count`."""

    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]
    count: int = 0

    def act(self, observation: np.ndarray, *, generator: np.random.Generator | None = None) -> np.ndarray:
        if generator is None:
            raise ValueError(
                "this policy draws its actions: give act(..., generator=np.random.default_rng(0))."
            )
        if self.count:
            return generator.integers(self.count, size=len(observation))
        size = (len(observation), len(self.low))
        return generator.uniform(self.low.numpy(), self.high.numpy(), size).astype(np.float32)

    def save(self, folder: Any) -> None:
        """Write JSON + safetensors into a new folder."""
        save_policy(self, folder)


def random_policy(world: World) -> RandomPolicy:
    """Uniformly random actions of this world."""
    env = made(world, 1)
    space = env.single_action_space
    env.close()
    if hasattr(space, "n"):
        return RandomPolicy(torch.zeros(0), torch.zeros(0), int(space.n))
    return RandomPolicy(torch.as_tensor(space.low), torch.as_tensor(space.high))


def named(world: World) -> str:
    """The id of a world; empty where it is a function."""
    return world if isinstance(world, str) else ""


def check_home(policy: Any, world: World) -> None:
    """Refuse a policy that was trained in another world, which may have observations and actions of the same size.

    Raises:
        ValueError: it was.
    """
    home = getattr(policy, "world", "")
    if home and named(world) and home != named(world):
        raise ValueError(
            f"the policy was trained in {home} and is to act in {world}; load one of this world."
        )


def episodes_of(world: World, policy: Policy, count: int, *, seed: Seed, longest: int) -> Segments:
    """Episodes from reset to end, all at once; equal seeds give equal first states.

    Raises:
        ValueError: the policy was trained in another world.
    """
    check_home(policy, world)
    streams = Streams.of(seed)
    env = made(world, count)
    generator = np.random.default_rng(streams.number("act"))
    try:
        act = lambda observation: policy.act(observation, generator=generator)
        with one_thread():
            seen = played(env, act, seed=streams.number("episodes") % 2**31, longest=longest)
        names = tuple(getattr(env, "factor_names", ()))
    finally:
        env.close()
    mask = seen["mask"]
    return Segments(
        seen["factors"],
        None if bool(mask.all()) else mask,
        observation=seen["observation"].float(),
        action=seen["action"].float(),
        names=names,
    )


def happened(seen: Segments) -> Float[Tensor, "n F"]:
    """The factors of all steps that there were."""
    return seen.factors.flatten(0, 1) if seen.mask is None else seen.factors[seen.mask]


def reading(seen: Segments) -> tuple[Float[Tensor, " O"], Float[Tensor, " O"]]:
    """Centre and scale by which a network reads observations like these."""
    if seen.observation is None:
        raise ValueError("the segments hold no observations; record them together with the factors.")
    rows = seen.observation.flatten(0, 1)
    if seen.mask is not None:
        rows = rows[seen.mask.flatten()]
    if len(rows) < 2:
        raise ValueError(
            "the simulation became unstable in the first step of nearly every random episode; give the world a shorter "
            "time step or weaker motors."
        )
    return rows.mean(0), rows.std(0).clamp_min(1e-3)


@contextmanager
def one_thread() -> Iterator[None]:
    """Small networks are slower on many threads, and their sums are then added in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
