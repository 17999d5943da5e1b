"""Did the fit find the camps and tastes that were put in? Labels of camps carry no meaning, so they are matched."""

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def adjusted_rand(found: Int[Tensor, " R"], truth: Int[Tensor, " R"]) -> float:
    """Agreement of two groupings: 1 when equal up to names, 0 on average by chance, can be negative.

    Source: Hubert and Arabie (1985).
    """
    table = contingency(found, truth).double()
    pairs = lambda x: float((x * (x - 1) / 2).sum())
    together, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    everybody = pairs(table.sum())
    chance = rows * columns / everybody if everybody else 0.0
    most = (rows + columns) / 2
    # Both groupings one camp, or both all alone: they are equal, and 0 / 0 here.
    return 1.0 if most == chance else (together - chance) / (most - chance)


def matched_accuracy(found: Int[Tensor, " R"], truth: Int[Tensor, " R"]) -> float:
    """Share of raters in the right camp under the best matching of names (Hungarian method)."""
    table = contingency(found, truth)
    row, column = linear_sum_assignment(table.numpy(), maximize=True)
    return float(table[row, column].sum() / table.sum())


def contingency(found: Int[Tensor, " R"], truth: Int[Tensor, " R"]) -> Int[Tensor, "G H"]:
    """(G, H) how many raters are in found group g and true group h."""
    if found.shape != truth.shape or not len(found):
        raise ValueError(f"groupings must cover the same raters, got {len(found)} and {len(truth)}.")
    groups, row = torch.unique(found, return_inverse=True)
    others, column = torch.unique(truth, return_inverse=True)
    size = len(groups) * len(others)
    return torch.bincount(row * len(others) + column, minlength=size).view(len(groups), len(others))


def align(found: Float[Tensor, "H Z"], truth: Float[Tensor, "G Z"]) -> Int[Tensor, " G"]:
    """The order in which `found[order]` is nearest to `truth`, by summed squared distance.

    Raises:
        ValueError: fewer tastes were found than there are.
    """
    if len(found) < len(truth):
        raise ValueError(f"`found` must have at least the {len(truth)} tastes of `truth`, got {len(found)}.")
    distance = (truth.double()[:, None] - found.double()[None]).square().sum(-1)
    return torch.as_tensor(linear_sum_assignment(distance.numpy())[1])


def worth_correlation(found: Float[Tensor, "R N"], truth: Float[Tensor, "R N"]) -> Float[Tensor, " R"]:
    """(R,) Pearson correlation of each rater's worths over N options; blind to shift and scale, as choices
    are to shift. NaN for a rater to whom all options are worth the same."""
    a, b = (x.double() - x.double().mean(1, keepdim=True) for x in (found, truth))
    # A flat rater centres to rounding noise, which would correlate with anything.
    flat = [c.norm(dim=1) <= 1e-12 * x.double().norm(dim=1) for c, x in ((a, found), (b, truth))]
    value = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return torch.where(flat[0] | flat[1], torch.nan, value)
