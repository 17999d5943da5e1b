"""Do events that are called 70 % happen in 70 % of cases? For answers, and for the votes of a crowd."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.metrics.estimate import Estimate, bootstrap
from pluralign.metrics.scores import check_shares
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Reliability:
    """The reliability curve: one point per bin of answers that were predicted alike.

    Attributes:
        predicted: (B,) mean predicted share of the likeliest place.
        observed: (B,) mean share that this place got.
        count: (B,) answers.
        noise: (B,) standard error of observed - predicted, answers taken as independent.
    """

    predicted: Float[Tensor, " B"]
    observed: Float[Tensor, " B"]
    count: Int[Tensor, " B"]
    noise: Float[Tensor, " B"]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance from the diagonal."""
        return self._mean((self.predicted - self.observed).abs())

    @property
    def floor(self) -> float:
        """The error that perfect predictions would still show, by chance alone."""
        return self._mean(self.noise * math.sqrt(2 / math.pi))  # mean of |normal|

    def _mean(self, value: Tensor) -> float:
        return float((value * self.count).sum() / self.count.sum())


def reliability(share: Float[Tensor, "M K"], label: Float[Tensor, "M K"], *, bins: int = 15) -> Reliability:
    """The curve over bins of equal mass; equal predictions share a bin, so there may be fewer.

    The likeliest place of each answer counts, so nothing depends on who stood left. Graded labels and ties
    are outcomes between 0 and 1.
    """
    chance, outcome = _likeliest(share, label)
    where, count = _bins(chance, bins)
    total = lambda x: torch.zeros(len(count), dtype=torch.float64).index_add(0, where, x)
    predicted, observed = total(chance) / count, total(outcome) / count
    off = (outcome - chance) - (observed - predicted)[where]
    # Within a bin of one answer the spread is unknown; the prediction says what it should be.
    noise = (total(off.square()) / (count - 1).clamp_min(1) / count).sqrt()
    noise = torch.where(count > 1, noise, (predicted * (1 - predicted)).clamp_min(0).sqrt())
    return Reliability(predicted, observed, count, noise)


def calibration_error(
    share: Float[Tensor, "M K"],
    label: Float[Tensor, "M K"],
    *,
    rater: Int[Tensor, " M"] | None = None,
    bins: int = 15,
    samples: int = 500,
    seed: Seed = 0,
) -> Estimate:
    """Expected calibration error over bins of equal mass, with the standard error of a bootstrap over raters.

    Args:
        share, label: (M, K) predicted and given.
        rater: (M,) who answered; by default everybody answered once.
        bins: of equal mass.
        samples, seed: of the bootstrap, which keeps the bins.
    """
    curve = reliability(share, label, bins=bins)
    chance, outcome = _likeliest(share, label)
    where, count = _bins(chance, bins)
    rater = torch.arange(len(chance)) if rater is None else torch.unique(rater, return_inverse=True)[1]
    size, width = int(rater.max()) + 1, len(count)
    cell = rater * width + where
    gap = torch.zeros(size * width, dtype=torch.float64).index_add(0, cell, outcome - chance)
    answers = torch.bincount(cell, minlength=size * width).double()
    table = torch.stack([gap, answers], 1).view(size, width, 2)
    drawn = bootstrap(
        table,
        lambda x: x[..., 0].sum(1).abs().sum(1) / x[..., 1].sum((1, 2)),
        samples=samples,
        seed=seed,
    )
    # A mean of absolute values grows by resampling, so percentiles would sit too high.
    return Estimate.normal(curve.error, drawn.standard_error, size)


@dataclass(frozen=True)
class VoteShares:
    """What a crowd said about each slate against what was predicted for that crowd.

    Attributes:
        slate: (P, K) the distinct slates, options in ascending order.
        predicted, observed: (P, K) mean share per option.
        count: (P,) answers.
        floor: the error that perfect predictions would still show, answers drawn as predicted.
    """

    slate: Int[Tensor, "P K"]
    predicted: Float[Tensor, "P K"]
    observed: Float[Tensor, "P K"]
    count: Int[Tensor, " P"]
    floor: float

    @property
    def gap(self) -> Float[Tensor, " P"]:
        """(P,) part of the vote that was predicted wrongly; for pairs the difference of the two shares."""
        return (self.predicted - self.observed).abs().sum(-1) / 2

    @property
    def error(self) -> float:
        """Mean gap, slates weighted by their answers."""
        return float((self.gap * self.count).sum() / self.count.sum())


def vote_shares(
    share: Float[Tensor, "M K"],
    label: Float[Tensor, "M K"],
    slate: Int[Tensor, "M K"],
    *,
    least: int = 1,
    samples: int = 200,
    seed: Seed = 0,
) -> VoteShares:
    """Vote-share calibration: mean prediction against mean answer for every slate, whatever its order.

    Args:
        share, label: (M, K) predicted and given.
        slate: (M, K) the options shown.
        least: slates with fewer answers are left out.
        samples, seed: of the simulation behind `floor`.

    Raises:
        ValueError: no slate has `least` answers.
    """
    check_shares(share, label)
    ordered, place = slate.sort(1)
    share, label = share.double().gather(1, place), label.double().gather(1, place)
    distinct, where, count = torch.unique(ordered, dim=0, return_inverse=True, return_counts=True)
    kept = count >= least
    if not kept.any():
        most = int(count.max()) if len(count) else 0
        raise ValueError(f"no slate has {least} answers, the most is {most}; give a smaller `least`.")
    total = lambda x: torch.zeros(len(count), x.shape[1], dtype=torch.float64).index_add(0, where, x)
    predicted, observed = (total(x) / count[:, None] for x in (share, label))
    generator = Streams.of(seed)("floor")
    floor = torch.zeros(len(count), dtype=torch.float64)
    drawn = torch.multinomial(share.clamp_min(0), samples, replacement=True, generator=generator)
    for draw in drawn.T:
        votes = total(torch.nn.functional.one_hot(draw, share.shape[1]).double()) / count[:, None]
        floor += (votes - predicted).abs().sum(-1) / 2 / samples
    mean_floor = float((floor * count)[kept].sum() / count[kept].sum())
    return VoteShares(distinct[kept], predicted[kept], observed[kept], count[kept], mean_floor)


def _likeliest(share: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    check_shares(share, label)
    if not len(share):
        raise ValueError("calibration needs answers, got none.")
    chance = share.double().amax(-1, keepdim=True)
    # Among equally likely places the label's mean: taking the first would measure a preference for the left.
    same = (share.double() >= chance - 1e-6).double()
    outcome = (same * label.double()).sum(-1) / same.sum(-1)
    return chance[:, 0], outcome


def _bins(chance: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """(M,) the bin of each answer and (B,) their sizes."""
    if bins < 1:
        raise ValueError(f"`bins` must be 1 or more, got {bins}.")
    edges = torch.quantile(chance, torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    where = torch.searchsorted(edges.contiguous(), chance)
    return torch.unique(where, return_inverse=True, return_counts=True)[1:]
