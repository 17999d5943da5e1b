"""Log-likelihoods of answers under a causal language model, and how far two models are apart on them."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.language.once import Pieces


def answer_log_probs(
    model: Any, pieces: Sequence[Pieces], *, padding: int = 0, at_once: int = 8192
) -> Float[Tensor, " N"]:
    """(N,) sums of log p(token | what stands before it) over the tokens of each answer, in nats.

    With gradients where they are on. Texts are read in batches of about one length.

    Args:
        model: a causal model of transformers with its head.
        pieces: prompts and answers; a prompt (or a first token of the answer, which is then not counted) is needed.
        padding: any token number.
        at_once: tokens read at a time.
    """
    return _each(pieces, at_once, lambda part: _sums(model, part, padding))


def divergence(
    model: Any, reference: Any, pieces: Sequence[Pieces], *, padding: int = 0, at_once: int = 8192
) -> Float[Tensor, " N"]:
    """(N,) for each answer the sum over its tokens of KL(model, reference) between the chances of the next token, in nats.

    Averaged over answers that `model` wrote it is the divergence of the two as writers of answers, without bias, and with
    less noise than log-ratios have.
    """

    def part(some: list[Pieces]) -> Tensor:
        mine, _, counted = _read(model, some, padding)
        mine = torch.log_softmax(mine, -1)
        other = torch.log_softmax(_read(reference, some, padding)[0], -1)
        return ((mine.exp() * (mine - other)).sum(-1) * counted).sum(-1).cpu()

    with torch.no_grad():
        return _each(pieces, at_once, part)


def token_log_probs(
    model: Any, pieces: Sequence[Pieces], padding: int = 0
) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """(B, T) log p of each token after the first, and which of them belong to an answer; where the model is."""
    logits, target, counted = _read(model, pieces, padding)
    return logits.gather(-1, target[..., None])[..., 0] - logits.logsumexp(-1), counted


def batches(pieces: Sequence[Pieces], at_once: int) -> list[list[int]]:
    """Numbers of texts, those of about one length together, `at_once` tokens in each batch at most where one has no more."""
    order = sorted(range(len(pieces)), key=lambda k: len(pieces[k]))
    found, start = [], 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * len(pieces[order[stop]]) <= at_once:
            stop += 1
        found.append(order[start:stop])
        start = stop
    return found


def _each(pieces: Sequence[Pieces], at_once: int, work: Any) -> Float[Tensor, " N"]:
    parts = batches(pieces, at_once)
    if not parts:
        return torch.zeros(0)
    found = torch.cat([work([pieces[k] for k in part]) for part in parts])
    order = torch.tensor([k for part in parts for k in part])
    return found[torch.empty_like(order).index_copy(0, order, torch.arange(len(order)))]


def _sums(model: Any, pieces: list[Pieces], padding: int) -> Tensor:
    log, counted = token_log_probs(model, pieces, padding)
    return (log * counted).sum(-1).cpu()


def _read(
    model: Any, pieces: Sequence[Pieces], padding: int
) -> tuple[Float[Tensor, "B T V"], Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    wide = max(map(len, pieces))
    rows = [[*one.prompt, *one.answer] for one in pieces]
    where = next(model.parameters()).device
    token = torch.tensor([row + [padding] * (wide - len(row)) for row in rows], device=where)
    place = torch.arange(wide, device=where)
    length = torch.tensor([len(row) for row in rows], device=where)[:, None]
    begin = torch.tensor([max(len(one.prompt), 1) for one in pieces], device=where)[:, None]
    logits = model(input_ids=token, attention_mask=(place < length).long(), use_cache=False).logits
    return logits[:, :-1].float(), token[:, 1:], ((place >= begin) & (place < length))[:, 1:]
