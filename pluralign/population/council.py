"""Several beliefs as one: their bases side by side, their draws side by side, each with its part of the weight."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.population.draws import Draws
from pluralign.utility.conditional import Conditional, laid_out


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


def side_by_side(worths: tuple[Any, ...]) -> Any:
    """One worth of several; conditional where one of them is."""
    plain = SideBySide(worths)
    return SideBySideConditional(plain) if any(isinstance(w, Conditional) for w in worths) else plain


def dose(answers: Int[Tensor, " R"]) -> Int[Tensor, " R"]:
    """(R,) the class of a number of answers: 0, 1, 2 to 3, 4 to 7, 8 to 15, ... are 0, 1, 2, 3, 4, ..."""
    return torch.where(answers > 0, torch.log2(answers.clamp_min(1).double()).floor().long() + 1, 0)


@dataclass(frozen=True)
class Part:
    """One member's prior, and how many columns of the common basis are its own."""

    prior: Any
    width: int


@dataclass(frozen=True)
class Council:
    """A prior of priors. Each is brought up to date by a rater's answers; their weights are not.

    Attributes:
        parts: K priors.
        weight: (D, K) of each part by the `dose` of answers, rows sum to one; the last row holds for all larger doses.
    """

    parts: tuple[Part, ...]
    weight: Float[Tensor, "D K"]

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]:
        """New people, each from a part drawn by lot, as those are described who answer much."""
        each = [p.prior.sample(count, generator=generator) for p in self.parts]
        lot = torch.multinomial(self.weight[-1], count, replacement=True, generator=generator)
        wide = torch.stack([self.placed(z, k) for k, z in enumerate(each)])
        return wide[lot, torch.arange(count)]

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws:
        """Every part's draws side by side, each with the part's weight."""
        found, start = [], 0
        for part in self.parts:
            found.append(part.prior.posterior(data, basis[:, start : start + part.width], rule))
            start += part.width
        return self.together(found, self.weight[dose(data.counts).clamp_max(len(self.weight) - 1)])

    def together(self, draws: Iterable[Draws], weight: Float[Tensor, "R K"]) -> Draws:
        """The parts' draws in the common basis, each rater's weighted by `weight`."""
        draws = list(draws)
        mass = torch.cat([d.weight * weight[:, k].to(d.weight) for k, d in enumerate(draws)])
        if all(d.shared for d in draws):
            return Draws.atoms(torch.cat([self.placed(d.z[:, 0], k) for k, d in enumerate(draws)]), mass)
        return Draws(torch.cat([self.placed(d.z, k) for k, d in enumerate(draws)]), mass)

    def placed(self, z: Float[Tensor, "*b Z"], part: int) -> Float[Tensor, "*b Y"]:
        """A part's tastes among the columns of all."""
        before = sum(p.width for p in self.parts[:part])
        after = sum(p.width for p in self.parts[part + 1 :])
        return torch.nn.functional.pad(z, (before, after))
