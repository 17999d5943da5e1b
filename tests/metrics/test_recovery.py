"""Groupings and tastes by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.metrics import adjusted_rand, align, matched_accuracy, worth_correlation

groupings = st.lists(st.integers(0, 3), min_size=2, max_size=20).map(torch.tensor)


def test_adjusted_rand_by_hand():
    found, truth = torch.tensor([0, 0, 1, 1, 1, 2]), torch.tensor([0, 0, 0, 1, 1, 1])
    # Cells 2, 1, 2, 1: 2 pairs together. Rows 1 + 3, columns 3 + 3, 15 in all: chance 24 / 15 = 1.6.
    assert adjusted_rand(found, truth) == pytest.approx((2 - 1.6) / (5 - 1.6), abs=1e-12)
    assert matched_accuracy(found, truth) == pytest.approx(4 / 6)


def test_groupings_that_leave_nothing_to_chance():
    one, alone = torch.zeros(4, dtype=torch.long), torch.arange(4)
    assert (adjusted_rand(one, one), adjusted_rand(alone, alone), adjusted_rand(one, alone)) == (1, 1, 0)
    with pytest.raises(ValueError, match="same raters"):
        adjusted_rand(one[:0], alone[:0])


@settings(deadline=None)
@given(groupings, st.permutations(range(4)))
def test_names_of_groups_do_not_matter(truth, names):
    renamed = torch.tensor(names)[truth]
    assert adjusted_rand(renamed, truth) == pytest.approx(1)
    assert matched_accuracy(renamed, truth) == 1


def test_chance_is_zero_on_average():
    draw = torch.Generator().manual_seed(0)
    values = torch.tensor(
        [adjusted_rand(*torch.randint(3, (2, 60), generator=draw).unbind(0)) for _ in range(400)]
    )
    assert abs(float(values.mean())) < 4 * float(values.std()) / math.sqrt(400)


@settings(deadline=None)
@given(st.permutations(range(4)))
def test_align_undoes_any_order(order):
    truth = torch.eye(4, 6) * 3
    found = truth[torch.tensor(order)] + 0.1
    torch.testing.assert_close(found[align(found, truth)], truth + 0.1)


def test_align_may_leave_spare_camps_but_not_lack_one():
    truth = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    found = torch.tensor([[9.0, 9.0], [1.1, 1.0], [0.1, 0.0]])
    assert align(found, truth).tolist() == [2, 1]
    with pytest.raises(ValueError, match="at least the 3 tastes"):
        align(truth, found)


def test_worth_correlation_ignores_shift_and_scale_and_admits_indifference():
    worth = torch.tensor([[0.0, 1.0, 5.0], [3.0, 2.0, 2.5], [0.1, 0.1, 0.1]])
    got = worth_correlation(2 * worth + 7, worth)
    assert got[:2].tolist() == pytest.approx([1, 1])
    assert math.isnan(got[2])
    assert worth_correlation(-worth[:1], worth[:1]).item() == pytest.approx(-1)
