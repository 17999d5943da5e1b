"""A reward without training: how much likelier an answer is under one model than under another.

Where one model is the other after preference tuning, beta times this is the reward it was tuned for, up to a term of
the prompt alone (Rafailov et al., NeurIPS 2023); between a strong and a weak model it is a prior for quality
(Xu et al., CDR: customizable density ratios of strong-over-weak LLMs for preference annotation, 2024), asked for in other
words by another prompt in front of both.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.language.likelihood import answer_log_probs
from pluralign.language.once import Pieces


def density_ratio(
    better: Any,
    worse: Any,
    pieces: Sequence[Pieces],
    *,
    beta: float = 1.0,
    mean: bool = False,
    padding: int = 0,
) -> Float[Tensor, " N"]:
    """beta (log p_better(answer) - log p_worse(answer)), of whole answers, or per token where `mean`.

    Raises:
        ValueError: the models have different vocabularies.
    """
    sizes = [int(model.config.vocab_size) for model in (better, worse)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"both models must have one vocabulary, they have {sizes[0]} and {sizes[1]} tokens.")
    with torch.no_grad():
        gap = answer_log_probs(better, pieces, padding=padding) - answer_log_probs(
            worse, pieces, padding=padding
        )
    if mean:
        gap = gap / torch.tensor([max(1, len(one.answer)) for one in pieces])
    return beta * gap
