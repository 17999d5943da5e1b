"""Low rank: a few reward directions for everybody, a few weights for each. Reward factorisation (LoRe, PReF)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.around import Around
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.held_out import FEW, check_ridge, check_volume, choose, hold_out
from pluralign.population.mixing import mixed
from pluralign.population.newton import modes
from pluralign.population.normal import normal_em, surer
from pluralign.population.pooled import common_taste, need_answers
from pluralign.population.prior import Gaussian, Prior, inverse
from pluralign.population.quieter import tempered, volumes
from pluralign.population.rows import Rows, buckets
from pluralign.population.simplex import Simplex
from pluralign.population.spectral import spectral
from pluralign.population.subspace import narrowed, refined
from pluralign.population.wide import is_wide
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, Utility, Worth
from pluralign.utility.conditional import only_shown
from pluralign.utility.linear import LinearWorth

RANKS = (0, 1, 2, 4, 8, 12, 16)
SIZES = (1, 2, 4, 8, 12)  # corners, for weights on the simplex
RIDGES = (0.3, 3.0)
MIDDLE = 1.0  # the ridge under which the rank is chosen
TEMPERS = (1.0, 0.5, 0.25)
SPREADS = (100.0, 1000.0, 10000.0)  # the same for method "ridge"
METHODS = ("normal", "ridge")
ROUNDS = 2
DRAFTED, POLISHED = (10, 8), (40, 50)  # rounds of EM and last sweeps: to compare settings, and in the end
SHRUNK = 30.0  # ridge of the estimates whose singular vectors are the start
CAUTION = 0.5

Way = tuple[str, int, float, float, float]  # method, rounds, ridge, temper, volume


@dataclass(frozen=True)
class LowRank:
    """worth = B(x) @ (common + directions @ w_r): directions are shared, weights w_r are each rater's own.

    Starts from the singular vectors of ridge estimates, one per rater and all at once, then alternates two problems
    that are solved: everybody's weights under their prior, and the directions given draws of the weights.

    Attributes:
        rank: number of directions (of corners, for "simplex"); "auto" chooses by held-out likelihood, none
            being one of the choices.
        weights: "free" (normal) or "simplex" (shares of corners, Dirichlet).
        utility, rule: as in Pooled; of texts, directions are sought in what people said of each more than in what describes
            them: the spreads by which the crowd is best told (`Linear`) hide how raters differ.
        ridge: 1 / variance of the numbers in the directions; "auto" chooses by held-out likelihood.
        method: for free weights. "normal": their covariance is fitted, and a rater is described by draws. "ridge":
            their variances are those of the start, a rater is described by the most probable taste alone, and newcomers
            are like people met (`Around`); for people who hardly err and were shown extremes, which says more about
            them than their answers given what was shown. "auto" chooses by held-out likelihood.
        temper: for "normal", factor on the fitted covariance; "auto" chooses among 1, 1/2, 1/4: directions found in
            the answers that they explain overstate how far raters differ. For "ridge", the variance of a typical
            comparison's worth in squared utils; "auto" chooses among 100, 1,000, 10,000. By held-out likelihood.
        volume: factor on all worths under "normal"; "auto" as in Hierarchical.
        draws: tastes that describe each rater under "normal".
        rounds: of the alternation, 0 for the start as it is; "auto" chooses 0 or 2 by held-out likelihood.
        strength: pseudo-raters behind the prior guess that raters hardly differ.

    Source: Bose et al., LoRe (COLM 2025), weights on the simplex; Shenfeld et al., PReF (2025), free weights.
    """

    rank: int | str = "auto"
    weights: str = "free"
    utility: Utility = field(default_factory=lambda: Linear(described=0.3, style=False))
    rule: ChoiceRule = field(default_factory=Luce)
    ridge: float | str = "auto"
    method: str = "auto"
    temper: float | str = "auto"
    volume: float | str = "auto"
    draws: int = 64
    rounds: int | str = "auto"
    strength: float = 2.0

    def __post_init__(self) -> None:
        check_ridge(self.ridge)
        check_volume(self.volume)
        if self.weights not in ("free", "simplex"):
            raise ValueError(f'`weights` must be "free" or "simplex", got {self.weights!r}.')
        least = 0 if self.weights == "free" else 1
        if self.rank != "auto" and (not isinstance(self.rank, int) or self.rank < least):
            raise ValueError(f'`rank` must be a number of at least {least} or "auto", got {self.rank!r}.')
        if self.method not in ("auto", *METHODS):
            raise ValueError(f'`method` must be "auto", "normal" or "ridge", got {self.method!r}.')
        if self.draws < 2:
            raise ValueError(f"`draws` must be at least 2, got {self.draws}.")
        if self.rounds != "auto" and (not isinstance(self.rounds, int) or self.rounds < 0):
            raise ValueError(f'`rounds` must be 0 or more or "auto", got {self.rounds!r}.')

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; the belief has `draws` weighted tastes per rater over the directions found."""
        need_answers(data)
        streams = Streams.of(seed)
        worth = self.utility.start(data, width=2, generator=streams("start"))
        if not isinstance(worth, LinearWorth):
            return self._network(data, streams, held)
        if is_wide(worth):  # scoring options is most of the work
            data = only_shown(data, worth)
            held = held if held is None else only_shown(held, worth)
        if self.weights == "simplex":
            return self._of_shares(data, worth, streams, held)
        kept, out = data, held
        if held is None and len(data) >= FEW:
            kept, out = (only_shown(part, worth) for part in hold_out(data, streams.below("held")))
        starts: dict[int, tuple[Comparisons, Start]] = {}  # the part is kept, so that its id stays its own
        ranks = self._ranks(data, worth)

        def begin(part: Comparisons) -> Start:
            if id(part) not in starts:
                starts[id(part)] = part, start_of(part, worth, self.rule, ranks[-1])
            return starts[id(part)][1]

        fits: dict[tuple[int, int, int, float], Belief] = {}

        def normal(part: Comparisons, rank: int, rounds: int, ridge: float) -> Belief:
            """To compare settings, the start's covariance need not be polished."""
            key = (id(part), rank, rounds, ridge)
            if key not in fits:
                work = DRAFTED if not rounds and part is not data else POLISHED
                fits[key] = self._normal(part, begin(part), rank, rounds, ridge, streams, work)
            return fits[key]

        ridges = RIDGES if self.ridge == "auto" else (float(self.ridge),)
        notes: dict[str, object] = {}
        drafts = {q: partial(normal, rank=q, rounds=0, ridge=ridges[0]) for q in ranks}
        rank, choice = choose(drafts, kept, streams.below("rank"), out, cautious=CAUTION, worthwhile=0.0)
        notes["rank_table"] = choice.table

        def candidate(
            part: Comparisons, method: str, rounds: int, ridge: float, temper: float, volume: float
        ) -> Belief:
            if method == "ridge":
                return self._ridge(part, begin(part), rank, temper)
            return tempered(normal(part, rank, rounds, ridge), part, temper, volume)

        def picked(ways: list[Way]) -> Way:
            found, choice = choose(
                {way: _with(candidate, *way) for way in ways}, kept, streams.below("temper"), out
            )
            notes["choice_table"] = choice.table
            return found

        lengths = (0, ROUNDS) if self.rounds == "auto" else (int(self.rounds),)
        lengths = lengths if rank else (0,)
        either = (
            self.method == "auto" and self.temper == "auto" and rank
        )  # a temper means another thing to each
        methods = METHODS if either else ("ridge",) if self.method == "ridge" and rank else ("normal",)
        loud = volumes(self.volume, self.temper, data)
        ways = {m: [(m, 0, ridges[0], t, loud[0]) for t in self._tempers(m)] for m in methods}
        best = ways[methods[0]][0]
        if "normal" in ways:
            best = picked([(*best[:4], v) for v in loud])
        if "ridge" in ways:
            best = picked([best, *ways["ridge"]])
        # What else there is to choose is for those whom draws of normal tastes describe.
        if best[0] == "normal":
            shapes = [(n, r) for n in lengths for r in (ridges if n else ridges[:1])]
            best = picked([("normal", n, r, t, best[4]) for n, r in shapes for t in self._tempers("normal")])
        method, rounds, ridge, temper, volume = best
        found = candidate(data, *best)
        notes |= {**found.diagnostics, "ridge": ridge, "method": method, "rounds": rounds, "temper": temper}
        notes["volume"] = volume
        return replace(found, diagnostics={**notes, "shrinkage": found.shrinkage})

    def _tempers(self, method: str) -> tuple[float, ...]:
        if self.temper != "auto":
            return (float(self.temper),)
        return SPREADS if method == "ridge" else TEMPERS

    def _of_shares(
        self, data: Comparisons, worth: LinearWorth, streams: Streams, held: Comparisons | None
    ) -> Belief:
        """Weights on the simplex: the number of corners first, then the ridge."""
        ranks = self._ranks(data, worth)
        starts: dict[int, tuple[Comparisons, Start]] = {}
        length = ROUNDS if self.rounds == "auto" else int(self.rounds)

        def solve(part: Comparisons, rank: int, rounds: int, ridge: float) -> Belief:
            if id(part) not in starts:
                starts[id(part)] = part, start_of(part, worth, self.rule, ranks[-1])
            return self._simplex(part, worth, starts[id(part)][1].matrix, rank, ridge, rounds)

        ridge = MIDDLE if self.ridge == "auto" else float(self.ridge)
        drafts = {q: partial(solve, rank=q, rounds=1, ridge=ridge) for q in ranks}
        rank, first = choose(drafts, data, streams.below("rank"), held, cautious=CAUTION, worthwhile=0.0)
        ridges = RIDGES if self.ridge == "auto" else (ridge,)
        options = {r: partial(solve, rank=rank, rounds=length, ridge=r) for r in ridges}
        ridge, second = choose(options, data, streams.below("temper"), held)
        found = options[ridge](data)
        notes = {**found.diagnostics, "rounds": length, "temper": 1.0, "method": "normal"}
        notes |= {"rank_table": first.table, "choice_table": second.table, "shrinkage": found.shrinkage}
        return replace(found, diagnostics=notes)

    def _ranks(self, data: Comparisons, worth: LinearWorth) -> list[int]:
        if self.rank != "auto":
            return [int(self.rank)]
        present = int((data.counts > 0).sum())
        if self.weights == "simplex":
            return [k for k in SIZES if k <= max(1, present)]
        return [q for q in RANKS if q <= min(worth.width, present - 1)]

    def _normal(
        self,
        data: Comparisons,
        start: "Start",
        rank: int,
        rounds: int,
        ridge: float,
        streams: Streams,
        work: tuple[int, int],
    ) -> Belief:
        worth, rows = start.worth.onto(start.matrix[:, : 1 + rank]), start.rows_of(rank)
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
                full=start.worth,
            )
            rows = Rows.of(data, worth.basis(data.options), self.rule)
        mean, covariance, mode, curvature, _, evidence = normal_em(
            rows, work[0], self.strength, anchored=False, sweeps=work[1]
        )
        prior = Gaussian(surer(mean, covariance, curvature, rows), covariance, self.draws)
        draws = prior.around(mode, curvature, rows, inverse(covariance))
        return self._belief(
            data, worth, prior, draws, {"rank": rank, "ridge": ridge, "log_evidence": evidence}
        )

    def _ridge(self, data: Comparisons, start: "Start", rank: int, spread: float) -> Belief:
        """Everybody's most probable weights, drawn to indifference; newcomers are like people met."""
        rows = replace(start.rows, x=start.rows.x[..., 1 : 1 + rank].contiguous())
        size = start.size[:rank]
        unit = replace(rows, x=rows.x * size).contrast
        variance = spread / max(unit, 1e-12) * size.square()
        # Few people in few columns differ in fewer directions than were asked for: nobody goes along the others.
        variance = variance.clamp_min(1e-9 * float(variance.max()) + 1e-12)
        zero = torch.zeros_like(size)
        mode, _, _ = modes(buckets(rows), self.rule, zero, torch.diag(1 / variance), data.raters)
        known = mode[rows.present]
        mode = torch.where(rows.present[:, None], mode, known.mean(0))
        moment = known.T @ known / len(known) + 1e-6 * torch.diag(variance)
        prior = Around(known, moment, draws=self.draws, strength=self.strength)
        draws = Draws(mode[None], torch.ones(1, data.raters).to(mode))
        worth = start.worth.onto(start.matrix[:, 1 : 1 + rank].contiguous())
        return self._belief(data, worth, prior, draws, {"rank": rank})

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
        assert isinstance(found.prior, Simplex)
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
            prior = Gaussian(surer(mean, covariance, curvature, rows), covariance, self.draws)
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


@dataclass(frozen=True)
class Start:
    """Shared directions found without alternation; every rank is a number of leading columns.

    Attributes:
        worth: the utility's own basis, of width Z.
        matrix: (Z, 1 + Q) the common taste, and the directions along which raters' estimates differ, largest first.
        size: (Q,) how far.
        rows: the answers in the basis `matrix`.
    """

    worth: LinearWorth
    matrix: Float[Tensor, "Z Q1"]
    size: Float[Tensor, " Q"]
    rows: Rows

    def rows_of(self, rank: int) -> Rows:
        """The answers in the common taste and the first `rank` directions."""
        return replace(self.rows, x=self.rows.x[..., : 1 + rank].contiguous())


def start_of(data: Comparisons, worth: LinearWorth, rule: ChoiceRule, rank: int) -> Start:
    """The common taste and the leading directions of whole tastes.

    Whole tastes, not departures from the common one: what a good common taste predicts well has slope zero, and
    would say nothing.
    """
    common = common_taste(data, worth, rule, 1.0)
    side, size = spectral(data, worth, rule, torch.zeros_like(common), max(rank, 1), SHRUNK)
    matrix = torch.cat([common[:, None], side], 1)
    return Start(worth, matrix, size, Rows.of(data, worth.onto(matrix).basis(data.options), rule))


def _with(candidate: Callable[..., Belief], *settings: object) -> Callable[[Comparisons], Belief]:
    return lambda part: candidate(part, *settings)


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
