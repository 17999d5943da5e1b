"""What "good for all" means: from the returns of G voices to one number, and whom it listens to.

Rules that add or compare voices (`Mean`, `WorstOff`, `CVaR`, `Gini`, `SoftMin`) need returns on one scale
first: see `pluralign.rewards.transforms`. `Nash` does not mind the unit of a voice.

    value(returns, weight)      (*b, G), (G,) -> (*b)
    gradient(returns, weight)   (*b, G), (G,) -> (*b, G), a supergradient where there is a kink: how much one
                                more util of a voice is worth, that is the voice weights a best response needs

`weight` holds shares of the people and sums to one. `WorstOff` ignores it on purpose, and treats a voice with
share zero as nobody.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Welfare(Protocol):
    """A concave, increasing function of the returns of all voices.

    `smooth`: whether it has a gradient everywhere; the others are positively homogeneous, so that
    value = gradient . returns, and are solved by linear programmes.
    """

    @property
    def smooth(self) -> bool: ...

    def value(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b"]: ...

    def gradient(
        self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]
    ) -> Float[Tensor, "*b G"]: ...


@dataclass(frozen=True)
class Mean:
    """Utilitarian: everybody counts once."""

    smooth: ClassVar[bool] = False

    def value(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b"]:
        return (returns * _shares(weight)).sum(-1)

    def gradient(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b G"]:
        return _shares(weight).expand_as(returns)


@dataclass(frozen=True)
class WorstOff:
    """Egalitarian: the smallest return. Copies of a voice change nothing, one odd voice can decide all."""

    smooth: ClassVar[bool] = False

    def value(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b"]:
        return _present(returns, weight).amin(-1)

    def gradient(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b G"]:
        low = _present(returns, weight)
        worst = (low == low.amin(-1, keepdim=True)).to(returns)
        return worst / worst.sum(-1, keepdim=True)


@dataclass(frozen=True)
class Nash:
    """Proportional fairness: weighted sum of log(return - disagreement); -inf where a voice is held below.

    Attributes:
        disagreement: return of each voice if no policy is agreed on; one number for all, or G.
    """

    disagreement: float | tuple[float, ...] = 0.0

    smooth: ClassVar[bool] = True

    def value(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b"]:
        gain = self._gain(returns)
        log = torch.where(gain > 0, gain, torch.zeros_like(gain)).log()
        # A voice with share zero is nobody: 0 * -inf would be NaN.
        return torch.where(weight > 0, _shares(weight) * log, torch.zeros_like(log)).sum(-1)

    def gradient(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b G"]:
        gain = self._gain(returns)
        return torch.where(weight > 0, _shares(weight) / gain.clamp_min(0.0), torch.zeros_like(gain))

    def _gain(self, returns: Tensor) -> Tensor:
        point = torch.as_tensor(self.disagreement, dtype=returns.dtype)
        if point.dim() and len(point) != returns.shape[-1]:
            raise ValueError(
                f"`disagreement` must be one number or one for each of the {returns.shape[-1]} voices, got {len(point)}."
            )
        return returns - point


@dataclass(frozen=True)
class AlphaFair:
    """Sum of w J^(1-a) / (1-a) for returns above zero: a = 0 the mean, 1 Nash's, towards infinity the worst off."""

    alpha: float = 2.0

    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ValueError(
                f"`alpha` must not be negative, got {self.alpha}; 0 is the mean, 1 Nash's welfare."
            )

    def value(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b"]:
        if self.alpha == 1:
            return Nash().value(returns, weight)
        if self.alpha == 0:
            return Mean().value(returns, weight)
        term = returns.clamp_min(0.0) ** (1 - self.alpha) / (1 - self.alpha)
        term = torch.where(returns >= 0, term, torch.full_like(term, -torch.inf))
        return torch.where(weight > 0, _shares(weight) * term, torch.zeros_like(term)).sum(-1)

    def gradient(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b G"]:
        if self.alpha == 0:
            return Mean().gradient(returns, weight)
        slope = _shares(weight) * returns.clamp_min(0.0) ** -self.alpha
        return torch.where(weight > 0, slope, torch.zeros_like(slope))

    def equivalent(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b"]:
        """The return which, given to everybody, is as good as `returns`."""
        value = self.value(returns, weight)
        if self.alpha == 1:
            return value.exp()
        return ((1 - self.alpha) * value) ** (1 / (1 - self.alpha))


@dataclass(frozen=True)
class SoftMin:
    """-t log sum w exp(-J / t): between the mean (t large) and the worst off (t small).

    Attributes:
        temperature: t, in units of return.
    """

    temperature: float = 0.1

    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(
                f"`temperature` must be positive, got {self.temperature}; for the limit use WorstOff."
            )

    def value(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b"]:
        return -self.temperature * torch.logsumexp(_shares(weight).log() - returns / self.temperature, -1)

    def gradient(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b G"]:
        return torch.softmax(_shares(weight).log() - returns / self.temperature, -1)


@dataclass(frozen=True)
class CVaR:
    """Mean return of the worst-off `share` of the people; a voice at the border counts in part."""

    share: float = 0.1

    smooth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"`share` must be in (0, 1], got {self.share}; give 0.1 for the worst tenth.")

    def value(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b"]:
        return (returns * self.gradient(returns, weight)).sum(-1)

    def gradient(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b G"]:
        order = returns.argsort(dim=-1, stable=True)
        mass = _shares(weight).expand_as(returns).gather(-1, order)
        before = mass.cumsum(-1) - mass
        tail = torch.minimum(mass, (self.share - before).clamp_min(0.0)) / self.share
        return torch.zeros_like(returns).scatter(-1, order, tail)


@dataclass(frozen=True)
class Gini:
    """Ordered weighted average: people sorted from worst off to best off, the first counting most.

    Who is better off than a share p of all people counts slope (1 - p)^(slope - 1). So 1 is the mean, 2 the mean
    times (1 - Gini coefficient), infinity the worst off.

    Source: the S-Gini family of Donaldson & Weymark, 1980.
    """

    slope: float = 2.0

    smooth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.slope >= 1:
            raise ValueError(
                f"`slope` must be at least 1, got {self.slope}; below 1 it would favour the best off."
            )

    def value(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b"]:
        return (returns * self.gradient(returns, weight)).sum(-1)

    def gradient(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b G"]:
        order = returns.argsort(dim=-1, stable=True)
        mass = _shares(weight).expand_as(returns).gather(-1, order)
        above = (1 - mass.cumsum(-1)).clamp_min(0.0)  # the share of people better off than this voice
        part = (above + mass) ** self.slope - above**self.slope
        return torch.zeros_like(returns).scatter(-1, order, part)


@dataclass(frozen=True)
class LogSigmoid:
    """Chance that everybody would call the result good: weighted sum of log sigmoid((J - reference) / temperature).

    What is far above the reference counts little more, what is below counts in full; so no voice's extreme can
    outweigh another's failure.

    Attributes:
        reference: return that is good with chance one half; one number for all, or G. temperature: in units of return.

    Source: Wang et al., Transforming and combining rewards for aligning large language models, ICML 2024.
    """

    reference: float | tuple[float, ...] = 0.0
    temperature: float = 1.0

    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"`temperature` must be positive, got {self.temperature}.")

    def value(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b"]:
        return (torch.nn.functional.logsigmoid(self._above(returns)) * _shares(weight)).sum(-1)

    def gradient(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b G"]:
        return torch.sigmoid(-self._above(returns)) * _shares(weight) / self.temperature

    def _above(self, returns: Tensor) -> Tensor:
        point = torch.as_tensor(self.reference, dtype=returns.dtype)
        if point.dim() and len(point) != returns.shape[-1]:
            raise ValueError(
                f"`reference` must be one number or one for each of the {returns.shape[-1]} voices, got {len(point)}."
            )
        return (returns - point) / self.temperature


@dataclass(frozen=True)
class EachOnce:
    """Another welfare function in which every voice counts once, however many people stand behind it.

    `EachOnce(Nash())` is the symmetric bargain of Nash (1950) between voices as parties; `Nash()` alone bargains
    for people. A voice with share zero stays nobody.
    """

    welfare: Welfare

    @property
    def smooth(self) -> bool:
        return self.welfare.smooth

    def value(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b"]:
        return self.welfare.value(returns, _shares((weight > 0).to(weight)))

    def gradient(self, returns: Float[Tensor, "*b G"], weight: Float[Tensor, " G"]) -> Float[Tensor, "*b G"]:
        return self.welfare.gradient(returns, _shares((weight > 0).to(weight)))


def _shares(weight: Tensor) -> Tensor:
    if bool((weight < 0).any()) or not float(weight.sum()) > 0:
        raise ValueError(
            f"`weight` must be shares of people, none negative, some positive; got {weight.tolist()}."
        )
    return weight / weight.sum()


def _present(returns: Tensor, weight: Tensor) -> Tensor:
    _shares(weight)
    return torch.where(weight > 0, returns, torch.full_like(returns, torch.inf))
