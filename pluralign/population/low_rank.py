"""Low rank: a few reward directions for everybody, a few weights for each. Reward factorisation (LoRe, PReF)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.held_out import choose
from pluralign.population.hierarchical import tempered
from pluralign.population.mixing import mixed
from pluralign.population.normal import normal_em
from pluralign.population.pooled import common_taste, need_answers
from pluralign.population.prior import Gaussian, Prior, inverse
from pluralign.population.rows import Rows
from pluralign.population.spectral import spectral
from pluralign.population.subspace import narrowed, refined
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, Utility, Worth
from pluralign.utility.linear import LinearWorth

RANKS = (0, 1, 2, 4, 8, 12, 16)
SIZES = (1, 2, 4, 8, 12)  # corners, for weights on the simplex
RIDGES = (0.3, 3.0)
MIDDLE = 1.0  # the ridge under which the rank is chosen
TEMPERS = (1.0, 0.5, 0.25)
SHRUNK = 30.0  # ridge of the estimates whose singular vectors are the start
CAUTION = 0.5


@dataclass(frozen=True)
class LowRank:
    """worth = B(x) @ (common + directions @ w_r): directions are shared, weights w_r are each rater's own.

    Starts from the singular vectors of ridge estimates, one per rater and all at once, then alternates two problems
    that are solved: everybody's weights under their prior, and the directions given draws of the weights.

    Attributes:
        rank: number of directions (of corners, for "simplex"); "auto" chooses by held-out likelihood, none
            being one of the choices.
        weights: "free" (normal, their covariance fitted) or "simplex" (shares of corners, Dirichlet).
        utility, rule: as in Pooled.
        ridge: 1 / variance of the numbers in the directions; "auto" chooses by held-out likelihood.
        temper: for free weights, factor on their fitted covariance; "auto" chooses among 1, 1/2, 1/4 by held-out
            likelihood. Directions found in the answers that they explain overstate how far raters differ.
        draws: tastes that describe each rater.
        rounds: of the alternation; with ridge="auto" the start itself is a candidate too.
        strength: pseudo-raters behind the prior guess that raters hardly differ.

    Source: Bose et al., LoRe (COLM 2025), weights on the simplex; Shenfeld et al., PReF (2025), free weights.
    """

    rank: int | str = "auto"
    weights: str = "free"
    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    ridge: float | str = "auto"
    temper: float | str = "auto"
    draws: int = 64
    rounds: int = 2
    strength: float = 2.0

    def __post_init__(self) -> None:
        if self.weights not in ("free", "simplex"):
            raise ValueError(f'`weights` must be "free" or "simplex", got {self.weights!r}.')
        least = 0 if self.weights == "free" else 1
        if self.rank != "auto" and (not isinstance(self.rank, int) or self.rank < least):
            raise ValueError(f'`rank` must be a number of at least {least} or "auto", got {self.rank!r}.')
        if self.draws < 2:
            raise ValueError(f"`draws` must be at least 2, got {self.draws}.")

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; the belief has `draws` weighted tastes per rater over the directions found."""
        need_answers(data)
        streams = Streams.of(seed)
        worth = self.utility.start(data, width=2, generator=streams("start"))
        if not isinstance(worth, LinearWorth):
            return self._network(data, streams, held)
        ridge = MIDDLE if self.ridge == "auto" else float(self.ridge)
        starts: dict[int, tuple[Comparisons, Tensor]] = {}  # the part is kept, so that its id stays its own
        most = self._ranks(data, worth)[-1]

        def solve(part: Comparisons, rank: int, rounds: int, ridge: float) -> Belief:
            if id(part) not in starts:
                starts[id(part)] = (part, self._start(part, worth, most))
            if self.weights == "simplex":
                return self._simplex(part, worth, starts[id(part)][1], rank, ridge, rounds)
            return self._free(part, worth, starts[id(part)][1], rank, ridge, rounds, streams)

        notes: dict[str, object] = {}
        free = self.weights == "free"

        def draft(rank: int) -> Callable[[Comparisons], Belief]:
            return lambda part: solve(part, rank, 0 if free else 1, ridge)

        drafts = {q: draft(q) for q in self._ranks(data, worth)}
        rank, choice = choose(drafts, data, streams.below("rank"), held, cautious=CAUTION, worthwhile=0.0)
        notes["rank_table"] = choice.table
        # Where raters were shown extremes, the start knows more than the answers given what was shown.
        ridges = RIDGES if self.ridge == "auto" else (ridge,)
        ways = [(0, ridge)] if free and (self.rounds == 0 or self.ridge == "auto" or not rank) else []
        if self.rounds and rank:
            ways += [(self.rounds, r) for r in ridges]
        tempers = (1.0,) if not free else TEMPERS if self.temper == "auto" else (float(self.temper),)
        fits: dict[tuple[int, int, float], Belief] = {}

        def candidate(part: Comparisons, rounds: int, ridge: float, temper: float) -> Belief:
            key = (id(part), rounds, ridge)
            if key not in fits:
                fits[key] = solve(part, rank, rounds, ridge)
            return tempered(fits[key], part, temper)

        options = {
            (n, r, t): (lambda part, n=n, r=r, t=t: candidate(part, n, r, t))
            for n, r in ways
            for t in tempers
        }
        (rounds, ridge, temper), choice = choose(options, data, streams.below("temper"), held)
        found = candidate(data, rounds, ridge, temper)
        notes |= {**found.diagnostics, "rounds": rounds, "temper": temper, "choice_table": choice.table}
        return replace(found, diagnostics={**notes, "shrinkage": found.shrinkage})

    def _ranks(self, data: Comparisons, worth: LinearWorth) -> list[int]:
        if self.rank != "auto":
            return [int(self.rank)]
        present = int((data.counts > 0).sum())
        if self.weights == "simplex":
            return [k for k in SIZES if k <= max(1, present)]
        return [q for q in RANKS if q <= min(worth.width, present - 1)]

    def _start(self, data: Comparisons, worth: LinearWorth, rank: int) -> Tensor:
        """The common worth and the leading directions of whole tastes, (Z, 1 + rank).

        Whole tastes, not departures from the common one: what a good common taste predicts well has slope zero, and
        would say nothing.
        """
        common = common_taste(data, worth, self.rule, 1.0)
        side = spectral(data, worth, self.rule, torch.zeros_like(common), max(rank, 1), SHRUNK)
        return torch.cat([common[:, None], side], 1)

    def _free(
        self,
        data: Comparisons,
        full: LinearWorth,
        start: Tensor,
        rank: int,
        ridge: float,
        rounds: int,
        streams: Streams,
    ) -> Belief:
        worth = full.onto(start[:, : 1 + rank])
        if rank and rounds:
            worth = refined(
                self.utility,
                self.rule,
                data,
                worth,
                streams,
                self.strength,
                ridge=ridge,
                rounds=rounds,
                full=full,
            )
        rows = Rows.of(data, worth.basis(data.options), self.rule)
        mean, covariance, mode, curvature, _, evidence = normal_em(rows, 40, self.strength, anchored=False)
        prior = Gaussian(mean, covariance, self.draws)
        draws = prior.around(mode, curvature, rows, inverse(covariance))
        return self._belief(
            data, worth, prior, draws, {"rank": rank, "ridge": ridge, "log_evidence": evidence}
        )

    def _simplex(
        self, data: Comparisons, full: LinearWorth, start: Tensor, rank: int, ridge: float, rounds: int
    ) -> Belief:
        tips = start[:, :1]
        if rank > 1:
            matrix = start[:, :rank]
            rows = Rows.of(data, full.onto(matrix).basis(data.options), self.rule)
            _, _, mode, _, _, _ = normal_em(rows, 15, self.strength, anchored=True)
            tips = matrix @ outermost(mode[data.counts > 0], rank).T
        found = mixed(
            data,
            full,
            self.rule,
            tips,
            ridge=ridge,
            concentration=None,
            draws=self.draws,
            rounds=8 * rounds,
        )
        draws = found.prior.posterior(data, found.worth.basis(data.options), self.rule)
        notes = {"rank": rank, "ridge": ridge, "dirichlet": tuple(found.prior.concentration.tolist())}
        return self._belief(data, found.worth, found.prior, draws, notes)

    def _network(self, data: Comparisons, streams: Streams, held: Comparisons | None) -> Belief:
        """A network whose outputs are the directions: trained under normal weights, then as over any basis."""
        rank = 4 if self.rank == "auto" else int(self.rank)

        def solve(part: Comparisons, temper: float) -> Belief:
            worth = narrowed(self.utility, self.rule, part, streams, count=max(rank, 1))
            rows = Rows.of(part, worth.basis(part.options), self.rule)
            mean, covariance, mode, curvature, _, evidence = normal_em(
                rows, 40, self.strength, anchored=False
            )
            prior = Gaussian(mean, covariance, self.draws)
            draws = prior.around(mode, curvature, rows, inverse(covariance))
            belief = self._belief(part, worth, prior, draws, {"rank": rank, "log_evidence": evidence})
            return tempered(belief, part, temper)

        if self.weights == "simplex":
            from pluralign.population.prototypes import Prototypes

            corners = Prototypes(max(rank, 1), self.utility, self.rule, draws=self.draws)
            return replace(corners.fit(data, streams("network"), held=held), settings=self)

        def candidate(temper: float) -> Callable[[Comparisons], Belief]:
            return lambda part: solve(part, temper)

        tempers = TEMPERS if self.temper == "auto" else (float(self.temper),)
        options = {t: candidate(t) for t in tempers}
        temper, choice = choose(options, data, streams.below("temper"), held)
        found = solve(data, temper)
        return replace(
            found, diagnostics={**found.diagnostics, "temper": temper, "choice_table": choice.table}
        )

    def _belief(self, data: Comparisons, worth: Worth, prior: Prior, draws: Draws, notes: dict) -> Belief:
        assert data.rater_ids is not None
        return Belief(worth, self.rule, prior, draws, data.rater_ids, self, notes)


def outermost(position: Float[Tensor, "R Q"], count: int) -> Float[Tensor, "K Q"]:
    """Raters that span the crowd: each is farthest from the plane through those before (successive projection)."""
    rest = position - position.mean(0)
    picked: list[int] = []
    for _ in range(count):
        far = int(rest.square().sum(1).argmax())
        picked.append(far)
        rest = position - position[picked[0]]
        if len(picked) > 1:
            plane = torch.linalg.qr((position[picked[1:]] - position[picked[0]]).T)[0]
            rest = rest - rest @ plane @ plane.T
    return position[picked]
