"""Simulation-based calibration of the hierarchical model: where the truth falls among its draws, over many worlds.

Source: Talts et al. (2018). In every world population and tastes are drawn anew; the rank of a rater's true taste
among independent draws from the posterior is uniform where inference is right. EM takes the population as known once
fitted, so with few raters its ranks bunch at the ends a little: what is measured is how much.
"""

from typing import Any

import numpy as np
import torch
from scipy.stats import chisquare

from pluralign.data import Comparisons, Items
from pluralign.population.hierarchical import Hierarchical

DRAWS = 64  # of the posterior, of which RANKS - 1 independent ones are taken
RANKS = 20


def world(seed: int, raters: int, per_rater: int, width: int = 2) -> tuple[Comparisons, torch.Tensor]:
    """Answers of normal raters whose mean and spread are drawn too, and their tastes (R, Z)."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(80, width, generator=draw).double()
    mean = 0.5 * torch.randn(width, generator=draw).double()
    spread = torch.exp(0.3 * torch.randn(width, generator=draw)).double()
    taste = mean + spread * torch.randn(raters, width, generator=draw).double()
    rater = torch.arange(raters).repeat_interleave(per_rater)
    first = torch.randint(80, (len(rater),), generator=draw)
    second = (first + torch.randint(1, 80, (len(rater),), generator=draw)) % 80
    gap = ((features[first] - features[second]) * taste[rater]).sum(1)
    label = (torch.rand(len(rater), generator=draw).double() < torch.sigmoid(gap)).float()
    return Comparisons.pairs(Items(features), first, second, rater, label), taste


def ranks(method: str, seeds: int, raters: int = 100, per_rater: int = 12) -> np.ndarray:
    """How many of RANKS - 1 draws lie below the truth, for every world, rater and feature."""
    found = []
    for seed in range(seeds):
        data, taste = world(seed, raters, per_rater)
        model = Hierarchical(method=method, temper=1.0, draws=DRAWS * 4)
        belief = model.fit(data, seed=seed)
        pick = torch.multinomial(
            belief.draws.weight.T, RANKS - 1, replacement=True, generator=torch.Generator().manual_seed(seed)
        )
        z = belief.draws.z.permute(1, 0, 2).gather(1, pick[..., None].expand(-1, -1, taste.shape[1]))
        scale = getattr(belief.worth, "scale", torch.ones(taste.shape[1]).double())
        # Jitter of the draws' own spacing, as they are a weighted grid and not a sample.
        below = (z * scale < taste[:, None]).sum(1)
        found.append(below.reshape(-1).numpy())
    return np.concatenate(found)


def calibration(seeds: int) -> dict[str, Any]:
    """Histograms of ranks, and how far from flat they are."""
    out = {}
    for method, worlds in (("normal", 4 * seeds), ("laplace", 4 * seeds), ("nuts", seeds)):
        rank = ranks(method, worlds)
        count = np.bincount(rank, minlength=RANKS)
        # Raters of one world share its population, so a chi-square over all of them is too strict; it is reported
        # beside the largest departure from flat.
        out[method] = {
            "worlds": worlds,
            "ranks": count.tolist(),
            "chi_square_p": float(chisquare(count).pvalue),
            "largest_departure": float(np.abs(count / count.mean() - 1).max()),
            "ends": float((count[0] + count[-1]) / (2 * count.mean())),
        }
        print(method, out[method], flush=True)
    return out
