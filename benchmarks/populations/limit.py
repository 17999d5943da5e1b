"""How well people could be known at best from the answers there are, told more than any answer says."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.optimize
from planted import source

STEPS, FIRST = 8000, 4000  # of the walk, and those left out
LOOKS = (500, 2000)  # when the walk is fitted to the shape of the cone
MIXES = 1000  # of the true prior, that a stranger may have
SURE = 60.0  # utils at a typical difference: as good as never erring
KEPT = 8  # steps of the walk that stand for the posterior of the corners


def limit(seeds: int, only: list[str]) -> dict[str, Any]:
    """Accuracy on planted crowds by one who is told what models have to find out, against the bars of the bench.

    Nobody errs there, so posteriors are uniform over what explains every answer. No estimate from the same answers has a
    better expected accuracy (Opper and Haussler 1991), and who learns from answers knows less.

    `ideal_points_onehot`: told who is in which camp; each camp's posterior mean under a flat prior.
    `ideal_points_mixture`: told the mixes of the raters met and the law of mixes; the posterior of the three points.
    `text_continuous`: told the four tastes and the law of mixes, but not the 200 people whom Bayes knows by heart.
    """
    error = lambda v: float(np.std(v, ddof=1) / len(v) ** 0.5) if len(v) > 1 else 0.0
    told = lambda v: {"accuracy": float(np.mean(v)), "standard_error": error(v), "seeds": v}
    out = {}
    for name in only or KINDS:
        runs = []
        for seed in range(seeds):
            runs.append(KINDS[name](seed))
            print(name, seed, runs[-1], flush=True)
        out[name] = {case: told([run[case] for run in runs]) for case in runs[0]}
    return out


def _onehot(seed: int) -> dict[str, float]:
    bench = source()
    world = bench.build("ideal_points_onehot", seed)
    shown = world.design(world).astype(float)
    gap = (shown[:, 0] - shown[:, 1]) * np.where(world.outcome == 0, 1, -1)[:, None]
    camp, seen = world.group[world.rater], world.rater < 30
    right = np.zeros(len(gap))
    for c in np.unique(camp):
        mine = gap[(world.role == bench.TRAIN) & (camp == c)]
        right[camp == c] = gap[camp == c] @ bayes_point(mine, np.random.default_rng(seed)) > 0
    judged = world.role == bench.QUERY
    return {
        "seen all": float(right[judged & seen].mean()),
        "unseen, camp known": float(right[judged & ~seen].mean()),
    }


def _mixture(seed: int) -> dict[str, float]:
    """Three points and the weight of the square, told the mixes: a cone in as many dimensions, walked."""
    bench = source()
    world = bench.build("ideal_points_mixture", seed)
    shown = world.design(world).astype(float)
    gap = shown[:, 0] - shown[:, 1]  # features, and the square last
    side = np.where(world.outcome == 0, 1, -1)[:, None]
    taste = world.taste[world.rater]
    # worth = sum_k w_k (2 p_k . x) - |x|^2: linear in three points and the common weight of the square
    wide = np.concatenate([(taste[:, :, None] * gap[:, None, :-1]).reshape(len(gap), -1), gap[:, -1:]], 1)
    train = world.role == bench.TRAIN
    path = walk((wide * side)[train], np.random.default_rng(seed))
    at = path[np.linspace(FIRST, STEPS - 1, KEPT).astype(int)]
    corner = at[:, :-1].reshape(KEPT, 3, -1)
    worths = np.einsum("md,tkd->mtk", gap[:, :-1], corner) + (gap[:, -1:] * at[:, -1])[..., None]
    mixes = world.prior.draw(np.random.default_rng(seed), MIXES)
    return {"unseen 16": _strangers(world, worths, mixes)}


def _readers(seed: int) -> dict[str, float]:
    """The true tastes, and mixes drawn anew from their law."""
    world = source().build("text_continuous", seed)
    gap = world.basis[:, 0] - world.basis[:, 1]
    mixes = np.random.default_rng(seed).dirichlet(np.full(gap.shape[1], 0.3), size=MIXES)
    return {"unseen 16": _strangers(world, gap[:, None], mixes)}


def _strangers(world: Any, worths: np.ndarray, mixes: np.ndarray, answers: int = 16) -> float:
    """Accuracy on strangers after their answers; worths (M, T, K) of the first less the second, T guesses alike."""
    bench = source()
    worths = SURE * worths / np.abs(worths).mean((0, 2), keepdims=True)
    asked, judged = (bench.rows_by_rater(world, role) for role in (bench.ADAPT, bench.QUERY))
    side = np.where(world.outcome == 0, 1, -1)
    right = []
    for rater, rows in judged.items():
        if rater not in asked:
            continue
        told = asked[rater][:answers]
        log = -np.logaddexp(0, -side[told, None, None] * (worths[told] @ mixes.T)).sum(0)  # (T, S)
        chance = np.exp(log - log.max())
        first = (worths[rows] @ mixes.T > 0).reshape(len(rows), -1) @ (chance / chance.sum()).ravel()
        right.append(np.mean((first > 0.5) == (world.outcome[rows] == 0)))
    return float(np.mean(right))


def bayes_point(gap: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Mean of the directions v with gap @ v > 0."""
    return walk(gap, draw)[FIRST:].mean(0)


def walk(gap: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Directions v with gap @ v > 0, by hit-and-run (Smith 1984) from the widest margin."""
    gap = gap[np.linalg.norm(gap, axis=1) > 0]
    gap = gap / np.linalg.norm(gap, axis=1, keepdims=True)
    width = gap.shape[1]
    widest = scipy.optimize.linprog(
        np.append(np.zeros(width), -1),
        A_ub=np.hstack([-gap, np.ones((len(gap), 1))]),
        b_ub=np.zeros(len(gap)),
        bounds=[(-1, 1)] * width + [(None, None)],
    )
    at = widest.x[:width] / np.linalg.norm(widest.x[:width])
    shape, path = 0.05 * np.eye(width), np.empty((STEPS, width))
    for step in range(STEPS):
        way = shape @ draw.normal(size=width)
        way = way - at * (at @ way)
        here, slope = gap @ at, gap @ way
        with np.errstate(divide="ignore", invalid="ignore"):
            far = -here / slope
        low = max(-5.0, far[slope > 0].max(initial=-5.0))
        high = min(5.0, far[slope < 0].min(initial=5.0))
        at = at + way * draw.uniform(low, high)
        at = path[step] = at / np.linalg.norm(at)
        if step in LOOKS:
            shape = np.linalg.cholesky(np.cov(path[step // 2 : step].T) + 1e-9 * np.eye(width))
    return path


KINDS: dict[str, Callable[[int], dict[str, float]]] = {
    "ideal_points_onehot": _onehot,
    "ideal_points_mixture": _mixture,
    "text_continuous": _readers,
}
