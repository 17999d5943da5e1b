"""How far two rewards are apart, estimated from sampled steps: for worlds whose chances nobody has written down.

A reward is levelled by the potential that leaves least of it over the sampled steps, which is ordinary least squares on
features of states (the sampled form of the canonical reward "minimal-weighted"). All rewards are measured on the same steps with
the same features, so a shaped copy has the distance zero exactly when its potential is a sum of features, and a small one when
it nearly is. Dynamics that are random need two next states of each step, drawn independently: products of different draws
have no bias from their spread, and redistribution over next states vanishes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import t as student
from torch import Tensor

from pluralign.metrics.estimate import Estimate
from pluralign.metrics.learned import First, Joined, gaps, network
from pluralign.population.voices import Voices
from pluralign.streams import Seed, Streams

Feature = Callable[[Tensor], Tensor]  # states (m, O) to numbers (m, p), each row by itself
AT_ONCE = 1 << 22  # numbers held per piece of a sum, 32 MB
FITTED = 20_000  # steps, or 32 for each feature, that a potential is fitted to: its error counts in the second order


@dataclass(frozen=True)
class Transitions:
    """n steps that cover a world; K next states of each, drawn independently from s' ~ T(. | s, a).

    The distance is about these (s, a): what they leave out does not count, what they hold often counts much.

    Attributes:
        state: (n, O). action: (n, A), as the world takes it. after: (n, K, O), next states.
        discount: per step, in [0, 1).
        factors: (n, K, F) published by the step to each next state, or None.
        ended: (n, K) whether the episode ends there, where nothing more is paid, or None.
        rollout: (n,) steps of one number hang together and count as one unit of the standard error; None: all apart.
        features: of states, from which potentials are made; None: `waves`.
        learned: minibatches for which a network is trained to explain differences between rewards away as shaping; it joins
            the features. It reads the first `observed` numbers of a state, by default all. 3000 take ten seconds.
        names: of the factors.
    """

    state: Float[Tensor, "n O"]
    action: Float[Tensor, "n A"]
    after: Float[Tensor, "n K O"]
    discount: float
    factors: Float[Tensor, "n K F"] | None = None
    ended: Bool[Tensor, "n K"] | None = None
    rollout: Int[Tensor, " n"] | None = None
    features: Feature | None = None
    learned: int = 0
    observed: int | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.discount < 1:
            raise ValueError(f"`discount` must be in [0, 1), got {self.discount}; give 0.99, not a horizon.")
        if len(self.state) < 2:
            raise ValueError(f"a distance needs two sampled steps at least, got {len(self.state)}.")
        for name in ("state", "action", "after", "factors"):
            value = getattr(self, name)
            if value is not None and not bool(torch.isfinite(value).all()):
                raise ValueError(f"`{name}` must be finite; leave out steps of which something is unknown.")

    def __len__(self) -> int:
        return len(self.state)

    @property
    def branches(self) -> int:
        """K."""
        return self.after.shape[1]

    @property
    def units(self) -> Int[Tensor, " n"]:
        """(n,) the unit that each step belongs to, counted from 0."""
        if self.rollout is None:
            return torch.arange(len(self))
        return torch.unique(self.rollout, return_inverse=True)[1]


@dataclass(frozen=True)
class Waves:
    """1, standardised coordinates, their products, and waves cos(w . x + phase): sums of these come near any smooth function.

    Attributes:
        centre, scale: (O,) a state x becomes (x - centre) * scale.
        frequency: (O, W). phase: (W,).
        products: whether to have products of two coordinates.
    """

    centre: Float[Tensor, " O"]
    scale: Float[Tensor, " O"]
    frequency: Float[Tensor, "O W"]
    phase: Float[Tensor, " W"]
    products: bool = True

    def __call__(self, state: Float[Tensor, "m O"]) -> Float[Tensor, "m p"]:
        x = (state.to(self.centre) - self.centre) * self.scale
        parts = [torch.ones_like(x[:, :1]), x]
        if self.products:
            one, other = torch.triu_indices(x.shape[1], x.shape[1])
            parts.append(x[:, one] * x[:, other])
        if len(self.phase):
            parts.append(torch.cos(x @ self.frequency + self.phase))
        return torch.cat(parts, 1)


def waves(state: Float[Tensor, "n O"], count: int = 500, *, products: bool = True, seed: Seed = 0) -> Waves:
    """Features for these states. Half the waves run along one or two coordinates alone, as potentials mostly do.

    Wave lengths are drawn over a range of scales. Source: Rahimi and Recht, Random features, NIPS 2007.
    """
    stream = Streams.of(seed)
    state = state.double()
    spread = state.std(0)
    moves = spread > 1e-9 * (1 + state.abs().amax(0))
    scale = torch.where(moves, 1 / spread.clamp_min(1e-300), torch.zeros_like(spread))
    width = state.shape[1]
    frequency = torch.randn(width, count, generator=stream("frequency"), dtype=torch.float64)
    few = torch.zeros(width, count, dtype=torch.float64)
    pick = torch.randint(width, (2, count), generator=stream("coordinates"))
    few.scatter_(0, pick, 1.0)
    few[:, count // 2 :] = 1.0
    reach = few.sum(0).sqrt()
    size = 2 ** (3 * torch.rand(count, generator=stream("size"), dtype=torch.float64) - 1)
    phase = 2 * math.pi * torch.rand(count, generator=stream("phase"), dtype=torch.float64)
    return Waves(state.mean(0), scale, frequency * few * size / reach, phase, products)


def paid(reward: Any, steps: Transitions, *, name: str = "the reward") -> Float[Tensor, "n K"]:
    """What a reward pays on each sampled transition.

    Args:
        reward: (n,) or (n, K) numbers; a function of (state, action, after), rows in and one number a row out; `Voices` of
            one voice, or (F,) weights, of the factors.

    Raises:
        ValueError: another shape, or numbers that are not finite.
    """
    n, branches = len(steps), steps.branches
    if isinstance(reward, Voices):
        if len(reward) != 1 or steps.factors is None:
            raise ValueError(
                f"{name} must be one voice, of transitions with factors; got {len(reward)} voices."
            )
        value = reward.reward(steps.factors)[..., 0]
    elif callable(reward):
        wide = lambda x: x[:, None].expand(-1, branches, -1).reshape(n * branches, -1)
        value = reward(wide(steps.state), wide(steps.action), steps.after.reshape(n * branches, -1))
        value = torch.as_tensor(value).reshape(n, branches)
    else:
        value = torch.as_tensor(reward if isinstance(reward, Tensor) else np.asarray(reward))
        width = 0 if steps.factors is None else steps.factors.shape[-1]
        if value.dim() == 1 and len(value) == width:
            assert steps.factors is not None
            value = steps.factors.double() @ value.double()
        elif value.dim() == 1 and len(value) == n:
            value = value[:, None].expand(n, branches)
        if tuple(value.shape) != (n, branches):
            raise ValueError(
                f"{name} must have a number for each of the {n} transitions ({n}, {branches}), a weight for each of the "
                f"{width} factors, or be a function of (state, action, after); got {tuple(value.shape)}."
            )
    value = value.detach().double()
    off = (~torch.isfinite(value)).nonzero()
    if len(off):
        raise ValueError(
            f"{name} must be finite; on {len(off)} of {value.numel()} transitions it is not, first step {int(off[0, 0])}: "
            f"{float(value[tuple(off[0])])}."
        )
    return value


@dataclass(frozen=True)
class Distances:
    """Distances between G rewards on the same sampled steps.

    Attributes:
        value, standard_error: (G, G). size: (G,) root mean square of what is left of each reward when levelled, utils.
        share: (G,) its part of what the reward paid, as a mean square: little means that it is nearly all shaping.
        n: units of the standard error.
    """

    value: Float[Tensor, "G G"]
    standard_error: Float[Tensor, "G G"]
    size: Float[Tensor, " G"]
    share: Float[Tensor, " G"]
    n: int

    def estimate(self, a: int, b: int, *, level: float = 0.95) -> Estimate:
        """One of them, with Student's interval."""
        value, error = float(self.value[a, b]), float(self.standard_error[a, b])
        wide = float(student.ppf(0.5 + level / 2, max(self.n - 1, 1))) * error
        return Estimate(value, error, self.n, max(0.0, value - wide), min(2.0, value + wide), level)


def distances(values: Float[Tensor, "n K G"], steps: Transitions) -> Distances:
    """STARC distances (norm 2) between all pairs of rewards that pay `values` on the steps.

    The standard error is that of sums over units. Of the fitted potential it needs nothing: lengths are least there, so its
    error counts in the second order alone.
    """
    return apart(_canonical(values, steps), values.square().mean((0, 1)), steps.units)


def apart(left: Float[Tensor, "n K G"], raw: Float[Tensor, " G"], units: Int[Tensor, " n"]) -> Distances:
    """Distances between rewards of which `left` is left when levelled, and which paid `raw`, a mean square."""
    product = _crossed(left, left)
    gram = product.mean(0)
    size = gram.diagonal().clamp_min(0.0)
    # As on tables: what is left of pure shaping is rounding.
    real = size > 1e-18 * raw.clamp_min(1e-300)
    root = torch.where(real, size, torch.ones_like(size)).sqrt()
    unit = product / root[:, None] / root
    share = gram / root[:, None] / root
    square = unit.diagonal(dim1=1, dim2=2)
    influence = unit - share * (square[:, :, None] + square[:, None, :]) / 2
    count = int(units.max()) + 1
    total = influence.new_zeros(count, *share.shape).index_add_(0, units, influence)
    spread = (total.square().sum(0) * count / max(count - 1, 1)).sqrt() / len(left)
    both = real[:, None] & real
    value = torch.where(both, (2 - 2 * share).clamp(0, 4).sqrt(), (real[:, None] != real).double())
    value.fill_diagonal_(0.0)
    error = torch.where(both & (value > 0), spread / value.clamp_min(1e-12), torch.zeros_like(spread))
    return Distances(value, error, size.sqrt(), size / raw.clamp_min(1e-300), count)


def sampled_starc(reward_a: Any, reward_b: Any, steps: Transitions, *, level: float = 0.95) -> Estimate:
    """STARC distance of two rewards (canonical "minimal-weighted", norm 2), with its standard error."""
    pair = [paid(reward_a, steps, name="`reward_a`"), paid(reward_b, steps, name="`reward_b`")]
    return distances(torch.stack(pair, -1), steps).estimate(0, 1, level=level)


def _canonical(values: Float[Tensor, "n K G"], steps: Transitions) -> Float[Tensor, "n K G"]:
    """What is left of each reward when levelled by the features, and by a network that is learned."""
    psi: Feature = waves(steps.state) if steps.features is None else steps.features
    left = _levelled(values, steps, psi, _fitted(values, steps, psi))
    pairs = gaps(left.mean(1)) if steps.learned else None
    if pairs is None:
        return left
    going: float | Tensor = steps.discount
    if steps.ended is not None:
        going = steps.discount * (~steps.ended[:, :1]).double()
    wide = steps.state.shape[1] if steps.observed is None else steps.observed
    here, there = steps.state[:, :wide], steps.after[:, 0, :wide]
    # Of what was paid, and not of what is left: features explain what they can by ripples, and what that leaves is rough.
    paid_apart = values.mean(1) @ pairs
    taught = network(paid_apart - paid_apart.mean(0), here, there, going, rounds=steps.learned, seed=0)
    psi = Joined(psi, First(wide, taught))
    return _levelled(values, steps, psi, _fitted(values, steps, psi))


def _crossed(a: Float[Tensor, "n K P"], b: Float[Tensor, "n K Q"]) -> Float[Tensor, "n P Q"]:
    """Products of what different draws of the next state give; of one draw, the plain product."""
    if a.shape[1] == 1:
        return a[:, 0, :, None] * b[:, 0, None, :]
    count = a.shape[1]
    every = torch.einsum("np,nq->npq", a.sum(1), b.sum(1))
    return (every - torch.einsum("nkp,nkq->npq", a, b)) / (count * (count - 1))


def _design(steps: Transitions, psi: Feature, rows: slice) -> Float[Tensor, "m K p"]:
    """discount psi(s') - psi(s): what a potential made of each feature pays."""
    after = steps.after[rows]
    value = psi(after.reshape(-1, after.shape[-1])).double().reshape(*after.shape[:2], -1)
    if steps.ended is not None:
        value = value * ~steps.ended[rows][..., None]
    return value.mul_(steps.discount).sub_(psi(steps.state[rows]).double()[:, None])


def _pieces(steps: Transitions, width: int, every: int = 1) -> list[slice]:
    size = max(1, AT_ONCE // max(1, width * steps.branches)) * every
    return [slice(begin, begin + size, every) for begin in range(0, len(steps), size)]


def _summed(a: Float[Tensor, "m K P"], b: Float[Tensor, "m K Q"]) -> Float[Tensor, "P Q"]:
    """The sum over steps of `_crossed`, without its (m, P, Q)."""
    count = a.shape[1]
    same = a.flatten(0, 1).T @ b.flatten(0, 1)
    return same if count == 1 else (a.sum(1).T @ b.sum(1) - same) / (count * (count - 1))


def _fitted(values: Float[Tensor, "n K G"], steps: Transitions, psi: Feature) -> Float[Tensor, "p G"]:
    """Weights of the features whose potential leaves least of each reward."""
    width = psi(steps.state[:1]).shape[1]
    normal = torch.zeros(width, width, dtype=torch.float64)
    pull = torch.zeros(width, values.shape[2], dtype=torch.float64)
    every = max(1, len(steps) // max(FITTED, 32 * width))
    for rows in _pieces(steps, width, every):
        design = _design(steps, psi, rows)
        normal += _summed(design, design)
        pull += _summed(design, values[rows])
    scale = normal.diagonal().clamp_min(0.0).sqrt()
    scale = torch.where(scale > 0, 1 / scale, torch.zeros_like(scale))
    size, side = torch.linalg.eigh((normal + normal.T) / 2 * scale[:, None] * scale)
    # Features that hardly differ are told apart by noise alone, and by more of it where next states are drawn.
    kept = size > size[-1] * (1e-12 if steps.branches == 1 else 1e-5)
    weight = torch.where(kept, 1 / size, torch.zeros_like(size))
    return -scale[:, None] * (side @ (weight[:, None] * (side.T @ (scale[:, None] * pull))))


def _levelled(
    values: Float[Tensor, "n K G"], steps: Transitions, psi: Feature, potential: Float[Tensor, "p G"]
) -> Float[Tensor, "n K G"]:
    parts = [values[rows] + _design(steps, psi, rows) @ potential for rows in _pieces(steps, len(potential))]
    return torch.cat(parts)


__all__ = ["Distances", "Transitions", "Waves", "apart", "distances", "paid", "sampled_starc", "waves"]
