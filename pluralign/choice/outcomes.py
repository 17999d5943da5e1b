"""The answers a rule allows, and what follows from their probabilities.

Two kinds. *Picks*: one of the K places (O = K). *Ladder*: for pairs, O > 2 grades from "clearly the first" to
"clearly the second", equally spaced in the share of the first; a tie is the middle of an odd ladder. A label
between two grades counts for both in proportion, so with a tie in the middle a share p has the tie's weight
1 - |2p - 1|.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice.protocol import OutcomeRule

FAR = 1e-5  # a share this near to a grade is that grade: 1/3 in float32 is not 1/3


def difference(rule: OutcomeRule, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
    """First minus second, in utils.

    Raises:
        ValueError: there are more than two places.
    """
    if utility.shape[-1] != 2:
        raise ValueError(
            f"{type(rule).__name__} judges pairs, got slates of {utility.shape[-1]}; use Luce for longer slates."
        )
    return utility[..., 0] - utility[..., 1]


def answers(places: int, outcomes: int) -> Float[Tensor, "O K"]:
    """(O, K) the label that each outcome stands for."""
    if outcomes == places:
        return torch.eye(places, dtype=torch.float64)
    first = torch.linspace(1, 0, outcomes, dtype=torch.float64)
    return torch.stack([first, 1 - first], 1)


def log_likelihood(log_chance: Float[Tensor, "*b O"], label: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
    """Log-likelihood in nats of labels; -inf where the rule excludes the answer."""
    weight = label
    if (count := log_chance.shape[-1]) != label.shape[-1]:
        where = (1 - label[..., :1]) * (count - 1)
        where = torch.where((where - where.round()).abs() < FAR, where.round(), where)
        weight = (1 - (where - torch.arange(count).to(where)).abs()).clamp_min(0)
    # 0 * -inf is NaN: an outcome that did not happen adds nothing.
    return torch.where(weight > 0, weight * log_chance, 0.0).sum(-1)


def expected_share(log_chance: Float[Tensor, "*b O"], places: int) -> Float[Tensor, "*b K"]:
    """Expected share of the choice per place: a tie gives half to each."""
    return log_chance.exp() @ answers(places, log_chance.shape[-1]).to(log_chance)


def draw(
    log_chance: Float[Tensor, "M O"], places: int, *, generator: torch.Generator
) -> Float[Tensor, "M K"]:
    """One answer per row, as a label."""
    outcome = torch.multinomial(log_chance.exp(), 1, generator=generator)[:, 0]
    return answers(places, log_chance.shape[-1]).to(log_chance)[outcome]


def mixed(
    log_a: Float[Tensor, "*b O"], log_b: Float[Tensor, "*b O"], rate: float | Float[Tensor, "*b 1"]
) -> Float[Tensor, "*b O"]:
    """log((1 - rate) a + rate b), with gradients where both are impossible."""
    weight = torch.as_tensor(rate, dtype=log_a.dtype, device=log_a.device)
    log_a, log_b = torch.log1p(-weight) + log_a, weight.log() + log_b
    never = torch.isneginf(log_a) & torch.isneginf(log_b)  # their gradient would be NaN
    # Not logaddexp, whose second derivative is inf * 0 when one is e^700 times the other.
    both = torch.stack([log_a.masked_fill(never, 0.0), log_b.masked_fill(never, 0.0)], -1).logsumexp(-1)
    return both.masked_fill(never, -torch.inf)
