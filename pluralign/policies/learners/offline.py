"""Recorded steps as a learner without a simulator needs them, and small networks trained on them."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.policies.learner import Learner, Progress
from pluralign.policies.learners.actor import Actor, Layers
from pluralign.policies.learners.episodes import reading
from pluralign.utility import Worth


class Steps(NamedTuple):
    """n recorded steps.

    Attributes:
        read, after: (n, O) what a network reads of the observation, and of the next one.
        action: (n, A) within [-1, 1] of their range, or (n, C) with a one for the action taken.
        basis: (n, Z) what the step is worth in the directions of taste; ahead: (n, Z) its discounted sum from there on.
        segment: (n,) where the step is from.
        ends: (n,) whether the episode ended there; known: (n,) whether what came next is known (an end is).
    """

    read: Float[Tensor, "n O"]
    after: Float[Tensor, "n O"]
    action: Float[Tensor, "n A"]
    basis: Float[Tensor, "n Z"]
    ahead: Float[Tensor, "n Z"]
    segment: Int[Tensor, " n"]
    ends: Bool[Tensor, " n"]
    known: Bool[Tensor, " n"]


def steps_of(data: Segments, worth: Worth, discount: float, actions: int) -> tuple[Steps, Actor]:
    """The steps, and an actor without layers that knows how to read and to act as they do.

    A segment that is shorter than the longest is one whose episode ended; the longest ones are cut off, and what
    would have come after their last step is unknown.

    Args:
        actions: how many there are to choose from; 0 where they are numbers, whose range is that of the data.

    Raises:
        ValueError: the segments hold no observations or no actions.
    """
    if data.observation is None or data.action is None:
        raise ValueError("`data` must hold observations and actions; record them together with the factors.")
    centre, scale = reading(data)
    there = torch.ones(data.factors.shape[:2], dtype=torch.bool) if data.mask is None else data.mask
    read = ((data.observation - centre) / scale).float()
    longest = there.shape[1]
    length = there.sum(1)
    last = torch.arange(longest) == (length - 1)[:, None]
    after = torch.cat([read[:, 1:], read[:, -1:]], 1)
    basis = worth.steps(data.factors).double() * there[..., None]
    ahead, total = torch.zeros_like(basis), torch.zeros_like(basis[:, 0])
    for t in reversed(range(longest)):
        total = basis[:, t] + discount * total
        ahead[:, t] = total
    taken = data.action[there]
    if actions:
        low = high = torch.zeros(0)
        taken = torch.nn.functional.one_hot(taken[:, 0].long(), actions).float()
    else:
        low, high = taken.amin(0).float(), taken.amax(0).float()
        taken = (2 * (taken - low) / (high - low).clamp_min(1e-6) - 1).float()
    ends = last & (length < longest)[:, None]
    where = torch.arange(len(data))[:, None].expand_as(there)
    steps = Steps(
        read[there],
        after[there],
        taken,
        basis[there],
        ahead[there],
        where[there],
        ends[there],
        (ends | ~last)[there],
    )
    return steps, Actor((), centre.float(), scale.float(), low, high)


def network(widths: Iterable[int], generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Layers with random weights of variance 1 / inputs, no global stream moved."""
    sizes = list(widths)
    layers = []
    for inside, out in zip(sizes, sizes[1:]):
        bound = inside**-0.5
        weight = (2 * torch.rand(out, inside, generator=generator) - 1) * bound
        layers.append((weight.requires_grad_(), torch.zeros(out, requires_grad=True)))
    return layers


def parameters(layers: Layers) -> list[Tensor]:
    return [x for layer in layers for x in layer]


def frozen(layers: Layers) -> tuple[tuple[Tensor, Tensor], ...]:
    return tuple((weight.detach().clone(), bias.detach().clone()) for weight, bias in layers)


def imitation_loss(out: Float[Tensor, "B A"], action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
    """Squared error of the tanh of a network's output; for counted actions (rows with a one) use `counted_loss`."""
    return (torch.tanh(out) - action).square().sum(1)


def counted_loss(out: Float[Tensor, "B C"], action: Float[Tensor, "B C"]) -> Float[Tensor, " B"]:
    """Minus the log-probability of the action taken."""
    return -(torch.log_softmax(out, 1) * action).sum(1)


def told_every(count: int, progress: Progress | None) -> Callable[[int], Any]:
    """A function of the number of the update that reports each `count`-th."""

    def tell(update: int) -> None:
        if progress is not None and (update + 1) % count == 0:
            progress(count)

    return tell


def asked_of(simulator: Learner | None, learner: object) -> Learner:
    """The simulator, where there is one.

    Raises:
        ValueError: there is none.
    """
    if simulator is None:
        raise ValueError(
            f"{type(learner).__name__} learns from data and has no simulator to try policies in; give "
            "simulator=PPO(world), whose episodes then judge them."
        )
    return simulator
