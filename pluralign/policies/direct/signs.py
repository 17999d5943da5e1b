"""What goes on inside a direct method: does it rank, does it push down what it should push up, does it go too far?"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def ranking_accuracy(log_prob: Float[Tensor, "M 2"], first: Float[Tensor, " M"]) -> float:
    """Share of the decided answers whose preferred place the policy finds likelier; ties of the policy count half."""
    decided = first != 0.5
    gap = (log_prob[:, 0] - log_prob[:, 1]) * (2 * first - 1).sign()
    return float(torch.where(gap == 0, 0.5, (gap > 0).to(gap))[decided].mean())


def ideal_ranking_accuracy(
    reference: Float[Tensor, "M 2"], chance: Float[Tensor, " M"], scale: float
) -> float:
    """The ranking accuracy that the exact optimum of DPO would have, judged by the likelier answer.

    The optimum ranks by log pi_ref + logit(chance) / scale: a reference that is very sure of the wrong answer is
    not overturned, however good the fit.

    Source: Chen et al., Preference learning algorithms do not learn preference rankings, NeurIPS 2024.
    """
    odds = torch.logit(chance) / scale
    return ranking_accuracy(
        torch.stack([reference[:, 0] + odds, reference[:, 1]], 1), (chance > 0.5).to(chance)
    )


def displacement(
    before: Float[Tensor, "M 2"], after: Float[Tensor, "M 2"], first: Float[Tensor, " M"]
) -> tuple[float, float]:
    """Mean change of the log-probability of preferred and of refused answers, in nats.

    Both negative: likelihood displacement (Razin et al., ICLR 2025).
    """
    change = after - before
    good = first * change[:, 0] + (1 - first) * change[:, 1]
    bad = first * change[:, 1] + (1 - first) * change[:, 0]
    return float(good.mean()), float(bad.mean())


def entanglement(
    log_prob: Callable[[], Float[Tensor, " 2"]], parameters: tuple[Tensor, ...]
) -> tuple[float, float, float]:
    """(<g+, g+>, <g+, g->, <g-, g->) of the gradients of log-probabilities of a preferred and a refused answer.

    A small step of any loss of the margin raises the preferred answer only if <g+, g-> is below <g+, g+>, and lowers the
    refused one only if it is below <g-, g->. Source: Yuan et al., A common pitfall of margin-based ... gradient
    entanglement, ICLR 2025.
    """
    both = log_prob()
    found = []
    for value in (both[0], both[1]):
        parts = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        found.append(
            torch.cat(
                [
                    (torch.zeros_like(p) if g is None else g).reshape(-1)
                    for g, p in zip(parts, parameters, strict=True)
                ]
            )
        )
    up, down = found
    return float(up @ up), float(up @ down), float(down @ down)


def overoptimisation(
    chance: Float[Tensor, "P S A"],
    reference: Float[Tensor, "S A"],
    gold: Float[Tensor, "S A"],
    visits: Float[Tensor, " S"] | None = None,
) -> Float[Tensor, "P 2"]:
    """(KL from the reference in nats, gold reward) of P policies, for the curve of one against the other.

    Args:
        chance: of actions in states, for example snapshots of training or a sweep over `scale`.
        reference: the policy to stay near. gold: the true reward. visits: weight of each state, by default equal.

    Source: Gao et al., Scaling laws for reward model overoptimization, ICML 2023.
    """
    weight = torch.full((chance.shape[1],), 1 / chance.shape[1]).to(chance) if visits is None else visits
    distance = (
        torch.where(
            chance > 0, chance * (chance.clamp_min(1e-300).log() - reference.clamp_min(1e-300).log()), 0.0
        )
    ).sum(2)
    return torch.stack([distance @ weight, (chance * gold).sum(2) @ weight], 1)
