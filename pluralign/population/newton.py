"""Newton's method for tastes: one for a weighted crowd, or one for every rater at once."""

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.population.rows import Bucket, Rows, likelihood


def crowd_step(
    rows: Rows,
    taste: Float[Tensor, "C Z"],
    weight: Float[Tensor, "C M"] | None,
    ridge: Float[Tensor, "Z"] | float,
    centre: Float[Tensor, "C Z"] | Float[Tensor, "Z"] | float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Value (C,), gradient (C, Z) and curvature (C, Z, Z) of the penalised log-likelihood of C crowds.

    `weight` says how much of each answer belongs to each crowd; the penalty is ridge/2 * |taste - centre|^2.
    """
    value, slope, bend = likelihood(rows.rule, rows.eta(taste), rows.label)
    mine = torch.ones_like(value) if weight is None else weight
    mine = rows.weighted(mine)
    x = rows.x.reshape(-1, rows.width)
    gradient = (mine[..., None] * slope).reshape(len(taste), -1) @ x
    if bend.shape[-1] == 1:
        scaled = (mine * bend[..., 0, 0])[..., None] * x
        curvature = scaled.mT @ x
    else:
        bent = torch.einsum("cm,cmjk,mkz->cmjz", mine, bend, rows.x).reshape(len(taste), -1, rows.width)
        curvature = bent.mT @ x
    gap = taste - centre
    strength = torch.as_tensor(ridge, dtype=taste.dtype).expand(rows.width)
    total = (mine * value).sum(-1) - (strength * gap.square()).sum(-1) / 2
    return total, gradient - strength * gap, curvature + torch.diag(strength)


def crowd(
    rows: Rows,
    start: Float[Tensor, "C Z"],
    weight: Float[Tensor, "C M"] | None = None,
    *,
    ridge: Float[Tensor, "Z"] | float,
    centre: Tensor | float = 0.0,
    sweeps: int = 50,
    tolerance: float = 1e-10,
) -> Float[Tensor, "C Z"]:
    """The penalised maximum-likelihood taste of each of C crowds, by Newton with halved steps."""
    taste = start
    value, gradient, curvature = crowd_step(rows, taste, weight, ridge, centre)
    for _ in range(sweeps):
        step = solve(curvature, gradient)
        gain = (step * gradient).sum(-1) / 2  # what a quadratic would gain
        if bool((gain <= tolerance * (1 + value.abs())).all()):
            taste = taste + step  # nothing to gain for the value, but it squares the error of the taste
            break
        share = torch.ones_like(value)
        for _ in range(30):
            new = crowd_step(rows, taste + share[:, None] * step, weight, ridge, centre)
            worse = ~(new[0] >= value - 1e-9 * value.abs())
            if not bool(worse.any()):
                break
            share = torch.where(worse, share / 2, share)
        taste = taste + share[:, None] * step
        value, gradient, curvature = new
    return taste


def information(rows: Rows, curve: Float[Tensor, "C M J J"]) -> Float[Tensor, "C Z Z"]:
    """Sum over answers of x' curve x, as one large product for every pair of places: many small ones are slow."""
    total = torch.zeros(len(curve), rows.width, rows.width, dtype=curve.dtype)
    for j in range(curve.shape[-1]):
        for k in range(j, curve.shape[-1]):
            part = (curve[:, :, j, k, None] * rows.x[:, j]).mT @ rows.x[:, k]
            total += part if j == k else part + part.mT
    return total


def solve(curvature: Float[Tensor, "*b Z Z"], gradient: Float[Tensor, "*b Z"]) -> Float[Tensor, "*b Z"]:
    """Solve a positive semi-definite system; directions without information get no step."""
    factor, fail = torch.linalg.cholesky_ex(curvature)
    if not bool(fail.any()):
        return torch.cholesky_solve(gradient[..., None], factor)[..., 0]
    size, side = torch.linalg.eigh(curvature)
    floor = size[..., -1:].clamp_min(1e-300) * 1e-10
    inverse = torch.where(size > floor, 1 / size.clamp_min(1e-300), 0.0)
    return (side * inverse[..., None, :] @ (side.mT @ gradient[..., None]))[..., 0]


def modes(
    groups: list[Bucket],
    rule: ChoiceRule,
    mean: Float[Tensor, "R Z"] | Float[Tensor, "Z"],
    precision: Float[Tensor, "Z Z"],
    raters: int,
    *,
    start: Float[Tensor, "R Z"] | None = None,
    sweeps: int = 30,
    tolerance: float = 1e-8,
) -> tuple[Float[Tensor, "R Z"], Float[Tensor, "R Z Z"], Float[Tensor, " R"]]:
    """Every rater's most probable taste under a normal prior, all raters at once.

    Returns:
        mode (R, Z), the curvature there (R, Z, Z), whose inverse is the Laplace covariance, and the
        log-likelihood of the answers at the mode (R,). Raters without answers keep the prior.
    """
    width = precision.shape[-1]
    mean = mean.expand(raters, width)
    mode = mean.clone() if start is None else start.clone()
    curvature = precision.expand(raters, width, width).clone()
    fit = torch.zeros(raters, dtype=precision.dtype)
    for group in groups:
        who = group.rater
        found = _group_modes(group, rule, mean[who], precision, mode[who], sweeps, tolerance)
        mode[who], curvature[who], fit[who] = found
    silent = torch.ones(raters, dtype=torch.bool)
    for group in groups:
        silent[group.rater] = False
    mode[silent] = mean[silent]
    return mode, curvature, fit


def _group_modes(
    group: Bucket,
    rule: ChoiceRule,
    mean: Tensor,
    precision: Tensor,
    mode: Tensor,
    sweeps: int,
    tolerance: float,
) -> tuple[Tensor, Tensor, Tensor]:
    r, c, j, z = group.x.shape
    flat = group.x.reshape(r, c * j, z)
    label = group.label.reshape(r * c, -1)

    def at(taste: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        eta = (flat @ taste[..., None]).reshape(r * c, j)
        if group.absent is not None:
            eta = eta.masked_fill(group.absent.reshape(r * c, j), -torch.inf)
        value, slope, bend = likelihood(rule, eta, label)
        value = (value.reshape(r, c) * group.weight).sum(1)
        slope = (slope.reshape(r, c, j) * group.weight[..., None]).reshape(r, 1, c * j)
        gap = taste - mean
        pull = gap @ precision
        gradient = (slope @ flat)[:, 0] - pull
        if j == 1:
            bent = (group.weight * bend.reshape(r, c))[..., None] * flat
        else:
            bent = torch.einsum("rc,rcjk,rckz->rcjz", group.weight, bend.reshape(r, c, j, j), group.x)
            bent = bent.reshape(r, c * j, z)
        return value - (gap * pull).sum(1) / 2, gradient, bent.mT @ flat + precision, value

    objective, gradient, curvature, value = at(mode)
    for _ in range(sweeps):
        step = solve(curvature, gradient)
        gain = (step * gradient).sum(-1) / 2
        if float(gain.max()) <= tolerance:
            # Nothing to gain for the objective, but it squares the error of the mode; the likelihood follows.
            value = value + ((gradient + (mode - mean) @ precision) * step).sum(1)
            mode = mode + step
            break
        share = torch.ones_like(objective)
        for _ in range(20):
            new = at(mode + share[:, None] * step)
            worse = ~(new[0] >= objective - 1e-9 * (1 + objective.abs()))
            if not bool(worse.any()):
                break
            share = torch.where(worse, share / 2, share)
        mode = mode + share[:, None] * step
        objective, gradient, curvature, value = new
    return mode, curvature, value
