"""Normal tastes by EM, with the normal distribution that comes nearest to each rater's posterior."""

import torch
from torch import Tensor

from pluralign.population.grids import inverse
from pluralign.population.laplace import first_guess
from pluralign.population.nearest import posteriors
from pluralign.population.rows import Rows, buckets

ENOUGH = 60_000  # answers from which mean and covariance are learnt; they are a few numbers
WORK = 2_000_000  # raters times squared width, for the same reason
SURE = 20_000  # raters whose mean is nobody's chance


def normal_em(
    rows: Rows, rounds: int, strength: float, *, anchored: bool, tolerance: float = 2e-3, sweeps: int = 50
) -> tuple[Tensor, Tensor, Tensor, Tensor, int, float]:
    """Mean, covariance, and every rater's normal posterior, by variational EM.

    Args:
        rows: of many answers, mean and covariance are learnt from those of some raters (see ENOUGH and WORK).
        rounds: at most. strength: pseudo-raters behind the prior guess that raters hardly differ.
        anchored: the first coordinate is the common worth: its mean stays at one, the others' at zero.
        tolerance: relative change of the covariance at which it stops.
        sweeps: at most, by which the posteriors under the final covariance are found.

    Returns:
        mean (Z,), covariance (Z, Z), middle (R, Z), precision (R, Z, Z), rounds run, and a lower bound of the log
        evidence in nats.
    """
    some = enough(rows)
    groups = buckets(some)
    present = some.present
    count = int(present.sum())
    mean, guess = first_guess(some, anchored)
    covariance = guess
    start, done = None, 0
    for done in range(1, rounds + 1):
        few = 8 if done == 1 else 2
        middle, sharp, _ = posteriors(
            groups, rows.rule, mean, inverse(covariance), some.raters, start=start, sweeps=few
        )
        start = middle, sharp
        if not anchored:
            mean = middle[present].sum(0) / (count + 1e-3)
        gap = (middle - mean)[present]
        moment = torch.cholesky_inverse(torch.linalg.cholesky(sharp[present])).sum(0) + gap.T @ gap
        new = (moment + strength * 0.1 * guess) / (count + strength)
        change = float((new - covariance).norm() / covariance.norm())
        covariance = new
        if change < tolerance:
            break
    precision = inverse(covariance)
    if some is not rows:
        groups, start, present = buckets(rows), None, rows.present
    middle, sharp, fit = posteriors(
        groups, rows.rule, mean, precision, rows.raters, start=start, sweeps=sweeps
    )
    gap = middle - mean
    spread = torch.cholesky_inverse(torch.linalg.cholesky(sharp))
    far = torch.einsum("rx,xy,ry->r", gap, precision, gap) + (spread * precision).sum((-1, -2)) - rows.width
    size = torch.logdet(precision) - torch.logdet(sharp)
    return mean, covariance, middle, sharp, done, float((fit - far / 2 + size / 2)[present].sum())


def surer(mean: Tensor, covariance: Tensor, sharp: Tensor, rows: Rows, part: Tensor | None = None) -> Tensor:
    """The mean of R people, drawn to indifference as far as it may be chance.

    An estimate of the mean misses the crowd's by V = (sum_r (covariance + J_r^-1)^-1)^-1, J_r what the answers of r tell;
    at a typical question its worth is expected to be tr(V metric) in squared utils even if the crowd's is none. Where seven
    people are of two minds, a stranger is a coin flip; where hundreds answered, or a few agree, hardly anything changes.

    Args:
        mean: (Z,). covariance: (Z, Z) of tastes. sharp: (R, Z, Z) covariance^-1 + J_r. rows: the answers; their
            questions give the metric. part: (R,) of every rater in this crowd; all by default.

    Source: James and Stein (1961) in empirical Bayes form (Efron and Morris 1973), positive part, with one factor for all
    numbers of the taste.
    """
    if rows.raters > SURE:
        return mean
    x = rows.x.reshape(-1, rows.width)
    metric = x.T @ x / max(1, len(x))
    precision = inverse(covariance)
    part = (torch.ones(rows.raters).to(mean) if part is None else part)[rows.present]
    # (covariance + J^-1)^-1 = P - P (P + J)^-1 P, with P = covariance^-1.
    each = torch.cholesky_inverse(torch.linalg.cholesky(sharp[rows.present]))
    left = torch.einsum("r,rxy->xy", part, each)
    weight = part.sum() * precision - precision @ left @ precision
    chance = (metric * inverse(weight)).sum()
    return mean * (1 - chance / (mean @ metric @ mean).clamp_min(1e-12)).clamp_min(0)


def enough(rows: Rows) -> Rows:
    """All answers of raters drawn at random until they are enough."""
    most = max(500, WORK // rows.width**2)  # raters
    if len(rows) <= ENOUGH and int(rows.rater.unique_consecutive().numel()) <= most:
        return rows
    counts = torch.bincount(rows.rater, minlength=rows.raters)
    order = torch.randperm(rows.raters, generator=torch.Generator().manual_seed(0))
    order = order[counts[order] > 0]
    drawn = torch.zeros(rows.raters, dtype=torch.bool)
    drawn[order[: min(most, max(2, int((counts[order].cumsum(0) <= ENOUGH).sum())))]] = True
    return rows.of_raters(drawn)
