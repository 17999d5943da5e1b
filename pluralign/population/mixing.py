"""Fit corners and the law of mixing weights: by EM with draws of every rater's weights, or by climbing over a cloud of mixes."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.climb import ENOUGH, climbed, law_of
from pluralign.population.draws import Draws
from pluralign.population.held_out import some
from pluralign.population.pooled import common_taste
from pluralign.population.prior import own_log_prob
from pluralign.population.rows import Rows
from pluralign.population.simplex import TINY, Mixes, Simplex, concentration_of
from pluralign.population.wide import Incidence, is_wide, loadings
from pluralign.streams import Streams
from pluralign.utility.ideal import Squares
from pluralign.utility.linear import LinearWorth

STIFF = 30.0  # squares of an ideal point are the metric, which raters share unless their answers insist
FACTORS = (0.7, 0.85, 1.0, 1.2, 1.4)  # by which all worths may grow in a round
FEW = 20_000  # answers by which corners are sought first in a cloud
CLOUD = 8  # mixes for each draw, of whom most get no share
LOOKED = 1000  # raters by whom it is chosen


@dataclass(frozen=True)
class Mixture:
    """What `mixed` found.

    Attributes:
        worth: the basis of the belief: the features where they are narrow, the K corners where they are wide.
        prior: of tastes in that basis.
        rounds: EM rounds run, or climbs.
    """

    worth: LinearWorth
    prior: Simplex | Mixes
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
    stiffness = _stiffness(full, ridge, corners)
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


def clouded(
    data: Comparisons,
    full: LinearWorth,
    rule: ChoiceRule,
    start: Float[Tensor, "Z K"],
    *,
    ridge: float,
    draws: int,
    rounds: int,
) -> Mixture:
    """Climb to the corners under a cloud of mixes, by some raters first; arguments as for `mixed`."""
    done, tips, streams = 0, start, Streams.of(0)
    stiff = torch.from_numpy(_stiffness(full, ridge, 1)[:, 1])
    each = data.places if data.places > 2 else 1
    few, part = (some(data, streams, most // each) for most in (FEW, ENOUGH))
    for now in (few, part) if len(few) < len(part) else (part,):
        incidence = Incidence.of(now, full, rule)
        tips, more = climbed(
            incidence,
            now.rater,
            now.raters,
            tips,
            ridge=stiff,
            loose=min(ridge, 1.0),
            draws=draws,
            rounds=rounds,
        )
        done += more
    mix, share = law_of(incidence, part.rater, part.raters, tips, CLOUD * draws)
    order = (share @ mix).argsort(descending=True)
    prior = Mixes(torch.eye(start.shape[1]).double(), mix[:, order], share)
    return _placed(full, tips[:, order], prior, done)


def _stiffness(full: LinearWorth, ridge: float, corners: int) -> np.ndarray:
    """(Z, 1 + K) 1 / variance of the common taste's numbers and of the departures'."""
    stiffness = np.full((full.width, 1 + corners), ridge)
    stiffness[:, 0] = min(ridge, 1.0)
    if isinstance(full.lift, Squares):
        stiffness[-len(full.lift.scale) :, 1:] *= STIFF
    return stiffness


def _finish(full: LinearWorth, tips: Tensor, alpha: Tensor, draws: int, rounds: int) -> Mixture:
    order = alpha.argsort(descending=True)
    prior = Simplex(torch.eye(len(alpha)).double(), alpha[order], draws)
    return _placed(full, tips[:, order], prior, rounds)


def _placed(full: LinearWorth, tips: Tensor, prior: Simplex | Mixes, rounds: int) -> Mixture:
    if is_wide(full):
        return Mixture(full.onto(tips.contiguous()), prior, rounds)
    return Mixture(full, replace(prior, corners=tips.T.contiguous()), rounds)
