"""Voices on one scale. Utils of two people cannot be compared as they come; fairness needs a convention.

`relative_gain` says "0 is what chance gives you, 1 the best you could have": it makes maxmin the solution of
Kalai and Smorodinsky. `unit_spread` divides by how much a reward varies, and is for learners that see many
tastes at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.population.voices import Voices
from pluralign.utility import Worth


@dataclass(frozen=True)
class Scale:
    """A return J of voice g becomes (J - shift[g]) * factor[g].

    Attributes:
        shift: (G,) in the unit of the returns. factor: (G,), positive.
    """

    shift: Float[Tensor, " G"]
    factor: Float[Tensor, " G"]

    def __call__(self, returns: Float[Tensor, "*b G"]) -> Float[Tensor, "*b G"]:
        return (returns - self.shift) * self.factor

    def voices(self, voices: Voices) -> Voices:
        """The voices in the new units, without the shift, which no policy can change."""
        return voices.scaled(self.factor)

    @staticmethod
    def none(voices: int) -> "Scale":
        """Returns as they are."""
        return Scale(torch.zeros(voices, dtype=torch.float64), torch.ones(voices, dtype=torch.float64))


def relative_gain(
    reference: Float[Tensor, " G"], best: Float[Tensor, " G"], *, names: Sequence[str] = ()
) -> Scale:
    """0 is the return under a reference policy (say a random one), 1 that under the voice's own best policy.

    Raises:
        ValueError: some voice has nothing to gain, so that no unit can be made of its gain.
    """
    gain = (best - reference).double()
    size = 1e-9 * (best.abs() + reference.abs()).double()
    off = ~(gain > size)
    if bool(off.any()):
        g = int(off.nonzero()[0, 0])
        raise ValueError(
            f"{names[g] if names else f'voice {g}'} gains nothing from its own best policy ({float(best[g]):.6g} against "
            f"{float(reference[g]):.6g} for the reference); train longer, leave this voice out, or scale another way."
        )
    return Scale(reference.double(), 1 / gain)


def unit_spread(spread: Float[Tensor, " G"]) -> Scale:
    """Divide by a standard deviation, for example that of returns under a reference policy."""
    if not bool((spread > 0).all()):
        raise ValueError(
            f"`spread` must be positive for every voice, got {spread.tolist()}; a reward that never varies has no scale."
        )
    return Scale(torch.zeros_like(spread.double()), 1 / spread.double())


def log_sigmoid_centred(
    reward: Float[Tensor, "*b G"], reference: Float[Tensor, " G"] | float
) -> Float[Tensor, "*b G"]:
    """log sigmoid(reward - reference): the log-probability that a response is better than the reference.

    Sums over voices are log-probabilities that it is better for all of them. For welfare of returns see `LogSigmoid`.

    Args:
        reward: utils. reference: of each voice, for example a high quantile of what a reference policy gets.

    Source: Wang et al., Transforming and combining rewards for aligning large language models, ICML 2024.
    """
    return torch.nn.functional.logsigmoid(reward - reference)


@dataclass(frozen=True)
class Gauge:
    """Measures tastes by how much the reward they imply varies over typical steps.

    `unit(z)` pays with a standard deviation of one, and `direction(z)` is the same taste as a unit vector of
    standardised weights, which is what a network can read. Both forget the size of z: a person who reports in
    units ten times as large is the same person.

    Attributes:
        root: (Z, Z), symmetric, with root @ root the covariance of the basis over typical steps.
    """

    root: Float[Tensor, "Z Z"]

    @staticmethod
    def of(worth: Worth, rows: Float[Tensor, "n D"]) -> "Gauge":
        """From typical steps, for example those of a random policy.

        Raises:
            ValueError: nothing varies over these steps.
        """
        basis = worth.steps(rows).double()
        centred = basis - basis.mean(0)
        size, side = torch.linalg.eigh(centred.T @ centred / len(centred))
        if not float(size[-1]) > 0:
            raise ValueError(
                f"no factor varies over the {len(rows)} steps given; nothing that tastes could differ on."
            )
        return Gauge((side * size.clamp_min(0.0).sqrt()) @ side.T)

    def spread(self, z: Float[Tensor, "*b Z"]) -> Float[Tensor, "*b"]:
        """Standard deviation of the reward that taste z pays.

        Raises:
            ValueError: some taste is indifferent to everything that varies, or has another length.
        """
        if z.shape[-1] != len(self.root):
            raise ValueError(
                f"a taste must have {len(self.root)} numbers, as those had that this was trained for, got {z.shape[-1]}; it may "
                "come from another world."
            )
        size = (z.double() @ self.root).norm(dim=-1)
        floor = 1e-9 * self.root.abs().max() * z.double().abs().amax(-1)
        off = ~(size > floor)
        if bool(off.any()):
            first = tuple(off.nonzero()[0].tolist())
            raise ValueError(
                f"{int(off.sum())} tastes pay the same for every typical step, first {z[first].tolist()}; "
                "leave out raters without a preference, or give rows that differ."
            )
        return size

    def unit(self, z: Float[Tensor, "*b Z"]) -> Float[Tensor, "*b Z"]:
        """z over its spread."""
        return z.double() / self.spread(z)[..., None]

    def direction(self, z: Float[Tensor, "*b Z"]) -> Float[Tensor, "*b Z"]:
        """Standardised weights of length one."""
        size = self.spread(z)
        return (z.double() @ self.root) / size[..., None]
