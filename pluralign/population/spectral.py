"""A start for shared directions: every rater's ridge estimate at once, then the singular vectors of all of them."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.rows import Rows, buckets, likelihood
from pluralign.population.wide import Incidence, directions
from pluralign.utility.linear import LinearWorth

BLOCK = 1 << 23  # numbers gathered at once


def ridge_tastes(
    data: Comparisons,
    basis: Float[Tensor, "N Z"],
    rule: ChoiceRule,
    common: Float[Tensor, " Z"],
    ridge: float,
) -> Float[Tensor, "R Z"]:
    """Each rater's departure from a common taste: one step of ridge regression, all raters side by side.

    With rows X, slopes g and one average curvature b for all answers, it is X' (X X' + ridge / b)^-1 g / b, or the
    same by a system of Z equations where a rater has more answers than there are features.
    """
    width = basis.shape[1]
    out = torch.zeros(data.raters, width, dtype=basis.dtype)
    eye = torch.eye(width, dtype=basis.dtype)
    order = torch.argsort(data.counts)
    per = max(1, BLOCK // (max(1, width) * data.places))
    group = data.counts[order].cumsum(0) // per
    for who in order.split(torch.unique_consecutive(group, return_counts=True)[1].tolist()):
        place = torch.full((data.raters,), -1)
        place[who] = torch.arange(len(who))
        part = data.take(place[data.rater] >= 0)
        if not len(part):
            continue
        rows = Rows.of(part, basis, rule)
        free = torch.ones(len(rows))  # places of a slate less one; pairs come as differences
        if rows.x.shape[1] > 1:
            shown = torch.ones(rows.x.shape[:2]) if rows.absent is None else (~rows.absent).to(torch.float)
            free = shown.sum(1) - 1
            middle = rows.x.sum(1, keepdim=True) / shown.sum(1)[:, None, None]
            rows = dataclasses.replace(rows, x=(rows.x - middle) * shown[..., None])
        _, slope, bend = likelihood(rule, rows.eta(common), rows.label)
        b = float((torch.diagonal(bend, dim1=-2, dim2=-1).sum(1) / free).mean()) + 1e-9
        for one in buckets(_with_labels(rows, slope / b)):
            r, c, j, _ = one.x.shape
            x = (one.x * one.weight[..., None, None].sqrt()).reshape(r, c * j, width)
            g = (one.label * one.weight[..., None].sqrt()).reshape(r, c * j, 1)
            if c * j <= width:
                gram = x @ x.mT + ridge / b * torch.eye(c * j, dtype=x.dtype)
                found = x.mT @ torch.cholesky_solve(g, torch.linalg.cholesky(gram))
            else:
                found = torch.cholesky_solve(x.mT @ g, torch.linalg.cholesky(x.mT @ x + ridge / b * eye))
            out[one.rater] = found[..., 0]
    return out


def spectral(
    data: Comparisons,
    worth: LinearWorth,
    rule: ChoiceRule,
    common: Float[Tensor, " Z"],
    count: int,
    ridge: float,
) -> tuple[Float[Tensor, "Z Q"], Float[Tensor, " Q"]]:
    """Directions along which the raters' ridge estimates depart most from a common taste, and how far, largest first.

    Options known by name alone are too many columns to gather; their directions come from second moments, and count
    as equally far.
    """
    count = min(count, worth.width)
    if worth.nameless:
        side = directions(data, Incidence.of(data, worth, rule), common, count)
        return side, torch.ones(side.shape[1]).to(side)
    own = ridge_tastes(data, worth.basis(data.options), rule, common, ridge)
    size, side = torch.linalg.eigh(own.T @ own)
    return side.flip(1)[:, :count].contiguous(), size.flip(0)[:count].clamp_min(0.0).sqrt()


def _with_labels(rows: Rows, label: Tensor) -> Rows:
    """The rows with numbers per place instead of answers, so that buckets pad them alike."""
    return dataclasses.replace(rows, label=label)
