"""How long a person thinks: evidence drifts towards one of two options until it is enough (drift-diffusion).

Evidence begins in the middle and moves with drift v and unit noise between bounds a apart; the first bound met is the
answer. With v a = d, the difference of the worths in utils, the chance of the first is 1 / (1 + e^-d), Luce's rule, and
the time to decide has mean a^2 tanh(d / 2) / (2 d), whichever the answer is. In units of the mean time of a toss-up,
a^2 / 4, one curve serves all people.

Source: Ratcliff (1978); Bogacz et al. (2006), equations 8 and 9; the series is in Navarro and Fuss (2009).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

TURN = 0.25  # units of a^2: before it images of the bounds converge at once, after it waves do
IMAGES = (0.5, 1.5, 2.5)  # what is left out is below 1e-11
WAVES = (1, 3, 5)  # e^-60
LATEST = 8.0  # units of a^2: later than this has a chance below 1e-16
ROUNDS = 45  # halvings


def mean_decision(difference: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Mean time to decide, 1 for a toss-up, for differences in utils: 2 tanh(d / 2) / d."""
    d = difference.double().abs()
    return torch.where(d < 1e-4, 1 - d.square() / 12, 2 * (d / 2).tanh() / d.clamp_min(1e-4))


def undecided(time: Float[Tensor, " M"], difference: Float[Tensor, " M"]) -> Float[Tensor, " M"]:
    """The chance that no answer was given by `time`; 1 is the mean of a toss-up."""
    t, d = time.double() / 4, difference.double().abs()
    return torch.where(t < TURN, 1 - _early(t.clamp(1e-12, TURN), d), _late(t.clamp_min(TURN), d))


def decision(difference: Float[Tensor, " M"], level: Float[Tensor, " M"]) -> Float[Tensor, " M"]:
    """Times to decide, 1 being the mean of a toss-up, by inverting the distribution.

    Args:
        difference: utils, of either sign.
        level: in (0, 1), uniform: the chance of a shorter time.
    """
    d = difference.double().abs()
    soon = _early(torch.full_like(d, TURN), d) > level
    time = torch.empty_like(d)
    for rows, low, high in ((soon, 0.0, TURN), (~soon, TURN, LATEST)):
        size, wanted = d[rows], level[rows]
        below, above = torch.full_like(size, low), torch.full_like(size, high)
        for _ in range(ROUNDS):
            middle = (below + above) / 2
            done = _early(middle, size) if high == TURN else 1 - _late(middle, size)
            later = done < wanted
            below, above = torch.where(later, middle, below), torch.where(later, above, middle)
        time[rows] = 4 * (below + above) / 2
    return time


def _early(t: Tensor, d: Tensor) -> Tensor:
    """The chance of an answer by t, units of a^2: every image of a bound is met at an inverse Gaussian time."""
    root, whole = t.sqrt(), d / 2 + torch.log1p((-d).exp())  # log(2 cosh(d / 2))
    found = torch.zeros_like(t)
    for place, c in enumerate(IMAGES):
        there = (whole - c * d + torch.special.log_ndtr((d * t - c) / root)).exp()
        back = (whole + c * d + torch.special.log_ndtr(-(d * t + c) / root)).exp()
        found = found + (1 - 2 * (place % 2)) * (there + back)
    return found


def _late(t: Tensor, d: Tensor) -> Tensor:
    """The chance of no answer by t: waves that die away, each faster than the one before."""
    whole = d / 2 + torch.log1p((-d).exp())
    found = torch.zeros_like(t)
    for place, k in enumerate(WAVES):
        rate = (k * math.pi) ** 2 + d.square()
        found = found + (1 - 2 * (place % 2)) * 2 * math.pi * k / rate * (whole - rate * t / 2).exp()
    return found
