"""Kinds of people who differ within a kind too: a mixture of normal distributions of tastes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.camps import Camps
from pluralign.population.held_out import FEW, check_ridge, check_volume, choose, need_raters
from pluralign.population.laplace import first_guess
from pluralign.population.nearest import posteriors
from pluralign.population.normal import enough, surer
from pluralign.population.normals import Normals, evidence_of
from pluralign.population.pooled import need_answers
from pluralign.population.prior import Gaussian, drawn_around, inverse
from pluralign.population.quieter import chosen
from pluralign.population.rows import Bucket, Rows, buckets
from pluralign.population.subspace import narrowed, refined
from pluralign.population.voices import cluster
from pluralign.population.wide import is_wide
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, Utility, Worth
from pluralign.utility.linear import LinearWorth

SIZES = (1, 2, 3, 4, 6, 8)
RANKS = (1, 2, 4)
EACH = 3  # raters to a kind at the least, when the number is chosen
CAUTION = 1.5  # standard errors by which one kind must predict better for several to be given up
PRICE = 3.0  # of a parameter, in twice the log evidence; 2 is Akaike's criterion
PATIENCE = 2  # numbers in a row that are no better, after which no larger one is tried
DRAWN = 64  # for the evidence
LEAST = 32  # draws in each kind
ROUNDS = 8  # of every start, before the better one goes on
SETTLED = 1e-3  # nats per rater, of
MOST = 50  # raters at most: a kind costs a few nats, however many raters there are

_Worths = Callable[[Comparisons, int], Worth]


@dataclass(frozen=True)
class NormalMixture:
    """Tastes from G normal distributions with one covariance; a rater's answers are explained together.

    Between `Camps`, whose people are all alike, and `Hierarchical`, whose people are of one kind: people who differ a
    little are not taken for small camps of their own, and few people of another kind are not drawn to the many.

    Attributes:
        groups: G, or "auto": chosen among 1, 2, 3, 4, 6, 8 by AIC3 (the log evidence of the answers less 3/2 nats a
            parameter); two numbers in a row that are no better than the best end the search. Of 5,000 answers or more, several
            kinds are given up where one predicts held-out answers clearly better.
        utility, rule: as in Pooled.
        rank, ridge, temper, volume: as in Hierarchical.
        draws: tastes that describe each rater, shared out among the kinds.
        rounds: EM rounds at most.
        strength: pseudo-raters behind the prior guess that people of a kind hardly differ (an inverse Wishart).

    Source: Rossi, Allenby and McCulloch (2005), chapter 5, with one covariance for all kinds (Fraley and Raftery 2002
    call it EEE) and variational EM in place of Gibbs draws. AIC3 (Bozdogan 1993) told the number of kinds best
    among the criteria that Andrews and Currim (2003) compared for mixtures of logits.
    """

    groups: int | str = "auto"
    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    rank: int | str = "auto"
    ridge: float = 3.0
    temper: float | str = "auto"
    volume: float | str = "auto"
    draws: int = 96
    rounds: int = 100
    strength: float = 2.0

    def __post_init__(self) -> None:
        check_ridge(self.ridge)
        check_volume(self.volume)
        if self.groups != "auto" and (not isinstance(self.groups, int) or self.groups < 1):
            raise ValueError(f'`groups` must be a positive number of kinds or "auto", got {self.groups!r}.')
        if self.rank != "auto" and (not isinstance(self.rank, int) or self.rank < 1):
            raise ValueError(f'`rank` must be a positive number of directions or "auto", got {self.rank!r}.')
        if self.draws < 2:
            raise ValueError(f"`draws` must be at least 2, got {self.draws}.")
        if self.rounds < 1:
            raise ValueError(f"`rounds` must be at least 1, got {self.rounds}.")

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; the belief has about `draws` weighted tastes per rater.

        Raises:
            ValueError: more kinds than raters.
        """
        need_answers(data)
        streams = Streams.of(seed)
        need_raters("groups", self.groups, data, "kinds")
        start = self.utility.start(data, width=None, generator=streams("start"))
        wide = isinstance(start, LinearWorth) and is_wide(start)
        ranks = (0,) if not wide else RANKS if self.rank == "auto" else (int(self.rank),)
        # A part is kept beside its worth: an id is free for another object once its owner is gone.
        worths: dict[tuple[int, int], tuple[Comparisons, Worth]] = {}

        def worth(part: Comparisons, rank: int) -> Worth:
            if (id(part), rank) not in worths:
                worths[id(part), rank] = (part, self._worth(part, rank, streams))
            return worths[id(part), rank][1]

        whole = {rank: self._whole(data, rank, worth, streams, held) for rank in ranks}

        def solve(part: Comparisons, rank: int) -> Belief:
            """The number of kinds stays what all answers say."""
            if part is data:
                return whole[rank]
            settings = replace(self, groups=whole[rank].diagnostics["groups"])
            return settings._fit(part, rank, worth, streams)

        found, _, notes = chosen(solve, ranks, self.temper, self.volume, data, streams, held)
        if isinstance(found.prior, Normals):
            notes["sure"] = float(found.prior.chances(found.draws).amax(0).mean())
        return replace(found, settings=self, diagnostics={**found.diagnostics, **notes})

    def _whole(
        self, data: Comparisons, rank: int, worths: _Worths, streams: Streams, held: Comparisons | None
    ) -> Belief:
        """Of many answers, kinds that predict held-out ones clearly worse than a single kind does are given up."""
        found = self._fit(data, rank, worths, streams)
        groups = found.diagnostics["groups"]
        if self.groups != "auto" or groups == 1 or len(data) < FEW:
            return found
        fits = {
            g: partial(replace(self, groups=g)._fit, rank=rank, worths=worths, streams=streams)
            for g in (groups, 1)
        }
        kept, _ = choose(fits, data, streams.below("kinds"), held, cautious=CAUTION, worthwhile=0.0)
        if kept == groups:
            return found
        alone = fits[1](data)
        table = found.diagnostics["groups_table"]
        return replace(alone, diagnostics={**alone.diagnostics, "groups_table": table})

    def _fit(self, data: Comparisons, rank: int, worths: _Worths, streams: Streams) -> Belief:
        worth = worths(data, rank)
        rows = Rows.of(data, worth.basis(data.options), self.rule)
        few = enough(rows)
        fit, table = self._chosen(few, streams)
        parts = zip(fit.mean, fit.sharp, fit.weight, strict=True)
        mean = torch.stack([surer(m, fit.covariance, s, few, w) for m, s, w in parts])
        prior: Gaussian | Normals = Gaussian(mean[0], fit.covariance, self.draws)
        if len(mean) > 1:
            prior = Normals(mean, fit.share, fit.covariance, max(LEAST, self.draws // len(mean)))
        draws = prior.posterior(data, worth.basis(data.options), self.rule)
        assert data.rater_ids is not None
        notes: dict[str, object] = {
            "groups": len(mean),
            "groups_table": table,
            "rounds": fit.rounds,
            "log_evidence": fit.evidence,
            "spread": float(torch.trace(prior.covariance)),
        }
        if isinstance(prior, Normals):
            notes["effective_camps"] = float(torch.special.entr(prior.share).sum().exp())
        if rank:
            notes["rank"] = rank
        return Belief(worth, self.rule, prior, draws, data.rater_ids, self, notes)

    def _chosen(self, rows: Rows, streams: Streams) -> tuple["_Fit", tuple[tuple[str, float, float], ...]]:
        """The number of kinds, and for every number that was tried nats per rater, prices paid."""
        told = int(rows.present.sum())
        sizes = [g for g in SIZES if g == 1 or g * EACH <= told]
        if self.groups != "auto":
            sizes = [int(self.groups)]
        alone = _em(rows, *_one(rows), self.rounds, self.strength)
        fits: list[_Fit] = []
        scores: list[float] = []
        for groups in sizes:
            fit = alone if groups == 1 else self._fitted(rows, alone, groups, streams.below(groups))
            spare = bool((fit.weight.sum(1) < EACH).any()) and len(sizes) > 1  # a kind of hardly anybody
            fits.append(fit)
            scores.append(math.inf if spare else _score(rows, fit))
            if len(scores) - 1 - scores.index(min(scores)) >= PATIENCE:
                break
        best = fits[scores.index(min(scores))]
        if sizes[0] == 1 and len(best.mean) > 1:  # one kind that has gone as far as the several did
            again = _em(rows, *_moments(best), self.rounds, self.strength)
            if (score := _score(rows, again)) < scores[0]:
                fits[0], scores[0] = again, score
        table = tuple((str(g), score / told, 0.0) for g, score in zip(sizes, scores) if score < math.inf)
        return fits[scores.index(min(scores))], table

    def _worth(self, data: Comparisons, rank: int, streams: Streams) -> Worth:
        if not rank:
            return narrowed(self.utility, self.rule, data, streams)
        worth = narrowed(self.utility, self.rule, data, streams, count=rank, ridge=self.ridge)
        assert isinstance(worth, LinearWorth)
        return refined(self.utility, self.rule, data, worth, streams, self.strength, ridge=self.ridge)

    def _fitted(self, rows: Rows, alone: "_Fit", groups: int, streams: Streams) -> "_Fit":
        """The best of two starts: camps without differences, and clusters of the tastes that one kind would have."""
        told = rows.present
        near = cluster(
            alone.middle[0][told],
            torch.full((int(told.sum()),), 1 / int(told.sum()), dtype=torch.float64),
            inverse(alone.covariance),
            groups,
            generator=streams("clusters"),
        )
        camps = Camps(groups=groups, rule=self.rule, restarts=4, sweeps=40)
        atoms = camps._narrow(rows, rows, streams.below("camps"), groups, 1.0)[:2]
        guess = first_guess(rows, False)[1]
        found = [
            _em(rows, mean, share, guess, ROUNDS, self.strength)
            for mean, share in (near, atoms)
            if len(mean) == groups
        ]
        best = max(found, key=lambda fit: fit.evidence)
        return _em(rows, best.mean, best.share, best.covariance, self.rounds, self.strength)


@dataclass(frozen=True)
class _Fit:
    mean: Float[Tensor, "G Z"]
    share: Float[Tensor, " G"]
    covariance: Float[Tensor, "Z Z"]
    middle: Float[Tensor, "G R Z"]
    sharp: Float[Tensor, "G R Z Z"]
    weight: Float[Tensor, "G R"]
    evidence: float
    rounds: int


def _one(rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    mean, guess = first_guess(rows, False)
    return mean[None], torch.ones(1, dtype=torch.float64), guess


def _moments(fit: _Fit) -> tuple[Tensor, Tensor, Tensor]:
    """One kind with the mean and the covariance of several."""
    mean = fit.share @ fit.mean
    gap = fit.mean - mean
    return mean[None], torch.ones(1, dtype=torch.float64), fit.covariance + (gap * fit.share[:, None]).T @ gap


def _score(rows: Rows, fit: _Fit) -> float:
    """What AIC3 says, halved: the price of the kinds less the evidence, which draws tell better than the bound does."""
    precision = inverse(fit.covariance)
    each = [
        evidence_of(drawn_around(mean, precision, middle, sharp, rows, DRAWN)[1], precision, sharp)
        for mean, middle, sharp in zip(fit.mean, fit.middle, fit.sharp, strict=True)
    ]
    evidence = torch.logsumexp(torch.stack(each) + fit.share.log()[:, None], 0)[rows.present].sum()
    return (len(fit.mean) - 1) * (rows.width + 1) * PRICE / 2 - float(evidence)


def _em(rows: Rows, mean: Tensor, share: Tensor, covariance: Tensor, rounds: int, strength: float) -> _Fit:
    """Variational EM: in each kind the normal distribution nearest to each rater's posterior, then their moments."""
    groups: list[Bucket] = buckets(rows)
    told, count = rows.present, int(rows.present.sum())
    guess = first_guess(rows, False)[1]
    starts: list[tuple[Tensor, Tensor] | None] = [None] * len(mean)
    last = -math.inf
    for done in range(1, rounds + 1):
        precision = inverse(covariance)
        few = 8 if done == 1 else 2
        middle, spread, bound = [], [], []
        for g, one in enumerate(mean):
            centre, sharp, fit = posteriors(
                groups, rows.rule, one, precision, rows.raters, start=starts[g], sweeps=few
            )
            starts[g] = centre, sharp
            gap, wide = centre - one, torch.cholesky_inverse(torch.linalg.cholesky(sharp))
            far = torch.einsum("rx,xy,ry->r", gap, precision, gap) + (wide * precision).sum((-1, -2))
            size = torch.logdet(precision) - torch.logdet(sharp)
            middle.append(centre)
            spread.append(wide)
            bound.append(fit - (far - rows.width) / 2 + size / 2)
        log = torch.stack(bound) + share.log()[:, None]
        evidence = float(torch.logsumexp(log, 0)[told].sum())
        weight = torch.softmax(log, 0) * told
        sharps = torch.stack([start[1] for start in starts if start is not None])
        found = _Fit(mean, share, covariance, torch.stack(middle), sharps, weight, evidence, done)
        if abs(evidence - last) < SETTLED * min(count, MOST) and done > 3:
            break
        last = evidence
        mass = weight.sum(1)
        share = (mass + 1e-3 / len(mass)) / (mass.sum() + 1e-3)
        mean = torch.einsum("gr,grz->gz", weight, found.middle) / (mass + 1e-3)[:, None]
        gap = found.middle - mean[:, None]
        moment = torch.einsum("gr,grx,gry->xy", weight, gap, gap) + torch.einsum(
            "gr,grxy->xy", weight, torch.stack(spread)
        )
        covariance = (moment + strength * 0.1 * guess) / (count + strength)
    return found


__all__ = ["NormalMixture"]
