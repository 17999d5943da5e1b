"""Inverse preference learning: a critic is all that is learned, and it implies the reward that explains the answers."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.policies.direct import losses
from pluralign.policies.direct.recorded import prepared
from pluralign.policies.direct.served import Served
from pluralign.policies.learner import Progress
from pluralign.policies.learners.actor import rectified
from pluralign.policies.learners.network import PersonalNetwork
from pluralign.policies.learners.offline import (
    above,
    counted_loss,
    followed,
    frozen,
    imitation_loss,
    network,
    parameters,
    told_every,
    trained,
)
from pluralign.population.belief import Belief
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Implied:
    """What a step is worth is what the critic says it is: r(s, a) = Q(s, a) - discount V(s'). Answers train Q through
    these sums, V is an upper expectile of Q, and the policy imitates actions in proportion to exp(sharpness * (Q - V)).

    Attributes:
        discount: per step, of the critic. ridge: of the mean square of implied rewards, which fixes what answers do not.
        expectile: of V, above one half. sharpness: of the imitation, advantages in units of their spread.
        blend: part of the new Q in its slow copy.
        hidden, updates, batch (answers), rate (falls to zero): of the networks and their training.

    Source: Hejna and Sadigh, Inverse preference learning, NeurIPS 2023; with a taste told to all networks, ours.
    """

    discount: float = 0.97
    ridge: float = 0.5
    expectile: float = 0.7
    sharpness: float = 2.0
    blend: float = 0.02
    hidden: tuple[int, ...] = (64, 64)
    updates: int = 3000
    batch: int = 32
    rate: float = 1e-3

    def __post_init__(self) -> None:
        if not 0.5 <= self.expectile < 1:
            raise ValueError(f"`expectile` must be in [0.5, 1), got {self.expectile}; 0.7 is usual.")
        if not 0 <= self.discount < 1:
            raise ValueError(f"`discount` must be in [0, 1), got {self.discount}; give 0.99, not a horizon.")

    def fit(
        self,
        data: Comparisons,
        people: Belief | None = None,
        seed: Seed = 0,
        progress: Progress | None = None,
        *,
        actions: int | None = None,
        low: Float[Tensor, " A"] | None = None,
        high: Float[Tensor, " A"] | None = None,
    ) -> Served:
        """Learn from M answers to pairs of segments, as `Direct` does.

        Raises:
            ValueError: the options are no such segments, or more than two are on a slate.
        """
        steps, draws, gauge, tastes = prepared("ipl", data, people, actions, low, high)
        streams = Streams.of(seed).below("implied")
        told = 0 if gauge is None else len(gauge.root)
        seen, acts = steps.read.shape[-1] + told, steps.action.shape[-1]
        new = lambda name, inside, out: network((inside, *self.hidden, out), streams("network", name))
        worth, value, policy = new("worth", seen + acts, 1), new("value", seen, 1), new("policy", seen, acts)
        slow = frozen(worth)
        every = [*parameters(worth), *parameters(value), *parameters(policy)]
        draw, loss_of = streams("answers"), counted_loss if steps.counted else imitation_loss

        def loss() -> Float[Tensor, ""]:
            rows = torch.randint(len(data), (self.batch,), generator=draw)
            slate, rater = data.slate[rows], data.rater[rows]
            x, after = steps.read[slate], steps.after[slate]
            if gauge is not None:
                pick = torch.multinomial(draws.weight[:, rater].T, 1, generator=draw)[:, 0]
                say = gauge.direction(tastes[pick, rater]).float()[:, None, None]
                say = say.expand(*x.shape[:-1], told)
                x, after = torch.cat([x, say], -1), torch.cat([after, say], -1)
            action, known, mask = steps.action[slate], steps.known[slate], steps.mask[slate]
            both = torch.cat([x, action], -1)
            with torch.no_grad():
                ahead = rectified(value, after)[..., 0] * ~steps.ends[slate]
                good = rectified(slow, both)[..., 0]
            implied = (rectified(worth, both)[..., 0] - self.discount * ahead) * known
            first = data.label[rows, 0].to(implied)
            counts = torch.ones(len(rows)) if data.weight is None else data.weight[rows].float()
            told_by = (losses.ipl(implied, first, weight=self.ridge) * counts).mean()
            upper, liked = above(
                good[mask], rectified(value, x)[..., 0][mask], self.expectile, self.sharpness
            )
            copied = loss_of(rectified(policy, x[mask]), action[mask])
            return told_by + upper + (liked * copied).mean()

        trained(
            every, loss, updates=self.updates, rate=self.rate, tell=told_every(1, progress),
            after=lambda: followed(slow, worth, self.blend),
        )  # fmt: skip
        actor = steps.actor(frozen(policy), told)
        made = actor if gauge is None else PersonalNetwork(actor, gauge)
        assert data.rater_ids is not None
        return Served(made, tastes, draws.weight, data.rater_ids, self)
