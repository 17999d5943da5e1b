"""A narrow basis in which raters can be told apart: the common worth, then the directions of disagreement."""

import torch

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.normal import normal_em
from pluralign.population.pooled import common_taste
from pluralign.population.prior import Gaussian, inverse, normal_grid, root
from pluralign.population.rows import Rows
from pluralign.population.training import train
from pluralign.population.wide import Incidence, directions, is_wide, loadings
from pluralign.streams import Streams
from pluralign.utility import Utility, Worth
from pluralign.utility.linear import LinearWorth


def narrowed(
    utility: Utility,
    rule: ChoiceRule,
    data: Comparisons,
    streams: Streams,
    count: int = 8,
    ridge: float = 1.0,
) -> Worth:
    """A basis of at most 64 columns.

    A narrow linear utility is taken as it is. A wide one becomes its common worth (column 0) and `count`
    directions along which raters depart from it. A network is trained to have `count` outputs after the first,
    whose tastes are standard normal.
    """
    worth = utility.start(data, width=1 + count, generator=streams("start"))
    if not isinstance(worth, LinearWorth):
        grid = torch.cat([torch.ones(32, 1).double(), normal_grid(32, count)], 1)
        return train(worth, grid, rule, data, streams.below("basis"))[0]
    if not is_wide(worth):
        return worth
    taste = common_taste(data, worth, rule, ridge)
    side = directions(data, Incidence.of(data, worth, rule), taste, min(count, worth.width))
    return worth.onto(torch.cat([taste[:, None], side], 1))


def refined(
    utility: Utility,
    rule: ChoiceRule,
    data: Comparisons,
    worth: LinearWorth,
    streams: Streams,
    strength: float,
    *,
    ridge: float = 1.0,
    rounds: int = 4,
    samples: int = 8,
    full: LinearWorth | None = None,
) -> LinearWorth:
    """Improve the directions of a narrowed basis: alternate the raters' tastes (their normal posteriors) and the directions.

    Given draws of the tastes f_r, the answers are a convex problem in the directions W: worth = X W (1, f_r).
    """
    if full is None:
        found = utility.start(data, width=None, generator=streams("start"))
        assert isinstance(found, LinearWorth)
        full = found
    incidence = Incidence.of(data, full, rule)
    matrix = worth.matrix if full.matrix is None else torch.linalg.lstsq(full.matrix, worth.matrix).solution
    assert matrix is not None
    for _ in range(rounds):
        rows = Rows.of(data, worth.basis(data.options), rule)
        mean, covariance, mode, curvature, _, _ = normal_em(rows, 15, strength, anchored=True)
        # Put the spread into the directions, so that a ridge on them means the same for all.
        side = root(covariance[1:, 1:])
        draws = Gaussian(mean, covariance, samples).around(mode, curvature, rows, inverse(covariance))
        inner = torch.linalg.pinv(side)
        z = torch.cat([draws.z[..., :1], draws.z[..., 1:] @ inner.T], -1)
        start = torch.cat([matrix[:, :1], matrix[:, 1:] @ side], 1)
        matrix = loadings(incidence, data.rater, z, draws.weight, start, ridge)
        worth = full.onto(matrix)
    return worth
