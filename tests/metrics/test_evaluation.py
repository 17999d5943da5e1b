"""The table of `evaluate`: every number by hand on six answers."""

import math

import pytest
import torch

from pluralign.data import Comparisons, Items
from pluralign.metrics.evaluation import curve, evaluate, rater_scores, score


class Says:
    """Predicts what it was told; with draws, the draws themselves."""

    def __init__(self, first):
        self.first = torch.tensor(first, dtype=torch.float64)

    def predict(self, data, draws=None):
        first = self.first if draws is None else torch.full((len(data),), float(draws), dtype=torch.float64)
        return torch.stack([first, 1 - first], 1)


@pytest.fixture
def test():
    """Rater 0 gives four answers, the last a tie; rater 1 gives one; rater 2 none."""
    items = Items(torch.zeros(3, 0), ("a", "b", "c"))
    first, second = torch.tensor([0, 0, 1, 1, 0]), torch.tensor([1, 2, 2, 0, 1])
    rater, share = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([1, 0, 1, 0.5, 0])
    return Comparisons.pairs(items, first, second, rater, share, rater_ids=("ann", "bob", "eve"))


def test_numbers_by_hand(test):
    table = evaluate(Says([0.8, 0.8, 0.5, 0.9, 0.4]), test, samples=50)
    # ann: right, wrong, a coin (half); bob: right. The tie counts nowhere.
    assert table["accuracy"].value == pytest.approx((1.5 / 3 + 1) / 2)
    assert table["accuracy_per_answer"].value == pytest.approx(2.5 / 4)
    ann = -(math.log(0.8) + math.log(0.2) + math.log(0.5)) / 3
    assert table["log_loss"].value == pytest.approx((ann - math.log(0.6)) / 2)
    assert table["brier"].value == pytest.approx(((0.04 + 0.64 + 0.25) / 3 + 0.16) / 2)
    assert table["accuracy_worst_rater"].value == pytest.approx(0.5)
    assert table["log_loss_worst_decile"].value == pytest.approx(ann)
    assert table["accuracy"].n == 2
    assert table["accuracy"].low <= table["accuracy"].value <= table["accuracy"].high


def test_by_number_of_answers(test):
    table = evaluate(Says([0.5] * 5), test, {0: 0.5, 4: 0.9}, samples=20)
    assert [row.value for row in table.rows if row.metric == "accuracy"] == pytest.approx(
        [0.5, (2 / 3 + 0) / 2]
    )
    assert table.at(4)["accuracy"].answers == "4"
    assert set(table.frame().columns) == {
        "metric", "value", "low", "high", "standard_error", "n", "answers",
    }  # fmt: skip
    assert "answers" in str(table)
    assert "<table>" in table._repr_html_()


def test_a_wrong_name_lists_the_right_ones(test):
    table = evaluate(Says([0.5] * 5), test, samples=20)
    with pytest.raises(KeyError, match=r"no metric 'acuracy'; there are accuracy, log_loss"):
        table["acuracy"]


def test_one_rater_has_no_interval(test):
    table = evaluate(Says([0.7]), test.take(torch.tensor([4])), samples=20)
    assert math.isnan(table["accuracy"].low)
    assert "nan" not in str(table)


def test_nothing_to_judge_by(test):
    with pytest.raises(ValueError, match="got none"):
        evaluate(Says([]), test.take(torch.arange(0)))
    with pytest.raises(ValueError, match="all 1 answers are ties"):
        evaluate(Says([0.5]), test.take(torch.tensor([3])))


def test_predictions_that_are_no_chances(test):
    with pytest.raises(ValueError, match="must be probabilities"):
        evaluate(Says([float("nan")] * 5), test)


def test_intervals_hold_the_truth_as_often_as_they_say():
    generator, held, times = torch.Generator().manual_seed(0), 0, 120
    items = Items(torch.zeros(2, 0), ("a", "b"))
    for _ in range(times):
        raters, each = 40, 6
        rater = torch.arange(raters).repeat_interleave(each)
        skill = torch.where(torch.rand(raters, generator=generator) < 0.5, 0.6, 0.9)[rater]
        share = (torch.rand(len(rater), generator=generator) < skill).float()
        zero = torch.zeros(len(rater), dtype=torch.long)
        test = Comparisons.pairs(items, zero, zero + 1, rater, share)
        by = rater_scores(torch.tensor([[0.7, 0.3]]).expand(len(rater), 2), test)
        row = score(torch.tensor([[0.7, 0.3]]).expand(len(rater), 2), test, samples=200)["accuracy"]
        assert float(by["accuracy"].mean()) == pytest.approx(row.value)
        held += row.low <= 0.75 <= row.high
    # 95 % of 120 with a binomial standard error of 2.4: four of them below, and not always.
    assert 104 <= held < 120


def test_vote_shares_of_a_crowd():
    items = Items(torch.zeros(2, 0), ("a", "b"))
    rater, zero = torch.arange(10), torch.zeros(10, dtype=torch.long)
    test = Comparisons.pairs(items, zero, zero + 1, rater, (rater < 8).float())
    table = score(torch.tensor([[0.5, 0.5]]).expand(10, 2), test, samples=100)
    assert table["vote_share_error"].value == pytest.approx(0.3)  # .8 said yes, .5 were predicted
    # The standard error of a share of .8 among ten people, give or take the draws of a bootstrap.
    assert table["vote_share_error"].standard_error == pytest.approx((0.8 * 0.2 / 10) ** 0.5, rel=0.25)
    few = score(torch.tensor([[0.5, 0.5]]).expand(4, 2), test.take(torch.arange(4)), samples=20)
    assert all(row.metric != "vote_share_error" for row in few.rows)


def test_reliability_leaves_ties_out(test):
    share = Says([0.8, 0.8, 0.8, 0.8, 0.8]).predict(test)
    assert int(curve(share, test).count.sum()) == 4
