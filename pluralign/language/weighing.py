"""Whose wish counts how much: weights over camps that move with what a policy in training brings them."""

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.rewards.welfare import CVaR, EachOnce, Mean, Nash, Welfare, WorstOff

LEAST = 0.1  # gains over the reference, in its deviations, below which Nash's welfare listens no harder

WELFARES: dict[str, Welfare] = {
    "mean": Mean(),
    "maxmin": WorstOff(),
    "nash": EachOnce(Nash()),
    "cvar": CVaR(),
    "proportional": Nash(),
}


def welfare_named(name: str) -> Welfare:
    """A welfare of returns by its name.

    Raises:
        ValueError: there is none.
    """
    if name not in WELFARES:
        raise ValueError(f"no welfare of texts is called {name!r}; there are {', '.join(WELFARES)}.")
    return WELFARES[name]


def reweighed(weight: Float[Tensor, " G"], loss: Float[Tensor, " G"], rate: float) -> Float[Tensor, " G"]:
    """Multiplicative weights: more on who loses more."""
    return torch.softmax(weight.log() + rate * loss, -1)


def moved(
    weight: Float[Tensor, " G"],
    returns: Float[Tensor, " G"],
    share: Float[Tensor, " G"],
    welfare: Welfare,
    pace: float,
) -> Float[Tensor, " G"]:
    """Weights after one step of a policy whose camps have these returns above the reference.

    For the worst off multiplicative weights; else a step of `pace` towards the gradient of the welfare, scaled to sum to
    one. A camp with share zero is nobody.
    """
    if isinstance(welfare, Mean) or pace == 0:
        return weight
    if isinstance(welfare, WorstOff):
        return reweighed(weight, -returns, pace)
    if welfare.smooth:
        returns = returns.clamp_min(LEAST)
    slope = welfare.gradient(returns, share)
    return weight + pace * (slope / slope.sum() - weight)


def acting(
    weight: Float[Tensor, " G"], returns: Float[Tensor, " G"], welfare: Welfare, lean: float
) -> Float[Tensor, " G"]:
    """Weights that a step is made by: for the worst off leaning further to who has least right now.

    Two players who only answer each other's last move swing about the solution; counting the last returns once more is what
    lets them settle (optimistic weights: Rakhlin and Sridharan, Optimization, learning, and games with predictable
    sequences, NeurIPS 2013).
    """
    return reweighed(weight, -returns, lean) if isinstance(welfare, WorstOff) else weight


def start(share: Float[Tensor, " G"], welfare: Welfare) -> Float[Tensor, " G"]:
    """Weights to begin with: the camps' shares; for the worst off, who ignore shares, every camp alike."""
    if isinstance(welfare, WorstOff | EachOnce):
        here = (share > 0).to(share)
        return here / here.sum()
    return share / share.sum()
