"""Scores by hand, and calibration on worlds where it is known."""

import math

import pytest
import torch

from pluralign.metrics import (
    accuracy,
    brier,
    calibration_error,
    log_loss,
    macro,
    per_rater,
    reliability,
    vote_shares,
)

SHARE = torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9], [0.6, 0.4]])
LABEL = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.7, 0.3], [0.5, 0.5]])


def test_accuracy_half_for_a_predicted_tie_and_nan_for_an_undecided_label():
    got = accuracy(SHARE, LABEL)
    assert got[:3].tolist() == [1.0, 0.5, 0.0]
    assert math.isnan(got[3])
    thirds = torch.full((1, 3), 1 / 3)
    assert float(accuracy(thirds, torch.tensor([[0.0, 1.0, 0.0]]))) == pytest.approx(1 / 3)


def test_losses_by_hand():
    assert log_loss(SHARE, LABEL)[2] == pytest.approx(-(0.7 * math.log(0.1) + 0.3 * math.log(0.9)), abs=1e-6)
    assert brier(SHARE, LABEL).tolist() == pytest.approx([0.04, 0.25, 0.36, 0.01], abs=1e-6)
    certain = torch.tensor([[1.0, 0.0]])
    assert log_loss(certain, certain).item() == 0
    assert log_loss(certain, certain.flip(1)).item() == math.inf


def test_predictions_that_are_not_probabilities_raise():
    with pytest.raises(ValueError, match=r"1 of 4 are not, first row 2.*diverge"):
        log_loss(torch.where(torch.arange(4)[:, None] == 2, math.nan, SHARE), LABEL)
    with pytest.raises(ValueError, match="are these utilities"):
        brier(SHARE * 2, LABEL)


def test_macro_counts_people_and_skips_those_without_answers():
    score, rater = torch.tensor([1.0, 1.0, 0.0, math.nan, math.nan]), torch.tensor([0, 0, 1, 1, 3])
    got = per_rater(score, rater, 4)
    assert got[:2].tolist() == [1, 0]
    assert got[2:].isnan().all()
    assert (macro(score, rater, 4).value, macro(score, rater, 4).n) == (0.5, 2)
    weighed = per_rater(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), 1, weight=torch.tensor([3.0, 1.0]))
    assert weighed.item() == 0.75
    with pytest.raises(ValueError, match="number of all raters"):
        per_rater(score, rater, 3)


def world(count=40_000, seed=0):
    draw = torch.Generator().manual_seed(seed)
    chance = torch.rand(count, generator=draw, dtype=torch.float64)
    first = (torch.rand(count, generator=draw, dtype=torch.float64) < chance).double()
    return torch.stack([chance, 1 - chance], 1), torch.stack([first, 1 - first], 1)


def test_a_perfect_predictor_sits_on_the_floor_and_a_bold_one_does_not():
    share, label = world()
    honest = reliability(share, label)
    # 15 bins: the error is a mean of 15 |normal|s with relative deviation 0.756 / sqrt 15 = 0.195.
    assert honest.error == pytest.approx(honest.floor, rel=4 * 0.195)
    assert int(honest.count.sum()) == 40_000
    assert int(honest.count.max() - honest.count.min()) <= 1
    bold = share**3 / (share**3).sum(1, keepdim=True)
    assert reliability(bold, label).error > 20 * honest.floor


def test_calibration_error_by_hand():
    share = torch.tensor([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 4)
    label = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0]] + [[0.0, 1.0]] * 4)
    got = reliability(share, label, bins=2)
    assert got.predicted.tolist() == pytest.approx([0.6, 0.9])
    assert got.observed.tolist() == pytest.approx([1.0, 0.75])
    assert got.error == pytest.approx((0.4 + 0.15) / 2)
    assert got.noise[1] == pytest.approx(0.25)  # deviation of (1, 1, 1, 0) is 0.5, of a mean of four 0.25
    assert reliability(share, label, bins=9).count.tolist() == [4, 4]  # equal predictions share a bin


def test_calibration_error_has_an_error_that_knows_about_raters():
    share, label = world(2000)
    rater = torch.arange(2000) // 100
    biased = torch.where((rater % 2 == 0)[:, None], label, share.round())  # opinions hang together
    loose = calibration_error(share, biased, rater=rater)
    assert (loose.n, loose.value) == (20, pytest.approx(reliability(share, biased).error))
    assert calibration_error(share, biased).n == 2000
    assert loose.low < loose.value < loose.high


def test_nobody_gains_by_having_stood_left():
    share, label = torch.full((100, 2), 0.5), torch.tensor([[1.0, 0.0]]).repeat(100, 1)
    assert reliability(share, label).error == 0


def test_vote_shares_join_the_two_orders_of_a_pair():
    slate = torch.tensor([[0, 1], [1, 0], [0, 1], [2, 1]])
    label = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    share = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.8, 0.2], [0.5, 0.5]])
    got = vote_shares(share, label, slate)
    assert got.slate.tolist() == [[0, 1], [1, 2]]
    assert got.predicted[0].tolist() == pytest.approx([0.7, 0.3])
    assert got.observed[0].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert got.count.tolist() == [3, 1]
    assert got.error == pytest.approx((3 * (0.7 - 2 / 3) + 0.5) / 4)
    assert vote_shares(share, label, slate, least=2).slate.tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="the most is 3"):
        vote_shares(share, label, slate, least=4)


def test_the_floor_of_single_votes_is_exact():
    # One vote, chance p: E |vote - p| = 2 p (1 - p) = 0.48 at p = 0.4; deviation |1 - 2p| sqrt(p q) = 0.098.
    share, label = torch.tensor([[0.4, 0.6]]), torch.tensor([[0.0, 1.0]])
    got = vote_shares(share, label, torch.tensor([[0, 1]]), samples=4000)
    assert got.floor == pytest.approx(0.48, abs=4 * 0.098 / math.sqrt(4000))


def test_true_vote_shares_sit_on_the_floor():
    share, label = world(5000)
    slate = torch.stack([torch.zeros(5000, dtype=torch.long), 1 + torch.arange(5000) % 200], 1)
    got = vote_shares(share, label, slate)
    # 200 slates, each gap a |normal| or so: relative deviation 0.756 / sqrt 200.
    assert got.error == pytest.approx(got.floor, rel=4 * 0.756 / math.sqrt(200))
