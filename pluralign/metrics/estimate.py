"""Numbers with their uncertainty: means, the bootstrap over raters, the interquartile mean over seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from scipy.special import ndtr, ndtri
from scipy.stats import t as student
from torch import Tensor

from pluralign.streams import Seed, Streams

Statistic = Callable[[Tensor], Tensor]  # (B, R, *columns) to (B,): B resamples at once
AT_ONCE = 4_000_000  # numbers gathered per piece of a bootstrap, 32 MB


@dataclass(frozen=True)
class Estimate:
    """A value that was measured on n independent units (raters, seeds, samples).

    Attributes:
        value: in the unit of what was measured.
        standard_error: of `value`; NaN where n is too small to tell.
        n: independent units behind it.
        low, high: ends of the confidence interval.
        level: what the interval promises.
    """

    value: float
    standard_error: float
    n: int
    low: float
    high: float
    level: float = 0.95

    def __str__(self) -> str:
        """Value ± standard error, to two digits of the standard error."""
        error = self.standard_error
        digits = 3
        if math.isfinite(error) and error > 0:
            digits = min(max(1 - math.floor(math.log10(error)), 0), 9)
        return f"{self.value:.{digits}f} ± {error:.{digits}f} (n = {self.n})"

    def __float__(self) -> float:
        return self.value

    @staticmethod
    def normal(value: float, standard_error: float, n: int, *, level: float = 0.95) -> "Estimate":
        """The interval of a value whose error is about normal."""
        wide = float(ndtri(0.5 + _checked(level) / 2)) * standard_error
        return Estimate(value, standard_error, n, value - wide, value + wide, level)

    @staticmethod
    def mean(x: Float[Tensor, " R"], *, level: float = 0.95) -> "Estimate":
        """Mean of independent units with Student's interval; NaN marks a unit without a score, left out."""
        x = _scored(x)
        n = len(x)
        value = float(x.mean())
        if n < 2:
            return Estimate(value, math.nan, n, math.nan, math.nan, level)
        error = float(x.std()) / math.sqrt(n)
        wide = float(student.ppf(0.5 + _checked(level) / 2, n - 1)) * error
        return Estimate(value, error, n, value - wide, value + wide, level)


def paired(a: Float[Tensor, " R"], b: Float[Tensor, " R"], *, level: float = 0.95) -> Estimate:
    """Mean of a - b over units that both were scored on; much narrower than two separate intervals.

    Raises:
        ValueError: one of the two lacks a score that the other has.
    """
    _check_pair(a, b)
    return Estimate.mean(a.double() - b.double(), level=level)


def mean(x: Float[Tensor, "B R *columns"]) -> Float[Tensor, " B"]:
    """Mean over everything but the first axis."""
    return x.flatten(1).mean(1)


def worst_decile(
    x: Float[Tensor, "*b R"], *, share: float = 0.1, worst: Literal["low", "high"] = "low"
) -> Float[Tensor, "*b"]:
    """Mean of the worst tenth of the last axis; 15 raters have 1.5 worst, the second counts half.

    Args:
        x: scores; give `worst="high"` for losses.
        share: which part, in (0, 1].
        worst: the end of the scale that is bad.
    """
    if not 0 < share <= 1:
        raise ValueError(f"`share` must be in (0, 1], got {share}; give 0.1 for the worst tenth.")
    ordered = x.sort(-1, descending=worst == "high").values
    count = x.shape[-1]
    # At least one whole rater: a tenth of four raters is the worst rater.
    size = max(share * count, 1.0)
    weight = (size - torch.arange(count, dtype=x.dtype, device=x.device)).clamp(0, 1)
    return ordered @ weight / size


def worst_rater(x: Float[Tensor, "*b R"], *, worst: Literal["low", "high"] = "low") -> Float[Tensor, "*b"]:
    """The worst of the last axis.

    With few answers per rater this is mostly the unluckiest one, and a bootstrap of an extreme has no
    guarantee; `worst_decile` is steadier.
    """
    return x.amin(-1) if worst == "low" else x.amax(-1)


def bootstrap(
    per_rater: Float[Tensor, "R *columns"],
    statistic: Statistic = mean,
    *,
    samples: int = 2000,
    seed: Seed = 0,
    level: float = 0.95,
    method: Literal["percentile", "bca"] = "percentile",
) -> Estimate:
    """Bootstrap over raters: answers of one person hang together, so people are what is drawn again.

    Equal `seed` and R give equal resamples, so estimates of several methods move together.

    Args:
        per_rater: (R, *columns); a rater with a NaN was not scored and is left out.
        statistic: (B, R, *columns) to (B,), for B resamples at once.
        samples: resamples.
        seed: of the stream "bootstrap".
        level: of the interval.
        method: percentiles, or BCa: corrected for bias and skew (Efron 1987).

    Raises:
        ValueError: no rater was scored.
    """
    x = _scored(per_rater)
    value = float(statistic(x[None])[0])
    drawn = _resampled(x, statistic, samples, seed)
    if method == "percentile":
        return _percentile(value, drawn, len(x), level)
    return _percentile(value, drawn, len(x), level, *_bias_and_skew(x, value, drawn, statistic))


def paired_bootstrap(
    a: Float[Tensor, "R *columns"],
    b: Float[Tensor, "R *columns"],
    statistic: Statistic = mean,
    *,
    samples: int = 2000,
    seed: Seed = 0,
    level: float = 0.95,
    method: Literal["percentile", "bca"] = "percentile",
) -> Estimate:
    """statistic(a) - statistic(b) with the same raters drawn for both; for deciles too, unlike `paired`."""
    _check_pair(a, b)
    both = torch.stack([a.double(), b.double()], -1)
    difference = lambda x: statistic(x[..., 0]) - statistic(x[..., 1])
    return bootstrap(both, difference, samples=samples, seed=seed, level=level, method=method)


def over_seeds(
    runs: Sequence[Float[Tensor, " _"]],
    statistic: Statistic = mean,
    *,
    samples: int = 2000,
    seed: Seed = 0,
    level: float = 0.95,
) -> Estimate:
    """The mean over seeds of a statistic of people: seeds are drawn again, and in each drawn one its people.

    Luck in training and luck in whom one met both count. With one seed people alone are drawn, and the interval says
    nothing of training; with S seeds its width leans to the small side by a factor of about sqrt(1 - 1 / S).

    Args:
        runs: one number a person for every seed; NaN marks a person without a score, left out.
        statistic: (B, R) to (B,), for B resamples of the people of a seed.

    Raises:
        ValueError: nobody was scored in some seed, or there is none.

    Source: the stratified bootstrap of Agarwal et al., NeurIPS 2021, with people inside runs.
    """
    if not runs:
        raise ValueError("no seeds to average: give the people's numbers of one at least.")
    kept = [_scored(run) for run in runs]
    value = float(torch.stack([statistic(run[None])[0] for run in kept]).mean())
    if len(kept) == 1:
        return _percentile(value, _resampled(kept[0], statistic, samples, seed), len(kept[0]), level)
    streams = Streams.of(seed)
    parts = [_resampled(run, statistic, samples, streams.below("seed", s)) for s, run in enumerate(kept)]
    table, generator = torch.stack(parts, 1), streams("seeds")  # (samples, S)
    which = torch.randint(len(kept), table.shape, generator=generator)
    # A seed that is drawn twice has other people the second time: rows are drawn as well.
    row = torch.randint(samples, table.shape, generator=generator)
    return _percentile(value, table[row, which].mean(1), len(kept), level)


def iqm(
    scores: Float[Tensor, "seeds tasks"], *, samples: int = 2000, seed: Seed = 0, level: float = 0.95
) -> Estimate:
    """Interquartile mean over all runs, with a bootstrap that draws seeds again within each task.

    Source: Agarwal et al., Deep RL at the edge of the statistical precipice, NeurIPS 2021.
    """
    if not torch.isfinite(scores).all():
        raise ValueError("`scores` must be finite; leave out the seeds that did not finish, in all tasks.")
    x = scores.double()
    seeds, tasks = x.shape
    generator = Streams.of(seed)("bootstrap")
    drawn = []
    for size in _pieces(samples, x.numel()):
        again = torch.randint(seeds, (size, seeds, tasks), generator=generator)
        drawn.append(_middle(x.expand(size, -1, -1).gather(1, again)))
    return _percentile(float(_middle(x[None])[0]), torch.cat(drawn), seeds * tasks, level)


def _middle(x: Tensor) -> Tensor:
    ordered = x.flatten(1).sort(1).values
    cut = int(0.25 * ordered.shape[1])  # as scipy.stats.trim_mean
    return ordered[:, cut : ordered.shape[1] - cut].mean(1)


def _pieces(samples: int, numbers: int) -> list[int]:
    size = max(1, AT_ONCE // max(numbers, 1))
    return [min(size, samples - start) for start in range(0, samples, size)]


def _resampled(x: Tensor, statistic: Statistic, samples: int, seed: Seed) -> Tensor:
    generator = Streams.of(seed)("bootstrap")
    drawn = []
    for size in _pieces(samples, x.numel()):
        drawn.append(statistic(x[torch.randint(len(x), (size, len(x)), generator=generator)]))
    return torch.cat(drawn)


def _bias_and_skew(x: Tensor, value: float, drawn: Tensor, statistic: Statistic) -> tuple[float, float]:
    """BCa's z0 and acceleration, the latter from leaving out one rater at a time."""
    below = float((drawn < value).double().mean() + (drawn == value).double().mean() / 2)
    if not 0 < below < 1 or len(x) < 2:
        raise ValueError(
            f"BCa needs resamples on both sides of the value {value:.6g}, got a share of {below:.3g} below; "
            'use method="percentile".'
        )
    n = len(x)
    others = torch.arange(n - 1).expand(n, -1)
    others = others + (others >= torch.arange(n)[:, None])
    left_out = torch.cat([statistic(x[rows]) for rows in others.split(max(1, AT_ONCE // x.numel()))])
    lean = left_out.mean() - left_out
    scale = lean.square().sum() ** 1.5
    return float(ndtri(below)), float(lean.pow(3).sum() / (6 * scale)) if scale > 0 else 0.0


def _percentile(
    value: float, drawn: Tensor, n: int, level: float, bias: float = 0.0, skew: float = 0.0
) -> Estimate:
    tail = (1 - _checked(level)) / 2
    ends = []
    for z in (float(ndtri(tail)), float(ndtri(1 - tail))):
        moved = bias + (bias + z) / (1 - skew * (bias + z))
        ends.append(float(torch.quantile(drawn.double(), float(ndtr(moved)))))
    return Estimate(value, float(drawn.std()), n, ends[0], ends[1], level)


def _scored(x: Tensor) -> Tensor:
    kept = x[~torch.isnan(x).flatten(1).any(1)] if x.dim() > 1 else x[~torch.isnan(x)]
    if not len(kept):
        raise ValueError(f"no scores to average: all {len(x)} are NaN or there are none.")
    return kept.double()


def _check_pair(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"paired scores must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}.")
    odd = (torch.isnan(a) != torch.isnan(b)).nonzero()
    if len(odd):
        raise ValueError(
            f"paired scores must cover the same raters; {len(odd)} are scored once only, first row "
            f"{int(odd[0, 0])}. Score both methods on the same answers."
        )


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"`level` must be in (0, 1), got {level}; give 0.95 for 95 %.")
    return level
