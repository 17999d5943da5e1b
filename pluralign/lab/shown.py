"""What people are shown in a world: pieces of what a random policy and a few half-trained ones do."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.lab.beds import Bed
from pluralign.lab.maze_people import wander
from pluralign.policies.learners.ppo import PPO
from pluralign.raters.presets import MINDED
from pluralign.rewards import known_voices
from pluralign.streams import Streams

BEHAVIOURS = 4  # policies trained for random tastes
NOBODY = 1e6  # a factor on this many times its scale counts for nothing


class Shown(NamedTuple):
    """Segments to compare, and the typical difference between two of them in each factor (F,)."""

    segments: Segments
    scale: Float[Tensor, " F"]


def collect(bed: Bed, learner: PPO, count: int, streams: Streams) -> Shown:
    """`count` segments of `bed.window` steps: two fifths of random behaviour, the rest of behaviour with a purpose.

    In a maze the random part begins anywhere in it, so that every goal is seen. Scales are measured and not
    assumed: the standard deviation of the sums over these segments.

    Raises:
        ValueError: no two segments differ in some goal or cost.
    """
    from pluralign_envs import make_world

    world = make_world(bed.world)
    aimless = -(-count * 2 // 5)
    if hasattr(world, "twin"):
        factors = wander(aimless, bed.window, streams.below("wander"), bed.world).factors
    else:
        seen = learner.rollout(learner.random(), 32, seed=streams.number("random"))
        factors = windows(seen, aimless, bed.window, streams.number("aimless"))
    tastes = _tastes(bed, factors, streams)
    parts = [factors]
    for b, taste in enumerate(tastes):
        policy = learner.improve(
            known_voices(taste[None]), torch.ones(1), seed=streams.number("behaviour", b)
        )
        seen = learner.rollout(policy, 32, seed=streams.number("behave", b))
        part = (count - aimless) * (b + 1) // len(tastes) - (count - aimless) * b // len(tastes)
        parts.append(windows(seen, part, bed.window, streams.number("windows", b)))
    names = tuple(factor.name for factor in world.factors)
    ids = tuple(f"s{n:04d}" for n in range(count))
    segments = Segments(torch.cat(parts).float(), ids=ids, names=names)
    scale = segments.factors.double().sum(1).std(0)
    for name, size in zip(names, scale.tolist()):
        if name in (*bed.goals, *bed.costs) and not size > 0:
            raise ValueError(
                f"no two of {count} segments differ in {name}; show more of them, or train longer."
            )
    return Shown(segments, scale)


def windows(seen: Segments, count: int, steps: int, seed: int) -> Float[Tensor, "count steps F"]:
    """Pieces of episodes, from random episodes and moments.

    Raises:
        ValueError: every episode is shorter.
    """
    length = (
        torch.full((len(seen),), seen.factors.shape[1]) if seen.mask is None else seen.mask.sum(1)
    ).numpy()
    long = np.flatnonzero(length >= steps)
    if not len(long):
        raise ValueError(f"segments have {steps} steps and the longest episode has {int(length.max())}.")
    rng = np.random.default_rng(seed)
    episode = rng.choice(long, count)
    begin = (rng.random(count) * (length[episode] - steps + 1)).astype(int)
    at = torch.as_tensor(begin[:, None] + np.arange(steps))
    return seen.factors[torch.as_tensor(episode)[:, None], at]


def pieces(episodes: Segments, length: int, *, generator: torch.Generator) -> Segments:
    """One piece of at most `length` steps out of each episode, from a random step on."""
    count, steps, _ = episodes.factors.shape
    there = torch.full((count,), steps) if episodes.mask is None else episodes.mask.sum(1)
    room = (there - length).clamp_min(0)
    begin = (torch.rand(count, generator=generator, dtype=torch.float64) * (room + 1)).long()
    index = begin[:, None] + torch.arange(min(length, steps))
    mask = index < there[:, None]
    kept = index.clamp_max(steps - 1)[..., None].expand(-1, -1, episodes.factors.shape[2])
    factors = episodes.factors.gather(1, kept) * mask[..., None]
    return Segments(factors.double(), mask, names=episodes.names)


def longer(old: Segments, new: Segments) -> Segments:
    """Both sets of pieces; the shorter ones are filled up with steps that do not exist."""
    steps = max(old.factors.shape[1], new.factors.shape[1])

    def padded(x: Segments) -> tuple[Tensor, Tensor]:
        mask = torch.ones(x.factors.shape[:2], dtype=torch.bool) if x.mask is None else x.mask
        more = steps - mask.shape[1]
        pad = torch.nn.functional.pad
        return pad(x.factors.double(), (0, 0, 0, more)), pad(mask, (0, more))

    factors, mask = (torch.cat(x) for x in zip(padded(old), padded(new)))
    return Segments(factors, mask, names=new.names)


def signed(bed: Bed, scale: Float[Tensor, " F"]) -> dict[str, float]:
    """Every factor with its scale, as `preset` wants it: negative for costs; what nobody minds counts for nothing."""
    # What nobody minds may never have been seen to differ, and then its spread is no scale.
    return {
        name: sign * value if sign else -NOBODY * max(value, 1.0)
        for (name, sign), value in zip(bed.signs().items(), scale.tolist(), strict=True)
    }


def _tastes(bed: Bed, factors: Tensor, streams: Streams) -> Float[Tensor, "B F"]:
    """Random directions among the goals, each at the costs that all mind, in units of how factors vary so far."""
    scale = factors.double().sum(1).std(0)
    scale = torch.where(scale > 1e-6, scale, torch.ones_like(scale))
    sign = torch.tensor(list(bed.signs().values()), dtype=torch.float64)
    way = torch.randn(BEHAVIOURS, len(scale), generator=streams("tastes"), dtype=torch.float64)
    way = way * (sign > 0)
    way = way / way.norm(dim=1, keepdim=True)
    return (way - MINDED * (sign < 0)) / scale
