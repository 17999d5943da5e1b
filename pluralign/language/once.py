"""Encode once: each text once, a shared prompt once, sequences of about one length together.

Answers to one prompt stand in one sequence behind it. An answer's tokens see the prompt and their own predecessors,
and their positions go on from the prompt's, so every state is what it would be alone.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.messages import turns_of


@dataclass(frozen=True)
class Pieces:
    """The tokens of one text.

    Attributes:
        prompt, answer: token numbers; both in one for models that do not share prompts.
        lost: tokens that were cut off.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    lost: int = 0

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True)
class Pack:
    """One sequence: a prompt and some answers to it.

    Attributes:
        token, position, segment: (T,) segment 0 is the prompt, 1, 2, ... the answers.
        member: which text each answer is.
    """

    token: Int[np.ndarray, " T"]
    position: Int[np.ndarray, " T"]
    segment: Int[np.ndarray, " T"]
    member: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.token)


@dataclass(frozen=True)
class Counts:
    """Work done.

    Attributes:
        texts: encoded. tokens: in them, a shared prompt counted once. computed: with padding.
    """

    texts: int
    tokens: int
    computed: int


@dataclass(frozen=True)
class Encoded:
    """Hidden states of N texts, and the work it took."""

    states: Float[Tensor, "N D"]
    counts: Counts


def pieces_of(
    backbone: Any, prompts: Sequence[str], answers: Sequence[str], *, say: bool = True
) -> list[Pieces]:
    """Tokens of N texts, cut to what the backbone can read.

    Args:
        backbone: a `Backbone`.
        prompts: texts, JSON of messages, or "".
        answers: texts.
        say: warn of how many were cut.

    Raises:
        ValueError: cut on the right, nothing of an answer would be left.
    """
    tokenizer, template = backbone.tokenizer, getattr(backbone.tokenizer, "chat_template", None)
    told = [
        _told(tokenizer, prompt, answer, backbone.chat and template is not None)
        for prompt, answer in zip(prompts, answers)
    ]
    if not backbone.causal:
        whole = (
            tokenizer([head + tail for head, tail in told], add_special_tokens=True)["input_ids"]
            if told
            else []
        )
        found = [Pieces((), tuple(ids)) for ids in whole]
    else:
        heads = list(dict.fromkeys(head for head, _ in told))
        known = dict(zip(heads, _numbers(tokenizer, heads)))
        start = (
            ()
            if tokenizer.bos_token_id is None or (backbone.chat and template)
            else (tokenizer.bos_token_id,)
        )
        end = (
            ()
            if tokenizer.eos_token_id is None or (backbone.chat and template)
            else (tokenizer.eos_token_id,)
        )
        tails = _numbers(tokenizer, [tail for _, tail in told])
        found = [Pieces((*start, *known[head]), (*tail, *end)) for (head, _), tail in zip(told, tails)]
    found = [_cut(one, backbone.longest, backbone.side) for one in found]
    lost = sum(one.lost > 0 for one in found)
    if lost and say:
        warnings.warn(
            f"{lost} of {len(found)} texts are longer than {backbone.longest} tokens and were cut on the "
            f"{backbone.side}.",
            stacklevel=2,
        )
    return found


def packs_of(pieces: Sequence[Pieces], *, sharing: bool, most: int) -> list[Pack]:
    """Sequences in which every different text comes once; at most `most` tokens, where one text has no more."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, one in enumerate(pieces):
        groups.setdefault(one.prompt if sharing else (*one.prompt, -1, *one.answer), []).append(number)
    found = []
    for members in groups.values():
        part: list[int] = []
        size = len(pieces[members[0]].prompt)
        for number in members:
            if part and size + len(pieces[number].answer) > most:
                found.append(_pack(pieces, part))
                part, size = [], len(pieces[number].prompt)
            part.append(number)
            size += len(pieces[number].answer)
        found.append(_pack(pieces, part))
    return found


def batches_of(packs: Sequence[Pack], at_once: int) -> list[list[Pack]]:
    """Sequences of about one length: at most `at_once` tokens together where one has no more, a tenth of them padding."""
    found: list[list[Pack]] = []
    real = 0
    for pack in sorted(packs, key=len):
        padded = (len(found[-1]) + 1) * len(pack) if found else 0
        if found and padded <= at_once and padded <= (real + len(pack)) * 10 / 9:
            found[-1].append(pack)
            real += len(pack)
        else:
            found.append([pack])
            real = len(pack)
    return found


def work(pieces: Sequence[Pieces], *, sharing: bool, at_once: int = 8192, most: int = 1024) -> Counts:
    """The work that `encode` would do."""
    single, _ = distinct(pieces)
    packs = packs_of(single, sharing=sharing, most=most)
    padded = sum(len(batch) * max(map(len, batch)) for batch in batches_of(packs, at_once))
    return Counts(len(single), sum(map(len, packs)), padded)


def padded_pairs(length: Int[Tensor, " N"], slate: Int[Tensor, "M 2"], batch: int) -> int:
    """Tokens that a trainer computes which encodes both texts of each comparison, padded to the longest of a batch."""
    longest = [int(length[part].max()) * 2 * len(part) for part in slate.split(batch)]
    return sum(longest)


def encode(
    backbone: Any,
    pieces: Sequence[Pieces],
    *,
    at_once: int = 8192,
    ways: Callable[[int], int] | None = None,
) -> Encoded:
    """Hidden states of N texts; with gradients where they are on.

    Args:
        backbone: a `Backbone`.
        pieces: of N texts; equal ones are encoded once.
        at_once: tokens read at a time, with padding.
        ways: how often to go through the model when so many times are needed; what is more is a text read for nothing.
    """
    single, back = distinct(pieces)
    packs = packs_of(single, sharing=backbone.sharing, most=max(2 * backbone.longest, 256))
    parts, order, padded = [], [], 0
    ready = batches_of(packs, at_once)
    more = 0 if ways is None or not ready else ways(len(ready)) - len(ready)  # before any process sets out
    for batch in ready:
        parts.append(_states(backbone, batch))
        order += [number for pack in batch for number in pack.member]
        padded += len(batch) * max(map(len, batch))
    for _ in range(more):
        parts[0] = parts[0] + 0.0 * _states(backbone, ready[0][:1]).sum()
    counts = Counts(len(single), sum(map(len, packs)), padded)
    if not parts:
        return Encoded(torch.zeros(0, backbone.width), counts)
    place = torch.empty(len(single), dtype=torch.long)
    place[torch.tensor(order)] = torch.arange(len(single))
    states = torch.cat(parts)
    return Encoded(states[place[back].to(states.device)], counts)


def distinct(pieces: Sequence[Pieces]) -> tuple[list[Pieces], Int[Tensor, " N"]]:
    """The different ones, and which of them each is."""
    known: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    back = [known.setdefault((one.prompt, one.answer), len(known)) for one in pieces]
    return [Pieces(*key) for key in known], torch.tensor(back, dtype=torch.long)


def _told(tokenizer: Any, prompt: str, answer: str, chat: bool) -> tuple[str, str]:
    """What stands before the answer, and the answer with what follows it."""
    if not chat:
        messages = turns_of(prompt) if prompt.startswith('[{"role": ') else None
        head = "\n\n".join(one["content"] for one in messages) if messages is not None else prompt
        return (head + "\n\n" if head else "", answer)
    turns = turns_of(prompt)
    head = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) if turns else ""
    whole = tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": answer}], tokenize=False)
    return (head, whole[len(head) :]) if whole.startswith(head) else ("", whole)


def _numbers(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []


def _cut(one: Pieces, longest: int, side: str) -> Pieces:
    over = len(one) - longest
    if over <= 0:
        return one
    if side == "left":
        head = one.prompt[over:]
        return Pieces(head, one.answer[max(0, over - len(one.prompt)) :], over)
    if len(one.prompt) >= longest:
        raise ValueError(
            f"a prompt has {len(one.prompt)} tokens and {longest} can be read, so that nothing of its answer would be "
            "left when texts are cut on the right; cut them on the left."
        )
    return Pieces(one.prompt, one.answer[: longest - len(one.prompt)], over)


def _pack(pieces: Sequence[Pieces], member: list[int]) -> Pack:
    prompt = pieces[member[0]].prompt
    answers = [pieces[number].answer for number in member]
    size = [len(prompt), *map(len, answers)]
    position = np.concatenate([np.arange(len(prompt)), *(len(prompt) + np.arange(n) for n in size[1:])])
    return Pack(
        np.array([*prompt, *(token for answer in answers for token in answer)], dtype=np.int64),
        position.astype(np.int64),
        np.repeat(np.arange(len(size)), size),
        tuple(member),
    )


def _states(backbone: Any, batch: list[Pack]) -> Float[Tensor, "n D"]:
    """Pooled states of the answers in some sequences, in their order."""
    wide = max(map(len, batch))
    filled = lambda name, none: torch.from_numpy(
        np.stack([np.pad(getattr(p, name), (0, wide - len(p)), constant_values=none) for p in batch])
    ).to(backbone.device)
    token, segment = filled("token", backbone.tokenizer.pad_token_id or 0), filled("segment", -1)
    real = segment >= 0
    if max(len(pack.member) for pack in batch) > 1:
        kind = next(backbone.model.parameters()).dtype
        mask = _blocks(segment).to(kind)
        mask = (1 - mask) * torch.finfo(kind).min
        states = backbone.states(
            input_ids=token, attention_mask=mask[:, None], position_ids=filled("position", 0)
        )
    else:
        states = backbone.states(input_ids=token, attention_mask=real.long())
    count = torch.tensor([len(pack.member) for pack in batch])
    first = torch.cat([torch.zeros(1, dtype=torch.long), count.cumsum(0)[:-1]]).to(token.device)
    own = torch.where(segment > 0, first[:, None] + segment - 1, -1)  # which answer a token is of
    total = int(count.sum())
    if backbone.pooling == "last":
        # The last token of an answer is the one after which the answer changes.
        after = torch.nn.functional.pad(own[:, 1:], (0, 1), value=-1)
        return states[(own >= 0) & (own != after)].float()
    flat, mine = states.float().reshape(-1, states.shape[-1]), own.reshape(-1)
    sums = flat.new_zeros(total, flat.shape[1]).index_add(0, mine[mine >= 0], flat[mine >= 0])
    size = torch.bincount(mine[mine >= 0], minlength=total)
    prompt = (segment == 0).to(flat)
    row = torch.repeat_interleave(torch.arange(len(batch)), count).to(token.device)
    sums = sums + torch.einsum("bt,btd->bd", prompt, states.float())[row]
    return sums / (size + prompt.sum(1)[row])[:, None]


def _blocks(segment: Int[Tensor, "B T"]) -> Tensor:
    """(B, T, T) true where token i may see token j."""
    wide = segment.shape[1]
    before = torch.ones(wide, wide, dtype=torch.bool, device=segment.device).tril()
    mine, seen = segment[:, :, None], segment[:, None, :]
    return before & ((seen == 0) | (seen == mine)) | torch.eye(wide, dtype=torch.bool, device=segment.device)
