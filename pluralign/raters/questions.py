"""Random questions: who is asked about what."""

import itertools
import math

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from pluralign.raters.numbers import bits, uniform
from pluralign.streams import Seed, Streams


def questions(
    options: int, per_rater: int, raters: int, seed: Seed, *, places: int = 2, repeat: bool = False
) -> tuple[Int[Tensor, "M K"], Int[Tensor, " M"]]:
    """Random slates of different options, in random order, `per_rater` for each rater.

    A rater meets no set of options twice, and has a random stream of their own: more raters, or more
    questions, leave the earlier ones as they were (more questions only while they are less than half of all
    there are).

    Args:
        options: N, how many options there are.
        per_rater: questions for each rater.
        raters: R.
        seed: of the stream "questions".
        places: K, options per slate.
        repeat: allow a rater to meet a set of options again.

    Returns:
        slate (M, K) and rater (M,), with M = R * per_rater, rater by rater.

    Raises:
        ValueError: fewer options than places, or fewer sets of options than questions.
    """
    if places < 2 or options < places:
        raise ValueError(f"a question needs 2 or more different options, got {options} for {places} places.")
    if per_rater < 1 or raters < 1:
        raise ValueError(f"give 1 or more raters and questions, got {raters} and {per_rater}.")
    sets = math.comb(options, places)
    if per_rater > sets and not repeat:
        raise ValueError(
            f"{options} options make {sets} different questions of {places}, fewer than {per_rater} per rater; "
            "ask less, or give repeat=True."
        )
    base = Streams.of(seed).number("questions")
    rater = torch.arange(raters).repeat_interleave(per_rater)
    number = torch.arange(per_rater).repeat(raters)
    if not repeat and 2 * per_rater > sets:
        return _dealt(base, options, per_rater, raters, places), rater
    slate = _drawn(base, rater, number, torch.zeros_like(rater), options, places)
    attempt = torch.zeros_like(rater)
    while not repeat:
        again = _seen_before(rater, slate)
        if not len(again):
            break
        attempt[again] += 1
        slate[again] = _drawn(base, rater[again], number[again], attempt[again], options, places)
    return slate, rater


def _drawn(base: int, rater: Tensor, number: Tensor, attempt: Tensor, options: int, places: int) -> Tensor:
    """Places one after the other: the k-th is one of the N - k options left."""
    slate = torch.empty(len(rater), 0, dtype=torch.long)
    for k in range(places):
        pick = (uniform(base, rater, number, attempt, torch.tensor(k)) * (options - k)).long()
        for taken in slate.sort(1).values.unbind(1):  # step over those already there, lowest first
            pick = pick + (pick >= taken)
        slate = torch.cat([slate, pick[:, None]], 1)
    return slate


def _seen_before(rater: Tensor, slate: Tensor) -> Tensor:
    """Rows whose rater met the same set in an earlier row; by a 64-bit hash of the set."""
    key = bits(0, rater, *slate.sort(1).values.unbind(1))
    first = np.unique(key, return_index=True)[1]
    again = np.ones(len(key), dtype=bool)
    again[first] = False
    return torch.from_numpy(again.nonzero()[0])


def _dealt(base: int, options: int, per_rater: int, raters: int, places: int) -> Tensor:
    """All sets shuffled for each rater, the first ones dealt: when most of them are wanted."""
    sets = torch.tensor(list(itertools.combinations(range(options), places)))
    who = torch.arange(raters)[:, None]
    deal = uniform(base, who, torch.arange(len(sets))).argsort(1)[:, :per_rater].reshape(-1)
    place = uniform(base, torch.arange(raters * per_rater)[:, None], torch.tensor(1), torch.arange(places))
    return sets[deal].gather(1, place.argsort(1))
