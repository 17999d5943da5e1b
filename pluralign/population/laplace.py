"""Normal tastes by EM with Laplace's approximation per rater; and the exact evidence on a grid, to check it by."""

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.population.newton import modes
from pluralign.population.prior import inverse
from pluralign.population.rows import Bucket, Rows, buckets


def laplace_em(
    rows: Rows, rounds: int, strength: float, *, anchored: bool, tolerance: float = 1e-4
) -> tuple[Tensor, Tensor, Tensor, Tensor, int, float]:
    """Mean, covariance, and every rater's mode and curvature, by EM with Laplace's approximation.

    Args:
        anchored: the first coordinate is the common worth: its mean stays at one, the others' at zero.

    Returns:
        mean (Z,), covariance (Z, Z), mode (R, Z), curvature (R, Z, Z), rounds run, log evidence in nats.
    """
    groups: list[Bucket] = buckets(rows)
    present = rows.present
    count = int(present.sum())
    mean, guess = first_guess(rows, anchored)
    covariance = guess
    mode: Tensor | None = None
    evidence = -torch.inf
    done = 0
    for done in range(1, rounds + 1):
        precision = inverse(covariance)
        mode, curvature, fit = modes(
            groups, rows.rule, mean, precision, rows.raters, start=mode, sweeps=20 if done == 1 else 4
        )
        gap = mode - mean
        pull = torch.einsum("rx,xy,ry->r", gap, precision, gap)
        size = torch.logdet(precision) - torch.logdet(curvature)
        new = float((fit - pull / 2 + size / 2)[present].sum())
        if done > 3 and abs(new - evidence) < tolerance * count:
            evidence = new
            break
        evidence = new
        spread = torch.cholesky_inverse(torch.linalg.cholesky(curvature))
        if not anchored:
            mean = mode[present].sum(0) / (count + 1e-3)
        gap = (mode - mean)[present]
        moment = spread[present].sum(0) + gap.T @ gap
        covariance = (moment + strength * 0.1 * guess) / (count + strength)
    precision = inverse(covariance)
    mode, curvature, _ = modes(groups, rows.rule, mean, precision, rows.raters, start=mode)
    return mean, covariance, mode, curvature, done, evidence


def first_guess(rows: Rows, anchored: bool) -> tuple[Float[Tensor, " Z"], Float[Tensor, "Z Z"]]:
    """Mean and covariance to start from: a typical answer is worth a few utils at most."""
    mean = torch.zeros(rows.width, dtype=rows.x.dtype)
    if anchored:
        mean[0] = 1.0
    return mean, torch.eye(rows.width, dtype=rows.x.dtype) * min(
        1.0, 0.5 * rows.width / max(rows.contrast, 1e-12)
    )
