"""Several reward models of the same texts: other pretraining seeds differ more than other heads on one backbone.

Source: Eisenstein et al., Helping or herding? Reward model ensembles mitigate but do not eliminate reward hacking, 2023;
Coste et al., Reward model ensembles help mitigate overoptimization, ICLR 2024.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def centred(reward: Float[Tensor, "E N"], prompt: Int[Tensor, " N"]) -> Float[Tensor, "E N"]:
    """Scores less their mean over the answers to a prompt: only differences mean anything, and members start anywhere."""
    size = torch.bincount(prompt).to(reward.dtype)
    total = torch.zeros(len(reward), len(size), dtype=reward.dtype).index_add_(1, prompt, reward)
    return reward - (total / size.clamp_min(1))[:, prompt]


def combined(
    reward: Float[Tensor, "E N"], prompt: Int[Tensor, " N"], how: str = "mean", *, doubt: float = 1.0
) -> Float[Tensor, " N"]:
    """One score of E members': their mean, median, the worst one's, or the mean less `doubt` standard deviations.

    Args:
        reward: of each member for N texts, in utils.
        prompt: (N,) which prompt a text answers.
        how: see above.
        doubt: for "careful".

    Raises:
        ValueError: fewer than two members, or another word.
    """
    if len(reward) < 2:
        raise ValueError(f"an ensemble needs two members or more, got {len(reward)}.")
    value = centred(reward.double(), prompt)
    if how == "mean":
        return value.mean(0)
    if how == "median":
        return value.quantile(0.5, 0)
    if how == "worst":
        return value.amin(0)
    if how == "careful":
        return value.mean(0) - doubt * value.std(0)
    raise ValueError(f'`how` must be "mean", "median", "worst" or "careful", got {how!r}.')


def spread(
    reward: Float[Tensor, "E N"], prompt: Int[Tensor, " N"], backbone: Sequence[int]
) -> tuple[float, float]:
    """Mean variance of centred scores between backbones, and between heads of one backbone: who errs alike is no second opinion.

    Args:
        reward: of E members. prompt: as in `combined`.
        backbone: (E,) which backbone each member stands on.
    """
    value = centred(reward.double(), prompt)
    names = torch.tensor(list(backbone))
    met = torch.unique(names)
    means = torch.stack([value[names == name].mean(0) for name in met])
    inside = [value[names == name].var(0).mean() for name in met if int((names == name).sum()) > 1]
    between = float(means.var(0).mean()) if len(met) > 1 else float("nan")
    return between, float(torch.stack(inside).mean()) if inside else float("nan")
