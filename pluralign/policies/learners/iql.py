"""Implicit Q-learning: good policies from recorded steps alone, for one reward or for every taste."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.learner import Progress
from pluralign.policies.learners.actor import Actor, rectified
from pluralign.policies.learners.offline import (
    Offline,
    above,
    counted_loss,
    followed,
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
class IQL(Offline):
    """Never asks what an action that nobody took is worth: V is an upper expectile of the worth of actions taken, Q
    looks one step ahead to V, and the policy imitates actions in proportion to exp(sharpness * advantage), advantages
    in units of their spread.

    Rewards are divided by the spread of their discounted sums in the data, so their unit does not matter.

    Attributes:
        data: segments with observations and actions, of whatever quality.
        simulator: judges policies by `returns`; not needed to train.
        actions: how many there are to choose from; 0 where actions are numbers.
        expectile: of V, above one half. sharpness: of the imitation; 0 imitates everything.
        blend: part of the new Q in its slow copy. The rest is of the networks and their training.

    Source: Kostrikov, Nair and Levine, Offline reinforcement learning with implicit Q-learning, ICLR 2022. With a
    taste as input and drawn anew for each step, as in Poddar et al. (VPL), NeurIPS 2024.
    """

    expectile: float = 0.7
    sharpness: float = 2.0
    updates: int = 5000
    batch: int = 256
    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 1e-3
    blend: float = 0.02

    def __post_init__(self) -> None:
        if not 0.5 <= self.expectile < 1:
            raise ValueError(f"`expectile` must be in [0.5, 1), got {self.expectile}; 0.7 is usual.")
        if not 0 <= self.discount < 1:
            raise ValueError(f"`discount` must be in [0, 1), got {self.discount}; give 0.99, not a horizon.")

    def _train(
        self,
        worth: Worth,
        unit: Float[Tensor, "K Z"],
        told: Float[Tensor, "K Q"],
        streams: Streams,
        progress: Progress | None,
    ) -> Actor:
        steps, actor = steps_of(self.data, worth, self.discount, self.actions)
        spread = float((steps.ahead @ unit.T).std())
        if not spread > 0:
            raise ValueError(
                "the reward is the same all over the data; nothing can be learned from it. Record episodes that differ."
            )
        unit, basis = (unit / spread).float(), steps.basis.float()
        seen, acts = steps.read.shape[1] + told.shape[1], steps.action.shape[1]
        new = lambda name, inside, out: network((inside, *self.hidden, out), streams("network", name))
        value, policy = new("value", seen, 1), new("policy", seen, acts)
        twins = [new(f"worth {k}", seen + acts, 1) for k in range(2)]
        slow = [frozen(one) for one in twins]
        every = [*parameters(value), *parameters(policy), *(x for one in twins for x in parameters(one))]
        usable = steps.known.nonzero()[:, 0]
        generator, loss_of = streams("batches"), counted_loss if self.actions else imitation_loss

        def loss() -> Float[Tensor, ""]:
            pick = usable[torch.randint(len(usable), (self.batch,), generator=generator)]
            who = torch.randint(len(unit), (self.batch,), generator=generator)
            x = torch.cat([steps.read[pick], told[who]], 1)
            after = torch.cat([steps.after[pick], told[who]], 1)
            action, reward = steps.action[pick], (basis[pick] * unit[who]).sum(1)
            both = torch.cat([x, action], 1)
            with torch.no_grad():
                good = torch.minimum(*(rectified(one, both)[:, 0] for one in slow))
                ahead = reward + self.discount * rectified(value, after)[:, 0] * ~steps.ends[pick]
            upper, liked = above(good, rectified(value, x)[:, 0], self.expectile, self.sharpness)
            return (
                upper
                + sum((rectified(one, both)[:, 0] - ahead).square().mean() for one in twins)
                + (liked * loss_of(rectified(policy, x), action)).mean()
            )

        def after() -> None:
            for one, copy in zip(twins, slow):
                followed(copy, one, self.blend)

        tell = told_every(100, progress)
        trained(every, loss, updates=self.updates, rate=self.learning_rate, tell=tell, after=after)
        return dataclasses.replace(actor, layers=frozen(policy))
