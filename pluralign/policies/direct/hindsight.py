"""Offline preference-guided policy optimisation: imitate everything, told how it would look in hindsight; act as told what is best."""

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
    counted_loss,
    imitation_loss,
    network,
    parameters,
    told_every,
    trained,
)
from pluralign.population.belief import Belief
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Hindsight:
    """An encoder sums up a segment in a few numbers, its context; a policy that is told the context imitates the segment;
    and answers move the best context, and the contexts themselves, so that what is preferred is near to the best.

    The policy then acts as told the best context, of which there is one for each camp.

    Attributes:
        context: numbers that sum up a segment, each within (-1, 1). weight: of answers beside imitation.
        hidden, updates, batch (answers), rate (falls to zero): of the networks and their training.

    Source: Kang et al., Beyond reward: offline preference-guided policy optimization (OPPO), ICML 2023. Ours are the
    logistic loss, the mean over steps as encoder, and one best context for each camp.
    """

    context: int = 8
    weight: float = 1.0
    hidden: tuple[int, ...] = (64, 64)
    updates: int = 2000
    batch: int = 64
    rate: float = 1e-3

    def __post_init__(self) -> None:
        if self.context < 1:
            raise ValueError(f"`context` must be 1 or more numbers, got {self.context}.")
        if not self.weight > 0:
            raise ValueError(f"`weight` must be positive, got {self.weight}; 0 would not look at answers.")

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
            ValueError: the options are no such segments, more than two are on a slate, or tastes are continuous.
        """
        steps, draws, gauge, tastes = prepared("oppo", data, people, actions, low, high)
        if gauge is not None and not draws.shared:
            raise ValueError(
                "oppo learns one best context for each camp, and tastes are continuous here; fit with camps."
            )
        streams = Streams.of(seed).below("hindsight")
        camps = len(draws.weight)
        seen, acts, wide = steps.read.shape[-1], steps.action.shape[-1], self.hidden[-1]
        encoder = network((seen + acts, *self.hidden), streams("network", "encoder"))
        head = network((wide, self.context), streams("network", "context"))
        policy = network((seen + self.context, *self.hidden, acts), streams("network", "policy"))
        best = 0.1 * torch.randn(camps, self.context, generator=streams("best"))
        every = [*parameters(encoder), *parameters(head), *parameters(policy), best.requires_grad_()]
        draw, loss_of = streams("answers"), counted_loss if steps.counted else imitation_loss

        def loss() -> Float[Tensor, ""]:
            rows = torch.randint(len(data), (self.batch,), generator=draw)
            slate, rater = data.slate[rows], data.rater[rows]
            camp = torch.multinomial(draws.weight[:, rater].T.float(), 1, generator=draw)[:, 0]
            x, action, mask = steps.read[slate], steps.action[slate], steps.mask[slate]
            noted = torch.relu(rectified(encoder, torch.cat([x, action], -1))) * mask[..., None]
            summed = noted.sum(-2) / mask.sum(-1, keepdim=True)
            context = torch.tanh(rectified(head, summed))
            say = context[..., None, :].expand(*x.shape[:-1], self.context)
            copied = loss_of(rectified(policy, torch.cat([x, say], -1)[mask]), action[mask]).mean()
            counts = torch.ones(len(rows)) if data.weight is None else data.weight[rows].float()
            told_by = losses.oppo(context, torch.tanh(best[camp]), data.label[rows, 0].to(context)) * counts
            return copied + self.weight * told_by.mean()

        trained(every, loss, updates=self.updates, rate=self.rate, tell=told_every(1, progress))
        with torch.no_grad():
            # Once training is over a context is one of a few: the first layer can know them by their number.
            (weight, bias), *rest = [(w.detach().clone(), b.detach().clone()) for w, b in policy]
            moved = weight[:, seen:] @ torch.tanh(best).T  # (H, G)
            first = (
                (weight[:, :seen], bias + moved[:, 0])
                if gauge is None
                else (torch.cat([weight[:, :seen], moved], 1), bias)
            )
        actor = steps.actor((first, *rest), 0 if gauge is None else camps)
        made = actor if gauge is None else PersonalNetwork(actor, gauge)
        assert data.rater_ids is not None
        return Served(made, tastes, draws.weight, data.rater_ids, self)
