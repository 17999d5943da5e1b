"""Fit corners and a Dirichlet distribution of mixing weights."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.climb import ENOUGH, Hill, climbed, law_of, refined
from pluralign.population.held_out import some
from pluralign.population.pooled import common_taste
from pluralign.population.simplex import Mixes, Simplex, concentration_of
from pluralign.population.wide import Incidence, is_wide
from pluralign.streams import Streams
from pluralign.utility.ideal import Squares
from pluralign.utility.linear import LinearWorth

STIFF = 30.0  # squares of an ideal point are the metric, which raters share unless their answers insist
FEW = 20_000  # answers by which corners are sought first
CLOUD = 8  # mixes for each draw, of whom most get no share


@dataclass(frozen=True)
class Mixture:
    """What `mixed` found.

    Attributes:
        worth: the basis of the belief: the features where they are narrow, the K corners where they are wide.
        prior: of tastes in that basis.
        corners: (Z, K) in the basis in which they were sought.
        rounds: climbs made.
    """

    worth: LinearWorth
    prior: Simplex | Mixes
    corners: Float[Tensor, "Z K"]
    rounds: int


def mixed(
    data: Comparisons,
    full: LinearWorth,
    rule: ChoiceRule,
    start: Float[Tensor, "Z K"],
    *,
    ridge: float,
    law: float | str,
    draws: int,
    rounds: int,
) -> Mixture:
    """Climb to the corners under a cloud of mixes, by some raters first; then the law that the mixes follow.

    Corners are what they have in common plus departures, so that the ridge draws them to the crowd and not to indifference;
    weights sum to one, so the common part meets everybody in full.

    Args:
        full: the basis in which corners are sought. start: (Z, K).
        ridge: 1 / variance of the departures.
        law: of the mixes. A number is the concentration of a Dirichlet law, for every corner; "learned" learns one for each;
            "cloud" has a share for each of many mixes.
    """
    corners = start.shape[1]
    if corners == 1:
        common = common_taste(data, full, rule, min(ridge, 1.0))[:, None]
        return _finish(full, common, Simplex(torch.eye(1).double(), torch.ones(1).double(), 1), 0)
    stiff = torch.full((full.width,), ridge, dtype=torch.float64)
    if isinstance(full.lift, Squares):
        stiff[-len(full.lift.scale) :] *= STIFF
    hill = Hill(stiff, min(ridge, 1.0))
    fixed = None if isinstance(law, str) else float(law)
    done, tips, streams = 0, start, Streams.of(0)
    each = data.places if data.places > 2 else 1
    few, part = (some(data, streams, most // each) for most in (FEW, ENOUGH))
    for now in (few, part) if len(few) < len(part) else (part,):
        incidence = Incidence.of(now, full, rule)
        found = climbed(
            incidence, now.rater, now.raters, tips, hill, concentration=fixed, draws=draws, rounds=rounds
        )
        tips, done = found.corners, done + found.rounds
    eye = torch.eye(corners).double()
    if law == "cloud":
        mix, share = law_of(incidence, part.rater, part.raters, tips, CLOUD * draws)
        order = (share @ mix).argsort(descending=True)
        return _finish(full, tips[:, order], Mixes(eye, mix[:, order], share), done)
    # Learnt from the cloud: draws of one's own miss the very corners, and what they call even makes corners move outwards.
    alpha = concentration_of(found.mixes, part.counts > 0)
    alpha = alpha if fixed is None else torch.full_like(alpha, fixed)
    tips = refined(part, incidence, full, tips, hill, Simplex(eye, alpha, draws // 4), rounds=rounds // 4)
    order = alpha.argsort(descending=True)
    return _finish(full, tips[:, order], Simplex(eye, alpha[order], draws), done)


def _finish(full: LinearWorth, tips: Tensor, prior: Simplex | Mixes, rounds: int) -> Mixture:
    if is_wide(full):
        return Mixture(full.onto(tips.contiguous()), prior, tips, rounds)
    return Mixture(full, replace(prior, corners=tips.T.contiguous()), tips, rounds)
