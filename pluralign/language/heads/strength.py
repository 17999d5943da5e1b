"""How strongly is an answer believed? Models that never saw it vote; weak ones are softened, contradicted ones turned.

Source: Wang et al., Secrets of RLHF in large language models part II: reward modelling, 2024: preference strength by an
ensemble, flipped and soft labels, adaptive margin. Differs: members are fitted to other raters' or other answers
(cross-fitting), as a model that was trained on a wrong label has learnt it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.pooled import Pooled
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Strength:
    """Utils by which the chosen option leads, over models that did not see the answer.

    Attributes:
        mean, deviation: (M,).
    """

    mean: Float[Tensor, " M"]
    deviation: Float[Tensor, " M"]


def strength(
    data: Comparisons, model: Any = None, *, members: int = 10, folds: int = 2, seed: Seed = 0
) -> Strength:
    """Strength of M answers about pairs.

    Args:
        data: the answers.
        model: settings of a population that answers alike for everybody; Pooled by default.
        members: repeats with other folds.
        folds: parts; each is judged by a model of the others.
        seed: of the folds.
    """
    first, second, share = data.as_pairs()
    model = Pooled(rule=Luce(), ridge=1.0) if model is None else model
    streams = Streams.of(seed)
    sign = torch.sign(share - 0.5).double()
    votes = []
    for member in range(members):
        order = torch.randperm(len(data), generator=streams("folds", member))
        margin = torch.zeros(len(data), dtype=torch.float64)
        for part in order.chunk(folds):
            seen = torch.ones(len(data), dtype=torch.bool)
            seen[part] = False
            belief = model.fit(data.take(seen), streams.number("fit", member))
            worth = belief.utility(data.options, belief.draws.take(torch.zeros(1, dtype=torch.long)))[0]
            margin[part] = (worth[first] - worth[second])[part].double() * sign[part]
        votes.append(margin)
    every = torch.stack(votes)
    return Strength(every.mean(0), every.std(0, correction=1 if members > 1 else 0))


def cleaned(data: Comparisons, told: Strength, *, turn: float = 0.1, soft: float = 0.3) -> Comparisons:
    """The answers with the weakest `turn` of them turned round, where their strength is negative, and the next `soft`
    replaced by what the members expect, sigma(strength).

    Raises:
        ValueError: shares that are not shares.
    """
    if not 0 <= turn <= turn + soft <= 1:
        raise ValueError(f"`turn` and `soft` must be shares that sum to 1 at most, got {turn} and {soft}.")
    share = data.as_pairs()[2]
    rank = told.mean.argsort().argsort().double() / max(len(data), 1)
    turned = (rank < turn) & (told.mean < 0)
    softened = ~turned & (rank < turn + soft)
    belief = torch.sigmoid(told.mean)
    expected = torch.where(share > 0.5, belief, 1 - belief).to(share)
    value = torch.where(turned, 1 - share, torch.where(softened, expected, share))
    return data.with_labels(torch.stack([value, 1 - value], 1))


def margin_loss(gap: Float[Tensor, " M"], told: Strength) -> Float[Tensor, " M"]:
    """-log sigma(gap - strength): an answer that is surer must lead by more."""
    return -torch.nn.functional.logsigmoid(gap - told.mean.to(gap))
