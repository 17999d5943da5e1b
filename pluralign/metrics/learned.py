"""Features of states that are learned: a small network trained to explain differences between rewards away as shaping."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.streams import Seed, Streams

FAR = 1.2  # rewards farther apart than this are no copies of each other
NEAR = 3e-3  # nor is there anything to explain below this


@dataclass(frozen=True)
class Joined:
    """Features of one kind, then of another."""

    first: Callable[[Tensor], Tensor]
    second: Callable[[Tensor], Tensor]

    def __call__(self, state: Float[Tensor, "m O"]) -> Float[Tensor, "m p"]:
        return torch.cat([self.first(state).double(), self.second(state).double()], 1)


@dataclass(frozen=True)
class Hidden:
    """Both hidden layers of a network of standardised states, in single precision.

    Attributes:
        centre, scale: (O,). layers: weight and bias of both.
    """

    centre: Float[Tensor, " O"]
    scale: Float[Tensor, " O"]
    layers: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]

    def __call__(self, state: Float[Tensor, "m O"]) -> Float[Tensor, "m p"]:
        x = ((state[:, : len(self.centre)] - self.centre) * self.scale).float()
        return torch.cat(_hidden(x, *self.layers), 1)


def gaps(left: Float[Tensor, "n G"]) -> Float[Tensor, "n g"] | None:
    """Each levelled reward of length one, less the one that is nearest to it; None where all are far apart or equal."""
    size = left.square().mean(0).sqrt()
    real = size > 0
    unit = left[:, real] / size[real]
    if unit.shape[1] < 2:
        return None
    apart = (2 - 2 * (unit.T @ unit) / len(unit)).clamp_min(0.0).sqrt()
    apart.fill_diagonal_(math.inf)
    low, mate = apart.min(1)
    mine = torch.arange(len(mate))
    # Of two that are each other's nearest one gap is enough.
    kept = (low < FAR) & (low > NEAR) & ~((mate[mate] == mine) & (mate < mine))
    return unit[:, kept] - unit[:, mate[kept]] if bool(kept.any()) else None


def network(
    gap: Float[Tensor, "n G"],
    state: Float[Tensor, "n O"],
    after: Float[Tensor, "n O"],
    discount: float | Float[Tensor, "n 1"],
    *,
    seed: Seed,
    rounds: int,
    width: int = 64,
    batch: int = 512,
    rate: float = 6e-3,
) -> Hidden:
    """A network whose potentials, one for each gap, leave least of it: Adam on minibatches, rate falling as a cosine.

    `discount`: per step; zero where an episode ends.
    """
    stream = Streams.of(seed)
    spread = state.std(0)
    scale = torch.where(
        spread > 1e-9 * (1 + state.abs().amax(0)), 1 / spread.clamp_min(1e-300), torch.zeros_like(spread)
    )
    centre = state.mean(0)
    here, there = (((x - centre) * scale).float() for x in (state, after))
    goal = (gap / gap.square().mean(0).sqrt()).float()
    factor = discount.float() if isinstance(discount, Tensor) else torch.full((len(goal), 1), float(discount))
    draw = lambda name, *shape: torch.randn(*shape, generator=stream(name))
    weights = [
        draw("first", state.shape[1], width) * 1.5 / state.shape[1] ** 0.5,
        draw("bias", width),
        draw("second", width, width) * 1.5 / width**0.5,
        torch.zeros(width),
        draw("last", width, goal.shape[1]) * 0.1 / width**0.5,
    ]
    first, bias, second, other, last = (w.requires_grad_() for w in weights)
    optimiser = torch.optim.Adam([first, bias, second, other, last], lr=rate)
    pick = stream("batches")
    for done in range(rounds):
        optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * done / rounds)) / 2
        rows = torch.randint(len(goal), (batch,), generator=pick)
        x = torch.cat([here[rows], there[rows]])
        deep = _hidden(x, (first, bias), (second, other))[1]
        pay = (factor[rows] * deep[batch:] - deep[:batch]) @ last
        loss = (goal[rows] + pay).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Hidden(centre, scale, ((first.detach(), bias.detach()), (second.detach(), other.detach())))


def _hidden(x: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    shallow = torch.tanh(x @ first[0] + first[1])
    return shallow, torch.tanh(shallow @ second[0] + second[1])


__all__ = ["Hidden", "Joined", "gaps", "network"]
