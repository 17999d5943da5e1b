"""Texts that say the same should score alike: training on the outermost paraphrases, and scores fused with neighbours'.

Source: Shen et al., The trickle-down impact of reward (in-)consistency on RLHF, ICLR 2024: ConvexDA and RewardFusion.
Differs: paraphrases are given, none is made by swapping words.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def outermost(states: Float[Tensor, "V D"]) -> Bool[Tensor, " V"]:
    """Which of V points are corners of their convex hull: the paraphrases worth training on, as the others lie between.

    A corner is no convex combination of the other points, which is one linear programme for each.
    """
    from scipy.optimize import linprog

    points = states.double().numpy()
    corner = np.ones(len(points), dtype=bool)
    for k in range(len(points)):
        rest = np.delete(points[corner | (np.arange(len(points)) > k)], corner[:k].sum(), 0)
        if not len(rest):
            continue
        equal = np.concatenate([rest.T, np.ones((1, len(rest)))])
        found = linprog(np.zeros(len(rest)), A_eq=equal, b_eq=np.append(points[k], 1.0), method="highs")
        corner[k] = found.status != 0
    return torch.from_numpy(corner)


def fused(
    reward: Float[Tensor, " N"],
    states: Float[Tensor, "N D"],
    known: Float[Tensor, "T D"],
    known_reward: Float[Tensor, " T"],
    *,
    share: float = 0.5,
    neighbours: int = 5,
    least: float = 0.9,
) -> Float[Tensor, " N"]:
    """Scores moved towards those of near texts of the training data, by cosine similarity.

    Args:
        reward: of N texts, by the model. states: theirs.
        known: states of T texts of the training data. known_reward: their scores, in the same utils.
        share: of the neighbours in the fused score.
        neighbours: at most so many.
        least: similarity of a neighbour; a text without one keeps its score.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must be in [0, 1], got {share}.")
    unit = lambda x: x.double() / x.double().norm(dim=1, keepdim=True).clamp_min(1e-12)
    near, who = (unit(states) @ unit(known).T).topk(min(neighbours, len(known)), dim=1)
    weight = near * (near >= least)
    total = weight.sum(1)
    told = (weight * known_reward.double()[who]).sum(1) / total.clamp_min(1e-12)
    return torch.where(total > 0, (1 - share) * reward.double() + share * told, reward.double())


def inconsistency(reward: Float[Tensor, " N"], group: Int[Tensor, " N"]) -> float:
    """Share of the variance of scores that lies within groups of texts that say the same; 0 is consistent."""
    size = torch.bincount(group).double()
    mean = torch.zeros_like(size).index_add_(0, group, reward.double()) / size.clamp_min(1)
    within = (reward.double() - mean[group]).square().mean()
    return float(within / reward.double().var(correction=0).clamp_min(1e-12))
