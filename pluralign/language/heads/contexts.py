"""Preference given a context: what is preferred depends on the reader or the purpose, which is told to the model in words.

A comparison without a context is a mixture of those with one: P(first) = sum_c P(c) P(first given c).

Source: Pitis et al., Improving context-aware preference modeling for language models, NeurIPS 2024.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def told(prompts: Sequence[str], contexts: Sequence[str]) -> list[str]:
    """Prompts with the context in front, so that a shared prefix is encoded once for all its answers.

    Raises:
        ValueError: not one context for each prompt.
    """
    if len(prompts) != len(contexts):
        raise ValueError(
            f"each of {len(prompts)} prompts needs a context, got {len(contexts)}; repeat or drop some."
        )
    return [f"[{context}]\n\n{prompt}" if context else prompt for prompt, context in zip(prompts, contexts)]


def mixture(score: Float[Tensor, "C *m 2"], chance: Float[Tensor, " C"]) -> Float[Tensor, "*m"]:
    """(*m,) chance of the first of two texts when contexts are as likely as `chance` says."""
    share = torch.sigmoid((score[..., 0] - score[..., 1]).double())
    return torch.tensordot(chance.double() / chance.double().sum(), share, 1)


def posterior(
    score: Float[Tensor, "C M 2"], first: Float[Tensor, " M"], chance: Float[Tensor, " C"]
) -> Float[Tensor, " C"]:
    """Which context M answers were given in, if all in one: Bayes' rule."""
    gap = (score[..., 0] - score[..., 1]).double()
    log = (first.double() * gap - torch.nn.functional.softplus(gap)).sum(1)
    return torch.softmax(log + chance.double().log(), 0)


def reversed_share(score: Float[Tensor, "C M 2"]) -> Float[Tensor, " M"]:
    """(M,) share of pairs of contexts that prefer opposite texts: where a single reward must fail somebody."""
    first = (score[..., 0] > score[..., 1]).double().mean(0)
    return 2 * first * (1 - first)
