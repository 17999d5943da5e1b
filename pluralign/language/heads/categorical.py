"""Hidden context: an answer's worth is a distribution, because people judge it in contexts that nobody wrote down.

Source: Siththaranjan, Laidlaw and Hadfield-Menell, Distributional preference learning, ICLR 2024: the categorical and
the mean-variance model.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Categorical:
    """Chances of B levels of worth, equally spaced in [0, 1], for a hidden state."""

    weight: Float[Tensor, "D B"]
    bias: Float[Tensor, " B"]

    def __call__(self, states: Float[Tensor, "*b D"]) -> Float[Tensor, "*b B"]:
        """Chances that sum to one."""
        return torch.softmax(states.double() @ self.weight + self.bias, -1)

    @property
    def level(self) -> Float[Tensor, " B"]:
        """The worth of each level."""
        return torch.linspace(0, 1, len(self.bias), dtype=torch.float64)

    def moments(self, states: Float[Tensor, "*b D"]) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """Mean and variance of the worth."""
        chance = self(states)
        mean = chance @ self.level
        return mean, chance @ self.level.square() - mean.square()

    def lower(self, states: Float[Tensor, "*b D"], share: float = 0.01) -> Float[Tensor, "*b"]:
        """The worth that is reached in all but `share` of the contexts, for choosing with care."""
        reached = self(states).cumsum(-1) >= share - 1e-12
        return self.level[reached.double().argmax(-1)]

    def explained(self, states: Float[Tensor, "N D"]) -> float:
        """Share of the variance of worths that lies between texts; the rest is hidden context."""
        mean, variance = self.moments(states)
        between = float(mean.var(correction=0))
        return between / max(between + float(variance.mean()), 1e-12)


def categorical_chance(one: Float[Tensor, "*b B"], other: Float[Tensor, "*b B"]) -> Float[Tensor, "*b"]:
    """Chance that the first is worth more, contexts drawn apart; a tie is half."""
    below = other.cumsum(-1) - other
    return (one * (below + other / 2)).sum(-1)


def mean_variance_chance(mean: Float[Tensor, "*b 2"], variance: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b"]:
    """Phi((m1 - m2) / sqrt(v1 + v2))."""
    gap = (mean[..., 0] - mean[..., 1]) / variance.sum(-1).clamp_min(1e-12).sqrt()
    return torch.special.ndtr(gap)


def fit_categorical(
    states: Float[Tensor, "N D"],
    slate: Int[Tensor, "M 2"],
    first: Float[Tensor, " M"],
    *,
    levels: int = 10,
    entropy: float = 0.0,
    decay: float = 1e-3,
    updates: int = 500,
    rate: float = 3e-2,
    seed: Seed = 0,
) -> Categorical:
    """Fit to answers about pairs; a text is scored once.

    Args:
        states: of N texts.
        slate: (M, 2) pairs. first: (M,) share of the first.
        levels: B. entropy: nats of a text's distribution that earn their weight in loss.
        decay: of the weights. updates, rate: of AdamW on all answers.
        seed: of the start.
    """
    draw = Streams.of(seed)("levels")
    weight = (
        0.01 * torch.randn(states.shape[1], levels, generator=draw, dtype=torch.float64)
    ).requires_grad_()
    bias = torch.zeros(levels, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.AdamW([weight, bias], lr=rate, weight_decay=decay)
    share = first.double()
    for _ in range(updates):
        optimiser.zero_grad()
        chance = Categorical(weight, bias)(states)
        said = categorical_chance(chance[slate[:, 0]], chance[slate[:, 1]]).clamp(1e-6, 1 - 1e-6)
        loss = -(share * said.log() + (1 - share) * (1 - said).log()).mean()
        loss = loss - entropy * torch.special.entr(chance).sum(-1).mean()
        loss.backward()
        optimiser.step()
    return Categorical(weight.detach(), bias.detach())
