"""Pooled: everybody has one taste. Bradley-Terry and its kin."""

from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons, need_comparisons
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.held_out import check_ridge, choose
from pluralign.population.newton import crowd
from pluralign.population.prior import Atoms
from pluralign.population.rows import Rows
from pluralign.population.training import train
from pluralign.population.wide import Incidence, crowd_wide, is_wide
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, Utility, Worth
from pluralign.utility.linear import LinearWorth

RIDGES = (0.1, 1.0, 10.0, 100.0)
TOLD = (1.0, 0.3, 0.1)  # where the spreads of the features were found by evidence


@dataclass(frozen=True)
class Pooled:
    """One taste for all raters: penalised maximum likelihood, exact for linear utilities.

    Attributes:
        utility: what an option is worth.
        rule: how worths become answers.
        ridge: strength of the normal prior on the taste (1 / variance, on standardised features);
            "auto" chooses among .1, 1, 10, 100 by held-out likelihood; where
            spreads were found by evidence it is 1, or less where that is clearly better.

    Source: Bradley and Terry (1952); Luce (1959).
    """

    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    ridge: float | str = "auto"

    def __post_init__(self) -> None:
        check_ridge(self.ridge)

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; the belief has one draw of one taste for everybody."""
        need_answers(data)
        streams = Streams.of(seed)
        worth = self.utility.start(data, width=1, generator=streams("start"))
        if not isinstance(worth, LinearWorth):
            worth, _, _ = train(worth, torch.ones(1, 1, dtype=torch.float64), self.rule, data, streams)
            return self._belief(data, worth, torch.ones(1, dtype=torch.float64), {})
        notes: dict[str, object] = {}
        ridge = self.ridge
        if ridge == "auto":
            # Where spreads were found in the answers already, 1 is right but for a reason.
            told = worth.unsaid is not None
            ridge, choice = choose(
                {r: partial(self._solve, worth=worth, ridge=r) for r in (TOLD if told else RIDGES)},
                data,
                streams.below("ridge"),
                held,
                cautious=1.0 if told else 0.0,
                worthwhile=0.0,
            )
            notes = {"ridge": float(ridge), "ridge_table": choice.table}
        return self._solve(data, worth, float(ridge), notes)

    def _solve(
        self, data: Comparisons, worth: LinearWorth, ridge: float, notes: dict | None = None
    ) -> Belief:
        taste = common_taste(data, worth, self.rule, ridge)
        if is_wide(worth):
            worth, taste = worth.onto(taste[:, None]), torch.ones(1, dtype=taste.dtype)
        return self._belief(data, worth, taste, notes or {"ridge": ridge})

    def _belief(self, data: Comparisons, worth: Worth, taste: Tensor, notes: dict) -> Belief:
        prior = Atoms(taste[None], torch.ones(1).to(taste))
        draws = Draws.atoms(taste[None], torch.ones(1, data.raters).to(taste))
        assert data.rater_ids is not None
        return Belief(worth, self.rule, prior, draws, data.rater_ids, self, notes)


def common_taste(data: Comparisons, worth: Worth, rule: ChoiceRule, ridge: float) -> Float[Tensor, " Z"]:
    """The one taste that explains all answers best, with a normal prior of precision `ridge`."""
    start = torch.zeros(1, worth.width, dtype=torch.float64)
    if is_wide(worth):
        return crowd_wide(Incidence.of(data, worth, rule), start, ridge=ridge)[0]
    return crowd(Rows.of(data, worth.basis(data.options), rule), start, ridge=ridge)[0]


def need_answers(data: Comparisons) -> None:
    """Raise when there is nothing to learn from."""
    need_comparisons("fit", data)
    if not len(data):
        raise ValueError(
            "fit needs at least one answer, got none; check the filter or the split that made the data."
        )
