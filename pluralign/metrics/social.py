"""How a choice treats people: distortion, unanimity ignored, inequality, who is left behind.

Utilities and returns are (R, N): what option or policy n is worth to person r. A lottery over them is (N,).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.metrics.estimate import Estimate, bootstrap, worst_decile
from pluralign.streams import Seed, Streams

SAME = 1e-9  # parts of the largest number by which two differ by rounding


def distortion(
    utility: Float[Tensor, "R N"], lottery: Float[Tensor, " N"], weight: Float[Tensor, " R"] | None = None
) -> float:
    """How many times larger the best mean utility is than that of the lottery; 1 is best, inf where that has none.

    Args:
        utility: not negative, in units that are said to be equal (see `policies.aggregate.comparable`): one util
            in all for each person is the usual convention.

    Raises:
        ValueError: some utility is negative, or nobody values anything.

    Source: Procaccia and Rosenschein 2006; Boutilier et al. 2015.
    """
    if bool((utility < 0).any()):
        raise ValueError(
            f"utilities must not be negative for a ratio, the smallest is {float(utility.min()):.6g}; for costs take "
            "`metric_distortion`."
        )
    mean = _shares(weight, utility) @ utility.double()
    if not float(mean.max()) > 0:
        raise ValueError("nobody values any option, so no ratio can be made.")
    got = float(mean @ lottery.double())
    return float(mean.max()) / got if got > 0 else math.inf


def metric_distortion(
    distance: Float[Tensor, "R N"], lottery: Float[Tensor, " N"], weight: Float[Tensor, " R"] | None = None
) -> float:
    """Mean distance to what the lottery chooses over that to the best option; 1 is best.

    Known worst cases: 3 for a random dictator and, at least, for any rule that looks at orders and draws no lots; 5
    for Copeland; 2 N - 1 for plurality and Borda (Anshelevich et al. 2018).

    Raises:
        ValueError: some distance is negative.
    """
    if bool((distance < 0).any()):
        raise ValueError(f"distances must not be negative, the smallest is {float(distance.min()):.6g}.")
    mean = _shares(weight, distance) @ distance.double()
    got, best = float(mean @ lottery.double()), float(mean.min())
    if best > 0:
        return got / best
    return 1.0 if got <= 0 else math.inf


def pareto_gap(
    utility: Float[Tensor, "R N"], lottery: Float[Tensor, " N"], weight: Float[Tensor, " R"] | None = None
) -> float:
    """The mean utility that another lottery would add while nobody loses; 0 where there is none to add."""
    from scipy.optimize import linprog

    mass, table = _shares(weight, utility), utility.double()
    kept = mass > 0
    now = table @ lottery.double()
    found = linprog(
        -(mass @ table).numpy(),
        A_ub=-table[kept].numpy(),
        b_ub=-now[kept].numpy() + 1e-12 * float(table.abs().max()),
        A_eq=torch.ones(1, table.shape[1]).numpy(),
        b_eq=[1.0],
        method="highs",
    )
    if found.status != 0:
        raise RuntimeError(f"the linear programme was not solved: {found.message}")
    assert found.fun is not None
    gain = -float(found.fun) - float(mass @ now)
    return gain if gain > 1e-8 * float(table.abs().max()) else 0.0


def pareto_violations(utility: Float[Tensor, "R N"], score: Float[Tensor, " N"]) -> float:
    """Of the pairs that all people order alike, the share that `score` orders the other way; NaN without such pairs.

    A reward fitted to everybody's answers can do this; see "What no loss-based rule can do" (ICLR 2026).
    """
    _shares(None, utility)
    agreed = (utility.double()[:, :, None] > utility.double()[:, None, :]).all(0)
    count = int(agreed.sum())
    wrong = agreed & (score[:, None] < score[None, :])
    return float(wrong.sum()) / count if count else math.nan


def condorcet_winner(share: Float[Tensor, "N N"]) -> int | None:
    """The option that beats every other by majority, if there is one."""
    beats = (share > 0.5 + SAME) | torch.eye(len(share), dtype=torch.bool)
    found = beats.all(1).nonzero()
    return int(found[0, 0]) if len(found) else None


def condorcet_hit(share: Float[Tensor, "N N"], lottery: Float[Tensor, " N"]) -> float:
    """The chance that the option which beats all others is chosen; NaN where there is none."""
    winner = condorcet_winner(share)
    return math.nan if winner is None else float(lottery[winner])


def representation(
    utility: Float[Tensor, "R N"], lottery: Float[Tensor, " N"], weight: Float[Tensor, " R"] | None = None
) -> float:
    """The smallest ratio of an option's chance to the share of people whose favourite it is; 1 is proportional.

    Source: alpha-proportionality of the population-proportional rule, ICLR 2026 (arXiv 2506.05619).
    """
    best = (utility == utility.amax(1, keepdim=True)).double()
    share = _shares(weight, utility) @ (best / best.sum(1, keepdim=True))
    kept = share > 0
    return float((lottery.double()[kept] / share[kept]).min())


def gini(x: Float[Tensor, " R"], weight: Float[Tensor, " R"] | None = None) -> float:
    """Gini's coefficient: half the mean difference of two people, in parts of the mean; 0 where all have the same.

    Raises:
        ValueError: some are negative or all are zero.
    """
    mass, x = _shares(weight, x), _not_negative(x, "Gini's coefficient")
    order = x.argsort()
    mass, x = mass[order], x[order]
    below = mass.cumsum(0) - mass / 2
    return float(2 * (mass * x * below).sum() / (mass * x).sum() - 1)


def atkinson(
    x: Float[Tensor, " R"], weight: Float[Tensor, " R"] | None = None, *, aversion: float = 1.0
) -> float:
    """The share of everything that could be given away if the rest were spread evenly, at equal welfare; in [0, 1].

    Args:
        aversion: to inequality, 0 or more; inf counts the worst off alone.

    Source: Atkinson 1970; the welfare is that of `rewards.AlphaFair`.
    """
    if not aversion >= 0:
        raise ValueError(f"`aversion` must be 0 or more, got {aversion}.")
    mass, x = _shares(weight, x), _not_negative(x, "Atkinson's index")
    x, mass = x[mass > 0], mass[mass > 0]
    mean = float(mass @ x)
    if math.isinf(aversion):
        return 1 - float(x.min()) / mean
    if float(x.min()) == 0 and aversion >= 1:
        return 1.0
    if aversion == 1:
        return 1 - math.exp(float(mass @ x.log())) / mean
    power = 1 - aversion
    return 1 - float(mass @ (x / mean) ** power) ** (1 / power)


def regrets(
    returns: Float[Tensor, "*b R"], random: Float[Tensor, " R"], best: Float[Tensor, " R"]
) -> Float[Tensor, "*b R"]:
    """Everybody's normalised regret: 0 is the own best policy, 1 what chance gives.

    Raises:
        ValueError: somebody has nothing to gain, so no unit can be made.
    """
    gain = (best - random).double()
    off = (~(gain > SAME * (best.abs() + random.abs()).double())).nonzero()
    if len(off):
        r = int(off[0, 0])
        raise ValueError(
            f"person {r} gains nothing from their own best policy ({float(best[r]):.6g} against {float(random[r]):.6g} "
            "by chance); leave them out, or train longer."
        )
    return (best - returns).double() / gain


def left_behind(
    regret: Float[Tensor, "seeds R"], *, samples: int = 2000, seed: Seed = 0, level: float = 0.95
) -> dict[str, Estimate]:
    """Mean, interquartile mean, worst decile and worst person of people's regrets, with bootstrap intervals.

    The people of one seed were served by one training, so whole seeds are drawn again; with a single seed people
    are, and the interval then says nothing of training. Interquartile mean over all runs as in `metrics.iqm`.

    Args:
        regret: of person r (or task r) in each seed.
    """
    x = regret.double()
    several = len(x) > 1
    units = x if several else x.T  # what is drawn again comes first
    flat = lambda b: b.flatten(1)
    people = lambda b: b if several else b.mT  # (B, seeds, R)
    kinds = {
        "mean": lambda b: flat(b).mean(1),
        "interquartile mean": lambda b: middle(flat(b)),
        "worst decile": lambda b: worst_decile(people(b), worst="high").mean(1),
        "worst person": lambda b: people(b).amax(2).mean(1),
    }
    return {
        name: bootstrap(units, kind, samples=samples, seed=seed, level=level) for name, kind in kinds.items()
    }


def middle(x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """Mean of the middle half of the last axis."""
    ordered = x.sort(-1).values
    cut = int(0.25 * x.shape[-1])  # as scipy.stats.trim_mean
    return ordered[..., cut : x.shape[-1] - cut].mean(-1)


def profile(
    scores: Float[Tensor, "seeds tasks"],
    thresholds: Float[Tensor, " P"],
    *,
    samples: int = 1000,
    seed: Seed = 0,
    level: float = 0.95,
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"], Float[Tensor, " P"]]:
    """The share of runs above each threshold, and the ends of its interval; seeds are drawn again within each task.

    Source: performance profiles, Agarwal et al., NeurIPS 2021.
    """
    above = (scores.double()[..., None] > thresholds.double()).double()  # (seeds, tasks, P)
    generator = Streams.of(seed)("bootstrap")
    again = torch.randint(len(scores), (samples, *scores.shape), generator=generator)
    drawn = torch.stack([above.gather(0, a[..., None].expand_as(above)).mean((0, 1)) for a in again])
    tail = (1 - level) / 2
    ends = torch.quantile(drawn, torch.tensor([tail, 1 - tail], dtype=torch.float64), dim=0)
    return above.mean((0, 1)), ends[0], ends[1]


def portfolio_gap(
    returns: Float[Tensor, "R P"], best: Float[Tensor, " R"], weight: Float[Tensor, " R"] | None = None
) -> dict[str, float]:
    """What people lose who may choose among P policies, against their own best one: the worst and the mean.

    Units are those of `returns`; normalise first (`regrets`) to compare people.
    """
    lost = (best - returns.amax(1)).double()
    mass = _shares(weight, returns)
    return {"worst": float(lost[mass > 0].max()), "mean": float(mass @ lost)}


def coverage(
    returns: Float[Tensor, "R P"],
    best: Float[Tensor, " R"],
    tolerance: float,
    weight: Float[Tensor, " R"] | None = None,
) -> float:
    """The share of people for whom one of P policies is within `tolerance` (unit of returns) of their own best."""
    if not tolerance >= 0:
        raise ValueError(f"`tolerance` must be 0 or more, got {tolerance}.")
    near = (best - returns.amax(1) <= tolerance + SAME * best.abs()).double()
    return float(_shares(weight, returns) @ near)


def _shares(weight: Tensor | None, people: Tensor) -> Tensor:
    if not bool(torch.isfinite(people).all()):
        raise ValueError(
            "what people get must be finite; leave out those of whom it is not known, with their weight."
        )
    if weight is None:
        return torch.full((len(people),), 1 / len(people), dtype=torch.float64)
    if len(weight) != len(people) or bool((weight < 0).any()) or not float(weight.sum()) > 0:
        raise ValueError(
            f"`weight` must be one number, not negative, for each of the {len(people)} people, and not all zero; got "
            f"{weight.tolist()}."
        )
    return weight.double() / weight.double().sum()


def _not_negative(x: Tensor, what: str) -> Tensor:
    if bool((x < 0).any()) or not float(x.max()) > 0:
        raise ValueError(
            f"{what} needs numbers that are not negative and not all zero, got {float(x.min()):.6g} to "
            f"{float(x.max()):.6g}; measure from what chance gives."
        )
    return x.double()
