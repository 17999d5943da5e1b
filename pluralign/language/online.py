"""A writer tuned by what camps think of its own answers: the group-relative online step, for any welfare of returns.

In each step the writer answers some prompts n times. An answer's reward is the camps' rewards by their weights, its
advantage how far it stands above the other answers to the same prompt in their standard deviations, and the step follows
the clipped ratio of chances with a pull back to the reference. Weights move with the camps' average *returns*, so that
the welfare is one of returns; `per_answer` takes the smallest reward of each answer instead, which is another, more
timid thing.

Source: Shao et al., DeepSeekMath (2024), group-relative policy optimisation; tokens of all answers count alike, not
answers by their mean token (Liu et al., Understanding R1-Zero-like training, 2025). Chakraborty et al., MaxMin-RLHF,
ICML 2024, for the objective. One writer is the answer, not a lottery: drawing a writer, then an answer, is a way to write.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.language.likelihood import batches, token_log_probs
from pluralign.language.once import Pieces
from pluralign.language.processes import Processes
from pluralign.language.steps import Row, Steps
from pluralign.language.weighing import acting, moved, start, welfare_named
from pluralign.language.with_trl import tuned_by_trl
from pluralign.language.writer import Reward, Tune, Writer, Written, moving, tunable
from pluralign.language.yardstick import Yardstick, worths
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Tuned:
    """A tuned writer, and how it came about.

    Attributes:
        writer: the new one.
        weight: (G,) of the camps, averaged over the second half of the steps.
        curve: for each step what it was like: kl (nats per answer), returns and weight of the camps, length.
    """

    writer: Writer
    weight: Float[Tensor, " G"]
    curve: tuple[Row, ...]


@dataclass(frozen=True)
class Online:
    """Settings of the group-relative step (GRPO).

    Attributes:
        welfare: "mean", "maxmin", "nash", "cvar" or "proportional", of the camps' returns.
        per_answer: take the smallest reward of each answer instead; then weights stay as they are.
        scale: beta, what a nat of distance from the reference costs, in deviations of the reward.
        prompts, answers: of each step, and to each prompt.
        updates, rate: of AdamW.
        epochs: times that a step's answers are gone through. clip: of the ratio of chances.
        pace: of the camps' weights per step. memory: of returns from step to step, in [0, 1).
        lean: how far weights also lean to who has least right now, which keeps them from swinging.
        tune: "lora", adapters of `rank`, or "full".
        rank: of the adapters.
        at_once: tokens read at a time.
        trainer: "own", or "trl", the GRPOTrainer of that library, which then takes the steps.
    """

    welfare: str = "maxmin"
    per_answer: bool = False
    scale: float = 0.1
    prompts: int = 16
    answers: int = 8
    updates: int = 80
    rate: float = 2e-4
    epochs: int = 2
    clip: float = 0.2
    pace: float = 0.1
    memory: float = 0.5
    lean: float = 1.0
    tune: Tune = "lora"
    rank: int = 8
    at_once: int = 8192
    trainer: Literal["own", "trl"] = "own"

    def __post_init__(self) -> None:
        welfare_named(self.welfare)
        if self.trainer not in ("own", "trl"):
            raise ValueError(f'`trainer` must be "own" or "trl", got {self.trainer!r}.')
        if self.answers < 2:
            raise ValueError(
                f"`answers` must be at least 2, as they are judged by each other, got {self.answers}."
            )
        if not 0 <= self.memory < 1:
            raise ValueError(f"`memory` must be in [0, 1), got {self.memory}.")
        if self.scale < 0:
            raise ValueError(
                f"`scale` must not be negative, got {self.scale}; 0 is no pull to the reference."
            )

    def fit(
        self,
        reference: Writer,
        measure: Yardstick,
        reward: Reward,
        share: Float[Tensor, " G"],
        seed: Seed = 0,
        *,
        folder: Path | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> Tuned:
        """Tune a copy of `reference` on the prompts of `measure`.

        Args:
            measure: what the reference brings the camps.
            reward: prompts and answers to (N, G) utils.
            share: of the people in each camp.
            seed: of everything.
            folder: where to put things aside and to go on from.
            progress: told 1 after each step.
        """
        streams, welfare = Streams.of(seed).below("online"), welfare_named(self.welfare)
        group = Processes.whole_models()
        writer = tunable(reference, self.tune, self.rank, streams.number("adapters"))
        share = share.double()
        zero = measure(range(len(measure.prompts)), measure.worth).mean((0, 1))
        state = {"weight": start(share, welfare), "returns": torch.zeros_like(share)}

        def asked(number: int, place: Sequence[int]) -> tuple[Written, Tensor, Row]:
            """Answers to some prompts, what each is worth by the camps' weights, which it moves, and what they are like."""
            some, chance = [measure.prompts[k] for k in place], streams.number("answers", number)
            written = writer.write(some, self.answers, seed=chance, group=group)
            read = (measure(place, worths(written, reward, self.answers)) - zero) if group.first else None
            paid = group.agreed(read)
            now = paid.mean((0, 1))
            # Corrected for the zeros it began with, as Adam's moments are.
            state["returns"] = self.memory * state["returns"] + (1 - self.memory) * now
            told = state["returns"] / (1 - self.memory ** (number + 1))
            if not self.per_answer:
                state["weight"] = moved(state["weight"], told, share, welfare, self.pace)
            weight = acting(state["weight"], told, welfare, self.lean)
            whole = paid.amin(-1) if self.per_answer else paid @ weight
            row = {"returns": now.tolist(), "weight": weight.tolist(), "length": written.length}
            return written, whole, row

        def step(number: int, descend: Any) -> Row:
            draw = streams("prompts", number)
            place = torch.randint(len(measure.prompts), (self.prompts,), generator=draw).tolist()
            written, whole, row = asked(number, place)
            ahead = (whole - whole.mean(1, keepdim=True)) / (whole.std(1, keepdim=True) + 1e-6)
            above = ahead.reshape(-1).float()
            return {"kl": self._improve(writer, reference, written.pieces, above, descend, group), **row}

        loop = Steps(self.updates, self.rate, momentum=0.5, average=1 / 3)
        if self.trainer == "trl":
            rows = tuned_by_trl(
                self, loop, writer, reference, measure.prompts, asked, streams.number("trl"), progress
            )
        else:
            rows = loop.run(moving(writer), step, state, folder=folder, progress=progress, group=group)
        late = torch.tensor([row["weight"] for row in rows[len(rows) // 2 :]]).mean(0)
        return Tuned(replace(writer, name=f"{reference.name}, tuned"), late, tuple(rows))

    def _improve(
        self,
        writer: Writer,
        reference: Writer,
        pieces: Sequence[Pieces],
        ahead: Float[Tensor, " N"],
        descend: Any,
        group: Processes,
    ) -> float:
        """Follow the advantages of what was written; returns the mean log-ratio to the reference before, in nats."""
        total, count = sum(len(one.answer) for one in pieces), len(pieces)
        pieces, ahead = pieces[group.rank :: group.count], ahead[group.rank :: group.count]
        parts = batches(pieces, self.at_once)
        old: list[Tensor] = []
        before: list[Tensor] = []
        far = 0.0
        with torch.no_grad():
            for part in parts:
                some = [pieces[k] for k in part]
                log, counted = token_log_probs(writer.model, some, writer.padding)
                base, _ = token_log_probs(reference.model, some, writer.padding)
                far += float(((log - base) * counted).sum()) / count
                old.append(log)
                before.append(base)

        def losses() -> Iterator[Tensor]:
            for part, was, base in zip(parts, old, before, strict=True):
                log, counted = token_log_probs(writer.model, [pieces[k] for k in part], writer.padding)
                gain = ahead[part].to(log)[:, None]
                ratio = (log - was).exp()
                kept = torch.minimum(ratio * gain, ratio.clamp(1 - self.clip, 1 + self.clip) * gain)
                pull = (base - log).exp() - (base - log) - 1
                yield ((self.scale * pull - kept) * counted).sum() / total

        for _ in range(self.epochs):
            descend(losses())
        return float(group.total(far))
