"""Answers in batches of whole raters, and answers set aside to watch a training by."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.population.held_out import hold_out, some
from pluralign.streams import Streams

JUDGED = 4000  # held-out answers that stop a training


@dataclass(frozen=True)
class Batch:
    """All answers of some raters, numbered anew from 0; `question` (M,) of `questions` is the same for repeated ones."""

    slate: Int[Tensor, "M K"]
    label: Float[Tensor, "M K"]
    weight: Float[Tensor, " M"]
    rater: Int[Tensor, " M"]
    raters: int
    question: Int[Tensor, " M"]
    questions: int

    def lots(self, draw: torch.Generator) -> Float[Tensor, " M"]:
        """A uniform number for every question that a rater was asked.

        Repeats get the same, and neither the order of answers nor that of options matters: so an answer of weight
        two is the answer twice, also where chance decides.
        """
        return torch.rand(self.questions, generator=draw, dtype=torch.float64)[self.question]


def stopped_early(part: Batch, draw: torch.Generator) -> Batch:
    """The same with half of the raters giving only a random share of their answers; the others get weight zero."""
    share = 2 * torch.rand(part.raters, generator=draw, dtype=torch.float64)
    return replace(part, weight=part.weight * (part.lots(draw) < share[part.rater]))


@dataclass
class Batches:
    """Batches of whole raters in turn, in an order drawn anew for each round."""

    data: Comparisons
    question: Int[Tensor, " M"]
    questions: int
    raters: int
    order: torch.Generator
    queue: list[Tensor] = field(default_factory=list)

    @staticmethod
    def of(data: Comparisons, size: int, order: torch.Generator) -> "Batches":
        """About `size` answers each, counted by weight."""
        weight = torch.ones(len(data)).double() if data.weight is None else data.weight.double()
        present = int((data.counts > 0).sum())
        asked = torch.cat([data.rater[:, None], data.slate.sort(1).values], 1)
        kinds, question = torch.unique(asked, dim=0, return_inverse=True)
        raters = max(1, round(size * present / max(float(weight.sum()), 1e-12)))
        return Batches(data, question, len(kinds), raters, order)

    def next(self) -> Batch:
        data = self.data
        if not self.queue:
            present = (data.counts > 0).nonzero()[:, 0]
            if self.raters < len(present):
                present = present[torch.randperm(len(present), generator=self.order)]
            self.queue = list(present.split(self.raters))
        who = self.queue.pop()
        local = torch.full((data.raters,), -1)
        local[who] = torch.arange(len(who))
        rows = (local[data.rater] >= 0).nonzero()[:, 0]
        weight = torch.ones(len(rows)).double() if data.weight is None else data.weight[rows].double()
        rater, question = local[data.rater[rows]], self.question[rows]
        return Batch(data.slate[rows], data.label[rows], weight, rater, len(who), question, self.questions)


def watchable(data: Comparisons, judge: Comparisons, streams: Streams) -> tuple[Comparisons, Comparisons]:
    """Of the answers to judge by about 4,000, and of `data` the answers of the raters who gave those."""
    judge = some(judge, streams, JUDGED)
    assert judge.rater_ids is not None
    assert data.rater_ids is not None
    names = {judge.rater_ids[r] for r in judge.rater.unique().tolist()}
    mine = torch.tensor([name in names for name in data.rater_ids])
    return data.take(mine[data.rater]), judge


def hold_out_questions(
    data: Comparisons, streams: Streams, share: float = 0.2
) -> tuple[Comparisons, Comparisons]:
    """Half of `share` of every rater's answers, and all answers to half of `share` of the questions.

    Where a survey asks everybody the same, answers held out at random tell nothing of questions never asked.
    """
    kept, held = hold_out(data, streams, share / 2)
    together = torch.cat([kept.slate, held.slate]).sort(1).values
    _, question = torch.unique(together, dim=0, return_inverse=True)
    out = torch.rand(int(question.max()) + 1, generator=streams("questions")) < share / 2
    drop = out[question[: len(kept)]]
    if not bool(drop.any()) or bool(drop.all()):
        return kept, held
    lost = kept.take(drop)
    columns = ("slate", "rater", "label", "context", "weight", "time", "response_time")
    both: dict[str, Any] = {
        name: torch.cat([getattr(held, name), getattr(lost, name)])
        for name in columns
        if getattr(data, name) is not None
    }
    return kept.take(~drop), replace(held, **both)
