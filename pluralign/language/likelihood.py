"""Log-likelihoods of answers under a causal language model."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
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
    order = sorted(range(len(pieces)), key=lambda k: len(pieces[k]))
    found: list[Tensor] = []
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * len(pieces[order[stop]]) <= at_once:
            stop += 1
        found.append(_batch(model, [pieces[k] for k in order[start:stop]], padding))
        start = stop
    if not found:
        return torch.zeros(0)
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(found)[back]


def _batch(model: Any, pieces: list[Pieces], padding: int) -> Tensor:
    wide = max(map(len, pieces))
    rows = [[*one.prompt, *one.answer] for one in pieces]
    token = torch.tensor([row + [padding] * (wide - len(row)) for row in rows])
    place = torch.arange(wide)
    length = torch.tensor([len(row) for row in rows])[:, None]
    begin = torch.tensor([max(len(one.prompt), 1) for one in pieces])[:, None]
    where = next(model.parameters()).device
    logits = model(input_ids=token.to(where), attention_mask=(place < length).long().to(where)).logits
    log = torch.log_softmax(logits[:, :-1].float(), -1).gather(-1, token.to(where)[:, 1:, None])[..., 0]
    counted = ((place >= begin) & (place < length))[:, 1:].to(log)
    return (log * counted).sum(-1).cpu()
