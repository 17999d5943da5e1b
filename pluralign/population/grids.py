"""Points that stand for a normal distribution, and factors of its covariance."""

import torch
from jaxtyping import Float
from torch import Tensor


def normal_grid(count: int, width: int) -> Float[Tensor, "S Z"]:
    """Standard normal draws that fill space evenly: scrambled Sobol points, in antithetic pairs."""
    half = (count + 1) // 2
    points = torch.quasirandom.SobolEngine(width, scramble=True, seed=0).draw(half, dtype=torch.float64)
    noise = torch.special.ndtri(points.clamp(1e-6, 1 - 1e-6))
    return torch.cat([noise, -noise])[:count]


def root(covariance: Float[Tensor, "*b Z Z"]) -> Float[Tensor, "*b Z Z"]:
    """A factor A with A A' = covariance, also where the covariance is singular."""
    size, side = torch.linalg.eigh(covariance)
    return side * size.clamp_min(0.0).sqrt()[..., None, :]


def inverse(covariance: Float[Tensor, "Z Z"]) -> Float[Tensor, "Z Z"]:
    """The precision; directions without variance are held fast, not divided by zero."""
    size, side = torch.linalg.eigh(covariance)
    floor = 1e-9 * size[-1].clamp_min(1e-12)
    return (side / size.clamp_min(floor)) @ side.T
