"""How much an answer would tell about a rater, before it is given; once for all populations, over draws.

The information that the answer y to question q carries about the taste z is

    I(y; z) = H(average over draws of P(y | q, z)) - average over draws of H(P(y | q, z)),

what the population does not know about the answer, less what the rater's own noise would hide anyway.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import OutcomeRule
from pluralign.data.comparisons import Comparisons, need_comparisons
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.utility.scores import slate_worths

SAME = 1e-12  # nats; below this two gains differ by rounding, and the earlier question is taken
AT_ONCE = 1 << 23  # numbers held per piece, 64 MB
JOINT = 4096  # combinations of answers to one rater's batch of questions


def information_gain(belief: Belief, draws: Draws, questions: Comparisons) -> Float[Tensor, " M"]:
    """Expected information of each question about the taste of the rater it would be asked, in nats.

    Args:
        belief: how tastes become answers.
        draws: what is known of the raters of `questions`, for example from `belief.adapt`.
        questions: M questions; labels are not looked at.

    Returns:
        (M,), between 0 and the logarithm of the number of answers; 0 where all draws agree on the answer's
        chances, so always for a single draw.

    Raises:
        ValueError: `draws` are for another number of raters.

    Source: Lindley (1956); Houlsby et al. (2011), "BALD".
    """
    _need_raters(draws, questions)
    parts = []
    for part in questions.batches(_block(belief, draws, questions)):
        chance = _outcomes(belief, draws, part)
        parts.append(_gain(chance, draws.weight[:, part.rater]))
    return torch.cat(parts) if parts else torch.zeros(0, dtype=draws.z.dtype)


def next_question(belief: Belief, draws: Draws, candidates: Comparisons, *, count: int = 1) -> Comparisons:
    """The questions that tell most about each rater: `count` for every rater that has candidates.

    Several questions are chosen one after the other, each by what it adds to those before it (a question
    and its near twin tell little together).

    Args:
        belief, draws: as in `information_gain`.
        candidates: questions that may be asked, each of the rater it may be asked; labels are not looked at.
        count: questions per rater; fewer where a rater has fewer candidates.

    Returns:
        rows of `candidates`: by rater, the most telling first; of equally telling ones the first.

    Raises:
        ValueError: `count` is below 1, or so large that answers have more than 4,096 combinations.

    Source: Kirsch et al., BatchBALD, NeurIPS 2019, for several at once; exact here.
    """
    return candidates.take(best(belief, draws, candidates, count=count))


def best(belief: Belief, draws: Draws, candidates: Comparisons, *, count: int = 1) -> Int[Tensor, " n"]:
    """The rows of `candidates` that `next_question` takes."""
    if count < 1:
        raise ValueError(f"`count` must be 1 or more questions, got {count}.")
    _need_raters(draws, candidates)
    open_rows = torch.arange(len(candidates))
    weight = draws.weight
    # The chance of every combination of answers to the questions chosen so far; at first there is one.
    past = torch.ones(len(weight), draws.raters, 1, dtype=weight.dtype)
    chosen = []
    for _ in range(count):
        if not len(open_rows):
            break
        asked = candidates.take(open_rows)
        gain = []
        for part in asked.batches(max(1, _block(belief, draws, candidates) // past.shape[2])):
            joint = _joint(past[:, part.rater], _outcomes(belief, draws, part))
            gain.append(_gain(joint, weight[:, part.rater]))
        winner = _first_best(torch.cat(gain), asked.rater, draws.raters)
        rows = open_rows[winner]
        chosen.append(rows)
        if len(chosen) < count:
            chance = _outcomes(belief, draws, candidates.take(rows))
            if past.shape[2] * chance.shape[2] ** 2 > JOINT:
                raise ValueError(
                    f"`count` must leave at most {JOINT} combinations of answers, {len(chosen) + 1} questions with "
                    f"{chance.shape[2]} answers each have more; ask fewer at once, and adapt in between."
                )
            grown = (
                past.repeat(1, 1, chance.shape[2]) / chance.shape[2]
            )  # raters without a question: nothing new
            grown[:, candidates.rater[rows]] = _joint(past[:, candidates.rater[rows]], chance)
            past = grown
            left = torch.ones(len(open_rows), dtype=torch.bool)
            left[winner] = False
            open_rows = open_rows[left]
    if not chosen:
        return open_rows
    rows = torch.cat(chosen)
    return rows[torch.argsort(candidates.rater[rows], stable=True)]


def _need_raters(draws: Draws, questions: Comparisons) -> None:
    need_comparisons("choosing questions", questions)
    if not isinstance(draws, Draws):
        raise TypeError(
            f"`draws` must be Draws, got {type(draws).__name__}; belief.adapt(answers) gives them."
        )
    if draws.raters != questions.raters:
        raise ValueError(f"`draws` must be for the {questions.raters} raters asked, got {draws.raters}.")


def _block(belief: Belief, draws: Draws, questions: Comparisons) -> int:
    return max(1, AT_ONCE // max(1, len(draws.z) * questions.places * (belief.worth.width + 2)))


def _outcomes(belief: Belief, draws: Draws, questions: Comparisons) -> Float[Tensor, "S M O"]:
    """The chance of every answer under each draw; a tie is an answer of its own, not half of two."""
    utility = slate_worths(belief.worth, questions, draws.z, shared=draws.shared)
    if isinstance(belief.rule, OutcomeRule):
        return belief.rule.log_outcomes(utility).exp()
    return belief.rule.share(utility)


def _joint(past: Float[Tensor, "S M J"], chance: Float[Tensor, "S M O"]) -> Float[Tensor, "S M JO"]:
    return (past[..., :, None] * chance[..., None, :]).flatten(2)


def _gain(chance: Float[Tensor, "S M O"], weight: Float[Tensor, "S M"]) -> Float[Tensor, " M"]:
    mean = torch.einsum("smo,sm->mo", chance, weight)
    hidden = torch.einsum("smo,sm->m", torch.special.entr(chance), weight)
    return (torch.special.entr(mean).sum(1) - hidden).clamp_min(0.0)  # below zero by rounding alone


def _first_best(gain: Float[Tensor, " M"], rater: Int[Tensor, " M"], raters: int) -> Int[Tensor, " n"]:
    """For every rater that occurs, the first place within rounding of the largest gain."""
    top = torch.full((raters,), -torch.inf, dtype=gain.dtype).scatter_reduce(0, rater, gain, "amax")
    place = torch.where(gain >= top[rater] - SAME, torch.arange(len(gain)), len(gain))
    first = torch.full((raters,), len(gain)).scatter_reduce(0, rater, place, "amin")
    return first[first < len(gain)]
