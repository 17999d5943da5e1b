"""Many people's utilities of N options to one lottery over them: by welfare, by favourites; all rules by name.

    choose(utility, weight)   (R, N), (R,) -> (N,) chances

`voting.py` has the rules that look at orders only. A lottery is as good as its expected utility.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.game import best_mix
from pluralign.policies.voting import (
    SAME,
    Aggregator,
    Borda,
    Copeland,
    Kemeny,
    MaximalLottery,
    Proportional,
    checked,
    top,
)
from pluralign.rewards.welfare import CVaR, Mean, Nash, Welfare, WorstOff

Units = Literal["none", "range", "sum"]


def comparable(utility: Float[Tensor, "R N"], units: Units) -> Float[Tensor, "R N"]:
    """Utilities in units that are said to be equal between people.

    Args:
        units: "range" puts everybody's worst option at 0 and best at 1 (who does not mind has 1 throughout);
            "sum" gives everybody one util in all; "none" leaves them.

    Raises:
        ValueError: "sum" with negative utilities or none above zero.
    """
    utility = utility.double()
    if units == "none":
        return utility
    if units == "sum":
        total = utility.sum(1, keepdim=True)
        if bool((utility < 0).any()) or not bool((total > 0).all()):
            raise ValueError(
                'units="sum" needs utilities that are not negative, and some above zero for each person; take "range".'
            )
        return utility / total
    if units != "range":
        raise ValueError(f'`units` must be "none", "range" or "sum", got {units!r}.')
    low, high = utility.amin(1, keepdim=True), utility.amax(1, keepdim=True)
    flat = high - low <= SAME * utility.abs().amax(1, keepdim=True)
    return torch.where(flat, torch.ones_like(utility), (utility - low) / (high - low).masked_fill(flat, 1.0))


@dataclass(frozen=True)
class Welfarist:
    """The lottery with the largest welfare of expected utilities.

    Attributes:
        welfare: one of `pluralign.rewards`. units: see `comparable`; Nash's welfare does not mind them.
    """

    welfare: Welfare = field(default_factory=Nash)
    units: Units = "range"

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]:
        mass, same = checked(utility, weight), comparable(utility, self.units)
        if isinstance(self.welfare, Mean):
            return top(mass @ same)  # a tie is shared, which a linear programme would not do
        return best_mix(same.T, self.welfare, mass).chance


@dataclass(frozen=True)
class MinMaxRegret:
    """The lottery under which the largest regret is smallest: expected utility lost against one's own favourite."""

    units: Units = "none"

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]:
        mass, same = checked(utility, weight), comparable(utility, self.units)
        return best_mix((same - same.amax(1, keepdim=True)).T, WorstOff(), mass).chance


@dataclass(frozen=True)
class WorstFirst:
    """Leximin: the worst-off person first, among the best lotteries for them the second worst-off, and so on.

    A chain of linear programmes: who cannot be lifted any further keeps what they have. Shares do not matter, but
    nobody is who has none.
    """

    units: Units = "range"

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]:
        from scipy.optimize import linprog

        mass, same = checked(utility, weight), comparable(utility, self.units)
        pays = torch.unique(same[mass > 0], dim=0).numpy()
        size = float(np.ptp(pays)) or 1.0
        pays = (pays - pays.mean()) / size
        people, options = pays.shape
        held = np.full(people, -np.inf)
        while np.isneginf(held).any():
            open_ = np.isneginf(held)
            found = linprog(  # type: ignore[call-overload]
                np.append(np.zeros(options), -1.0),
                A_ub=np.concatenate([-pays, open_[:, None].astype(float)], 1),
                # Held values give way by rounding, or the next programme could have no solution.
                b_ub=np.where(open_, 0.0, -held + 1e-9),
                A_eq=np.append(np.ones(options), 0.0)[None],
                b_eq=[1.0],
                bounds=[(0, None)] * options + [(None, None)],
                method="highs-ds",
                options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
            )
            if found.status != 0:
                raise RuntimeError(f"the chain of linear programmes broke off: {found.message}")
            assert found.x is not None
            chance = torch.as_tensor(found.x[:-1]).clamp_min(0.0)
            # Their multipliers sum to one, so somebody is held in every round.
            stuck = open_ & (-found.ineqlin.marginals > 1e-9)
            held[stuck] = found.x[-1]
        return chance / chance.sum()


@dataclass(frozen=True)
class Plurality:
    """The option that is most people's favourite."""

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]:
        return top(favourites(utility, weight))


@dataclass(frozen=True)
class RandomDictator:
    """The favourite of a person drawn by lot."""

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]:
        return favourites(utility, weight)


def favourites(
    utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
) -> Float[Tensor, " N"]:
    """(N,) the share of the people who like an option best; who has several favourites counts in parts for each."""
    mass, utility = checked(utility, weight), utility.double()
    best = (utility == utility.amax(1, keepdim=True)).double()
    return mass @ (best / best.sum(1, keepdim=True))


RULES: dict[str, Callable[[], Aggregator]] = {
    "mean": lambda: Welfarist(Mean()),
    "maxmin": lambda: Welfarist(WorstOff()),
    "nash": lambda: Welfarist(Nash()),
    "cvar": lambda: Welfarist(CVaR(0.1)),
    "leximin": WorstFirst,
    "minmax-regret": MinMaxRegret,
    "plurality": Plurality,
    "random-dictator": RandomDictator,
    "borda": Borda,
    "copeland": Copeland,
    "kemeny": Kemeny,
    "maximal-lottery": MaximalLottery,
    "proportional": Proportional,
    "minimax": lambda: Proportional(math.inf),
}


def aggregator(name: str) -> Aggregator:
    """The rule called `name`.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    if name not in RULES:
        raise ValueError(f"no rule is called {name!r}; there are {', '.join(RULES)}.")
    return RULES[name]()
