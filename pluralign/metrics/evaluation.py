"""Judge predictions on answers that were kept apart: one table, every number with its interval over raters."""

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons, need_comparisons
from pluralign.metrics.calibration import calibration_error, reliability, vote_shares
from pluralign.metrics.estimate import Estimate, bootstrap, worst_decile, worst_rater
from pluralign.metrics.scores import accuracy, brier, log_loss, per_rater
from pluralign.streams import Seed, Streams

FLOOR = 1e-12  # no prediction is punished by more than 28 nats
CROWD = 5  # answers to one question from which a share of votes can be read
HIGHER_IS_BETTER = ("accuracy", "accuracy_per_answer", "accuracy_worst_decile", "accuracy_worst_rater")


@runtime_checkable
class Predicts(Protocol):
    """Anything that predicts shares: a belief, or a model of your own."""

    def predict(self, data: Comparisons, draws: Any = None) -> Float[Tensor, "M K"]: ...


@dataclass(frozen=True)
class Row:
    """One number of a table.

    Attributes:
        metric: accuracy, log_loss, ...
        value: accuracy and calibration as shares in [0, 1], log loss in nats.
        low, high: 95 % interval, raters drawn again.
        standard_error: of the value.
        n: raters behind it.
        answers: how many answers of a rater were known; "all" for those of training.
    """

    metric: str
    value: float
    low: float
    high: float
    standard_error: float
    n: int
    answers: str = "all"


@dataclass(frozen=True)
class Table:
    """Rows of numbers with intervals; prints as text, shows as HTML in a notebook."""

    rows: tuple[Row, ...]

    def __getitem__(self, metric: str) -> Row:
        """The first row of this metric.

        Raises:
            KeyError: there is none; the message lists the metrics.
        """
        for row in self.rows:
            if row.metric == metric:
                return row
        raise KeyError(
            f"no metric {metric!r}; there are {', '.join(dict.fromkeys(r.metric for r in self.rows))}."
        )

    def at(self, answers: int | str) -> "Table":
        """The rows for this number of answers."""
        return Table(tuple(row for row in self.rows if row.answers == str(answers)))

    def frame(self) -> pd.DataFrame:
        """The rows as a pandas frame."""
        return pd.DataFrame([vars(row) for row in self.rows])

    def _cells(self) -> list[tuple[str, ...]]:
        several = len({row.answers for row in self.rows}) > 1
        head = ("metric", *(("answers",) if several else ()), "value", "95 % interval", "raters")
        body = [
            (
                row.metric.replace("_", " "),
                *((row.answers,) if several else ()),
                f"{row.value:z.3f}",
                "" if math.isnan(row.low) else f"{row.low:z.3f} to {row.high:z.3f}",
                f"{row.n:,}",
            )
            for row in self.rows
        ]
        return [head, *body]

    def __str__(self) -> str:
        cells = self._cells()
        wide = [max(len(row[c]) for row in cells) for c in range(len(cells[0]))]
        lines = ["  ".join(text.ljust(w) for text, w in zip(row, wide)).rstrip() for row in cells]
        return "\n".join([lines[0], "-" * (sum(wide) + 2 * len(wide) - 2), *lines[1:]])

    def _repr_html_(self) -> str:
        head, *body = self._cells()
        line = lambda tag, row: "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in row) + "</tr>"
        return f"<table>{line('th', head)}{''.join(line('td', row) for row in body)}</table>"


def evaluate(
    belief: Predicts,
    test: Comparisons,
    draws: Any = None,
    seed: Seed = 0,
    *,
    samples: int = 1000,
    strict: bool = False,
) -> Table:
    """How well a belief predicts `test`: accuracy, log loss, Brier, calibration, worst raters.

    Numbers are averages over raters, each rater counting once however many answers there are; `_per_answer`
    averages over answers. Undecided answers (ties) are left out of accuracy and log loss.

    Args:
        belief: what was fitted; anything with `predict`.
        test: answers that were not fitted.
        draws: tastes of the raters of `test` (from `adapt`), or several by number of answers, {0: draws, 5: draws};
            by default what the belief knows from training.
        seed: of the bootstrap over raters.
        samples: resamples.
        strict: raise for raters that the belief never met and that no draws are given for, instead of predicting them
            from its prior.

    Raises:
        ValueError: `test` is empty or has no decided answer.
        KeyError: `strict`, and somebody was never met.
    """
    need_comparisons("evaluate", test)
    several = draws if isinstance(draws, Mapping) else {"all": draws}
    rows: list[Row] = []
    for answers, one in several.items():
        known: dict[str, Any] = {"strict": True} if strict and one is None else {}
        share = belief.predict(test, **known) if one is None else belief.predict(test, one)
        rows += score(share, test, seed, answers=str(answers), samples=samples).rows
    return Table(tuple(rows))


def score(
    share: Float[Tensor, "M K"],
    test: Comparisons,
    seed: Seed = 0,
    *,
    answers: str = "all",
    samples: int = 1000,
) -> Table:
    """The table of `evaluate` for shares (M, K) that were predicted already."""
    by = rater_scores(share, test)
    rows: list[Row] = []

    def add(metric: str, found: Estimate) -> None:
        low, high = found.low, found.high
        rows.append(Row(metric, found.value, low, high, found.standard_error, found.n, answers))

    drawn = lambda x, *how: _drawn(x, *how, samples=samples, seed=seed)
    for metric in ("accuracy", "log_loss", "brier"):
        add(metric, drawn(by[metric]))
    add("calibration_error", _calibration(share, test, samples, seed))
    if (votes := _vote_share(share, test, samples, seed)) is not None:
        add("vote_share_error", votes)
    for metric, worst in (("accuracy", "low"), ("log_loss", "high")):
        add(f"{metric}_worst_decile", drawn(by[metric], lambda x, w=worst: worst_decile(x, worst=w)))
    add("accuracy_worst_rater", drawn(by["accuracy"], worst_rater))
    for metric in ("accuracy", "log_loss"):
        both = torch.stack([by[metric] * by["answers"], by["answers"]], 1)
        add(f"{metric}_per_answer", drawn(both, lambda x: x[..., 0].sum(1) / x[..., 1].sum(1)))
    return Table(tuple(rows))


def rater_scores(share: Float[Tensor, "M K"], test: Comparisons) -> dict[str, Float[Tensor, " R"]]:
    """Mean accuracy, log loss, Brier score, and the number of decided `answers`, for each of R raters.

    NaN for raters without a decided answer (0 for the number).
    """
    if not len(test):
        raise ValueError("there must be answers to judge by, got none; check the split.")
    share, label = share.double(), test.label.double()
    decided = test.decided
    if not bool(decided.any()):
        raise ValueError(f"all {len(test)} answers are ties: there is nothing to be right about.")
    fitted = share.clamp_min(FLOOR)
    mean = lambda value: per_rater(torch.where(decided, value, torch.nan), test.rater, test.raters)
    return {
        "accuracy": mean(accuracy(share, label)),
        "log_loss": mean(log_loss(fitted, label)),
        "brier": mean(brier(share, label)),
        "answers": torch.bincount(test.rater[decided], minlength=test.raters).double(),
    }


def curve(share: Float[Tensor, "M K"], test: Comparisons, *, bins: int | None = None) -> Any:
    """The reliability curve on the decided answers; by default ten bins, fewer where they would hold under 20 answers."""
    decided = test.decided
    bins = max(2, min(10, int(decided.sum()) // 20)) if bins is None else bins
    return reliability(share[decided].double(), test.label[decided].double(), bins=bins)


def _drawn(x: Tensor, statistic: Any = None, *, samples: int, seed: Seed) -> Estimate:
    how = {} if statistic is None else {"statistic": statistic}
    found = bootstrap(x, samples=samples, seed=seed, **how)
    if found.n > 1:
        return found
    return Estimate(found.value, math.nan, found.n, math.nan, math.nan)  # one rater tells nothing of others


def _calibration(share: Tensor, test: Comparisons, samples: int, seed: Seed) -> Estimate:
    decided = test.decided
    found = calibration_error(
        share[decided].double(),
        test.label[decided].double(),
        rater=test.rater[decided],
        samples=samples,
        seed=seed,
    )
    return found if found.n > 1 else Estimate(found.value, math.nan, found.n, math.nan, math.nan)


def _vote_share(share: Tensor, test: Comparisons, samples: int, seed: Seed) -> Estimate | None:
    """Mean distance between predicted and observed shares of votes, over questions many people answered."""
    try:
        found = vote_shares(
            share.double(), test.label.double(), test.slate, least=CROWD, samples=1, seed=seed
        )
    except ValueError:
        return None
    from scipy.sparse import coo_array

    slate, place = test.slate.sort(1)
    gap = (share.double() - test.label.double()).gather(1, place)
    _, where, count = torch.unique(slate, dim=0, return_inverse=True, return_counts=True)
    kept = count[where] >= CROWD
    rater = torch.unique(test.rater[kept], return_inverse=True)[1]
    raters, where = int(rater.max()) + 1, where[kept]
    cells = (where.numpy(), rater.numpy())
    shape = (len(count), raters)
    generator = Streams.of(seed)("bootstrap of votes")
    again = torch.randint(raters, (min(samples, 200), raters), generator=generator)
    times = torch.zeros(raters, len(again), dtype=torch.float64)
    times.scatter_add_(0, again.T, torch.ones(raters, len(again), dtype=torch.float64))
    error = sum(
        abs(coo_array((gap[kept, k].numpy(), cells), shape=shape).tocsr() @ times.numpy()).sum(0)
        for k in range(test.places)
    )
    total = coo_array((torch.ones(len(where)).double().numpy(), cells), shape=shape).tocsr() @ times.numpy()
    drawn = torch.as_tensor(error / 2 / total.sum(0))
    # A mean of absolute values grows by resampling, so only its spread is used.
    spread = float(drawn.std()) if raters > 1 else math.nan
    return Estimate.normal(found.error, spread, raters)
