"""The normal distribution that comes nearest to a posterior, for every rater side by side."""

import math
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.population.grids import normal_grid
from pluralign.population.newton import solve
from pluralign.population.rows import Bucket, likelihood

NODES = 8  # of Gauss-Hermite quadrature, for pairs
POINTS = 16  # that stand for the worths of a longer slate


def posteriors(
    groups: list[Bucket],
    rule: ChoiceRule,
    mean: Float[Tensor, " Z"],
    precision: Float[Tensor, "Z Z"],
    raters: int,
    *,
    start: tuple[Float[Tensor, "R Z"], Float[Tensor, "R Z Z"]] | None = None,
    sweeps: int = 50,
    tolerance: float = 1e-13,
) -> tuple[Float[Tensor, "R Z"], Float[Tensor, "R Z Z"], Float[Tensor, " R"]]:
    """Every rater's posterior as the normal distribution nearest to it (smallest KL from it to the posterior).

    A fixed point: the gradient and the curvature of the log-likelihood, which Laplace's approximation takes at the
    mode, are expected values under the normal distribution itself (Opper and Archambeau 2009). With few answers a
    posterior leans away from its mode, and Laplace's spread of tastes comes out at a fraction of the true one.

    Returns:
        middle (R, Z), precision (R, Z, Z), and the expected log-likelihood of the answers (R,). Raters without
        answers keep the prior.
    """
    width = precision.shape[-1]
    if start is None:
        start = mean.expand(raters, width), precision.expand(raters, width, width)
    middle, sharp = mean.repeat(raters, 1), precision.repeat(raters, 1, 1)
    fit = torch.zeros(raters, dtype=precision.dtype)
    for group in groups:
        who = group.rater
        found = _group(group, rule, mean, precision, start[0][who], start[1][who], sweeps, tolerance)
        middle[who], sharp[who], fit[who] = found
    return middle, sharp, fit


def _group(
    group: Bucket,
    rule: ChoiceRule,
    mean: Tensor,
    precision: Tensor,
    middle: Tensor,
    sharp: Tensor,
    sweeps: int,
    tolerance: float,
) -> tuple[Tensor, Tensor, Tensor]:
    r, c, j, z = group.x.shape
    flat = group.x.reshape(r, c * j, z)
    label = group.label.reshape(r * c, -1)
    node, mass = _nodes(j)
    many = max(1, (1 << 18) // (r * c * j * j))  # nodes at once, while they fit the cache

    def expected(middle: Tensor, sharp: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-likelihood (r, c), its gradient (r, c, J) and curvature (r, c, J, J) in the worths."""
        side = torch.linalg.solve_triangular(torch.linalg.cholesky(sharp), flat.mT, upper=False)
        side = side.mT.reshape(r * c, j, z)
        eta = (flat @ middle[..., None]).reshape(r * c, j)
        root = side.square().sum(-1, keepdim=True).sqrt() if j == 1 else _root(side @ side.mT)
        total: list[Tensor] = []
        for some, weight in zip(node.split(many), mass.split(many)):
            at = eta + torch.einsum("mjk,sk->smj", root, some)
            if group.absent is not None:
                at = at.masked_fill(group.absent.reshape(r * c, j), -torch.inf)
            found = [torch.tensordot(weight, part, 1) for part in likelihood(rule, at, label)]
            total = found if not total else [a + b for a, b in zip(total, found)]
        value, slope, bend = total
        weight = group.weight
        return (
            value.reshape(r, c) * weight,
            slope.reshape(r, c, j) * weight[..., None],
            bend.reshape(r, c, j, j) * weight[..., None, None],
        )

    rate = torch.ones(r, dtype=flat.dtype)
    last = torch.full((r,), torch.inf, dtype=flat.dtype)
    there = torch.zeros(r, dtype=torch.bool)  # each rater rests alone: company changes nobody's posterior
    for _ in range(sweeps):
        _, slope, bend = expected(middle, sharp)
        gradient = (slope.reshape(r, 1, c * j) @ flat)[:, 0] - (middle - mean) @ precision
        bent = (bend @ group.x).reshape(r, c * j, z)
        goal = bent.mT @ flat + precision
        step = solve(goal, gradient)
        gain = (step * gradient).sum(-1).abs()
        rate = torch.where(gain > last, rate / 2, rate)  # overshot
        last = gain
        pace = torch.where(there, 0.0, rate)
        sharp = sharp + pace[:, None, None] * (goal - sharp)
        middle = middle + pace[:, None] * step
        there = there | (gain <= tolerance)
        if bool(there.all()):
            break
    return middle, sharp, expected(middle, sharp)[0].sum(1)


@cache
def _nodes(places: int) -> tuple[Float[Tensor, "S J"], Float[Tensor, " S"]]:
    if places == 1:
        node, mass = np.polynomial.hermite_e.hermegauss(NODES)
        return torch.from_numpy(node)[:, None], torch.from_numpy(mass) / math.sqrt(2 * math.pi)
    return normal_grid(POINTS, places), torch.full((POINTS,), 1 / POINTS, dtype=torch.float64)


def _root(covariance: Float[Tensor, "M J J"]) -> Float[Tensor, "M J J"]:
    size = torch.diagonal(covariance, dim1=-2, dim2=-1).amax(-1).clamp_min(1e-30)
    eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype)
    return torch.linalg.cholesky(covariance + 1e-9 * size[:, None, None] * eye)
