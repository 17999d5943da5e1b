"""One score for several sources of answers that disagree: no source is fitted at the cost of another.

Source: Zeng et al., On diversified preferences of large language model alignment (MORE), 2023: losses of sources are
weighed by the shortest combination of their gradients. Differs: over hidden states that stand still the gradients are
exact, so that the end is a score that no move improves for all sources.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.policies.min_norm import min_norm


@dataclass(frozen=True)
class Score:
    """weight . state, and the last weights of the sources' losses.

    Attributes:
        weight: (D,). share: (G,). loss: (G,) nats per answer of each source.
    """

    weight: Float[Tensor, " D"]
    share: Float[Tensor, " G"]
    loss: Float[Tensor, " G"]

    def __call__(self, states: Float[Tensor, "*b D"]) -> Float[Tensor, "*b"]:
        """Utils."""
        return states.double() @ self.weight


def fit_sources(
    states: Float[Tensor, "N D"],
    slate: Int[Tensor, "M 2"],
    first: Float[Tensor, " M"],
    source: Int[Tensor, " M"],
    *,
    ridge: float = 1.0,
    updates: int = 500,
    pooled: bool = False,
) -> Score:
    """Bradley-Terry on all sources at once: steps along the shortest convex combination of their mean gradients.

    Args:
        states: of N texts.
        slate: (M, 2) pairs. first: (M,) share of the first.
        source: (M,) numbers from 0, of data sets or crowds.
        ridge: 1 / variance of the weights, in answers.
        updates: steps at most.
        pooled: weigh sources by their answers instead, the plain method.

    Raises:
        ValueError: a source has no answer.
    """
    size = torch.bincount(source)
    if bool((size == 0).any()):
        raise ValueError(f"source {int((size == 0).nonzero()[0, 0])} has no answer; number them from 0.")
    x = (states[slate[:, 0]] - states[slate[:, 1]]).double()
    y = first.double()
    each = torch.nn.functional.one_hot(source).double() / size  # (M, G)
    weight = torch.zeros(x.shape[1], dtype=torch.float64)
    rate = 4.0 / float(torch.linalg.eigvalsh(x.T @ x / len(x))[-1] + 4 * ridge / len(x))

    def losses(at: Tensor) -> Tensor:
        gap = x @ at
        fit = (torch.nn.functional.softplus(gap) - y * gap) @ each
        return fit + ridge / (2 * len(x)) * at.square().sum()

    share = size / size.sum()
    now = losses(weight)
    for _ in range(updates):
        slope = each.T @ ((torch.sigmoid(x @ weight) - y)[:, None] * x) + ridge / len(x) * weight
        share = size.double() / size.sum() if pooled else min_norm(slope)
        step = share @ slope
        while rate > 1e-9:
            there = losses(weight - rate * step)
            done = (share @ (there - now)) <= -rate / 2 * step.square().sum() * 0.5
            if bool(done) and (pooled or bool((there <= now + 1e-12).all())):
                break
            rate /= 2
        else:
            break
        weight, now, rate = weight - rate * step, there, rate * 1.5
        if float(step.norm()) < 1e-6:
            break
    return Score(weight, share.double(), now)
