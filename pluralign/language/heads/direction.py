"""Directions of several objectives: a user says how much of each, and answers are picked along it.

Source: Wang et al., Arithmetic control of LLMs for diverse user preferences: directional preference alignment, 2024.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.streams import Seed, Streams


def directions(
    count: int, first: float = -math.pi / 4, last: float = math.pi / 4, *, seed: Seed | None = None
) -> Float[Tensor, "count 2"]:
    """Unit vectors (cos a, sin a) over two objectives, the first always wanted; drawn at random where a seed is given.

    Args:
        count: how many. first, last: angles in radians, between no and equal weight of the second objective, or its opposite.
        seed: of angles drawn uniformly; None spaces them equally.
    """
    if not -math.pi / 2 <= first <= last <= math.pi / 2:
        raise ValueError(f"angles must rise within -pi/2..pi/2, got {first:.3g} and {last:.3g}.")
    if seed is None:
        angle = torch.linspace(first, last, count, dtype=torch.float64)
    else:
        draw = torch.rand(count, generator=Streams.of(seed)("angles"), dtype=torch.float64)
        angle = first + (last - first) * draw
    return torch.stack([angle.cos(), angle.sin()], -1)


def toward(scores: Float[Tensor, "*b K"], direction: Float[Tensor, "K"]) -> Float[Tensor, "*b"]:
    """The reward along a direction, which is made a unit vector."""
    if float(direction.norm()) == 0:
        raise ValueError("`direction` must not be all zeros; say what is wanted.")
    return scores.double() @ (direction.double() / direction.double().norm())


def picked(scores: Float[Tensor, "P n K"], direction: Float[Tensor, "V K"]) -> Int[Tensor, "V P"]:
    """For each direction the best of n answers to each prompt: what rejection-sampling fine-tuning is fed with."""
    unit = direction.double() / direction.double().norm(dim=-1, keepdim=True)
    return torch.einsum("pnk,vk->vpn", scores.double(), unit).argmax(-1)


def asked(direction: Float[Tensor, " K"], names: tuple[str, ...]) -> str:
    """The direction as words for a prompt, in hundredths."""
    unit = direction.double() / direction.double().norm()
    parts = [f"{name} {round(100 * value)}" for name, value in zip(names, unit.tolist(), strict=True)]
    return "Weigh: " + ", ".join(parts) + "."
