"""The best lottery over a few policies whose returns are known, and the voice weights that explain it."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
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


def best_mix(
    matrix: Float[Tensor, "P G"], welfare: Welfare | None = None, share: Float[Tensor, " G"] | None = None
) -> Mix:
    """The lottery with the largest welfare of expected returns; a matrix game where that is the worst off.

    Args:
        matrix: returns of P policies for G voices, on one scale.
        welfare: `WorstOff()` by default. share: of the people behind each voice; even by default.

    Raises:
        ValueError: every lottery leaves a voice below what the welfare is defined for.
    """
    welfare = WorstOff() if welfare is None else welfare
    matrix = matrix.double()
    if not bool(torch.isfinite(matrix).all()):
        raise ValueError("`matrix` must be finite: some policy has an infinite or undefined return.")
    share = torch.full_like(matrix[0], 1 / matrix.shape[1]) if share is None else share.double()
    if isinstance(welfare, WorstOff):
        chance, weight = _planes(matrix, torch.eye(matrix.shape[1]).double()[share > 0])
    elif welfare.smooth:
        chance = _ascent(matrix, welfare, share)
        slope = welfare.gradient(chance @ matrix, share)
        weight = slope / slope.sum()
    else:
        chance, weight = _kinked(matrix, welfare, share)
    returns = chance @ matrix
    return Mix(chance, returns, float(welfare.value(returns, share)), weight)


def _kinked(matrix: Tensor, welfare: Welfare, share: Tensor) -> tuple[Tensor, Tensor]:
    """Cutting planes (Kelley 1960): exact, as such a welfare is the smallest of finitely many linear ones."""
    cuts = welfare.gradient(matrix.mean(0), share)[None]
    for _ in range(1000):
        chance, weight = _planes(matrix, cuts)
        returns = chance @ matrix
        new = welfare.gradient(returns, share)
        if float((cuts @ returns).amin() - new @ returns) <= 1e-12 * (1 + float(matrix.abs().max())):
            return chance, weight
        cuts = torch.cat([cuts, new[None]])
    raise RuntimeError("the cutting planes did not close; this welfare is not concave and homogeneous.")


def _planes(matrix: Tensor, cuts: Tensor) -> tuple[Tensor, Tensor]:
    """Largest t with t <= cut . returns for every cut; the multipliers of the cuts mix into voice weights."""
    from scipy.optimize import linprog

    policies, planes = len(matrix), len(cuts)
    # Subtract and divide what changes no lottery, so that the solver's tolerances mean the same for all units.
    pays = (matrix @ cuts.T).numpy()
    low, size = pays.mean(), max(float(np.ptp(pays)), 1e-300)
    table = np.concatenate([-((pays - low) / size).T, np.ones((planes, 1))], 1)
    found = linprog(  # type: ignore[call-overload]
        np.append(np.zeros(policies), -1.0),
        A_ub=table,
        b_ub=np.zeros(planes),
        A_eq=np.append(np.ones(policies), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * policies + [(None, None)],
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.status != 0:
        raise RuntimeError(f"the matrix game was not solved: {found.message}")
    assert found.x is not None
    chance = torch.as_tensor(found.x[:-1]).clamp_min(0.0)
    multiplier = torch.as_tensor(-found.ineqlin.marginals).clamp_min(0.0)
    return chance / chance.sum(), (multiplier / multiplier.sum()) @ cuts


def _ascent(matrix: Tensor, welfare: Welfare, share: Tensor) -> Tensor:
    """Sequential quadratic programming on the simplex, from the lottery that is best for the worst off."""
    from scipy.optimize import minimize

    inside = _planes(matrix, torch.eye(matrix.shape[1]).double()[share > 0])[0]
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
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": lambda x: np.ones_like(x)},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    chance = torch.as_tensor(found.x).clamp_min(0.0)
    chance = chance / chance.sum()
    return chance if float(welfare.value(chance @ matrix, share)) >= value else first
