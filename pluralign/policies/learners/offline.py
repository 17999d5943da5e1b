"""Recorded steps as a learner without a simulator needs them, and small networks trained on them."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.policies.learner import Learner, Policy, Progress, Start, checked_weight
from pluralign.policies.learners.actor import Actor, Layers
from pluralign.policies.learners.episodes import happened, reading
from pluralign.policies.learners.network import PersonalNetwork
from pluralign.population.voices import Voices
from pluralign.rewards.transforms import Gauge
from pluralign.streams import Seed, Streams
from pluralign.utility import Worth


@dataclass(frozen=True)
class Offline(ABC):
    """A learner from recorded segments: says what to train for, and asks a simulator for everything but training.

    Attributes:
        data: segments with observations and actions. simulator: a learner whose episodes judge policies; None: none are judged.
        discount: of the returns. actions: how many there are to choose from; 0 where they are numbers.
    """

    data: Segments
    simulator: Learner | None = None
    discount: float = 0.97
    actions: int = 0

    def improve(
        self,
        voices: Voices,
        weight: Float[Tensor, " G"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> Actor:
        """The policy that the data support for the weighted sum of the voices; `start` is not needed."""
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
        """One network for all tastes, each paid in units of its own spread over the steps of the data."""
        del start
        gauge = Gauge.of(worth, happened(self.data))
        unit, told = gauge.unit(tastes).float().double(), gauge.direction(tastes).float()
        actor = self._train(worth, unit, told, Streams.of(seed), progress)
        return PersonalNetwork(dataclasses.replace(actor, taste=torch.zeros(told.shape[1])), gauge)

    def returns(self, policy: Policy, voices: Voices, *, seed: Seed = 0) -> Float[Tensor, "E G"]:
        """(E, G) as the simulator finds them."""
        return self._asked.returns(policy, voices, seed=seed)

    def random(self) -> Policy:
        """The simulator's random policy."""
        return self._asked.random()

    def rollout(self, policy: Policy, episodes: int, *, seed: Seed = 0) -> Segments:
        """Episodes of the simulator."""
        return self._asked.rollout(policy, episodes, seed=seed)

    @property
    def _asked(self) -> Any:
        """The simulator, where there is one."""
        if self.simulator is None:
            raise ValueError(
                f"{type(self).__name__} learns from data and has no simulator to try policies in; give "
                "simulator=PPO(world), whose episodes then judge them."
            )
        return self.simulator

    @abstractmethod
    def _train(
        self,
        worth: Worth,
        z: Float[Tensor, "K Z"],
        told: Float[Tensor, "K Q"],
        streams: Streams,
        progress: Progress | None,
    ) -> Actor:
        """A policy for K tastes `z`, of which the network is told `told`."""


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
    came after their last step is known where the segments say what they reached.

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
    told = data.reached is not None
    if data.reached is not None:
        after[last] = ((data.reached - centre) / scale).float()
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
        (ends | ~last | told)[there],
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


def trained(
    moving: Sequence[Tensor],
    loss: Callable[[], Float[Tensor, ""]],
    *,
    updates: int,
    rate: float,
    tell: Callable[[int], Any],
    after: Callable[[], None] = lambda: None,
) -> None:
    """Move numbers down a loss that is drawn anew at every update, by Adam at a rate that falls to a twentieth.

    Args:
        after: done once the numbers have moved. tell: gets the number of the update.
    """
    optimiser = torch.optim.Adam(moving, lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, max(updates, 1))
    for update in range(updates):
        value = loss()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        after()
        tell(update)


def followed(slow: Layers, fast: Layers, part: float) -> None:
    """Move a slow copy of a network a part of the way."""
    with torch.no_grad():
        for kept, moved in zip(parameters(slow), parameters(fast), strict=True):
            kept.lerp_(moved, part)


def above(
    good: Float[Tensor, " B"], value: Float[Tensor, " B"], expectile: float, sharpness: float
) -> tuple[Float[Tensor, ""], Float[Tensor, " B"]]:
    """The loss by which `value` becomes an expectile of `good`, and how much each step is to be imitated:
    exp(sharpness * advantage), advantages in units of their spread (Kostrikov et al. 2022, equations 5 and 7).
    """
    gap = good - value
    side = torch.where(gap > 0, expectile, 1 - expectile)
    better = gap.detach() / gap.detach().std().clamp_min(1e-6)
    return (side * gap.square()).mean(), torch.exp(sharpness * better).clamp_max(100.0)


def told_every(count: int, progress: Progress | None) -> Callable[[int], Any]:
    """A function of the number of the update that reports each `count`-th."""

    def tell(update: int) -> None:
        if progress is not None and (update + 1) % count == 0:
            progress(count)

    return tell
