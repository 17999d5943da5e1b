"""Per rater: everybody has a taste of their own and tells nothing about anybody else."""

from dataclasses import dataclass, field
from functools import partial

import torch

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.held_out import check_ridge, choose
from pluralign.population.newton import modes
from pluralign.population.pooled import common_taste, need_answers
from pluralign.population.prior import Gaussian
from pluralign.population.rows import Rows, buckets
from pluralign.population.subspace import narrowed
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, Utility

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class PerRater:
    """A ridge regression for every rater; the control that shows what partial pooling is worth.

    Attributes:
        utility, rule: as in Pooled.
        ridge: 1 / variance of the prior on each taste; "auto" chooses by held-out likelihood.
        toward: "zero" (nothing is shared; a rater without answers is indifferent) or "pooled".
    """

    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    ridge: float | str = "auto"
    toward: str = "zero"

    def __post_init__(self) -> None:
        check_ridge(self.ridge)
        if self.toward not in ("zero", "pooled"):
            raise ValueError(f'`toward` must be "zero" or "pooled", got {self.toward!r}.')

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """One most probable taste per rater; the belief has one draw."""
        need_answers(data)
        streams = Streams.of(seed)
        worth = narrowed(self.utility, self.rule, data, streams)
        mean = torch.zeros(worth.width, dtype=torch.float64)
        if self.toward == "pooled":
            mean = common_taste(data, worth, self.rule, 1.0)

        def solve(part: Comparisons, ridge: float, notes: dict | None = None) -> Belief:
            rows = Rows.of(part, worth.basis(part.options), self.rule)
            precision = ridge * torch.eye(worth.width, dtype=torch.float64)
            mode, curvature, _ = modes(buckets(rows), self.rule, mean, precision, part.raters)
            prior = Gaussian(mean, torch.eye(worth.width, dtype=torch.float64) / ridge, draws=1)
            draws = prior.around(mode, curvature, rows, precision)
            assert part.rater_ids is not None
            return Belief(worth, self.rule, prior, draws, part.rater_ids, self, notes or {"ridge": ridge})

        if self.ridge != "auto":
            return solve(data, float(self.ridge))
        ridge, choice = choose(
            {r: partial(solve, ridge=r) for r in RIDGES}, data, streams.below("ridge"), held
        )
        return solve(data, ridge, {"ridge": ridge, "ridge_table": choice.table})
