"""Intervals: hand oracles, scipy as the reference, and coverage."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pluralign.metrics import (
    Estimate,
    bootstrap,
    iqm,
    over_seeds,
    paired,
    paired_bootstrap,
    worst_decile,
    worst_rater,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_mean_and_interval_of_three_numbers_by_hand():
    got = Estimate.mean(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    # Deviation 1, so the error is 1 / sqrt 3; Student's 97.5 % point at 2 degrees of freedom is 4.302653.
    assert got.value == 2
    assert got.standard_error == pytest.approx(3**-0.5, abs=1e-12)
    assert got.high == pytest.approx(2 + 4.302652729911275 / math.sqrt(3), abs=1e-9)
    assert (got.n, got.low + got.high) == (3, pytest.approx(4))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.7312, 0.0123, "0.731 ± 0.012 (n = 167)"),
        (12.3, 1.4, "12.3 ± 1.4 (n = 167)"),
        (0.5, 0.0, "0.500 ± 0.000 (n = 167)"),
    ],
)
def test_str_shows_two_digits_of_the_error(value, error, text):
    assert str(Estimate.normal(value, error, 167)) == text


def test_raters_without_a_score_are_left_out_and_nobody_at_all_raises():
    x = torch.tensor([1.0, math.nan, 3.0])
    assert (Estimate.mean(x).value, Estimate.mean(x).n, bootstrap(x).n) == (2, 2, 2)
    assert math.isnan(Estimate.mean(x[:1]).standard_error)
    with pytest.raises(ValueError, match="all 1 are NaN"):
        bootstrap(x[1:2])


def test_pairing_takes_out_what_raters_share():
    rater, noise = 10 * normal(200), normal(200, seed=1)
    got = paired(rater + 0.3 * noise, rater)
    assert got.standard_error == pytest.approx(float((0.3 * noise).std()) / math.sqrt(200), rel=1e-9)
    assert paired_bootstrap(rater, rater).standard_error == 0
    with pytest.raises(ValueError, match="same raters; 1 are scored once only, first row 3"):
        paired(rater, torch.where(torch.arange(200) == 3, math.nan, rater))


def test_paired_bootstrap_of_the_mean_is_the_bootstrap_of_the_difference():
    a, b = normal(50), normal(50, seed=1)
    pair, single = paired_bootstrap(a, b, seed=3), bootstrap(a - b, seed=3)
    assert (pair.low, pair.high) == (pytest.approx(single.low), pytest.approx(single.high))


def test_bootstrap_error_of_the_mean_is_the_plug_in_error():
    x = normal(80)
    got = bootstrap(x, samples=20_000, seed=0)
    exact = float(x.std(correction=0)) / math.sqrt(80)  # the bootstrap's limit of many resamples
    assert got.standard_error == pytest.approx(exact, rel=4 / math.sqrt(2 * 20_000))


def test_bca_agrees_with_scipy():
    x = normal(40).exp()
    got = bootstrap(x, samples=20_000, method="bca")
    peer = stats.bootstrap((x.numpy(),), np.mean, n_resamples=20_000, method="BCa", rng=0)
    # Each end is a quantile of 20 000 resamples: standard error about sqrt(p q / n) / density(p).
    room = 5 * math.sqrt(0.025 * 0.975 / 20_000) / 0.058 * got.standard_error * 2
    assert got.low == pytest.approx(peer.confidence_interval.low, abs=room)
    assert got.high == pytest.approx(peer.confidence_interval.high, abs=room)
    assert got.low > bootstrap(x, samples=20_000).low  # skewed to the right: BCa moves to the right


def test_bootstrap_interval_covers():
    # 200 worlds; coverage of the percentile interval at n = 100 is near 94.5 %.
    hits = sum(
        e.low < 0 < e.high for s in range(200) if (e := bootstrap(normal(100, seed=s), samples=400, seed=s))
    )
    assert stats.binomtest(hits, 200, 0.94).pvalue > 1e-3


def test_equal_seeds_equal_intervals_and_no_global_state():
    x = normal(30)
    assert bootstrap(x, seed=5) == bootstrap(x, seed=5)
    assert bootstrap(x, seed=5) != bootstrap(x, seed=6)


def test_columns_travel_with_their_rater():
    table = torch.stack([normal(60).abs(), torch.full((60,), 2.0, dtype=torch.float64)], 1)
    ratio = bootstrap(table, lambda x: x[..., 0].sum(1) / x[..., 1].sum(1))
    assert ratio.value == pytest.approx(float(table[:, 0].mean()) / 2)


def test_worst_decile_by_hand():
    x = torch.arange(15, dtype=torch.float64)
    assert float(worst_decile(x)) == pytest.approx((0 + 0.5 * 1) / 1.5)
    assert float(worst_decile(x, worst="high")) == pytest.approx((14 + 0.5 * 13) / 1.5)
    assert float(worst_decile(x[:4])) == 0  # never less than one whole rater
    assert (float(worst_rater(x)), float(worst_rater(x, worst="high"))) == (0, 14)
    assert bootstrap(x, worst_decile).n == 15


@settings(deadline=None)
@given(st.lists(st.integers(-8, 8), min_size=1, max_size=30))
def test_worst_decile_lies_between_the_worst_and_the_mean(numbers):
    x = torch.tensor(numbers, dtype=torch.float64)
    assert float(worst_rater(x)) - 1e-12 <= float(worst_decile(x)) <= float(x.mean()) + 1e-12
    assert float(worst_decile(x, share=1.0)) == pytest.approx(float(x.mean()))


def test_iqm_is_the_trimmed_mean_with_a_bootstrap_within_tasks():
    x = normal(5, 6) + 10 * torch.arange(6)
    got = iqm(x, seed=0)
    assert got.value == pytest.approx(stats.trim_mean(x.numpy(), 0.25, axis=None), abs=1e-12)
    assert got.low < got.value < got.high
    # Tasks lie 10 apart: drawn within tasks the error is that of seeds, below 1; across tasks it would be about 4.
    assert got.standard_error < 1
    with pytest.raises(ValueError, match="did not finish"):
        iqm(torch.full((2, 2), math.nan))


def test_over_seeds_counts_the_luck_of_training_and_of_people():
    """x = a + b with spreads 2 (of S seeds) and 1 (of R people in each): the variance is (4 + 1 / R) / S, of which a bootstrap
    finds (4 + 1 / R) (S - 1) / S^2 for the seeds, and (1 / R) / S once more for the people inside."""
    seeds, people = 40, 10
    shift = 2 * normal(seeds)
    shift = 2 * (shift - shift.mean()) / shift.std(correction=0)
    inside = normal(seeds, people, seed=1)
    runs = list(shift[:, None] + inside - inside.mean(1, keepdim=True))
    got = over_seeds(runs, samples=20_000)
    # The people of each seed are centred, so the seeds' means have a variance of 4 sharp.
    wanted = ((4 + float(inside.var(1, correction=0).mean()) / people) / seeds) ** 0.5
    assert got.standard_error == pytest.approx(wanted, rel=0.03)
    assert (got.n, got.low < got.value < got.high) == (seeds, True)
    assert got.value == pytest.approx(float(shift.mean()), abs=1e-12)
    one = torch.tensor([0.0, 1.0, 5.0, math.nan])
    assert over_seeds([one]) == bootstrap(one)  # one seed: people alone
    ragged = over_seeds([one, torch.arange(20.0)], worst_decile)
    assert ragged.value == pytest.approx((0 + 0.5) / 2)
    with pytest.raises(ValueError, match="no seeds"):
        over_seeds([])


def test_wrong_levels_are_refused():
    with pytest.raises(ValueError, match=r"give 0\.95 for 95 %"):
        bootstrap(normal(5), level=95.0)
