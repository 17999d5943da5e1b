"""As good as can be for people who differ, within limits on which they agree."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.fair import CAUTION, Field, check_settings, prepared
from pluralign.policies.game import Floors, Mix, best_mix
from pluralign.policies.learner import Learner, Progress
from pluralign.policies.lottery import Lottery
from pluralign.population.voices import Voices
from pluralign.rewards.joined import joined
from pluralign.rewards.welfare import Mean, Welfare
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Constrained:
    """The lottery with the largest welfare among those whose expected costs stay within limits.

    Lagrange's multipliers are the prices of the costs: a learner is paid the voices minus the priced costs, and prices
    move towards those of the linear programme over the policies found so far, which also mixes the policies. So the
    answer keeps the limits where a sequence of single policies would swing around them. A lottery of a safe and a
    reckless policy keeps a limit on average over episodes, not in each of them.

    Prices rise step by step from nothing, near those with the lowest bound so far. While only a reckless policy and an
    idle one are known the programme's own price makes these two equal, and then a learner that starts there sees no
    reason to look for a third way; at a low price the goal is still worth it, and the way round is better.

    A reward that is good up to a point only is a cost with that point as its limit (Moskovitz et al. 2024).

    Attributes:
        costs: C voices whose "rewards" are costs. limits: C discounted sums of cost at most, as `returns` counts.
        welfare: of the people. rounds, tolerance: as in `MaxMin`. scale: of the people; costs keep their units.
        proxy: C costs to train with in place of `costs`, say smooth ones; limits and prices are still those of
            `costs` (Cotter et al. 2019).
    """

    costs: Voices
    limits: tuple[float, ...]
    welfare: Welfare = dataclass_field(default_factory=Mean)
    rounds: int = 100
    scale: Literal["relative", "none"] = "relative"
    tolerance: float | None = None
    proxy: Voices | None = None

    def __post_init__(self) -> None:
        check_settings(self.rounds, self.scale)
        if len(self.limits) != len(self.costs) or not all(math.isfinite(x) for x in self.limits):
            raise ValueError(
                f"`limits` must be one finite number for each of the {len(self.costs)} costs, got {self.limits}."
            )
        if self.proxy is not None and len(self.proxy) != len(self.costs):
            raise ValueError(f"`proxy` must have one voice for each of the {len(self.costs)} costs.")

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery:
        """A lottery over policies; `diagnostics` also has the expected `costs` (C,) and their `prices` (C,).

        A price is what one more unit of the limit is worth in welfare. Where returns are sampled, costs count with one
        standard error more than their mean, as everything in the lottery counts with one less.

        Raises:
            ValueError: the safest policy found is beyond a limit.
        """
        people = len(voices)
        share = torch.cat([voices.weight.double(), torch.zeros(len(self.costs), dtype=torch.float64)])
        avoided = lambda costs: costs.scaled(-torch.ones(len(costs), dtype=costs.z.dtype))
        field = prepared(
            learner,
            joined((voices, avoided(self.costs)), share),
            self.scale,
            Streams.of(seed).below("constrained"),
            progress,
            None if self.proxy is None else joined((voices, avoided(self.proxy)), share),
        )
        which = torch.arange(people, len(share))
        level = -torch.tensor(self.limits, dtype=torch.float64)

        def solve(matrix: Float[Tensor, "P G"]) -> Mix:
            # The safest policy so far may be beyond a limit; by one standard error, or on fresh episodes, the last one too.
            kept = torch.minimum(level, matrix[:, which].amax(0))
            return best_mix(matrix, self.welfare, share, Floors(which, kept))

        self._priced(field, solve, share, level)
        self._check(field, which, level)
        lottery = field.lottery(self.welfare, solve)
        listens = lottery.diagnostics["weight"]
        slope = self.welfare.gradient(lottery.diagnostics["returns"], share)
        heard = float(listens[:people].sum())
        more = {
            "costs": -lottery.diagnostics["returns"][people:],
            "prices": listens[people:] / heard * float(slope.sum()) if heard > 0 else listens[people:] / 0.0,
        }
        return Lottery(lottery.policies, lottery.chance, {**lottery.diagnostics, **more})

    def _priced(
        self,
        field: Field,
        solve: Callable[[Tensor], Mix],
        share: Float[Tensor, " G"],
        level: Float[Tensor, " C"],
    ) -> None:
        """Best responses at prices between those of the best bound and the linear programme's, until none helps.

        The bound of voice weights w and prices p is max over policies of w . returns - p . (cost - limit): no lottery
        within the limits has a larger welfare.
        """
        people = len(share) - len(level)
        floor = torch.cat([torch.zeros(people, dtype=torch.float64), level])
        bound, wasted, best, afresh = float("inf"), 0, -1, False
        mix, safe = solve(field.matrix), torch.zeros_like(share)
        for _ in range(self.rounds):
            heard = float(mix.weight[:people].sum())
            if heard <= 1e-12:  # within the limits nobody can be heard yet
                field.find(mix.weight, mix.chance)
                mix = solve(field.matrix)
                continue
            rate = float(self.welfare.gradient(mix.returns, share).sum())
            dual = mix.weight / heard
            if best < 0:
                safe = torch.cat([dual[:people], 0 * level])
            caution = CAUTION ** (1 + wasted)
            asked = caution * safe + (1 - caution) * dual
            if self.welfare.smooth:  # where weights do not jump
                asked = torch.cat([dual[:people], asked[people:]])
            paid = field.find(asked, mix.chance, afresh=afresh)
            size = float((field.matrix.amax(0) - field.matrix.amin(0)).max())
            exact = len(field.returns[-1]) == 1
            reached = mix.value + rate * float(asked @ (paid - floor) - (dual * mix.returns)[:people].sum())
            # A learner that may be stuck is led up slowly; with exact responses haste finds the same end.
            useful = float((paid - mix.returns) @ dual) > 1e-12 * size or (not exact and reached < bound)
            wasted = 0 if useful else wasted + 1
            if reached < bound:
                bound, safe, best = reached, asked, len(field.policies) - 1
            mix = solve(field.matrix)
            heard = max(float(mix.weight[:people].sum()), 1e-12)
            chance = torch.nn.functional.pad(mix.chance, (0, len(field.policies) - len(mix.chance)))
            lottery = torch.einsum("p,peg->eg", chance, torch.stack(field.returns))
            ahead = rate * (
                field.scale(field.returns[best]) @ safe - field.scale(lottery) @ mix.weight / heard
            )
            error = 0.0 if exact else float(ahead.std()) / len(ahead) ** 0.5
            enough = (1e-9 if exact else 0.01) * size if self.tolerance is None else self.tolerance
            field.gaps.append(bound - mix.value)
            helpless = field.gaps[-1] <= enough + error
            if helpless and (exact or afresh):
                return
            # Where returns are sampled a learner can be stuck near what it went on from: it is asked twice.
            afresh = helpless

    def _check(self, field: Field, which: Tensor, level: Tensor) -> None:
        seen = torch.stack(field.returns)[:, :, which]  # (P, E, C)
        error = seen.std(1) / seen.shape[1] ** 0.5 if seen.shape[1] > 1 else torch.zeros_like(seen[:, 0])
        safest = (seen.mean(1) + 2 * error).amax(0)
        size = 1e-9 * (1 + seen.abs().amax((0, 1)))
        beyond = (safest + size < level).nonzero()[:, 0].tolist()
        if beyond:
            c = beyond[0]
            raise ValueError(
                f"no policy found keeps {self.costs.names[c]} within {self.limits[c]:.6g}; the safest has "
                f"{-float(seen.mean(1)[:, c].max()):.6g}. Raise the limit or train longer."
            )
