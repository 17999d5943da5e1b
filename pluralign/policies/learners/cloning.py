"""Behaviour cloning: do as the data do, or as the part of the data does that a reward likes best."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.policies.learner import Learner, Policy, Progress, Start, checked_weight
from pluralign.policies.learners.actor import Actor, rectified
from pluralign.policies.learners.network import PersonalNetwork
from pluralign.policies.learners.offline import (
    asked_of,
    counted_loss,
    frozen,
    imitation_loss,
    network,
    parameters,
    steps_of,
    told_every,
)
from pluralign.population.voices import Voices
from pluralign.rewards.transforms import Gauge
from pluralign.streams import Seed, Streams
from pluralign.utility import Worth


@dataclass(frozen=True)
class BC:
    """Regression of actions on observations (Pomerleau 1991); with `best` below one on the best segments alone, the
    strong baseline of Chen et al. (Decision transformer, NeurIPS 2021).

    Attributes:
        data, simulator, discount, actions: as in `IQL`.
        best: share of the segments that are imitated, by their discounted return; 1 imitates all, whatever the reward.
    """

    data: Segments
    simulator: Learner | None = None
    discount: float = 0.97
    actions: int = 0
    best: float = 1.0
    updates: int = 3000
    batch: int = 256
    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.best <= 1:
            raise ValueError(f"`best` must be in (0, 1], got {self.best}; 0.1 imitates the best tenth.")

    def improve(
        self,
        voices: Voices,
        weight: Float[Tensor, " G"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> Actor:
        """What the best segments for the weighted sum of the voices do; `start` is not needed."""
        del start
        z = voices.mixed(checked_weight(weight, voices).to(voices.z))
        return self._train(voices.worth, z[None].double(), torch.zeros(1, 0), Streams.of(seed), progress)

    def personalise(
        self,
        worth: Worth,
        tastes: Float[Tensor, "K Z"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> PersonalNetwork:
        """One network that does for each taste what the best segments for that taste do."""
        del start
        rows = self.data.factors if self.data.mask is None else self.data.factors[self.data.mask]
        gauge = Gauge.of(worth, rows.flatten(0, -2))
        told = gauge.direction(tastes).float()
        actor = self._train(worth, tastes.double(), told, Streams.of(seed), progress)
        return PersonalNetwork(dataclasses.replace(actor, taste=torch.zeros(told.shape[1])), gauge)

    def returns(self, policy: Policy, voices: Voices, *, seed: Seed = 0) -> Float[Tensor, "E G"]:
        """(E, G) as the simulator finds them."""
        return asked_of(self.simulator, self).returns(policy, voices, seed=seed)

    def random(self) -> Policy:
        """The simulator's random policy."""
        return asked_of(self.simulator, self).random()

    def rollout(self, policy: Policy, episodes: int, *, seed: Seed = 0) -> Segments:
        """Episodes of the simulator."""
        simulator: Any = asked_of(self.simulator, self)
        return simulator.rollout(policy, episodes, seed=seed)

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
        optimiser = torch.optim.Adam(parameters(policy), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, max(self.updates, 1))
        generator, loss_of = streams("batches"), counted_loss if self.actions else imitation_loss
        tell = told_every(100, progress)
        for update in range(self.updates):
            some = torch.randint(len(pick), (self.batch,), generator=generator)
            x = torch.cat([steps.read[pick[some]], told[who[some]]], 1)
            loss = loss_of(rectified(policy, x), steps.action[pick[some]]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            tell(update)
        return dataclasses.replace(actor, layers=frozen(policy))
