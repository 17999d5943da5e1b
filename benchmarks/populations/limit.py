"""How well camps could be known at best from the answers there are: the Bayes point, told who is in which camp."""

from typing import Any

import numpy as np
import scipy.optimize
from planted import source

STEPS, FIRST = 8000, 4000  # of the walk, and those left out
LOOKS = (500, 2000)  # when the walk is fitted to the shape of the cone


def limit(seeds: int) -> dict[str, Any]:
    """`ideal_points_onehot`: accuracy of each camp's posterior mean under a flat prior, against the bars of the bench.

    Nobody errs there, so the posterior is uniform over the directions that explain every answer of the camp. No
    estimate from the same answers has a better expected accuracy (Opper and Haussler 1991), and who learns from answers
    has to find out who is in which camp as well.
    """
    bench = source()
    found: dict[str, list[float]] = {"seen all": [], "unseen, camp known": []}
    for seed in range(seeds):
        world = bench.build("ideal_points_onehot", seed)
        shown = world.design(world).astype(float)
        gap = (shown[:, 0] - shown[:, 1]) * np.where(world.outcome == 0, 1, -1)[:, None]
        camp, seen = world.group[world.rater], world.rater < 30
        right = np.zeros(len(gap))
        for c in np.unique(camp):
            mine = gap[(world.role == bench.TRAIN) & (camp == c)]
            right[camp == c] = gap[camp == c] @ bayes_point(mine, np.random.default_rng(seed)) > 0
        judged = world.role == bench.QUERY
        found["seen all"].append(float(right[judged & seen].mean()))
        found["unseen, camp known"].append(float(right[judged & ~seen].mean()))
        print(seed, {k: v[-1] for k, v in found.items()}, flush=True)
    error = lambda v: float(np.std(v, ddof=1) / len(v) ** 0.5) if len(v) > 1 else 0.0
    return {
        k: {"accuracy": float(np.mean(v)), "standard_error": error(v), "seeds": v} for k, v in found.items()
    }


def bayes_point(gap: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Mean of the directions v with gap @ v > 0, by hit-and-run (Smith 1984) from the widest margin."""
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
    return path[FIRST:].mean(0)
