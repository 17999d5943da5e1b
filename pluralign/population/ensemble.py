"""Ensemble: the same population fitted to bootstrapped crowds. What we do not know of the population itself."""

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.population.belief import Belief
from pluralign.population.camps import Camps
from pluralign.population.draws import Draws
from pluralign.population.pooled import need_answers
from pluralign.streams import Seed, Streams
from pluralign.utility.conditional import Conditional, laid_out


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
        member = settled(self.member, whole.diagnostics)
        beliefs = []
        for k in range(self.members):
            crowd = resampled(data, streams(f"crowd {k}"))
            beliefs.append(member.fit(crowd, streams.number("member", k)))
        parts = tuple(Part(b.prior, b.worth.width) for b in beliefs)
        worth: Any = SideBySide(tuple(b.worth for b in beliefs))
        if any(isinstance(b.worth, Conditional) for b in beliefs):
            worth = SideBySideConditional(worth)
        prior = Council(parts)
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


def settled(settings: Any, diagnostics: Any) -> Any:
    """Settings that were left to "auto", as a fit to all the data chose them."""
    chosen = {
        f.name: diagnostics[f.name]
        for f in dataclasses.fields(settings)
        if getattr(settings, f.name) == "auto" and isinstance(diagnostics.get(f.name), int | float)
    }
    return replace(settings, **chosen)


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
    blank = dataclasses.replace(data, rater=torch.zeros_like(data.rater), rater_ids=ids)
    return dataclasses.replace(blank.take(rows), rater=rater)


@dataclass(frozen=True)
class SideBySide:
    """The bases of several worths as one: columns of the first, then of the second, and so on."""

    worths: tuple[Any, ...]

    @property
    def width(self) -> int:
        """The sum of the widths."""
        return sum(w.width for w in self.worths)

    def basis(self, options: Options) -> Float[Tensor, "N Z"]:
        """All columns."""
        return torch.cat([w.basis(options) for w in self.worths], -1)

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b Z"]:
        """All columns, for single rows."""
        return torch.cat([w.steps(rows) for w in self.worths], -1)


@dataclass(frozen=True)
class SideBySideConditional:
    """SideBySide where some worth depends on the circumstance of an answer."""

    plain: SideBySide

    @property
    def worths(self) -> tuple[Any, ...]:
        """The members' worths."""
        return self.plain.worths

    @property
    def width(self) -> int:
        """The sum of the widths."""
        return self.plain.width

    def basis(self, options: Options) -> Float[Tensor, "N Z"]:
        """All columns, each in its own stated circumstance."""
        return self.plain.basis(options)

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b Z"]:
        """All columns, for single rows."""
        return self.plain.steps(rows)

    def shown(self, data: Comparisons) -> Float[Tensor, "M K Z"]:
        """All columns, in the circumstance of each answer."""
        out = []
        for worth in self.worths:
            plain, basis = laid_out(data, worth)
            out.append(basis[plain.slate.clamp_min(0)])
        return torch.cat(out, -1)


@dataclass(frozen=True)
class Part:
    """One member's prior, and how many columns of the common basis are its own."""

    prior: Any
    width: int


@dataclass(frozen=True)
class Council:
    """A prior of priors. Each is brought up to date by a rater's answers; their weights stay equal."""

    parts: tuple[Part, ...]

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]:
        """New people, each from a member drawn by lot."""
        each = [p.prior.sample(count, generator=generator) for p in self.parts]
        lot = torch.randint(len(each), (count,), generator=generator)
        wide = torch.stack([self._placed(z, k) for k, z in enumerate(each)])
        return wide[lot, torch.arange(count)]

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws:
        """Every member's draws side by side, one K-th of the weight to each."""
        found, start = [], 0
        for part in self.parts:
            found.append(part.prior.posterior(data, basis[:, start : start + part.width], rule))
            start += part.width
        weight = torch.cat([d.weight for d in found]) / len(found)
        if all(d.shared for d in found):
            return Draws.atoms(torch.cat([self._placed(d.z[:, 0], k) for k, d in enumerate(found)]), weight)
        return Draws(torch.cat([self._placed(d.z, k) for k, d in enumerate(found)]), weight)

    def _placed(self, z: Float[Tensor, "*b Z"], member: int) -> Float[Tensor, "*b Y"]:
        """A member's tastes among the columns of all."""
        before = sum(p.width for p in self.parts[:member])
        after = sum(p.width for p in self.parts[member + 1 :])
        return torch.nn.functional.pad(z, (before, after))


def apart(belief: Belief) -> tuple[Belief, ...]:
    """The members of an ensemble as beliefs of their own.

    Raises:
        TypeError: the belief is not that of an ensemble.
    """
    if not isinstance(belief.prior, Council):
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
    if not isinstance(belief.prior, Council):
        raise TypeError(
            f"disagreement needs the belief of an Ensemble, got one of {type(belief.settings).__name__}."
        )
    draws = belief.known(data) if draws is None else draws
    told = belief.shares(data, draws)[..., 0] * draws.weight[:, data.rater] * len(belief.prior.parts)
    each = torch.stack([part.sum(0) for part in told.split(_draws_each(belief.prior, len(told)))])
    return each.std(0, correction=0)


def _draws_each(council: Council, total: int) -> list[int]:
    counts = [len(p.prior.z) if hasattr(p.prior, "z") else p.prior.draws for p in council.parts]
    assert sum(counts) == total
    return counts


__all__ = ["Ensemble", "apart", "disagreement"]
