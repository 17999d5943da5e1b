"""Careful about what is not known, fair about what is disagreed on: two rules, one inside the other."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.fair import check_settings
from pluralign.policies.learner import Learner, Policy, Progress
from pluralign.policies.lottery import Lottery
from pluralign.population.belief import Belief
from pluralign.rewards.doubt import Doubts
from pluralign.rewards.transforms import relative_gain
from pluralign.rewards.welfare import Mean, Welfare, WorstOff
from pluralign.streams import Seed, Streams

CUTS = 300  # cutting planes per round; with kinks on both levels a few are enough


@dataclass(frozen=True)
class Careful:
    """Welfare over people of what is sure of each: one concave function of (G, K) returns.

    Attributes:
        over_members, over_people: see `Pessimist`. weight: (G,) shares of the people.
    """

    over_members: Welfare
    over_people: Welfare
    weight: Float[Tensor, " G"]

    @property
    def smooth(self) -> bool:
        """Whether there are no kinks; a mean has none."""
        return all(isinstance(w, Mean) or w.smooth for w in (self.over_members, self.over_people))

    def sure(self, returns: Float[Tensor, "*b G K"]) -> Float[Tensor, "*b G"]:
        """What each voice can count on."""
        return self.over_members.value(returns, _even(returns))

    def value(self, returns: Float[Tensor, "*b G K"]) -> Float[Tensor, "*b"]:
        return self.over_people.value(self.sure(returns), self.weight)

    def gradient(self, returns: Float[Tensor, "*b G K"]) -> Float[Tensor, "*b G K"]:
        outer = self.over_people.gradient(self.sure(returns), self.weight)
        return outer[..., None] * self.over_members.gradient(returns, _even(returns))


class CarefulMix(NamedTuple):
    """A lottery over P policies, what it returns, and how much more a guess's return would be worth.

    Attributes:
        chance: (P,). returns: (G, K). value: of these. slope: (G, K); no policy in the set has a larger
            slope . returns than the lottery.
    """

    chance: Float[Tensor, " P"]
    returns: Float[Tensor, "G K"]
    value: float
    slope: Float[Tensor, "G K"]


@dataclass(frozen=True)
class Pessimist:
    """The lottery with the largest welfare over people of what an ensemble is sure of for each of them.

    A reward fitted to few answers is wrong somewhere, and a policy that maximises it goes there. Members of an
    ensemble agree where there were answers, so what all of them like is likely to be good. This is about *returns*,
    as MaxMin is: taken reward by reward, a worst case would count as bad what no single member finds bad.

    Attributes:
        over_members: caution about the guesses of one voice: WorstOff() is WCO, UncertaintyWeighted(.5) UWO, SoftMin(t)
            entropic, BRME(trust), Mean() none at all.
        over_people: fairness between voices: any welfare.
        people: into how many voices an ensemble's raters are grouped at most.
        rounds, tolerance: as in `MaxMin`.
        scale: "relative" puts each voice on 0 = a random policy (by each guess), 1 = its best policy by the average guess.
    """

    over_members: Welfare = field(default_factory=WorstOff)
    over_people: Welfare = field(default_factory=Mean)
    people: int | None = None
    rounds: int = 100
    scale: Literal["relative", "none"] = "relative"
    tolerance: float | None = None

    def __post_init__(self) -> None:
        check_settings(self.rounds, self.scale)

    def optimise(
        self, learner: Learner, people: Belief | Doubts, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery:
        """A lottery over policies; `diagnostics` has the returns by guess, the slopes and the gaps.

        Args:
            learner: finds policies. people: the belief of an `Ensemble`, or `Doubts`.
            seed: of everything random. progress: told 1 after each policy found.
        """
        streams = Streams.of(seed).below("pessimist")
        doubts = (
            people if isinstance(people, Doubts) else Doubts.of(people, self.people, streams.number("voices"))
        )
        shape, every = doubts.z.shape[:2], doubts.every
        policies: list[Policy] = []
        seen: list[Tensor] = []  # (E, G, K) each

        def back(policy: Policy, name: str) -> Tensor:
            # All policies meet the same luck, so that differences between them are not differences in luck.
            found = learner.returns(policy, every, seed=streams.number(name)).double()
            return found.unflatten(1, shape)

        def add(policy: Policy) -> None:
            policies.append(policy)
            seen.append(back(policy, "returns"))
            if progress is not None:
                progress(1)

        for g, one in enumerate(torch.eye(len(doubts), dtype=torch.float64)):
            add(learner.improve(doubts.mean, one, seed=streams.number("own", g)))
        shift, factor = torch.zeros(shape, dtype=torch.float64), torch.ones(len(doubts), dtype=torch.float64)
        if self.scale == "relative":
            shift = back(learner.random(), "returns").mean(0)
            best = torch.stack([s.mean((0, 2)) for s in seen]).amax(0)
            factor = relative_gain(shift.mean(1), best, names=doubts.names).factor
        scaled = lambda returns: (returns - shift) * factor[:, None]
        careful = Careful(self.over_members, self.over_people, doubts.weight)
        gaps: list[float] = []
        asked: list[Tensor] = []
        for _ in range(self.rounds):
            matrix = torch.stack([scaled(s.mean(0)) for s in seen])
            mix = careful_mix(matrix, careful)
            start = tuple(policies[p] for p in mix.chance.argsort(descending=True) if mix.chance[p] > 0)
            # A welfare may be as steep as it likes: only the direction of the slope asks for a policy.
            price = mix.slope / mix.slope.abs().sum().clamp_min(1e-300) * factor[:, None]
            number = streams.number("improve", len(policies))
            one = torch.ones(1, dtype=torch.float64)
            add(learner.improve(doubts.mixed(price), one, seed=number, start=start))
            asked.append(mix.slope)
            drawn = torch.einsum("p,pegk->egk", mix.chance, torch.stack(seen[:-1]))
            ahead = ((scaled(seen[-1]) - scaled(drawn)) * mix.slope).sum((1, 2)) / mix.slope.abs().sum()
            exact = len(ahead) == 1
            error = 0.0 if exact else float(ahead.std()) / len(ahead) ** 0.5
            size = float((matrix.amax(0) - matrix.amin(0)).max()) or 1.0
            gaps.append(float(ahead.mean()))
            enough = (1e-7 if exact else 0.01) * size if self.tolerance is None else self.tolerance
            if gaps[-1] <= enough + error:
                break
        if any(len(s) > 1 for s in seen):  # chances are chosen on episodes that chose no policy
            seen = [back(policy, "held out") for policy in policies]
        matrix = torch.stack([scaled(s.mean(0)) for s in seen])
        mix = careful_mix(matrix, careful)
        diagnostics = {
            "scale_shift": shift,
            "scale_factor": factor,
            "matrix": matrix,
            "returns": mix.returns,
            "sure": careful.sure(mix.returns),
            "value": mix.value,
            "slope": mix.slope,
            "asked": torch.stack(asked),
            "gaps": gaps,
        }
        return Lottery(tuple(policies), mix.chance, diagnostics).thin()


def careful_mix(matrix: Float[Tensor, "P G K"], careful: Careful) -> CarefulMix:
    """The best lottery over policies whose returns are known by guess.

    Cutting planes (Kelley 1960) where there are kinks, sequential quadratic programming where there are none.

    Raises:
        ValueError: the welfare of every lottery is minus infinity.
    """
    flat = matrix.double().flatten(1)
    at = lambda chance: (chance @ flat).unflatten(-1, matrix.shape[1:])
    best = torch.full((len(matrix),), 1 / len(matrix), dtype=torch.float64)
    if not bool(torch.isfinite(careful.value(at(best)))):
        best = careful_mix(matrix, dataclasses.replace(careful, over_people=WorstOff())).chance
    if not bool(torch.isfinite(careful.value(at(best)))):
        raise ValueError(
            f"{careful.over_people} is minus infinity for every lottery, as somebody is sure of no more than "
            f"{float(careful.sure(at(best)).min()):.6g} at best; take a welfare that can bear that, such as SoftMin, or "
            "lower its `disagreement`."
        )
    solve = _ascent if careful.smooth else _cutting
    chance, slope = solve(
        flat, best, lambda c: careful.value(at(c)), lambda c: careful.gradient(at(c)).flatten()
    )
    returns = at(chance)
    return CarefulMix(chance, returns, float(careful.value(returns)), slope.unflatten(0, matrix.shape[1:]))


Function = Callable[[Tensor], Tensor]


def _cutting(flat: Tensor, best: Tensor, value: Function, gradient: Function) -> tuple[Tensor, Tensor]:
    """t <= value_c + slope_c . (J - J_c) for every cut c; the slope that explains the answer mixes those of the cuts."""
    from scipy.optimize import linprog

    slopes, levels, at = [], [], best
    for _ in range(CUTS):
        steep = gradient(at)
        slopes.append(steep)
        levels.append(value(at) - steep @ (at @ flat))
        table, level = torch.stack(slopes), torch.stack(levels)
        pays = (table @ flat.T).numpy()
        size = float(np.abs(pays).max()) or 1.0
        found = linprog(  # type: ignore[call-overload]
            np.append(np.zeros(len(flat)), -1.0),
            A_ub=np.concatenate([-pays / size, np.ones((len(pays), 1))], 1),
            b_ub=level.numpy() / size,
            A_eq=np.append(np.ones(len(flat)), 0.0)[None],
            b_eq=[1.0],
            bounds=[(0, None)] * len(flat) + [(None, None)],
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if found.status != 0:
            raise RuntimeError(f"the cutting planes were not solved: {found.message}")
        assert found.x is not None
        assert found.fun is not None
        at = torch.as_tensor(found.x[:-1]).clamp_min(0.0)
        at = at / at.sum()
        multiplier = torch.as_tensor(-found.ineqlin.marginals).clamp_min(0.0)
        slope = (multiplier / multiplier.sum()) @ table
        while not bool(torch.isfinite(value(at))):  # outside of what the welfare is defined for
            at = (at + best) / 2
        if float(value(at)) >= float(value(best)):
            best = at
        if -float(found.fun) * size - float(value(best)) <= 1e-9 * size:
            break
    return best, slope


def _ascent(flat: Tensor, best: Tensor, value: Function, gradient: Function) -> tuple[Tensor, Tensor]:
    from scipy.optimize import minimize

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.as_tensor(x)
        steep = torch.nan_to_num(gradient(at), posinf=1e15)
        return -max(float(value(at)), -1e30), -(flat @ steep).numpy()

    found = minimize(  # type: ignore[call-overload]
        loss,
        best.numpy(),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(flat),
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": lambda x: np.ones_like(x)},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    at = torch.as_tensor(found.x).clamp_min(0.0)
    at = at / at.sum()
    best = at if float(value(at)) >= float(value(best)) else best
    return best, gradient(best)


def _even(returns: Tensor) -> Tensor:
    return torch.full((returns.shape[-1],), 1 / returns.shape[-1], dtype=returns.dtype)
