"""How well a writer serves camps: rewards on one scale, returns, wins against the reference."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.language.likelihood import divergence
from pluralign.language.writer import Reward, Writer, Written
from pluralign.metrics.estimate import Estimate
from pluralign.streams import Seed, Streams

Scale = Literal["deviation", "wins", "none"]


@dataclass(frozen=True)
class Yardstick:
    """What a reference writes, in the eyes of G camps; utils of two camps cannot be compared as they come.

    Attributes:
        prompts: P texts.
        worth: (P, n, G) utils of n answers of the reference to each.
        scale: "deviation", utils above the mean of the reference's answers to the same prompt, in units of their
            standard deviation; "wins", the chance of being preferred to such an answer by the Bradley-Terry rule; "none".
    """

    prompts: tuple[str, ...]
    worth: Float[Tensor, "P n G"]
    scale: Scale = "deviation"

    def __post_init__(self) -> None:
        if self.scale not in ("deviation", "wins", "none"):
            raise ValueError(f'`scale` must be "deviation", "wins" or "none", got {self.scale!r}.')
        flat = (self.spread == 0).nonzero()
        if self.scale == "deviation" and len(flat):
            raise ValueError(
                f"camp {int(flat[0])} values all answers of the reference alike, so there is nothing to gain for it; leave "
                "it out, or fit the population on more answers."
            )

    @property
    def spread(self) -> Float[Tensor, " G"]:
        """Standard deviation of utils among the reference's answers to one prompt."""
        return (self.worth - self.worth.mean(1, keepdim=True)).square().mean((0, 1)).sqrt()

    def __call__(self, place: Sequence[int], worth: Float[Tensor, "B n G"]) -> Float[Tensor, "B n G"]:
        """Rewards of n answers to each of the prompts numbered `place`, on the scale."""
        mine = self.worth[list(place)]
        if self.scale == "deviation":
            return (worth - mine.mean(1, keepdim=True)) / self.spread
        if self.scale == "wins":
            return torch.sigmoid(worth[:, :, None] - mine[:, None]).mean(2)
        return worth


def yardstick(
    reference: Writer,
    prompts: Sequence[str],
    reward: Reward,
    n: int = 16,
    *,
    scale: Scale = "deviation",
    seed: Seed = 0,
) -> Yardstick:
    """Let the reference answer every prompt n times."""
    return Yardstick(tuple(prompts), worths(reference.write(prompts, n, seed=seed), reward, n), scale)


def worths(written: Written, reward: Reward, n: int) -> Float[Tensor, "P n G"]:
    """Utils of what was written, n answers to each prompt."""
    found = reward(written.prompts, written.answers).double()
    return found.reshape(-1, n, found.shape[-1])


@dataclass(frozen=True)
class Served:
    """How a writer does on P prompts that it was not trained on.

    Attributes:
        wins: for each camp the chance that one of its people prefers an answer to one of the reference; ties are half.
        gain: for each camp its mean reward, on the scale of the yardstick, minus that of the reference.
        kl: nats from the reference per answer. length: tokens of an answer.
    """

    wins: tuple[Estimate, ...]
    gain: tuple[Estimate, ...]
    kl: Estimate
    length: float


def served(
    writer: Writer,
    reference: Writer,
    measure: Yardstick,
    reward: Reward,
    n: int = 16,
    *,
    seed: Seed = 0,
) -> Served:
    """Judge a writer on the prompts of a yardstick; prompts are the independent units of all intervals."""
    written = writer.write(measure.prompts, n, seed=Streams.of(seed).number("judge"))
    far = divergence(writer.model, reference.model, written.pieces, padding=writer.padding)
    return judged(worths(written, reward, n), measure, far.reshape(-1, n).mean(1), written.length)


def judged(
    worth: Float[Tensor, "P n G"], measure: Yardstick, kl: Float[Tensor, " P"], length: float
) -> Served:
    """The same of answers that are there: (P, n, G) utils, (P,) nats."""
    half = torch.tensor(0.5, dtype=worth.dtype)
    beats = torch.heaviside(worth[:, :, None] - measure.worth[:, None], half).mean((1, 2))
    every = range(len(measure.prompts))
    gain = (measure(every, worth) - measure(every, measure.worth).mean(1, keepdim=True)).mean(1)
    return Served(
        tuple(_chance(Estimate.mean(x)) for x in beats.T),
        tuple(Estimate.mean(x) for x in gain.T),
        Estimate.mean(kl.double()),
        length,
    )


def _chance(found: Estimate) -> Estimate:
    """Student's interval of something that cannot leave [0, 1]."""
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))
