"""Losses that turn answers into a policy without a reward: one small function each.

`score` (*b, 2) are log-probabilities of what was shown, discounted sums over steps for segments; most methods take
them relative to a reference policy, log pi - log pi_ref. `first` (*b) is the share of the choice of the first place:
1, 0, .5 for a tie, or a graded answer. All return one loss per answer, in nats where they are likelihoods.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

Pair = Float[Tensor, "*b 2"]
Each = Float[Tensor, "*b"]


def _both(gap: Each, first: Each, loss) -> Each:
    """The loss of both directions, weighted by the share of each: a tie is half an answer each way."""
    return first * loss(gap) + (1 - first) * loss(-gap)


def _gap(score: Pair) -> Each:
    return score[..., 0] - score[..., 1]


def logistic(score: Pair, first: Each, *, scale: float = 1.0) -> Each:
    """-log s(scale * gap): DPO on log-ratios, CPL without its bias, soft labels as they are.

    Source: Rafailov et al., NeurIPS 2023; with graded answers the soft-label form.
    """
    return _both(scale * _gap(score), first, lambda gap: -logsigmoid(gap))


def cpl(
    score: Pair, first: Each, *, scale: float = 0.1, bias: float = 0.5, ahead: Each | float = 0.0
) -> Each:
    """-log s(scale * (S+ - bias * S-)) for sums of log-probabilities; bias < 1 keeps mass on what was shown.

    `ahead` are utils by which the first place is better whatever the policy does.

    Source: Hejna et al., Contrastive preference learning, ICLR 2024, equations 5 and 6.
    """
    s = scale * score
    return -first * logsigmoid(s[..., 0] - bias * s[..., 1] + ahead) - (1 - first) * logsigmoid(
        s[..., 1] - bias * s[..., 0] - ahead
    )


def dppo(distance: Pair, first: Each, *, scale: float = 0.1, bias: float = 1.0) -> Each:
    """The same contrast on distances between a policy's actions and those shown: An et al., NeurIPS 2023."""
    return cpl(-distance, first, scale=1 / scale, bias=bias)


def ipo(score: Pair, first: Each, *, scale: float = 0.1) -> Each:
    """(gap - 1 / (2 scale))^2 on log-ratios: Azar et al., AISTATS 2024."""
    return _both(_gap(score), first, lambda gap: (gap - 1 / (2 * scale)).square())


def slic(score: Pair, first: Each, *, scale: float = 1.0, margin: float = 1.0) -> Each:
    """max(0, margin - scale * gap): Zhao et al. (2023) on log-probabilities; on log-ratios that of RSO."""
    return _both(scale * _gap(score), first, lambda gap: relu(margin - gap))


LINKS = {  # f'(u) of an f-divergence, in terms of log u
    "reverse kl": lambda log: log,
    "forward kl": lambda log: -torch.exp(-log),
    "jensen-shannon": lambda log: log - torch.nn.functional.softplus(log),
    "alpha": lambda log: 2 * (1 - torch.exp(-0.5 * log)),  # alpha one half
}


def f_dpo(score: Pair, first: Each, *, scale: float = 0.1, link: str = "jensen-shannon") -> Each:
    """DPO under another divergence: the log-ratio becomes f'(pi / pi_ref). Source: Wang et al., ICLR 2024."""
    if link not in LINKS:
        raise ValueError(f"`link` must be one of {', '.join(LINKS)}, got {link!r}.")
    return logistic(LINKS[link](score), first, scale=scale)


def rpo(score: Pair, log_prob: Pair, first: Each, *, scale: float = 0.1, weight: float = 0.1) -> Each:
    """DPO plus `weight` times minus the log-probability of what was preferred.

    Source: Liu et al., Provably mitigating overoptimization in RLHF (RPO), NeurIPS 2024.
    """
    kept = first * log_prob[..., 0] + (1 - first) * log_prob[..., 1]
    return logistic(score, first, scale=scale) - weight * kept


def flipped(score: Pair, first: Each, *, scale: float = 0.1, flip: float = 0.1) -> Each:
    """Unbiased under answers that are flipped with chance `flip`: robust DPO (Chowdhury et al., ICML 2024)."""
    right, wrong = logistic(score, first, scale=scale), logistic(score, 1 - first, scale=scale)
    return ((1 - flip) * right - flip * wrong) / (1 - 2 * flip)


def difference(score: Pair, first: Each, *, scale: float = 0.1, least: float = 1e-3) -> Each:
    """(scale * gap - log-odds of the answer)^2, for graded answers; shares are kept `least` away from 0 and 1.

    Source: iREPO (Le et al., 2024); with the difference of two rewards as log-odds, REBEL (Gao et al., NeurIPS 2024).
    """
    odds = torch.logit(first.clamp(least, 1 - least))
    return (scale * _gap(score) - odds).square()


def pro(score: Float[Tensor, "*b K"], order: Int[Tensor, "*b K"], *, scale: float = 1.0) -> Each:
    """-log P(order) under Plackett and Luce, best first: PRO (Song et al., AAAI 2024), DPO for rankings."""
    s = (scale * score).gather(-1, order)
    ahead = torch.logcumsumexp(s.flip(-1), -1).flip(-1)
    return (ahead - s).sum(-1)


def picked(score: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"], *, scale: float = 1.0) -> Each:
    """-log P(what was chosen of K), one stage of `pro`: a ranking is as many stages as it has places but one.

    Places that show nothing have a score of -inf and a label of 0.
    """
    log = torch.log_softmax(scale * score, -1)
    return -torch.where(label > 0, label * log, 0.0).sum(-1)


def lipo(
    score: Float[Tensor, "*b K"],
    grade: Float[Tensor, "*b K"],
    *,
    scale: float = 1.0,
    there: Bool[Tensor, "*b K"] | None = None,
) -> Each:
    """Logistic losses of all pairs, weighted by what swapping them would cost in discounted gain.

    Source: Liu et al., LiPO-lambda (2024): weight |2^g_i - 2^g_j| |1 / log2(1 + rank_i) - 1 / log2(1 + rank_j)|, with
    ranks by the scores as they stand. Only places that are `there` count.
    """
    there = torch.ones_like(grade, dtype=torch.bool) if there is None else there
    s = torch.where(there, scale * score, 0.0)
    # Sorting gives equal scores different ranks; at the start all are equal, and nothing would cost anything.
    rank = 1 + torch.where(there, -s, torch.inf).argsort(dim=-1, stable=True).argsort(dim=-1)
    gain, worth = 2.0**grade, 1 / torch.log2(1 + rank.to(s))
    cost = (gain[..., :, None] - gain[..., None, :]).abs() * (worth[..., :, None] - worth[..., None, :]).abs()
    both = there[..., :, None] & there[..., None, :]
    better = ((grade[..., :, None] > grade[..., None, :]) & both).to(s)
    return -(better * cost.detach() * logsigmoid(s[..., :, None] - s[..., None, :])).sum((-1, -2))


def tdpo(score: Pair, strayed: Pair, first: Each, *, scale: float = 0.1, weight: float = 0.5) -> Each:
    """DPO by tokens: a margin for how far the policy strayed along each sequence, in the refused one more than it gains.

    Args:
        score: log-ratios. strayed: sums over steps of KL(reference || policy).

    Source: Zeng et al., Token-level direct preference optimization, ICML 2024 (TDPO2, with its stopped gradient).
    """
    gap, away = _gap(score), strayed[..., 0] - strayed[..., 1].detach()
    toward = strayed[..., 1] - strayed[..., 0].detach()
    return -first * logsigmoid(scale * (gap - weight * toward)) - (1 - first) * logsigmoid(
        scale * (-gap - weight * away)
    )


def ipl(implied: Float[Tensor, "*b 2 T"], first: Each, *, weight: float = 0.5) -> Each:
    """Logistic on sums of implied rewards r = Q(s, a) - discount V(s'), plus `weight` times their mean square.

    Source: Hejna and Sadigh, Inverse preference learning, NeurIPS 2023.
    """
    return logistic(implied.sum(-1), first) + weight * implied.square().mean((-1, -2))


def oppo(context: Float[Tensor, "*b 2 C"], best: Float[Tensor, "*#b C"], first: Each) -> Each:
    """The preferred segment's context should be nearer to the best one: logistic on squared distances.

    Source: Kang et al., Beyond reward: offline preference-guided policy optimization, ICML 2023 (their triplet loss
    with a logistic instead of a hinge).
    """
    return logistic(-(context - best[..., None, :]).square().sum(-1), first)


def accepted(
    reward: Float[Tensor, "*b N"], *, scale: float, generator: torch.Generator
) -> Float[Tensor, "*b N"]:
    """Which of N answers of the reference policy to keep, so that those kept are drawn from the best policy.

    Kept with chance exp((r - max r) / scale): statistical rejection sampling, RSO (Liu et al., ICLR 2024), whose losses are
    `logistic` and `slic` on the answers kept.
    """
    chance = torch.exp((reward - reward.amax(-1, keepdim=True)) / scale)
    return (torch.rand(reward.shape, generator=generator, dtype=reward.dtype) < chance).to(reward)
