"""Covariates: what people of the same country or age think tells something of a rater before the first answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import Comparisons
from pluralign.population.anchored import anchored
from pluralign.population.belief import Belief
from pluralign.population.held_out import some
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.newton import crowd
from pluralign.population.pooled import need_answers
from pluralign.population.rows import Rows, likelihood
from pluralign.population.wide import is_wide
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear
from pluralign.utility.like_raters import LikeRaters, added, widened
from pluralign.utility.linear import LinearWorth

COMMON = 3.0  # 1 / variance of the weights of the common taste
RIDGES = (3.0, 30.0, 300.0, 3000.0)
FOLDS = 10
FEWEST = 10  # raters; with fewer, a covariate is a name
WIDEST = 16  # directions that are crossed with covariates, where features are many
SURE = 2.0  # standard errors; what a covariate tells weakly, a few answers tell better
MOST = 160_000  # answers from which shifts are learnt


@dataclass(frozen=True)
class WithCovariates:
    """Any population over one feature more: how much more an option is worth to people like the rater than to people at large.

    That is linear in the features crossed with the covariates of raters, and is fitted to all answers together. In
    training it comes from fits that did not see the rater, so that it means the same for a stranger. Tastes are
    spread around it by `population`, which finds out how far to follow it.

    Attributes:
        population: how people of the same covariates differ.
        use: whether covariates are used; "auto" asks whether they predict raters left out of the fit better than
            the common taste does, by two standard errors.
        covariate_ridge: 1 / variance of what a covariate of one standard deviation changes in a weight; "auto" takes
            the best of 3, 30, 300, 3000 for raters left out.

    Source: a mixed logit with variables of the individual; Train (2009), sections 2.5 and 6.
    """

    population: Any = field(default_factory=Hierarchical)
    use: bool | str = "auto"
    covariate_ridge: float | str = "auto"

    def __post_init__(self) -> None:
        if self.use not in (True, False, "auto"):
            raise ValueError(f'`use` must be True, False or "auto", got {self.use!r}.')

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers of raters with covariates; where these are missing or tell nothing, the population alone.

        Raises:
            ValueError: `use` is True, and there are no covariates or the population's utility is not linear.
        """
        need_answers(data)
        streams = Streams.of(seed)
        utility = getattr(self.population, "utility", None) or Linear()
        rule = getattr(self.population, "rule", None) or Luce()
        missing = self._missing(data, utility)
        if self.use is False or missing:
            if self.use is True:
                raise ValueError(f"covariates: {missing}.")
            return self._alone(
                data, seed, held, {"use": False, "covariates": f"left out, {missing or 'as asked'}"}
            )
        first = _columns(utility, rule, data, streams)
        ridges = RIDGES if self.covariate_ridge == "auto" else (float(self.covariate_ridge),)
        found = shifts(some(data, streams.below("some"), MOST), first, rule, streams.below("folds"), ridges)
        notes: dict[str, Any] = {"covariate_gain": found.gain, "covariate_error": found.error}
        if self.use == "auto" and found.gain <= SURE * found.error:
            return self._alone(
                data,
                seed,
                held,
                {**notes, "use": False, "covariates": "left out, they tell nothing of strangers"},
            )
        shift = found.shift[-1]
        rows = first.basis(data.options)
        by_fold = torch.stack([added(data, rows, one) for one in found.shift])  # (FOLDS + 1, M, K)
        unseen = by_fold[found.fold_of(data)[data.rater], torch.arange(len(data))]
        if held is not None:
            asked = first.basis(held.options)
            held = widened(held, asked, added(held, asked, shift))
        belief = self.population.fit(widened(data, rows, unseen), seed, held=held)
        notes |= {
            "use": True,
            "covariate_ridge": found.ridge,
            "covariates": "used",
            "shift_error": found.shift_error,
        }
        worth = LikeRaters(belief.worth, first, shift)
        return replace(belief, worth=worth, settings=self, diagnostics={**belief.diagnostics, **notes})

    def _missing(self, data: Comparisons, utility: Any) -> str:
        """What stands in the way of covariates, in a sentence; nothing where nothing does."""
        people = int((data.counts > 0).sum())
        if data.covariates is None or not data.covariates.shape[1]:
            return "the raters have none; read the answers with `covariates=`"
        if people < FEWEST:
            return f"answers of at least {FEWEST} raters are needed, got {people}"
        if not isinstance(utility, Linear):
            return f"the utility must be linear, got {type(utility).__name__}; use another population"
        return ""

    def _alone(
        self, data: Comparisons, seed: Seed, held: Comparisons | None, notes: dict[str, Any]
    ) -> Belief:
        plain = replace(data, covariates=None)
        belief = self.population.fit(plain, seed, held=held)
        return replace(belief, settings=self, diagnostics={**belief.diagnostics, **notes})


def _columns(utility: Linear, rule: ChoiceRule, data: Comparisons, streams: Streams) -> LinearWorth:
    """Few columns to cross: the features, or the directions in which tastes differ most where these are many."""
    worth = utility.start(data, width=None, generator=streams("start"))
    if not is_wide(worth) and worth.vocabulary is None:
        return worth
    full, directions = anchored(utility, rule, data, streams.below("anchored"), width=WIDEST, ridge=COMMON)
    return full.onto(directions)


@dataclass(frozen=True)
class Shifts:
    """How covariates shift the common taste, by penalised maximum likelihood.

    Attributes:
        shift: (FOLDS + 1, C, Q), each without the raters of one fold, the last of all raters.
        fold: the number of the fold of each rater id; who is in none was in no fit but the last.
        gain, error: how much better covariates predict raters left out than the common taste does (nats per answer, mean
            over raters), and its standard error.
    """

    shift: Float[Tensor, "F C Q"]
    fold: dict[str, int]
    ridge: float
    gain: float
    error: float

    @property
    def shift_error(self) -> Float[Tensor, "C Q"]:
        """(C, Q) standard error of the shift, raters left out a fold at a time (a grouped jackknife)."""
        part = self.shift[:-1]
        return ((len(part) - 1) / len(part) * (part - part.mean(0)).square().sum(0)).sqrt()

    def fold_of(self, data: Comparisons) -> Int[Tensor, " R"]:
        """(R,) which of the shifts did not see the rater."""
        assert data.rater_ids is not None
        last = len(self.shift) - 1
        return torch.tensor([self.fold.get(name, last) for name in data.rater_ids], dtype=torch.long)


def shifts(
    data: Comparisons, first: LinearWorth, rule: ChoiceRule, streams: Streams, ridges: Sequence[float]
) -> Shifts:
    """How the taste of people goes by their covariates, cross-fitted over raters."""
    rows = Rows.of(data, first.basis(data.options), rule)
    assert data.covariates is not None
    told = data.covariates.to(rows.x)[rows.rater]
    crossed = (rows.x[:, :, None, :] * told[:, None, :, None]).flatten(2)
    full = replace(rows, x=torch.cat([rows.x, crossed], 2))
    fold = torch.randperm(data.raters, generator=streams("fold")) % FOLDS
    weight = (torch.arange(FOLDS + 1)[:, None] != fold[rows.rater]).to(rows.x)  # (FOLDS + 1, M)

    def fitted(these: Rows, ridge: float) -> tuple[Tensor, Tensor]:
        strength = torch.full((these.width,), ridge, dtype=torch.float64)
        strength[: rows.width] = COMMON
        start = torch.zeros(FOLDS + 1, these.width, dtype=torch.float64)
        taste = crowd(these, start, weight, ridge=strength)
        value = likelihood(rule, these.eta(taste), these.label)[0]
        left_out = value.gather(0, fold[these.rater][None])[0]
        total = torch.zeros(data.raters, dtype=torch.float64).index_add_(0, these.rater, left_out)
        return taste, total[data.counts > 0] / data.counts[data.counts > 0]

    _, common = fitted(rows, COMMON)
    tried = [(ridge, *fitted(full, ridge)) for ridge in ridges]
    ridge, taste, best = max(tried, key=lambda one: float(one[2].mean()))
    gain = best - common
    assert data.rater_ids is not None
    return Shifts(
        taste.reshape(FOLDS + 1, -1, rows.width)[:, 1:],
        dict(zip(data.rater_ids, fold.tolist(), strict=True)),
        ridge,
        float(gain.mean()),
        float(gain.std() / len(gain) ** 0.5),
    )


__all__ = ["Shifts", "WithCovariates", "shifts"]
