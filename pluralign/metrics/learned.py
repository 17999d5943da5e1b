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
class First:
    """Features of the first `width` numbers of a state."""

    width: int
    features: Callable[[Tensor], Tensor]

    def __call__(self, state: Float[Tensor, "m O"]) -> Float[Tensor, "m p"]:
        return self.features(state[:, : self.width])


@dataclass(frozen=True)
class Hidden:
    """Both hidden layers of a network of standardised states, in single precision.

    Attributes:
        centre, scale: (O,). layers: weight and bias (1, .) of both.
    """

    centre: Float[Tensor, " O"]
    scale: Float[Tensor, " O"]
    layers: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]

    def __call__(self, state: Float[Tensor, "m O"]) -> Float[Tensor, "m p"]:
        x = ((state - self.centre) * self.scale).float()
        return torch.cat(_hidden(x, *self.layers), 1)


def gaps(left: Float[Tensor, "n G"]) -> Float[Tensor, "G g"] | None:
    """Weights of the rewards that give each one, levelled and of length one, less the one that is nearest to it; None where
    all are far apart or equal."""
    size = left.square().mean(0).sqrt()
    real = (size > 0).nonzero()[:, 0]
    if len(real) < 2:
        return None
    unit = left[:, real] / size[real]
    apart = (2 - 2 * (unit.T @ unit) / len(unit)).clamp_min(0.0).sqrt()
    apart.fill_diagonal_(math.inf)
    low, mate = apart.min(1)
    mine = torch.arange(len(mate))
    # Of two that are each other's nearest one gap is enough.
    kept = (low < FAR) & (low > NEAR) & ~((mate[mate] == mine) & (mate < mine))
    each = torch.diag(1 / size.clamp_min(1e-300))[:, real]
    return each[:, kept] - each[:, mate[kept]] if bool(kept.any()) else None


def network(
    gap: Float[Tensor, "n G"],
    state: Float[Tensor, "n O"],
    after: Float[Tensor, "n O"],
    discount: float | Float[Tensor, "n 1"],
    *,
    seed: Seed,
    rounds: int,
    width: int = 96,
    batch: int = 512,
    rate: float = 1e-2,
) -> Hidden:
    """A network whose potentials, one for each gap, leave least of it: minibatches, rate falling as a cosine.

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
    # A potential must be this much larger than what its differences over one step pay.
    size = 1 / float((there - here).square().mean().sqrt().clamp_min(1e-6))
    draw = lambda name, *shape: torch.randn(*shape, generator=stream(name))
    first, bias, second, other, last = weights = [
        draw("first", state.shape[1], width) * 1.5 / state.shape[1] ** 0.5,
        draw("bias", 1, width),
        draw("second", width, width) * 1.5 / width**0.5,
        torch.zeros(1, width),
        draw("last", width, goal.shape[1]) * 0.1 / width**0.5,
    ]
    for weight in weights:
        weight.requires_grad_()
    turned = [Turned.of(weight) for weight in weights]
    pick = stream("batches")
    for done in range(rounds):
        rows = torch.randint(len(goal), (batch,), generator=pick)
        deep = _hidden(torch.cat([here[rows], there[rows]]), (first, bias), (second, other))[1]
        pay = size * (factor[rows] * deep[batch:] - deep[:batch]) @ last
        slopes = torch.autograd.grad((goal[rows] + pay).square().mean(), weights)
        now = rate * min(1.0, (done + 1) / 50) * (1 + math.cos(math.pi * done / rounds)) / 2
        with torch.no_grad():
            for weight, slope, way in zip(weights, slopes, turned, strict=True):
                weight.sub_(now * way.step(slope, done))
    return Hidden(centre, scale, ((first.detach(), bias.detach()), (second.detach(), other.detach())))


@dataclass
class Turned:
    """Adam's steps in the axes along which the slopes of a matrix vary: three times fewer than Adam's own for one loss.

    Attributes:
        left, right: running means of slope @ slope.T and slope.T @ slope; sides: their axes.
        mean, square: running means of the slope, and of its square in these axes.

    Source: Vyas et al., SOAP, ICLR 2025.
    """

    left: Float[Tensor, "a a"]
    right: Float[Tensor, "b b"]
    mean: Float[Tensor, "a b"]
    square: Float[Tensor, "a b"]
    sides: tuple[Tensor, Tensor]

    @staticmethod
    def of(weight: Float[Tensor, "a b"]) -> "Turned":
        a, b = weight.shape
        none = torch.zeros(a, b)
        return Turned(torch.zeros(a, a), torch.zeros(b, b), none, none.clone(), (torch.eye(a), torch.eye(b)))

    def step(self, slope: Float[Tensor, "a b"], done: int) -> Float[Tensor, "a b"]:
        """What to take off, at a rate of one; `done`: steps before this one."""
        self.left.lerp_(slope @ slope.T, 0.05)
        self.right.lerp_(slope.T @ slope, 0.05)
        if done % 20 == 0:
            self.sides = (torch.linalg.eigh(self.left)[1], torch.linalg.eigh(self.right)[1])
        one, other = self.sides
        self.mean.lerp_(slope, 0.1)
        self.square.lerp_((one.T @ slope @ other).square(), 0.05)
        way = (one.T @ self.mean @ other) / (1 - 0.9 ** (done + 1))
        size = (self.square / (1 - 0.95 ** (done + 1))).sqrt()
        return one @ (way / (size + 1e-8)) @ other.T


def _hidden(x: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    shallow = torch.tanh(x @ first[0] + first[1])
    return shallow, torch.tanh(shallow @ second[0] + second[1])


__all__ = ["First", "Hidden", "Joined", "gaps", "network"]
