"""Belief: what a fitted population model knows. Every question to it is answered here, once for all models."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.brief import brief
from pluralign.data.comparisons import Comparisons, need_comparisons
from pluralign.data.options import Options
from pluralign.population.draws import Draws, joined
from pluralign.population.grids import normal_grid, root
from pluralign.population.normals import Normals
from pluralign.population.prior import Atoms, Gaussian, Prior
from pluralign.population.simplex import Mixes, Simplex
from pluralign.population.voices import Voices, cluster
from pluralign.streams import Seed, Streams
from pluralign.utility.conditional import laid_out
from pluralign.utility.linear import LinearWorth
from pluralign.utility.scores import AtTastes, Nonlinear, slate_worths

AT_ONCE = 1 << 24  # shares held per piece, 128 MB
DOUBTS = 32  # worths that an option never met might have


@dataclass(frozen=True)
class Belief:
    """A worth, a choice rule, how tastes are spread, and draws of the tastes of the raters that were met.

    Attributes:
        worth: a `Worth`: options to a basis of width Z, worth of an option = basis . taste; or `Nonlinear`.
        rule: how worths become answers.
        prior: the spread of tastes among people not met.
        draws: tastes of the R raters met in training.
        rater_ids: their names.
        settings: the population model that was fitted.
        diagnostics: numbers and sentences about the fit.
    """

    worth: Any
    rule: ChoiceRule
    prior: Prior
    draws: Draws
    rater_ids: tuple[str, ...]
    settings: Any
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def adapt(self, answers: Comparisons, seed: Seed = 0) -> Draws:
        """Bayes' rule for raters never met, from their answers: (S, R, Z) with R = answers.raters.

        A rater without answers gets the prior. `seed` is for populations whose inference is random.
        """
        del seed
        need_comparisons("adapt", answers)
        if isinstance(self.worth, Nonlinear):
            return self.prior.read(answers, self.worth, self.rule)  # type: ignore[attr-defined]
        return self.prior.posterior(*laid_out(answers, self.worth), self.rule)

    def known(self, data: Comparisons, *, strict: bool = False) -> Draws:
        """Draws for every rater of `data`: as trained where the id was met, the prior where not.

        Raises:
            KeyError: `strict` and some rater with answers was never met; the message lists them.
        """
        place = {name: r for r, name in enumerate(self.rater_ids)}
        assert data.rater_ids is not None
        index = torch.tensor([place.get(name, -1) for name in data.rater_ids], dtype=torch.long)
        new = index < 0
        if not bool(new.any()):
            return self.draws.take(index)
        if strict:
            names = [data.rater_ids[r] for r in torch.unique(data.rater).tolist() if new[r]]
            if names:
                raise KeyError(
                    f"{len(names)} raters were never met in training, first {names[:3]}; give their answers to "
                    "adapt(), or call without strict=True to predict from the prior."
                )
        silent = dataclasses.replace(
            data.take(torch.arange(0)),
            rater_ids=tuple(f"new {r}" for r in range(int(new.sum()))),
            covariates=None,
        )
        both = joined(self.draws, self.adapt(silent))
        index = index.clone()
        index[new] = self.draws.raters + torch.arange(int(new.sum()))
        return both.take(index)

    def predict(
        self, data: Comparisons, draws: Draws | None = None, *, strict: bool = False
    ) -> Float[Tensor, "M K"]:
        """Expected share of the choice per place: the average over draws of probabilities, not of worths.

        Args:
            data: questions; labels are not looked at.
            draws: tastes of the raters of `data`, for example from `adapt`; by default those from training.
            strict: raise for raters never met, instead of predicting from the prior.
        """
        need_comparisons("predict", data)
        draws = self.known(data, strict=strict) if draws is None else draws
        if draws.raters != data.raters:
            raise ValueError(f"`draws` must be for the {data.raters} raters of the data, got {draws.raters}.")
        size = max(1, AT_ONCE // max(1, len(draws.z) * data.places))
        parts = [
            torch.einsum("smk,sm->mk", self.shares(part, draws), draws.weight[:, part.rater])
            for part in (data.batches(size) if len(data) > size else [data])
        ]
        return torch.cat(parts)

    def shares(self, data: Comparisons, draws: Draws) -> Float[Tensor, "S M K"]:
        """Share per place under each single draw; `predict` averages it, information gain compares it.

        What is the own worth of an option never met is not known, and averaged over.
        """
        worth = slate_worths(self.worth, data, draws.z, shared=draws.shared)
        share = self.rule.share(worth)
        doubt = self.worth.doubt(data) if isinstance(self.worth, LinearWorth) else None
        if doubt is None:
            return share
        new = (torch.diagonal(doubt, dim1=1, dim2=2) > 0).any(1)
        noise = normal_grid(DOUBTS, data.places).to(worth) @ root(doubt[new]).mT  # (m, DOUBTS, K)
        share[:, new] = torch.stack([self.rule.share(worth[:, new] + one) for one in noise.unbind(1)]).mean(0)
        return share

    def utility(self, options: Options, draws: Draws) -> Float[Tensor, "R N"]:
        """Expected worth in utils of each option to each rater; only differences within a row mean anything.

        Raises:
            TypeError: `options` are bare numbers.
        """
        if not hasattr(options, "rows"):
            raise TypeError(
                f"`options` must be Items, Segments or Texts, got {type(options).__name__}; give Items(features)."
            )
        if not isinstance(self.worth, Nonlinear):
            return draws.mean @ self.worth.basis(options).T
        size = max(1, (AT_ONCE >> 4) // max(1, len(draws.z) * len(options)))
        pieces = [
            torch.einsum("nsr,sr->rn", seen.unflatten(1, z.shape[:2]), weight)
            for z, weight in zip(draws.z.split(size, 1), draws.weight.split(size, 1), strict=True)
            for seen in [AtTastes(self.worth, z.flatten(0, 1)).basis(options)]
        ]
        return torch.cat(pieces) if pieces else draws.z.new_zeros(0, len(options))

    def sample(self, count: int, seed: Seed = 0) -> Float[Tensor, "count Z"]:
        """Tastes of `count` new raters from the fitted population."""
        return self.prior.sample(count, generator=Streams.of(seed)("newcomers"))

    def voices(self, count: int | None = None, seed: Seed = 0) -> Voices:
        """The rewards this population asks for, with the share of people behind each.

        Camps, prototypes and the means of kinds speak for themselves. Another continuous population is summed up by `count` (default 4)
        centres of its raters' expected tastes; distances are differences in worth. Atoms that speak in no voice
        (adversaries, see `Atoms.voice`) are left out.
        """
        if isinstance(self.prior, Atoms) and self.prior.voice is not None:
            return self._spoken(self.prior, self.prior.voice, count, seed)
        if isinstance(self.prior, Atoms) and (count is None or count >= len(self.prior.z)):
            share = self.draws.weight.mean(1) if self.draws.raters else self.prior.share
            share = share if len(share) == len(self.prior.z) else self.prior.share
            # A camp that speaks for less than half a person is a spare part of the fit, and nobody's voice.
            heard = share * max(self.draws.raters, 1) >= 0.5
            heard = (
                heard if bool(heard.any()) else share > 0
            )  # more atoms than people: each speaks for a part of one
            return Voices(self.worth, self.prior.z[heard], share[heard] / share[heard].sum())
        if isinstance(self.prior, Simplex | Mixes | Normals) and (
            count is None or count >= len(self.prior.corners)
        ):
            # Mixing weights add up to the mean taste, so a corner's share is all that raters have of it.
            share = self.prior.shares(self.draws)
            heard = (share * max(self.draws.raters, 1) >= 0.5) | (share == share.max())
            return Voices(self.worth, self.prior.corners[heard], share[heard] / share[heard].sum())
        if self.draws.raters:
            z, mass = self.draws.mean, torch.ones(self.draws.raters)
        else:
            z, mass = self.sample(512, seed), torch.ones(512)
        mass = mass.to(z) / len(mass)
        metric = torch.eye(z.shape[1]).to(z)
        centre, share = cluster(z, mass, metric, count or 4, generator=Streams.of(seed)("voices"))
        order = share.argsort(descending=True)
        centre, share = centre[order], share[order]
        if isinstance(self.worth, Nonlinear):
            return Voices(AtTastes(self.worth, centre), torch.eye(len(centre)).to(centre), share)
        return Voices(self.worth, centre, share)

    def _spoken(self, prior: Atoms, voice: Tensor, count: int | None, seed: Seed) -> Voices:
        """Voices made of several atoms each: their average taste, and the people behind them together."""
        share = self.draws.weight.mean(1) if self.draws.raters else prior.share
        part = torch.nn.functional.one_hot(voice + 1)[:, 1:].to(share) * share[:, None]  # (atoms, voices)
        mass = part.sum(0)
        heard = mass * max(self.draws.raters, 1) >= 0.5
        if not bool(heard.any()):  # nobody is trusted more than half a person: the likeliest voice speaks
            heard = mass == mass.max()
        z, mass = (part.T @ prior.z)[heard] / mass[heard, None].clamp_min(1e-12), mass[heard]
        mass = mass / mass.sum() if float(mass.sum()) > 0 else torch.full_like(mass, 1 / len(mass))
        if count is not None and count < len(z):
            eye = torch.eye(z.shape[1]).to(z)
            z, mass = cluster(z, mass, eye, count, generator=Streams.of(seed)("voices"))
        return Voices(self.worth, z, mass)

    @property
    def effective_camps(self) -> float:
        """exp(entropy) of the shares of atoms or kinds; 1 for a population without differences, NaN if of no kinds."""
        if not isinstance(self.prior, Atoms | Normals):
            return float("nan")
        share = self.prior.share
        return float(torch.special.entr(share).sum().exp())

    @property
    def shrinkage(self) -> float:
        """Share of the taste variance between raters that the answers could not tell from noise, in [0, 1].

        1 means that every rater is predicted by the population alone; 0 that answers tell all.
        """
        mean = self.draws.mean
        within = ((self.draws.z - mean).square().sum(-1) * self.draws.weight).sum(0).mean()
        between = mean.var(0, correction=0).sum() if len(mean) else torch.zeros(())
        total = within + between
        return float(within / total) if total > 0 else 1.0

    def __repr__(self) -> str:
        return brief(self)

    def save(self, folder: str | Path) -> None:
        """Write safetensors + JSON into a new folder, complete or not at all."""
        from pluralign.population.saving import save

        save(self, Path(folder))


__all__ = ["Belief", "Gaussian"]
