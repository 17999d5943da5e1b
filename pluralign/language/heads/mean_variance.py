"""A normal worth for every text: its mean, and how far hidden contexts spread it.

Source: Siththaranjan, Laidlaw and Hadfield-Menell, Distributional preference learning, ICLR 2024: the mean-variance model.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.language.heads.categorical import mean_variance_chance


@dataclass(frozen=True)
class MeanVariance:
    """Mean and variance of the worth, in standard units: two texts are told apart by Phi((m1 - m2) / sqrt(v1 + v2)).

    Attributes:
        mean: (D,) weights. spread, level: (D,) weights and offset of the logarithm of the variance.
    """

    mean: Float[Tensor, " D"]
    spread: Float[Tensor, " D"]
    level: Float[Tensor, ""]

    def moments(self, states: Float[Tensor, "*b D"]) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """Mean and variance of the worth."""
        x = states.double()
        return x @ self.mean, (x @ self.spread + self.level).clamp(-8, 8).exp()

    def lower(self, states: Float[Tensor, "*b D"], share: float = 0.01) -> Float[Tensor, "*b"]:
        """The worth that is reached in all but `share` of the contexts, for choosing with care."""
        mean, variance = self.moments(states)
        return mean + variance.sqrt() * torch.special.ndtri(torch.tensor(share, dtype=torch.float64))


def fit_mean_variance(
    states: Float[Tensor, "N D"],
    slate: Int[Tensor, "M 2"],
    first: Float[Tensor, " M"],
    *,
    decay: float = 1e-3,
    updates: int = 500,
    rate: float = 3e-2,
) -> MeanVariance:
    """Fit to answers about pairs; a text is scored once.

    Args:
        states: of N texts.
        slate: (M, 2) pairs. first: (M,) share of the first.
        decay: of the weights. updates, rate: of AdamW on all answers.
    """
    width = states.shape[1]
    weight = torch.zeros(2 * width, dtype=torch.float64, requires_grad=True)
    share = first.double()
    optimiser = torch.optim.AdamW([weight], lr=rate, weight_decay=decay)
    for _ in range(updates):
        optimiser.zero_grad()
        # The unit of worth is free: the variance of a text with a zero state is 1.
        head = MeanVariance(weight[:width], weight[width:], torch.zeros((), dtype=torch.float64))
        mean, variance = head.moments(states)
        said = mean_variance_chance(mean[slate], variance[slate]).clamp(1e-6, 1 - 1e-6)
        (-(share * said.log() + (1 - share) * (1 - said).log()).mean()).backward()
        optimiser.step()
    found = weight.detach()
    return MeanVariance(found[:width], found[width:], torch.zeros((), dtype=torch.float64))
