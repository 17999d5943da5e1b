"""A writer taught by example: the mean log-likelihood of the tokens of given answers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pluralign.language.likelihood import token_log_probs
from pluralign.language.steps import Descend, Row, Steps
from pluralign.language.tiny import tiny_model, tiny_tokenizer
from pluralign.language.writer import Tune, Writer, moving, tunable, writer_of
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Imitation:
    """Settings of teaching by example.

    Attributes:
        updates, batch, rate: of AdamW; batch in texts.
        tune: "lora", adapters of `rank`, or "full".
        rank: of the adapters.
    """

    updates: int = 300
    batch: int = 64
    rate: float = 3e-3
    tune: Tune = "full"
    rank: int = 8

    def fit(
        self,
        writer: Writer,
        prompts: Sequence[str],
        answers: Sequence[str],
        seed: Seed = 0,
        *,
        progress: Callable[[int], Any] | None = None,
    ) -> Writer:
        """A copy of `writer` that answers the prompts as the N answers do."""
        streams = Streams.of(seed).below("imitation")
        pieces = writer.pieces(prompts, answers)
        made = tunable(writer, self.tune, self.rank, streams.number("adapters"))

        def step(number: int, descend: Descend) -> Row:
            rows = torch.randint(len(pieces), (self.batch,), generator=streams("texts", number)).tolist()

            def loss() -> Iterator[Tensor]:
                log, counted = token_log_probs(made.model, [pieces[k] for k in rows], made.padding)
                yield -(log * counted).sum() / counted.sum()

            descend(loss())
            return {}

        Steps(self.updates, self.rate).run(moving(made), step, {}, progress=progress)
        return replace(made, model=made.model.requires_grad_(False))


def tiny_writer(
    prompts: Sequence[str],
    answers: Sequence[str],
    *,
    width: int = 64,
    layers: int = 2,
    most: int = 24,
    updates: int = 300,
    seed: Seed = 0,
) -> Writer:
    """A small model and its tokenizer, made on the spot and taught by N texts; seconds on one core."""
    tokenizer = tiny_tokenizer([*prompts, *answers])
    model = tiny_model(len(tokenizer), width=width, layers=layers, head=True, seed=seed)
    plain = writer_of(model, tokenizer, "tiny", most=most)
    return Imitation(updates).fit(plain, prompts, answers, seed)
