"""Steps of segments as networks with rectified layers read them, kept segment by segment."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Segments
from pluralign.policies.direct.actor import Shown
from pluralign.policies.direct.served import whom
from pluralign.policies.learners.actor import Actor, Layers
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.rewards.transforms import Gauge


@dataclass(frozen=True)
class Recorded:
    """N segments of T steps at most.

    Attributes:
        read, after: (N, T, O) what is read of the observation, and of the next one.
        action: (N, T, A) within [-1, 1] of their range, or (N, T, C) with a one for the action taken.
        mask: which steps exist. ends: whether the episode ended there. known: whether what came next is known.
        centre, scale: (O,) of observations. low, high: (A,) of actions, empty where they are counted.
    """

    read: Float[Tensor, "N T O"]
    after: Float[Tensor, "N T O"]
    action: Float[Tensor, "N T A"]
    mask: Bool[Tensor, "N T"]
    ends: Bool[Tensor, "N T"]
    known: Bool[Tensor, "N T"]
    centre: Float[Tensor, " O"]
    scale: Float[Tensor, " O"]
    low: Float[Tensor, " B"]
    high: Float[Tensor, " B"]

    @property
    def counted(self) -> bool:
        """Whether actions are numbered rather than measured."""
        return not len(self.low)

    @staticmethod
    def of(shown: Shown, options: Segments, low: Tensor | None, high: Tensor | None) -> "Recorded":
        """As `steps_of` reads whole episodes: a segment shorter than the longest is one whose episode ended."""
        mask = shown.mask
        length, longest = mask.sum(1), mask.shape[1]
        last = torch.arange(longest) == (length - 1)[:, None]
        after = torch.cat([shown.observation[:, 1:], shown.observation[:, -1:]], 1)
        told = options.reached is not None
        if options.reached is not None:
            after[last] = (options.reached.float() - shown.centre) / shown.scale
        ends = last & (length < longest)[:, None]
        if shown.counted:
            low = high = torch.zeros(0)
            action = torch.nn.functional.one_hot(shown.action[..., 0].long(), shown.counted).float()
        else:
            acted = shown.action[mask]
            low = acted.amin(0) if low is None else low.float()
            high = acted.amax(0) if high is None else high.float()
            action = 2 * (shown.action - low) / (high - low).clamp_min(1e-6) - 1
        known = mask & (ends | ~last | told)
        return Recorded(
            shown.observation,
            after,
            action,
            mask,
            ends,
            known,
            shown.centre,
            shown.scale,
            low,
            high,
        )

    def actor(self, layers: Layers, told: int) -> Actor:
        """A policy that reads and acts as these steps do; `told` numbers say whom it serves."""
        taste = torch.zeros(told) if told else None
        return Actor(tuple(layers), self.centre, self.scale, self.low, self.high, taste)


def prepared(
    name: str,
    data: Comparisons,
    people: Belief | None,
    actions: int | None,
    low: Tensor | None,
    high: Tensor | None,
) -> tuple[Recorded, Draws, Gauge | None, Float[Tensor, "S R Z"]]:
    """Steps of the segments, draws of each rater's taste, how a network reads them, and what it is told."""
    if data.places != 2:
        raise ValueError(f"{name} learns from pairs, got slates of {data.places}; see pairs_of().")
    if not len(data):
        raise ValueError("learning needs at least one answer, got none; check the filter that made the data.")
    shown = Shown(data.options, actions)
    assert isinstance(data.options, Segments)
    return Recorded.of(shown, data.options, low, high), *whom(data, people)
