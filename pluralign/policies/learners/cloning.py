"""Behaviour cloning: do as the data do, or as the part of the data does that a reward likes best."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.learner import Progress
from pluralign.policies.learners.actor import Actor, rectified
from pluralign.policies.learners.offline import (
    Offline,
    counted_loss,
    frozen,
    imitation_loss,
    network,
    parameters,
    steps_of,
    told_every,
    trained,
)
from pluralign.streams import Streams
from pluralign.utility import Worth


@dataclass(frozen=True)
class BC(Offline):
    """Regression of actions on observations (Pomerleau 1991); with `best` below one on the best segments alone, the
    strong baseline of Chen et al. (Decision transformer, NeurIPS 2021).

    Attributes:
        data, simulator, discount, actions: as in `IQL`.
        best: share of the segments that are imitated, by their discounted return; 1 imitates all, whatever the reward.
    """

    best: float = 1.0
    updates: int = 3000
    batch: int = 256
    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.best <= 1:
            raise ValueError(f"`best` must be in (0, 1], got {self.best}; 0.1 imitates the best tenth.")

    def _train(
        self,
        worth: Worth,
        z: Float[Tensor, "K Z"],
        told: Float[Tensor, "K Q"],
        streams: Streams,
        progress: Progress | None,
    ) -> Actor:
        steps, actor = steps_of(self.data, worth, self.discount, self.actions)
        gain = self.data.pool(worth.steps(self.data.factors).double(), self.discount) @ z.T  # (N, K)
        count = max(1, round(self.best * len(gain)))
        liked = torch.zeros_like(gain, dtype=torch.bool).scatter(0, gain.topk(count, dim=0).indices, True)
        who, pick = liked.T[:, steps.segment].nonzero().unbind(1)  # every step to imitate, and for whom
        policy = network(
            (steps.read.shape[1] + told.shape[1], *self.hidden, steps.action.shape[1]), streams("network")
        )
        generator, loss_of = streams("batches"), counted_loss if self.actions else imitation_loss

        def loss() -> Float[Tensor, ""]:
            some = torch.randint(len(pick), (self.batch,), generator=generator)
            x = torch.cat([steps.read[pick[some]], told[who[some]]], 1)
            return loss_of(rectified(policy, x), steps.action[pick[some]]).mean()

        tell = told_every(100, progress)
        trained(parameters(policy), loss, updates=self.updates, rate=self.learning_rate, tell=tell)
        return dataclasses.replace(actor, layers=frozen(policy))
