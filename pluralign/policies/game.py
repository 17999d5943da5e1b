"""The best lottery over a few policies whose returns are known, and the voice weights that explain it."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.rewards.welfare import Welfare, WorstOff


class Mix(NamedTuple):
    """A lottery and its dual: no policy in the set has a larger weight . returns than the lottery itself.

    Attributes:
        chance: (P,). returns: (G,) of the lottery. value: welfare of these.
        weight: (G,), sums to one: a policy with a larger weight . returns would help, no other would.
    """

    chance: Float[Tensor, " P"]
    returns: Float[Tensor, " G"]
    value: float
    weight: Float[Tensor, " G"]


class Floors(NamedTuple):
    """Promises to voices: returns[voice] >= level, for F of them.

    Attributes:
        voice: (F,) which voices. level: (F,) in units of the returns.
    """

    voice: Int[Tensor, " F"]
    level: Float[Tensor, " F"]


def best_mix(
    matrix: Float[Tensor, "P G"],
    welfare: Welfare | None = None,
    share: Float[Tensor, " G"] | None = None,
    floors: Floors | None = None,
) -> Mix:
    """The lottery with the largest welfare of expected returns; a matrix game where that is the worst off.

    Args:
        matrix: returns of P policies for G voices, on one scale.
        welfare: `WorstOff()` by default. share: of the people behind each voice; even by default.
        floors: what some voices were promised; their multipliers are part of the weights.

    Raises:
        ValueError: every lottery leaves a voice below what the welfare is defined for, or below a floor.
    """
    welfare = WorstOff() if welfare is None else welfare
    matrix = matrix.double()
    if not bool(torch.isfinite(matrix).all()):
        raise ValueError("`matrix` must be finite: some policy has an infinite or undefined return.")
    share = torch.full_like(matrix[0], 1 / matrix.shape[1]) if share is None else share.double()
    if isinstance(welfare, WorstOff):
        chance, weight = planes(matrix, torch.eye(matrix.shape[1]).double()[share > 0], floors)
    elif welfare.smooth:
        chance = _ascent(matrix, welfare, share, floors)
        slope = welfare.gradient(chance @ matrix, share)
        # With floors, the multipliers are those of the linear problem that touches this one at its solution.
        weight = slope / slope.sum() if floors is None else planes(matrix, slope[None], floors)[1]
    else:
        chance, weight = _kinked(matrix, welfare, share, floors)
    returns = chance @ matrix
    return Mix(chance, returns, float(welfare.value(returns, share)), weight)


def _kinked(
    matrix: Tensor, welfare: Welfare, share: Tensor, floors: Floors | None = None
) -> tuple[Tensor, Tensor]:
    """Cutting planes (Kelley 1960): exact, as such a welfare is the smallest of finitely many linear ones."""
    cuts = welfare.gradient(matrix.mean(0), share)[None]
    for _ in range(1000):
        chance, weight = planes(matrix, cuts, floors)
        returns = chance @ matrix
        new = welfare.gradient(returns, share)
        if float((cuts @ returns).amin() - new @ returns) <= 1e-12 * (1 + float(matrix.abs().max())):
            return chance, weight
        cuts = torch.cat([cuts, new[None]])
    raise RuntimeError("the cutting planes did not close; this welfare is not concave and homogeneous.")


def planes(
    matrix: Float[Tensor, "P G"], cuts: Float[Tensor, "C G"], floors: Floors | None = None
) -> tuple[Float[Tensor, " P"], Float[Tensor, " G"]]:
    """Lottery with the largest t such that t <= cut . returns for every cut, and the voice weights that explain it.

    The weights are the multipliers of the cuts and of the floors, as a mixture of what these listen to.
    """
    from scipy.optimize import linprog

    policies = len(matrix)
    # Subtract and divide what changes no lottery, so that the solver's tolerances mean the same for all units.
    pays = (matrix @ cuts.T).numpy()
    low, size = pays.mean(), _size(pays)
    rows, right = (
        [np.concatenate([-((pays - low) / size).T, np.ones((len(cuts), 1))], 1)],
        np.zeros(len(cuts)),
    )
    listens = cuts
    if floors is not None:
        kept = matrix[:, floors.voice].T.numpy()
        width = np.array([_size(row) for row in kept])
        level = floors.level.double().numpy()
        rows.append(np.concatenate([-(kept - level[:, None]) / width[:, None], np.zeros((len(kept), 1))], 1))
        right = np.concatenate([right, np.full(len(kept), 1e-10)])
        eye = torch.eye(matrix.shape[1]).double()[floors.voice]
        listens = torch.cat([cuts, eye * torch.as_tensor(size / width)[:, None]])
    found = linprog(  # type: ignore[call-overload]
        np.append(np.zeros(policies), -1.0),
        A_ub=np.concatenate(rows),
        b_ub=right,
        A_eq=np.append(np.ones(policies), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * policies + [(None, None)],
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.status == 2 and floors is not None:
        best = matrix[:, floors.voice].amax(0)
        raise ValueError(
            f"no lottery over these policies keeps voices {floors.voice.tolist()} at {floors.level.tolist()} or more "
            f"(one at a time, {best.tolist()} can be had); lower the floors."
        )
    if found.status != 0:
        raise RuntimeError(f"the matrix game was not solved: {found.message}")
    assert found.x is not None
    chance = torch.as_tensor(found.x[:-1]).clamp_min(0.0)
    weight = torch.as_tensor(-found.ineqlin.marginals).clamp_min(0.0) @ listens
    return chance / chance.sum(), weight / weight.sum()


def _size(pays: np.ndarray) -> float:
    size = float(np.ptp(pays))
    return 1.0 if size <= 1e-12 * float(np.abs(pays).max()) else size  # policies that differ by rounding only


def _ascent(matrix: Tensor, welfare: Welfare, share: Tensor, floors: Floors | None) -> Tensor:
    """Sequential quadratic programming on the simplex, from the lottery that is best for the worst off."""
    from scipy.optimize import minimize

    inside = planes(matrix, torch.eye(matrix.shape[1]).double()[share > 0], floors)[0]
    start = 0.9 * inside + 0.1 / len(matrix)
    for first in (start, inside):
        value = float(welfare.value(first @ matrix, share))
        if np.isfinite(value):
            break
    else:
        worst = float((inside @ matrix)[share > 0].min())
        raise ValueError(
            f"{welfare} is minus infinity for every lottery: the worst-off voice gets {worst:.6g} at best; lower "
            "`disagreement`, or put the voices on a scale where that is positive."
        )
    lowest = -1e30
    constraints: list[dict[str, Any]] = [
        {"type": "eq", "fun": lambda x: x.sum() - 1, "jac": lambda x: np.ones_like(x)}
    ]
    if floors is not None:
        kept, level = matrix[:, floors.voice].numpy(), floors.level.double().numpy()
        constraints += [{"type": "ineq", "fun": lambda x: x @ kept - level, "jac": lambda x: kept.T}]

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        returns = torch.as_tensor(x) @ matrix
        value = max(float(welfare.value(returns, share)), lowest)
        slope = torch.nan_to_num(welfare.gradient(returns, share), posinf=1e15)
        return -value, -(matrix @ slope).numpy()

    found = minimize(  # type: ignore[call-overload]
        loss,
        first.numpy(),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(matrix),
        constraints=constraints,
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    chance = torch.as_tensor(found.x).clamp_min(0.0)
    chance = chance / chance.sum()
    if floors is not None:
        short = floors.level - (chance @ matrix)[floors.voice]
        if float(short.max()) > 1e-8 * (1 + float(matrix.abs().max())):
            return inside
        first = inside
        value = float(welfare.value(first @ matrix, share))
    return chance if float(welfare.value(chance @ matrix, share)) >= value else first
