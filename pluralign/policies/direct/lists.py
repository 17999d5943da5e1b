"""Rankings put together again from the repeated choices that they were told as."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons


def lists_of(
    data: Comparisons,
) -> tuple[Int[Tensor, "L K"], Float[Tensor, "L K"], Int[Tensor, " L"]]:
    """Slates, grades and raters of L whole lists: a ranking is one list, any other answer a list of its own.

    An option's grade in a ranking is the share of the others that it beats; in another answer its share of the choice.
    Answers belong to one ranking where they stand one after the other, by one rater, and what is chosen in one is all
    that is missing in the next.
    """
    far = torch.iinfo(data.slate.dtype).max
    ordered = lambda slate: torch.where(slate == ABSENT, far, slate).sort(1).values
    first, sure = data.label.argmax(1), data.label.amax(1) == 1
    left = data.slate.scatter(1, first[:, None], ABSENT)
    goes_on = torch.zeros(len(data), dtype=torch.bool)
    if data.kind == "ranking":
        same = (ordered(left)[:-1] == ordered(data.slate)[1:]).all(1)
        goes_on[1:] = same & sure[:-1] & (data.rater[1:] == data.rater[:-1])
    number = (~goes_on).cumsum(0) - 1
    start = (~goes_on).nonzero()[:, 0]
    stages = torch.bincount(number, minlength=len(start))
    slate = data.slate[start]
    there = slate != ABSENT
    others = there.sum(1) - 1
    if data.kind != "ranking":
        return slate, data.label.clone(), data.rater[start]
    # Whom nobody chose comes last: all such options share what places are left.
    stage = torch.arange(len(data)) - start[number]
    chosen = data.slate.gather(1, first[:, None])[:, 0]
    place = (slate[number] == chosen[:, None]).int().argmax(1)
    rest = (others - stages).clamp_min(0).to(data.label) / 2
    grade = torch.where(there, (rest / others)[:, None], 0.0)
    grade[number, place] = ((others[number] - stage) / others[number]).to(grade)
    return slate, grade, data.rater[start]
