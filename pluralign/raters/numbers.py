"""Random numbers by address: one stream per person, whoever else is asked and in whatever batches.

A counter-based generator: the number is a hash of (seed, person, question, ...), so nothing has to be drawn
in order. The mixing function is that of SplitMix64 (Steele, Lea and Flood 2014).
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def bits(base: int, *address: Int[Tensor, "..."]) -> np.ndarray:
    """64 random bits for every address; the parts of the address broadcast."""
    state = np.array([base % 2**64], dtype=np.uint64)
    for part in address:
        state = _mix(state + (np.atleast_1d(part.numpy()).astype(np.uint64) + np.uint64(1)) * GOLDEN)
    return state


def uniform(base: int, *address: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Numbers in (0, 1), never an end, float64; the parts of the address broadcast."""
    return torch.from_numpy(((bits(base, *address) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


def normal(base: int, *address: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Standard normal numbers, float64; the parts of the address broadcast."""
    return torch.special.ndtri(uniform(base, *address))


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
