"""Rankings, best-of, votes and ratings as comparisons."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pluralign.data import DataError, Items, Segments, Texts, add_outside, best_of, rankings, ratings, votes

STORE = Items(torch.zeros(6, 0))


def test_a_ranking_is_its_choices():
    data = rankings(
        STORE, torch.tensor([[4, 0, 2], [5, 1, -1]]), torch.tensor([0, 1]), weight=torch.tensor([1.0, 2])
    )
    assert data.slate.tolist() == [[0, 2, 4], [0, 2, -1], [1, 5, -1]]
    assert data.label.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert data.rater.tolist() == [0, 0, 1]
    assert data.weight.tolist() == [1, 1, 2]
    assert data.kind == "ranking"


def test_only_the_top_is_known():
    data = rankings(STORE, torch.tensor([[4, 0, 2, 1]]), torch.tensor([0]), top=1)
    assert data.slate.tolist() == [[0, 1, 2, 4]]
    assert data.label.tolist() == [[0, 0, 0, 1]]


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_chances_of_all_rankings_sum_to_one(worth):
    # The product of the choices is the Plackett-Luce chance, a distribution over the 24 orders.
    order = torch.tensor(list(itertools.permutations(range(4))))
    data = rankings(STORE, order, torch.arange(24))
    utility = torch.tensor([*worth, 0, 0], dtype=torch.float64)[data.slate.clamp(min=0)]
    log = torch.where(data.slate >= 0, utility, -torch.inf).log_softmax(1)
    said = torch.where(data.label > 0, log, 0).sum(1)
    total = torch.zeros(24, dtype=torch.float64).index_add(0, data.rater, said).exp().sum()
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64))


def test_wrong_rankings():
    with pytest.raises(DataError, match=r"row 1 must name an option once, got \[3, 3, 1\]"):
        rankings(STORE, torch.tensor([[0, 1, 2], [3, 3, 1]]), torch.tensor([0, 0]))
    with pytest.raises(DataError, match=r"row 0 must rank two options or more"):
        rankings(STORE, torch.tensor([[0, -1, -1]]), torch.tensor([0]))
    with pytest.raises(DataError, match=r"`top` must be"):
        rankings(STORE, torch.tensor([[0, 1, 2]]), torch.tensor([0]), top=0)


def test_best_of():
    data = best_of(STORE, torch.tensor([[0, 1, 2], [3, 4, -1]]), torch.tensor([2, 0]), torch.tensor([0, 0]))
    assert data.label.tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(DataError, match=r"place 0 to 2, first row 1: 3"):
        best_of(STORE, torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.tensor([2, 3]), torch.tensor([0, 0]))
    with pytest.raises(DataError, match=r"row 1 names a place that shows no option"):
        best_of(STORE, torch.tensor([[0, 1, 2], [3, 4, -1]]), torch.tensor([2, 2]), torch.tensor([0, 0]))


def test_votes():
    with pytest.warns(UserWarning, match="1 of 3 votes are passes"):
        data = votes(STORE, torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]), torch.tensor([1, 0, -1]))
    assert data.slate.tolist() == [[0, 6], [2, 6]]
    assert data.label.tolist() == [[1, 0], [0, 1]]
    with pytest.raises(DataError, match=r"first row 1: 2"):
        votes(STORE, torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([1, 2]))


@pytest.mark.parametrize(
    "store",
    [
        Items(torch.ones(2, 3), ("a", "b"), embedding=2),
        Texts(("x", "y"), torch.ones(2, 3), ("a", "b")),
        Segments(torch.ones(2, 4, 3), ids=("a", "b"), observation=torch.ones(2, 4, 1)),
    ],
)
def test_an_outside_option_joins_any_store(store):
    wide = add_outside(store)
    assert wide.ids == ("a", "b", "(disagree)")
    worth = wide.pool(wide.rows, 1.0)
    assert torch.equal(worth[:2], store.pool(store.rows, 1.0))
    assert float(worth[2, 1:].abs().max()) == 0


def test_ratings_become_pairs_within_a_rater():
    item, rater = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 0, 0, 1, 1])
    with pytest.warns(UserWarning, match="5 ratings became 4 pairs: distances between ratings are lost"):
        data = ratings(STORE, item, rater, torch.tensor([5, 3, 3, 1, 2]), rater_ids=("x", "y"))
    said = {
        (r, a, b): y
        for r, (a, b), y in zip(data.rater.tolist(), data.slate.tolist(), data.label[:, 0].tolist())
    }
    assert said == {(0, 0, 1): 1, (0, 0, 2): 1, (0, 1, 2): 0.5, (1, 0, 1): 0}
    assert data.kind == "rating"


def test_some_neighbours_instead_of_all_pairs():
    item, rater = torch.arange(6).repeat(10), torch.arange(10).repeat_interleave(6)
    with pytest.warns(UserWarning, match="60 ratings became 90 pairs"):
        data = ratings(STORE, item, rater, item.float(), neighbours=2, seed=3)
    assert data.counts.tolist() == [9] * 10  # 5 + 4 neighbours on a line of six
    with pytest.warns(UserWarning, match="60 ratings became 90 pairs"):
        again = ratings(STORE, item, rater, item.float(), neighbours=2, seed=3)
    assert torch.equal(again.slate, data.slate)


def test_ratings_that_cannot_be_paired():
    with pytest.raises(DataError, match="no rater rated two items"):
        ratings(STORE, torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([1.0, 2]))
    with pytest.raises(DataError, match=r"`rating` must be finite, first row 1: nan"):
        ratings(STORE, torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([1.0, torch.nan]))
