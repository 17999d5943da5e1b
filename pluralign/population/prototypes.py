"""Prototypes: every rater's taste is a mix of a few tastes. PAL's population, with a likelihood and a prior."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.camps import Camps
from pluralign.population.held_out import Name, check_ridge, choose, need_raters, some_of_both
from pluralign.population.mixing import clouded, mixed
from pluralign.population.pooled import common_taste, need_answers
from pluralign.population.prior import Atoms
from pluralign.population.simplex import Mixes, Simplex, dirichlet_grid
from pluralign.population.training import train
from pluralign.population.wide import is_wide
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, Utility, Worth
from pluralign.utility.conditional import only_shown
from pluralign.utility.linear import LinearWorth
from pluralign.utility.mlp import MLPWorth

SIZES = (1, 2, 3, 4, 6)
RIDGES = (0.02, 0.2, 2.0, 10.0)
MIDDLE = 2.0  # the ridge under which the number of prototypes is chosen
LAWS: tuple[float | str, ...] = (
    "learned",
    0.2,
    0.05,
    "cloud",
)  # of mixes; learning is slow to come near corners, or to them
DRAFTED = 20_000  # answers by which settings are chosen
CAUTION = 1.0  # standard errors by which more prototypes must be better than fewer
WORTHWHILE = 0.01  # of what the best number gains over one, which a smaller number may miss


@dataclass(frozen=True)
class Prototypes:
    """taste of rater r = w_r @ prototypes, w_r on the simplex, w_r ~ Dirichlet.

    Camps are the special case where everybody sits at a corner (small concentration).

    Attributes:
        prototypes: K, or "auto": chosen among 1, 2, 3, 4, 6 by held-out likelihood, the smallest number that is
            not clearly worse than the best; once more under the law of mixes that is chosen.
        utility, rule: as in Pooled; Ideal() makes prototypes ideal points that share a metric.
        ridge: 1 / variance of the normal prior that draws prototypes to the common taste; "auto" chooses by
            held-out likelihood.
        concentration: of the Dirichlet distribution, the same for every prototype; "learned" is one for each; "cloud" is no
            Dirichlet distribution, but a share for each of many mixes (`Mixes`), whatever shape their law has; "auto" is
            "learned", .2 (near corners), .05 (at corners) or "cloud", whichever predicts held-out answers best.
        draws: tastes that describe each rater; a cloud has up to eight times as many.
        rounds: EM rounds, or climbs, at most.

    Source: Chen et al., PAL (ICLR 2025). Theirs is a hinge loss by gradient steps without a prior on weights; here
    the answers have a likelihood, corners start from camps, and each half of a round is solved; under a cloud of mixes, of
    few answers by many people who hardly err, the likelihood is climbed as a whole (`climb.py`).
    """

    prototypes: int | str = "auto"
    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    ridge: float | str = "auto"
    concentration: float | str = "auto"
    draws: int = 128
    rounds: int = 30

    def __post_init__(self) -> None:
        check_ridge(self.ridge)
        if self.prototypes != "auto" and (not isinstance(self.prototypes, int) or self.prototypes < 1):
            raise ValueError(f'`prototypes` must be a positive number or "auto", got {self.prototypes!r}.')
        if not (self.concentration in ("auto", "learned", "cloud") or _positive(self.concentration)):
            raise ValueError(
                '`concentration` must be a positive number, "learned", "cloud" or "auto", got '
                f"{self.concentration!r}."
            )
        if self.draws < 2:
            raise ValueError(f"`draws` must be at least 2, got {self.draws}.")

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; the belief's draws are weighted mixes of the prototypes.

        Raises:
            ValueError: more prototypes than raters.
        """
        need_answers(data)
        streams = Streams.of(seed)
        present = need_raters("prototypes", self.prototypes, data, "prototypes")
        sizes = [k for k in SIZES if k <= present] if self.prototypes == "auto" else [int(self.prototypes)]
        ridge = middle = MIDDLE if self.ridge == "auto" else float(self.ridge)
        draft = replace(self, rounds=min(self.rounds, 8), draws=min(self.draws, 64))
        drafted = data  # one part for all choices, so that each number of prototypes is started once
        if held is not None:
            drafted, held = some_of_both(data, held, streams.below("drafted"), DRAFTED)
        starts: dict[
            tuple[int, int], tuple[Comparisons, Tensor]
        ] = {}  # the part is kept: its id stays its own

        def begin(part: Comparisons, worth: LinearWorth, count: int) -> Tensor:
            if (id(part), count) not in starts:
                found = corners(part, worth, self.utility, self.rule, streams.below(count), count, middle)
                starts[id(part), count] = (part, found)
            return starts[id(part), count][1]

        def candidate(
            count: int, ridge: float, concentration: float | str
        ) -> Callable[[Comparisons], Belief]:
            settings = replace(draft, concentration=concentration)
            return lambda part: settings._fit(part, streams.below(count), count, ridge, begin)

        notes: dict[str, object] = {}

        def picked(
            name: str, options: dict[Name, Callable[[Comparisons], Belief]], cautious: float = 0.0
        ) -> Name:
            best, choice = choose(
                options,
                drafted,
                streams.below(name),
                held,
                cautious=cautious,
                worthwhile=WORTHWHILE,
                most=DRAFTED,
            )
            notes[f"{name}_table"] = choice.table
            return best

        def counted(sizes: list[int], ridge: float, law: float | str) -> int:
            return picked("prototypes", {k: candidate(k, ridge, law) for k in sizes}, CAUTION)

        def ridged(count: int, law: float | str) -> float:
            return picked("ridge", {r: candidate(count, r, law) for r in RIDGES})

        law = self.concentration
        count = counted(sizes, ridge, law)
        linear = isinstance(self.utility.start(data, width=count, generator=streams("start")), LinearWorth)
        own_ridge = self.ridge == "auto" and linear  # a network has its own way to keep weights small
        if own_ridge:
            ridge = ridged(count, law)
        if law == "auto" and linear and count > 1:
            law = picked("concentration", {one: candidate(count, ridge, one) for one in LAWS})
            notes["concentration"] = law
            more = [k for k in sizes if k >= count]
            if law != LAWS[0] and len(more) > 1:  # the number was chosen under another law
                found = counted(more, ridge, law)
                if found != count and own_ridge:
                    ridge = ridged(found, law)
                count = found
        settings = replace(self, concentration=law)
        belief = settings._fit(data, streams.below(count), count, ridge)
        return replace(belief, settings=self, diagnostics={**belief.diagnostics, **notes})

    def _fit(
        self,
        data: Comparisons,
        streams: Streams,
        count: int,
        ridge: float,
        begin: Callable[[Comparisons, LinearWorth, int], Tensor] | None = None,
    ) -> Belief:
        worth = self.utility.start(data, width=count, generator=streams("start"))
        notes: dict[str, object] = {"prototypes": count, "ridge": ridge}
        fixed = None if isinstance(self.concentration, str) else float(self.concentration)
        if not isinstance(worth, LinearWorth):
            alpha = torch.full((count,), fixed or 1.0, dtype=torch.float64)
            worth, _, more = train(cast(MLPWorth, worth), dirichlet_grid(alpha, 64), self.rule, data, streams)
            prior = Simplex(torch.eye(count).double(), alpha, self.draws if count > 1 else 1)
            return self._belief(data, worth, prior, {**notes, **more})
        data = only_shown(data, worth)
        start = (
            begin(data, worth, count)
            if begin
            else corners(data, worth, self.utility, self.rule, streams, count, ridge)
        )
        told = (data, worth, self.rule, start)
        if self.concentration == "cloud" and count > 1:
            found = clouded(*told, ridge=ridge, draws=self.draws, rounds=self.rounds)
        else:
            found = mixed(*told, ridge=ridge, concentration=fixed, draws=self.draws, rounds=self.rounds)
        return self._belief(data, found.worth, found.prior, {**notes, "rounds": found.rounds})

    def _belief(self, data: Comparisons, worth: Worth, prior: Simplex | Mixes, notes: dict) -> Belief:
        draws = prior.posterior(data, worth.basis(data.options), self.rule)
        assert data.rater_ids is not None
        if isinstance(prior, Simplex):
            notes["dirichlet"] = tuple(prior.concentration.tolist())
        belief = Belief(worth, self.rule, prior, draws, data.rater_ids, self, notes)
        return replace(belief, diagnostics={**notes, "shrinkage": belief.shrinkage})


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def corners(
    data: Comparisons,
    worth: LinearWorth,
    utility: Utility,
    rule: ChoiceRule,
    streams: Streams,
    count: int,
    ridge: float,
) -> Float[Tensor, "Z K"]:
    """Where prototypes start: the tastes of as many camps, which lie inside the hull of the truth."""
    if count == 1:
        return common_taste(data, worth, rule, ridge)[:, None]
    camps = Camps(count, utility, rule, ridge, restarts=4, sweeps=60, tolerance=0.1)
    found = camps._fit(data, streams.below("camps"), count, ridge)
    assert isinstance(found.prior, Atoms)
    taste = found.prior.z.T
    if is_wide(worth):  # its basis is the camps themselves: read them back in that of the features
        assert isinstance(found.worth, LinearWorth)
        assert found.worth.matrix is not None
        inner = found.worth.matrix
        taste = (inner if worth.matrix is None else torch.linalg.lstsq(worth.matrix, inner).solution) @ taste
    return taste.contiguous()
