"""Ensemble: the same population fitted to bootstrapped crowds. What we do not know of the population itself."""

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.camps import Camps
from pluralign.population.council import Council, Part, side_by_side
from pluralign.population.draws import Draws
from pluralign.population.held_out import settled
from pluralign.population.pooled import need_answers
from pluralign.streams import Seed, Streams
from pluralign.utility.conditional import laid_out


@dataclass(frozen=True)
class Ensemble:
    """K fits of one population, each to as many raters drawn with replacement.

    Two kinds of not knowing stay apart: how a rater differs from others is what the draws of one member say, and a
    rater's answers reweight them; what the population is like is how members differ, and one rater's answers do not
    choose among members. Predictions average over both. `apart(belief)` gives the members' beliefs,
    `disagreement(belief, questions)` what they disagree about.

    Attributes:
        member: the population; settings left to "auto" are chosen once, on all raters.
        members: K.

    Source: the bootstrap (Efron 1979) over raters, as they are what was sampled; Lakshminarayanan et al. (2017) for
    averaging probabilities.
    """

    member: Any = field(default_factory=Camps)
    members: int = 8

    def __post_init__(self) -> None:
        if self.members < 1:
            raise ValueError(f"`members` must be at least 1, got {self.members}.")

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit every member; the belief's tastes are those of all members side by side."""
        need_answers(data)
        streams = Streams.of(seed)
        whole = self.member.fit(data, streams.number("whole"), held=held)
        member = settled(self.member, whole)
        beliefs = []
        for k in range(self.members):
            crowd = resampled(data, streams(f"crowd {k}"))
            beliefs.append(member.fit(crowd, streams.number("member", k)))
        parts = tuple(Part(b.prior, b.worth.width) for b in beliefs)
        worth = side_by_side(tuple(b.worth for b in beliefs))
        prior = Council(parts, torch.full((1, len(parts)), 1 / len(parts), dtype=torch.float64))
        rule = whole.rule
        draws = prior.posterior(*laid_out(data, worth), rule)
        assert data.rater_ids is not None
        found = Belief(worth, rule, prior, draws, data.rater_ids, self)
        doubt = disagreement(found, data)
        notes: dict[str, object] = {
            "members": self.members,
            "disagreement": float(doubt.mean()) if len(doubt) else 0.0,
            "member": dict(whole.diagnostics),
        }
        return replace(found, diagnostics=notes)


def resampled(data: Comparisons, generator: torch.Generator) -> Comparisons:
    """As many raters as there are with answers, drawn with replacement; who is drawn twice is two people."""
    present = (data.counts > 0).nonzero()[:, 0]
    drawn = present[torch.randint(len(present), (len(present),), generator=generator)]
    order = torch.argsort(data.rater, stable=True)
    count = data.counts[drawn]
    first = (data.counts.cumsum(0) - data.counts)[drawn]
    rater = torch.arange(len(drawn)).repeat_interleave(count)
    inside = torch.arange(len(rater)) - (count.cumsum(0) - count)[rater]
    rows = order[first[rater] + inside]
    ids = tuple(str(r) for r in range(len(drawn)))
    told = None if data.covariates is None else data.covariates[drawn]
    blank = dataclasses.replace(data, rater=torch.zeros_like(data.rater), rater_ids=ids, covariates=told)
    return dataclasses.replace(blank.take(rows), rater=rater)


def apart(belief: Belief) -> tuple[Belief, ...]:
    """The members of an ensemble as beliefs of their own.

    Raises:
        TypeError: the belief is not that of an ensemble.
    """
    if not isinstance(belief.prior, Council) or not isinstance(belief.settings, Ensemble):
        raise TypeError(
            f"apart needs the belief of an Ensemble, got one of {type(belief.settings).__name__}."
        )
    out, column, row = [], 0, 0
    member = belief.settings.member
    worth: Any = belief.worth
    counts = _draws_each(belief.prior, len(belief.draws.z))
    for part, own, count in zip(belief.prior.parts, worth.worths, counts, strict=True):
        z = belief.draws.z[row : row + count, :, column : column + part.width]
        weight = belief.draws.weight[row : row + count] * len(belief.prior.parts)
        draws = Draws.atoms(z[:, 0], weight) if belief.draws.shared else Draws(z, weight)
        out.append(Belief(own, belief.rule, part.prior, draws, belief.rater_ids, member))
        column, row = column + part.width, row + count
    return tuple(out)


def disagreement(belief: Belief, data: Comparisons, draws: Draws | None = None) -> Float[Tensor, " M"]:
    """(M,) how far members differ about a question: standard deviation of the first place's share over members.

    The part of the doubt that asking more raters would remove; what raters differ in stays out of it.
    """
    if not isinstance(belief.prior, Council) or not isinstance(belief.settings, Ensemble):
        raise TypeError(
            f"disagreement needs the belief of an Ensemble, got one of {type(belief.settings).__name__}."
        )
    draws = belief.known(data) if draws is None else draws
    told = belief.shares(data, draws)[..., 0] * draws.weight[:, data.rater] * len(belief.prior.parts)
    each = torch.stack([part.sum(0) for part in told.split(_draws_each(belief.prior, len(told)))])
    return each.std(0, correction=0)


def _draws_each(council: Council, total: int) -> list[int]:
    counts = [_draws(part.prior) for part in council.parts]
    assert sum(counts) == total
    return counts


def _draws(prior: Any) -> int:
    """How many tastes describe a rater under this prior."""
    if hasattr(prior, "size"):
        return prior.size
    return len(prior.z) if hasattr(prior, "z") else prior.draws


__all__ = ["Ensemble", "apart", "disagreement"]
