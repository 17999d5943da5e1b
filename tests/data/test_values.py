"""Values refuse what they cannot hold, and show themselves in a line."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from pluralign.data import Comparisons, Items, Segments
from pluralign.data.brief import brief
from pluralign.data.comparisons import need_comparisons

SLATE = torch.tensor([[0, 1], [1, 2]])
RATER = torch.tensor([0, 1])
LABEL = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
ITEMS = Items(torch.randn(3, 2, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"options": torch.zeros(3, 2)}, r"`options` must be a store, got Tensor; put features into"),
        (
            {"slate": SLATE.numpy()},
            r"`slate` must be a torch tensor, got ndarray; give torch.as_tensor\(slate\)",
        ),
        ({"rater": ["ann", "bob"]}, "`rater` must be a torch tensor, got list"),
        (
            {"rater": RATER.float()},
            r"`rater` must hold whole numbers, got torch.float32; give rater.long\(\)",
        ),
        ({"label": LABEL.bool()}, r"`label` must hold real numbers, got torch.bool; give label.float\(\)"),
        ({"slate": LABEL.bool()}, "`slate` must hold whole numbers, got torch.bool"),
    ],
)
def test_answers_of_another_kind_are_refused(given, words):
    told = {"options": ITEMS, "slate": SLATE, "rater": RATER, "label": LABEL, **given}
    with pytest.raises(TypeError, match=words):
        Comparisons.__post_init__(
            SimpleNamespace(**told)
        )  # the constructor's annotations are checked in tests


@pytest.mark.parametrize(
    ("store", "rows", "error", "words"),
    [
        (Items, torch.zeros(3), ValueError, r"must be \(N, D\), a row for each option, got the shape \(3,\)"),
        (Items, torch.zeros(3, 2).bool(), TypeError, "must hold real numbers, got torch.bool"),
        (Segments, torch.zeros(3, 2), ValueError, r"must be \(N, T, F\)"),
    ],
)
def test_stores_of_another_shape_are_refused(store, rows, error, words):
    with pytest.raises(error, match=words):
        store.__post_init__(SimpleNamespace(features=rows, factors=rows))


def test_a_verb_that_is_given_a_path_says_what_it_needs():
    with pytest.raises(TypeError, match=r"fit needs Comparisons, got str; pluralign.read\(folder\)"):
        need_comparisons("fit", "answers")
    need_comparisons("fit", Comparisons(ITEMS, SLATE, RATER, LABEL))


def test_answers_are_taken_by_lists_as_by_tensors():
    data = Comparisons(ITEMS, SLATE, RATER, LABEL)
    assert data.take([1]).rater.tolist() == data.take(torch.tensor([1])).rater.tolist() == RATER[[1]].tolist()
    assert data.take([False, True]).slate.tolist() == SLATE[[1]].tolist()
    assert len(data.take([])) == 0


def test_values_are_shown_in_a_line():
    data = Comparisons(ITEMS, SLATE, RATER, LABEL, rater_ids=("ann", "bob"))
    assert repr(data) == (
        "Comparisons(options=Items(features=tensor[3, 2], embedding=0), slate=tensor[2, 2], rater=tensor[2], "
        "label=tensor[2, 2], rater_ids=('ann', 'bob'), kind='choice')"
    )
    many = dataclasses.replace(data, rater_ids=tuple(map(str, range(1000))))
    assert "rater_ids=<1,000 entries>" in repr(many)
    assert brief({"a": torch.tensor(2.5), "b": [1], "c": (1,)}) == "{'a': 2.5, 'b': [1], 'c': (1,)}"
