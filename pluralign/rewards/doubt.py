"""What we do not know of a reward, kept apart from what people disagree about: K guesses of each voice's taste.

The guesses are draws of *one* uncertain reward, as from an ensemble; the voices are people. Caution about the former
comes first, fairness between the latter second: two rules, each a `Welfare`, of (*b, K) and then of (*b, G).

| over members | formula | `Welfare` |
|---|---|---|
| mean | mean J | `Mean()` |
| worst case (WCO) | min J | `WorstOff()` |
| uncertainty-weighted (UWO) | mean J - penalty var J | `UncertaintyWeighted(penalty)` |
| entropic | -t log mean exp(-J / t) | `SoftMin(t)`; between mean and worst case, for large t like UWO at penalty 1 / (2 t) |
| BRME | trust nominal + (1 - trust) min J | `BRME(trust)` |
| tail | mean of the worst share | `CVaR(share)` |
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.population.belief import Belief
from pluralign.population.ensemble import apart
from pluralign.population.voices import Voices
from pluralign.streams import Seed
from pluralign.utility import Worth


@dataclass(frozen=True)
class Doubts:
    """G voices of whose tastes there are K guesses each, all equally likely.

    Attributes:
        worth: turns options or steps into a basis. z: (G, K, Z) guess k of the taste of voice g.
        weight: (G,) the share of the people behind each voice, sums to one. names: G names.
    """

    worth: Worth
    z: Float[Tensor, "G K Z"]
    weight: Float[Tensor, " G"]
    names: tuple[str, ...] = ()

    @staticmethod
    def of(belief: Belief, count: int | None = None, seed: Seed = 0) -> "Doubts":
        """The voices of an ensemble's raters, and what each member thinks of them.

        Raters are grouped by what all members together think of them, `count` groups at most (see `Belief.voices`).

        Raises:
            TypeError: the belief is not that of an `Ensemble`.
        """
        parts = [len(b.prior.z[0]) if hasattr(b.prior, "z") else b.worth.width for b in apart(belief)]
        voices = belief.voices(count, seed)
        block = torch.arange(len(parts)).repeat_interleave(torch.tensor(parts))
        mine = torch.nn.functional.one_hot(block).T.to(voices.z)  # (K, Z): which columns a member speaks of
        # Every member's draws have a K-th of the weight, so the mean has a K-th of its taste.
        z = len(parts) * voices.z[:, None] * mine
        return Doubts(voices.worth, z, voices.weight, voices.names)

    def __post_init__(self) -> None:
        # The checks and the names are those of voices.
        object.__setattr__(self, "names", Voices(self.worth, self.z[:, 0], self.weight, self.names).names)

    def __len__(self) -> int:
        return len(self.z)

    @property
    def mean(self) -> Voices:
        """G voices by the average guess: what somebody without doubts would do."""
        return Voices(self.worth, self.z.mean(1), self.weight, self.names)

    @property
    def every(self) -> Voices:
        """G * K voices, guess by guess, the guesses of the first voice first."""
        count = self.z.shape[1]
        names = tuple(f"{name}, guess {k}" for name in self.names for k in range(count))
        return Voices(self.worth, self.z.flatten(0, 1), self.weight.repeat_interleave(count) / count, names)

    def mixed(self, slope: Float[Tensor, "G K"]) -> Voices:
        """One voice that counts guess k of voice g `slope[g, k]` times; less than none is possible."""
        taste = torch.einsum("gk,gkz->z", slope.to(self.z), self.z)
        return Voices(self.worth, taste[None], torch.ones(1, dtype=torch.float64), ("careful",))


@dataclass(frozen=True)
class UncertaintyWeighted:
    """Mean less `penalty` times the variance over members (of the population, not the sample).

    Not increasing: a guess far above the others counts against.

    Attributes:
        penalty: 1 / unit of return.

    Source: Coste et al., ICLR 2024, "UWO"; their code takes this variance for best-of-n and the sample's for PPO.
    """

    penalty: float = 0.5

    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.penalty >= 0:
            raise ValueError(f"`penalty` must be 0 or more, got {self.penalty}; 0 is the mean.")

    def value(self, returns: Float[Tensor, "*b K"], weight: Float[Tensor, " K"]) -> Float[Tensor, "*b"]:
        share = weight / weight.sum()
        mean = returns @ share
        return mean - self.penalty * (returns - mean[..., None]).square() @ share

    def gradient(self, returns: Float[Tensor, "*b K"], weight: Float[Tensor, " K"]) -> Float[Tensor, "*b K"]:
        share = weight / weight.sum()
        return share * (1 - 2 * self.penalty * (returns - (returns @ share)[..., None]))


@dataclass(frozen=True)
class BRME:
    """`trust` in a nominal reward, the rest in the worst case.

    Attributes:
        trust: in [0, 1]. nominal: which member is the nominal one; None takes the mean of all.

    Source: Bayesian reward model ensembles; with its heads' own spread left out.
    """

    trust: float = 0.5
    nominal: int | None = None

    smooth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.trust <= 1:
            raise ValueError(f"`trust` must be in [0, 1], got {self.trust}.")

    def value(self, returns: Float[Tensor, "*b K"], weight: Float[Tensor, " K"]) -> Float[Tensor, "*b"]:
        return (returns * self.gradient(returns, weight)).sum(-1)

    def gradient(self, returns: Float[Tensor, "*b K"], weight: Float[Tensor, " K"]) -> Float[Tensor, "*b K"]:
        worst = (returns == returns.amin(-1, keepdim=True)).to(returns)
        worst = worst / worst.sum(-1, keepdim=True)
        plain = weight / weight.sum()
        if self.nominal is not None:
            plain = torch.zeros_like(plain)
            plain[self.nominal] = 1.0
        return self.trust * plain + (1 - self.trust) * worst
