"""The sign estimator: the direction of features that most answers agree with, whoever shouts."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.voting import pairwise, preferences, top
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class SignEstimator:
    """The best option along the unit vector t whose signs t . (x_i - x_j) agree with most answers.

    Where people differ symmetrically around a mean taste, the majority prefers what the mean taste prefers, so this
    finds the mean's direction; a pooled Bradley-Terry reward does not, as people who are surer count for more.

    Attributes:
        features: (N, D) of the options. starts: random directions, besides the least-squares one.
        steps: of gradient ascent on the smoothed count, sharper and sharper.

    Source: arXiv 2510.23965; smoothing by tanh(t . (x_i - x_j) / h) with h falling is ours.
    """

    features: Float[Tensor, "N D"]
    starts: int = 8
    steps: int = 300
    seed: int = 0

    def direction(self, share: Float[Tensor, "N N"], *, seed: Seed | None = None) -> Float[Tensor, " D"]:
        """(D,) the unit vector; of several starts the one that agrees with most, smoothly counted at the end."""
        share, features = pairwise(share), self.features.double()
        if len(features) != len(share):
            raise ValueError(
                f"`features` must be of the {len(share)} options compared, got {len(features)} rows."
            )
        first, second = torch.triu_indices(len(share), len(share), 1)
        gap, lead = features[first] - features[second], 2 * share[first, second] - 1
        size = gap.norm(dim=1).median().clamp_min(1e-12)
        gap = gap / size
        generator = Streams.of(self.seed if seed is None else seed)("sign estimator")
        drawn = torch.randn(self.starts, gap.shape[1], generator=generator, dtype=torch.float64)
        way = torch.cat([torch.linalg.lstsq(gap, lead[:, None]).solution.T, drawn])
        way = way / way.norm(dim=1, keepdim=True).clamp_min(1e-300)
        for step in range(self.steps):
            left = 1 - step / self.steps
            width = 0.02 + left**2
            bend = 1 - torch.tanh(way @ gap.T / width) ** 2
            slope = (bend * lead) @ gap
            slope = slope - (slope * way).sum(1, keepdim=True) * way
            way = way + 0.2 * left * slope / slope.norm(dim=1, keepdim=True).clamp_min(1e-12)
            way = way / way.norm(dim=1, keepdim=True)
        agreed = torch.tanh(way @ gap.T / 0.02) @ lead
        return way[int(agreed.argmax())]

    def on(self, share: Float[Tensor, "N N"]) -> Float[Tensor, " N"]:
        return top(self.features.double() @ self.direction(share))

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]:
        return self.on(preferences(utility, weight))
