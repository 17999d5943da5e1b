"""Where training goes on from: for each first state, what the best of several policies did there."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.policies.learners.batch import Price


class Shown(NamedTuple):
    """n steps worth imitating.

    Attributes:
        observation: (n, O). action: (n, A). ahead: (n,) the discounted reward from there on.
        running: (n,) the discounted sum of the rewards up to there, whose spread is the trainer's unit.
        told: (n, Q) the taste that was served.
    """

    observation: Float[Tensor, "n O"]
    action: Float[Tensor, "n A"]
    ahead: Float[Tensor, " n"]
    running: Float[Tensor, " n"]
    told: Float[Tensor, "n Q"]


def best_of(
    seen: Sequence[Segments],
    price: Price,
    discount: float,
    who: int = 0,
    told: Float[Tensor, " Q"] | None = None,
    *,
    known: int | None = None,
) -> Shown:
    """The better episodes: `seen` holds the same first states under different policies.

    With `known`, the first so many are how things are done so far. Where another way was found to be clearly better,
    only such episodes are shown: the middle between an old way and a new one may be worse than both.
    """
    longest = max(s.factors.shape[1] for s in seen)
    factors = torch.stack([_padded(s.factors, longest) for s in seen])  # (P, E, T, F)
    mask = torch.stack([_padded(_mask(s)[..., None], longest)[..., 0] for s in seen])
    flat = factors.flatten(0, 2).numpy()
    reward = torch.as_tensor(price(flat, np.full(len(flat), who))).reshape(mask.shape) * mask
    steps = torch.arange(longest, dtype=reward.dtype)
    worth = (reward * discount**steps).sum(2)
    best = worth.argmax(0)
    first = torch.arange(len(best))
    if known is not None:
        gain = worth.amax(0) - worth[:known].amax(0)
        clear = gain.quantile(0.95) / 2
        first = first[gain >= clear] if float(clear) > 0 else first
    pick = lambda x: x[best[first], first]
    reward, mask = pick(reward), pick(mask)
    # A time limit is not an end: what the last step paid is taken to go on.
    on = 1 / (1 - discount) if discount < 1 else 0.0
    after = torch.where(mask[:, -1], reward[:, -1] * on, torch.zeros_like(reward[:, -1]))
    ahead, running, total = torch.empty_like(reward), torch.empty_like(reward), torch.zeros_like(after)
    for t in range(longest):
        total = total * discount + reward[:, t]
        running[:, t] = total
    for t in reversed(range(longest)):
        after = reward[:, t] + discount * after
        ahead[:, t] = after
    observation = pick(torch.stack([_padded(_known(s.observation), longest) for s in seen]))[mask]
    action = pick(torch.stack([_padded(_known(s.action), longest) for s in seen]))[mask]
    taste = torch.zeros(0) if told is None else told
    return Shown(observation, action, ahead[mask], running[mask], taste.expand(len(action), -1))


def joined(shown: Sequence[Shown]) -> Shown:
    """All of them."""
    return Shown(*(torch.cat(parts) for parts in zip(*shown)))


def imitate(
    policy: Any,
    read: Float[Tensor, "n X"],
    action: Float[Tensor, "n A"],
    value: Float[Tensor, " n"],
    updates: int,
) -> None:
    """Regress an actor-critic of Stable-Baselines3 on shown actions and values; moves the global stream."""
    batch, rate = 512, 5e-3
    optimiser = torch.optim.Adam(policy.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, max(updates, 1))
    for _ in range(updates):
        rows = torch.randint(len(read), (batch,))
        given = policy.get_distribution(read[rows]).distribution
        if hasattr(given, "logits"):
            actor = torch.nn.functional.cross_entropy(given.logits, action[rows, 0].long())
        else:
            actor = (given.mean - action[rows]).square().mean()
        critic = (policy.predict_values(read[rows])[:, 0] - value[rows].float()).square().mean()
        optimiser.zero_grad()
        (actor + 0.1 * critic).backward()
        optimiser.step()
        schedule.step()


def _padded(x: Tensor, steps: int) -> Tensor:
    return torch.nn.functional.pad(x, (0, 0, 0, steps - x.shape[1]))


def _mask(seen: Segments) -> Tensor:
    return torch.ones(seen.factors.shape[:2], dtype=torch.bool) if seen.mask is None else seen.mask


def _known(x: Tensor | None) -> Tensor:
    assert x is not None
    return x
