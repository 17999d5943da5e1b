"""What lies ahead of a state that no number names: values learned from the steps of segments, for any reward of their factors."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Options, Segments
from pluralign.streams import Seed, Streams
from pluralign.utility.moves import best_of_policies

UPPER = 0.95  # a value is this expectile of what the steps taken nearby brought


@dataclass(frozen=True)
class Ahead:
    """Discounted sums of factors ahead of a state under L policies, each good for a reward of its own.

    The value of a state for a reward w is the best of them, so it comes from below and is differentiable in w: what
    `Judged` needs where states are numbers on a scale. Policies are those that the segments hint at: steps count more the
    better they are for the policy's own reward, so nothing is known of actions that nobody took.

    Attributes:
        centre: (P, O) of round bumps in standardised states. middle, scale: (O,). width: of a bump.
        weight: (P, L, F) discounted sums of factors ahead of each bump.

    Source: generalised policy improvement over successor features, Barreto et al. (2017), as in Knox et al. (TMLR 2022);
    kernel-based values, Ormoneit and Sen (2002); upper expectiles over steps taken, Kostrikov et al. (ICLR 2022).
    """

    centre: Float[Tensor, "P O"]
    middle: Float[Tensor, " O"]
    scale: Float[Tensor, " O"]
    width: float
    weight: Float[Tensor, "P L F"]

    @staticmethod
    def of(
        options: Options,
        discount: float,
        *,
        policies: int = 32,
        bumps: int = 60,
        rounds: int = 15,
        seed: Seed = 0,
    ) -> "Ahead":
        """Learn from the steps of segments.

        Args:
            discount: per step, in [0, 1). policies: L. rounds: of improving each.

        Raises:
            ValueError: the options do not say which states were passed and reached.
        """
        here, there, factors = _steps(options)
        stream, count = Streams.of(seed), len(here)
        middle, spread = here.mean(0), here.std(0)
        moves = spread > 1e-9 * (1 + here.abs().amax(0))
        scale = torch.where(moves, 1 / spread.clamp_min(1e-300), torch.zeros_like(spread))
        centre = ((here - middle) * scale)[torch.randperm(count, generator=stream("centres"))[:bumps]]
        near = torch.cdist(centre, centre).topk(min(4, len(centre)), largest=False)[0][:, -1]
        empty = torch.zeros(len(centre), policies, factors.shape[1], dtype=torch.float64)
        made = Ahead(centre, middle, scale, float(near.median().clamp_min(1e-3)), empty)
        now, after = made.shares(here).T, made.shares(there)
        size = factors.square().mean(0).sqrt()
        taste = torch.randn(policies, factors.shape[1], generator=stream("tastes"), dtype=torch.float64)
        taste = taste / torch.where(size > 0, size, torch.ones_like(size))
        still = torch.eye(len(centre), dtype=torch.float64)
        found = []
        for w in taste:
            counted = now
            for _ in range(rounds):
                mix = counted / counted.sum(1, keepdim=True)
                weight = torch.linalg.solve(still - discount * mix @ after, mix @ factors)
                better = factors @ w + discount * after @ (weight @ w) > (weight @ w)[:, None]
                counted = now * torch.where(better, UPPER, 1 - UPPER)
            found.append(weight)
        return Ahead(made.centre, middle, scale, made.width, torch.stack(found, 1))

    def values(
        self, state: Float[Tensor, "n O"], reward: Float[Tensor, " F"], softness: float = 1e-3
    ) -> Float[Tensor, " n"]:
        """V(s) in utils for r = reward . factors: the best of L policies, softly."""
        return best_of_policies(
            torch.einsum("np,plf->lnf", self.shares(state), self.weight), reward, softness
        )

    def ends(
        self, options: Options, reward: Float[Tensor, " F"]
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
        """V of where each segment begins, and of where it ends."""
        found = _states(options)
        state = torch.cat([found[:, 0], found[:, -1]])
        first, last = self.values(state, reward).chunk(2)
        return first, last

    def shares(self, state: Float[Tensor, "n O"]) -> Float[Tensor, "n P"]:
        """How far a state is at each bump; rows sum to one, so that values are means of values and cannot run away."""
        x = (state.double() - self.middle) * self.scale
        return torch.softmax(-(torch.cdist(x, self.centre) ** 2) / (2 * self.width**2), 1)


def _states(options: Options) -> Float[Tensor, "N T1 O"]:
    """States before every step and after the last."""
    if not isinstance(options, Segments) or options.observation is None or options.reached is None:
        came = type(options).__name__ if not isinstance(options, Segments) else "segments without"
        raise ValueError(
            "values of states need Segments with `observation` and `reached` (that after the last step), got "
            f"{came}; judge by partial return where states are not known."
        )
    return torch.cat([options.observation, options.reached[:, None]], 1).double()


def _steps(options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """(n, O) states, (n, O) states after, (n, F) factors of the steps that exist."""
    state = _states(options)
    assert isinstance(options, Segments)
    mask = torch.ones(options.factors.shape[:2], dtype=torch.bool) if options.mask is None else options.mask
    after = state[:, 1:].clone()
    last = mask.sum(1).clamp_min(1) - 1
    after[torch.arange(len(after)), last] = state[:, -1]
    return state[:, :-1][mask], after[mask], options.factors.double()[mask]


__all__ = ["Ahead"]
