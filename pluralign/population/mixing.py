"""Fit corners and a Dirichlet distribution of mixing weights: EM, with draws of every rater's weights in between."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.draws import Draws
from pluralign.population.pooled import common_taste
from pluralign.population.prior import own_log_prob
from pluralign.population.rows import Rows
from pluralign.population.simplex import TINY, Simplex, concentration_of
from pluralign.population.wide import Incidence, is_wide, loadings
from pluralign.utility.ideal import Squares
from pluralign.utility.linear import LinearWorth

STIFF = 30.0  # squares of an ideal point are the metric, which raters share unless their answers insist
FACTORS = (0.7, 0.85, 1.0, 1.2, 1.4)  # by which all worths may grow in a round
LOOKED = 1000  # raters by whom it is chosen


@dataclass(frozen=True)
class Mixture:
    """What `mixed` found.

    Attributes:
        worth: the basis of the belief: the features where they are narrow, the K corners where they are wide.
        prior: of tastes in that basis.
        rounds: EM rounds run.
    """

    worth: LinearWorth
    prior: Simplex
    rounds: int


def mixed(
    data: Comparisons,
    full: LinearWorth,
    rule: ChoiceRule,
    start: Float[Tensor, "Z K"],
    *,
    ridge: float,
    concentration: float | None,
    draws: int,
    rounds: int,
    samples: int = 16,
    tolerance: float = 2e-3,
) -> Mixture:
    """Alternate draws of the weights (exact up to sampling), how loud all worths are, and the corners (a convex problem).

    Corners are a common taste plus departures, so that the ridge draws them to the crowd and not to indifference;
    weights sum to one, so the common part meets everybody in full.

    Args:
        full: the basis in which corners are sought. start: (Z, K).
        ridge: 1 / variance of the departures.
        concentration: of the Dirichlet distribution, for every corner; None learns one for each.
    """
    corners = start.shape[1]
    common = common_taste(data, full, rule, min(ridge, 1.0))
    if corners == 1:
        return _finish(full, common[:, None], torch.ones(1).double(), 1, 0)
    incidence = Incidence.of(data, full, rule)
    stiffness = np.full((full.width, 1 + corners), ridge)
    stiffness[:, 0] = min(ridge, 1.0)
    if isinstance(full.lift, Squares):
        stiffness[-len(full.lift.scale) :, 1:] *= STIFF
    matrix = torch.cat([common[:, None], start - common[:, None]], 1)
    alpha = torch.full((corners,), 1.0 if concentration is None else float(concentration)).double()
    told = data.counts > 0
    options = full.basis(data.options)
    done = 0
    last = None
    for done in range(1, rounds + 1):
        scores = options @ (matrix[:, :1] + matrix[:, 1:])
        rows = Rows.of(data, scores, rule)
        weights = Simplex(torch.eye(corners).double(), alpha, samples).weights(rows)
        if concentration is None and done > 2:
            alpha = concentration_of(weights, told)
        few = rows.present & (rows.present.cumsum(0) <= LOOKED)
        share = float(rows.present[few].sum() / rows.present.sum())
        penalty = share / 2 * float((stiffness * matrix.numpy() ** 2).sum())
        some = Draws(weights.z[:, few], weights.weight[:, few])
        matrix = matrix * loudness(rows.of_raters(few), some, penalty)
        z = torch.cat([torch.ones_like(weights.z[..., :1]), weights.z], -1)
        matrix = loadings(incidence, data.rater, z, weights.weight, matrix, stiffness, sweeps=8)
        if last is not None and float((scores - last).abs().mean()) < tolerance * float(
            scores.abs().mean() + 0.1
        ):
            break
        last = scores
    return _finish(full, matrix[:, :1] + matrix[:, 1:], alpha, draws, done)


def loudness(rows: Rows, weights: Draws, penalty: float) -> float:
    """The common factor on all worths under which the answers are likeliest.

    With draws from the posterior, p(answers | factor) / p(answers | 1) is the mean of the ratios of the likelihoods: an
    identity, where EM climbs the mean of their logarithms and nears people who never err by small steps.

    Args:
        weights: draws of every rater's weights; `rows` are told in worths of the corners.
        penalty: minus the log prior of worths as loud as they are; grows with the square of the factor.
    """
    base = own_log_prob(rows, weights.z)
    log = weights.weight.clamp_min(TINY).log()

    def gain(factor: float) -> float:
        ratio = own_log_prob(rows, weights.z * factor) - base + log
        return float(torch.logsumexp(ratio, 0)[rows.present].sum()) - penalty * (factor**2 - 1)

    return max(FACTORS, key=gain)


def _finish(full: LinearWorth, tips: Tensor, alpha: Tensor, draws: int, rounds: int) -> Mixture:
    order = alpha.argsort(descending=True)
    tips, alpha = tips[:, order], alpha[order]
    if is_wide(full):
        return Mixture(
            full.onto(tips.contiguous()), Simplex(torch.eye(len(alpha)).double(), alpha, draws), rounds
        )
    return Mixture(full, Simplex(tips.T.contiguous(), alpha, draws), rounds)
