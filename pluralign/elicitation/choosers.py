"""Ways to choose, for all raters at once, which of many possible questions to ask next."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.elicitation.information import next_question
from pluralign.population.belief import Belief
from pluralign.population.ensemble import disagreement
from pluralign.streams import Seed, Streams

Chooser = Callable[[Belief, Comparisons, int, Streams], Comparisons]


def by_lot(belief: Belief | None, candidates: Comparisons, count: int, streams: Streams) -> Comparisons:
    """Any `count` questions of each rater."""
    del belief
    lot = torch.rand(len(candidates), generator=streams("lot"), dtype=torch.float64)
    return candidates.take(highest(lot, candidates.rater, count))


def by_information(belief: Belief, candidates: Comparisons, count: int, streams: Streams) -> Comparisons:
    """The questions whose answers tell most about the rater's taste (`next_question`)."""
    del streams
    return next_question(belief, belief.known(candidates), candidates, count=count)


def by_disagreement(belief: Belief, candidates: Comparisons, count: int, streams: Streams) -> Comparisons:
    """The questions that the members of an ensemble disagree about most; PEBBLE's choice (Lee et al. 2021)."""
    del streams
    return candidates.take(highest(disagreement(belief, candidates).double(), candidates.rater, count))


CHOOSERS: dict[str, Chooser] = {
    "random": by_lot,
    "information": by_information,
    "disagreement": by_disagreement,
}


def choose(
    pick: str, belief: Belief | None, candidates: Comparisons, count: int, seed: Seed = 0
) -> Comparisons:
    """`count` questions for each rater who has as many candidates.

    Args:
        pick: one of `CHOOSERS`. belief: of these raters; None, when nothing was asked yet, leaves it to the lot.
        candidates: questions that may be asked; labels are not looked at.

    Raises:
        ValueError: there is no such chooser, or `count` is below 1. TypeError: "disagreement" without an ensemble.
    """
    if pick not in CHOOSERS:
        raise ValueError(f"no way to choose is called {pick!r}; there are {', '.join(CHOOSERS)}.")
    if count < 1:
        raise ValueError(f"`count` must be 1 or more questions, got {count}.")
    streams = Streams.of(seed)
    if belief is None:
        return by_lot(belief, candidates, count, streams)
    return CHOOSERS[pick](belief, candidates, count, streams)


def highest(score: Float[Tensor, " M"], rater: Int[Tensor, " M"], count: int) -> Int[Tensor, " n"]:
    """Rows with the `count` largest scores of each rater, rater by rater; of equal ones the earlier row."""
    order = torch.argsort(-score, stable=True)
    order = order[torch.argsort(rater[order], stable=True)]
    who = rater[order]
    first = torch.searchsorted(who, who)  # where each rater's rows begin
    return order[torch.arange(len(who)) - first < count]
