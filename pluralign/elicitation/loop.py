"""The interview: ask, learn, ask what is then most worth knowing; all raters side by side."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.elicitation.information import best, information_gain
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.raters.asking import Answering
from pluralign.streams import Seed, Streams

PICKS = ("information", "random")


@dataclass(frozen=True)
class Interview:
    """What was asked and what it taught.

    Attributes:
        answers: all answers, round by round.
        draws: what is known of each rater at the end.
        round: (M,) in which round each answer was given, from 0.
        expected: (M,) nats that each question promised when it was asked.
    """

    answers: Comparisons
    draws: Draws
    round: Int[Tensor, " M"]
    expected: Float[Tensor, " M"]

    def until(self, rounds: int) -> Comparisons:
        """The answers of the first `rounds` rounds, for learning curves."""
        return self.answers.take(self.round < rounds)


def interview(
    belief: Belief,
    raters: Answering,
    candidates: Comparisons,
    rounds: int,
    seed: Seed,
    *,
    pick: str = "information",
) -> Interview:
    """Ask every rater one question per round, each time the one that tells most after the answers so far.

    Args:
        belief: a fitted population; the raters are taken as new to it.
        raters: who answers; rater r of `candidates` is their r-th.
        candidates: questions that may be asked, each of one rater and at most once; labels are not looked at.
        rounds: questions per rater at most; a rater who runs out of candidates is asked no more, a skipped
            question counts.
        seed: of the answers, and of the order for "random".
        pick: "information", or "random" as the control.

    Raises:
        ValueError: `pick` is none of these, or `rounds` is negative.
    """
    if pick not in PICKS:
        raise ValueError(f"`pick` must be one of {', '.join(PICKS)}, got {pick!r}.")
    if rounds < 0:
        raise ValueError(f"`rounds` must be 0 or more, got {rounds}.")
    streams = Streams.of(seed)
    lot = torch.rand(len(candidates), generator=streams("order"), dtype=torch.float64)
    open_rows = torch.arange(len(candidates))
    answers = candidates.take(open_rows[:0])
    draws = belief.adapt(answers, seed=streams.number("adapt", 0))
    asked = torch.zeros(candidates.raters, dtype=torch.long)
    turns, expected = [torch.zeros(0, dtype=torch.long)], [torch.zeros(0, dtype=draws.z.dtype)]
    for turn in range(rounds):
        pool = candidates.take(open_rows)
        if not len(pool):
            break
        rows = _by_lot(lot[open_rows], pool.rater) if pick == "random" else best(belief, draws, pool)
        questions = pool.take(rows)
        promised = information_gain(belief, draws, questions)
        told = raters.answer(
            questions.options, questions.slate, questions.rater, streams.number("answers"), asked=asked
        )
        given = torch.isin(questions.rater, told.rater)  # a rater has one question a round, and may skip it
        expected.append(promised[given])
        turns.append(torch.full((int(given.sum()),), turn))
        answers = _longer(answers, questions.take(given).with_labels(told.label.to(answers.label)))
        asked = asked + torch.bincount(questions.rater, minlength=len(asked))
        left = torch.ones(len(open_rows), dtype=torch.bool)
        left[rows] = False
        open_rows = open_rows[left]
        draws = belief.adapt(answers, seed=streams.number("adapt", turn + 1))
    return Interview(answers, draws, torch.cat(turns), torch.cat(expected))


def _by_lot(lot: Float[Tensor, " M"], rater: Int[Tensor, " M"]) -> Int[Tensor, " n"]:
    """One row of each rater, the one with the smallest number drawn."""
    order = torch.argsort(lot)
    order = order[torch.argsort(rater[order], stable=True)]
    who = rater[order]
    first = torch.ones(len(who), dtype=torch.bool)
    first[1:] = who[1:] != who[:-1]
    return order[first]


def _longer(old: Comparisons, new: Comparisons) -> Comparisons:
    """Both sets of answers, which are to the same raters about the same options."""
    return Comparisons(
        old.options,
        torch.cat([old.slate, new.slate]),
        torch.cat([old.rater, new.rater]),
        torch.cat([old.label, new.label]),
        rater_ids=old.rater_ids,
        kind=old.kind,
        covariates=old.covariates,
    )
