"""How well predicted shares of the choice fit the answers, per answer and per rater.

A NaN says "nothing to score" (an undecided label, a rater without answers) and nothing else: predictions
that are not probabilities raise.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.metrics.estimate import Estimate

SAME = 1e-6  # shares closer than this are a tie; as in Comparisons.decided


def accuracy(share: Float[Tensor, "M K"], label: Float[Tensor, "M K"]) -> Float[Tensor, " M"]:
    """(M,) 1 where the likeliest place is the one that got most of the choice; NaN where none did.

    A predicted tie is worth a half (one n-th among n places), so "no idea" scores .5 on pairs and not the
    share of answers for the left.
    """
    check_shares(share, label)
    likeliest = share >= share.amax(-1, keepdim=True) - SAME
    chosen = label >= label.amax(-1, keepdim=True) - SAME
    right = (likeliest & chosen).any(-1).double() / likeliest.sum(-1)
    return torch.where(chosen.sum(-1) == 1, right, torch.nan)


def log_loss(share: Float[Tensor, "M K"], label: Float[Tensor, "M K"]) -> Float[Tensor, " M"]:
    """(M,) nats, cross-entropy of the label; infinite where a place that was chosen had no chance at all."""
    check_shares(share, label)
    # 0 * log 0 is NaN: a place that got nothing adds nothing.
    return -torch.where(label > 0, label.double() * share.double().log(), 0.0).sum(-1)


def brier(share: Float[Tensor, "M K"], label: Float[Tensor, "M K"]) -> Float[Tensor, " M"]:
    """(M,) half the squared distance, in [0, 1]; for pairs the familiar (p - y)**2."""
    check_shares(share, label)
    return (share.double() - label.double()).square().sum(-1) / 2


def per_rater(
    score: Float[Tensor, " M"],
    rater: Int[Tensor, " M"],
    raters: int,
    *,
    weight: Float[Tensor, " M"] | None = None,
) -> Float[Tensor, " R"]:
    """(R,) mean score of each rater; NaN for raters without a scored answer.

    Args:
        score: per answer; NaN is left out.
        rater: (M,) in 0..R-1.
        raters: R.
        weight: (M,) how much an answer counts; 1 by default.
    """
    if len(rater) and not 0 <= int(rater.min()) <= int(rater.max()) < raters:
        raise ValueError(
            f"`rater` must be in 0..{raters - 1}, got {int(rater.min())}..{int(rater.max())}; "
            "give the number of all raters of the data."
        )
    kept = ~torch.isnan(score)
    counts = (torch.ones_like(score) if weight is None else weight).double()[kept]
    zero = torch.zeros(raters, dtype=torch.float64, device=score.device)
    total = zero.index_add(0, rater[kept], counts * score.double()[kept])
    return total / zero.index_add(0, rater[kept], counts)


def macro(score: Float[Tensor, " M"], rater: Int[Tensor, " M"], raters: int) -> Estimate:
    """Mean over raters of their mean score: a rater with many answers counts as one person."""
    return Estimate.mean(per_rater(score, rater, raters))


def check_shares(share: Tensor, label: Tensor) -> None:
    """Raise unless `share` holds one probability distribution per answer."""
    if share.shape != label.shape:
        raise ValueError(
            f"`share` must have the shape of `label`, {tuple(label.shape)}, got {tuple(share.shape)}."
        )
    off = ((share.sum(-1) - 1).abs() <= 1e-3) & (share >= -1e-6).all(-1)  # NaN compares false
    if not off.all():
        row = int((~off).nonzero()[0, 0])
        raise ValueError(
            f"`share` rows must be probabilities that sum to 1; {int((~off).sum())} of {len(share)} are not, "
            f"first row {row}: {share[row].tolist()}. Did the fit diverge, or are these utilities?"
        )
