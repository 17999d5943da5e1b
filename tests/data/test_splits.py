"""Two parts that share nothing: by answer, rater or item."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.data import Comparisons, DataError, Items, check_disjoint, split, votes


def answers(rows=2000, raters=40, options=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda high: torch.randint(high, (rows,), generator=generator)
    first = draw(options)
    second = (first + 1 + draw(options - 1)) % options
    store = Items(torch.zeros(options, 0), tuple(f"o{n}" for n in range(options)))
    return Comparisons.pairs(store, first, second, draw(raters), draw(2).float())


@pytest.mark.parametrize("by", ["answer", "rater"])
def test_the_share_is_met_and_nothing_is_lost(by):
    data = answers()
    first, second = data.split(by=by, share=0.8, seed=1)
    assert len(first) + len(second) == len(data)
    assert abs(len(first) / len(data) - 0.8) < 0.03


def test_every_rater_gives_its_share():
    data = answers()
    first, _ = data.split(share=0.5, seed=0)
    share = first.counts / data.counts
    # A rater's units number about 50 and are cut at half of them, up or down by one; repeats travel together.
    assert float((share - 0.5).abs().max()) < 0.15


def test_a_rater_with_one_answer_is_kept_in_the_first_part():
    data = answers(rows=100, raters=40)
    first, second = data.split(share=0.3, seed=0)
    assert set(second.rater.tolist()) <= set(first.rater.tolist())


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from(["answer", "rater"]), st.floats(0.2, 0.8))
def test_parts_are_disjoint(seed, by, share):
    first, second = answers(rows=300, raters=8, options=5, seed=seed).split(by=by, share=share, seed=seed)
    check_disjoint(first, second, by)
    if by == "answer":
        key = lambda part: {(r, *sorted(s)) for r, s in zip(part.rater.tolist(), part.slate.tolist())}
        assert not key(first) & key(second)
    else:
        assert not set(first.rater.tolist()) & set(second.rater.tolist())


def test_sessions_stay_together_even_through_repeated_questions():
    data = answers(rows=400, raters=4, options=20)
    session = torch.arange(400).div(5, rounding_mode="floor").numpy()
    first, second = split(data, share=0.5, seed=0, session=session)
    key = lambda part, rows: {(r, session[m]) for r, m in zip(part.rater.tolist(), rows)}
    place = {
        (*s, r, y): m
        for m, (s, r, y) in enumerate(
            zip(data.slate.tolist(), data.rater.tolist(), data.label[:, 0].tolist())
        )
    }
    rows = lambda part: [
        place[*s, r, y]
        for s, r, y in zip(part.slate.tolist(), part.rater.tolist(), part.label[:, 0].tolist())
    ]
    if len(place) == len(data):  # rows can be told apart
        assert not key(first, rows(first)) & key(second, rows(second))


def test_by_item_drops_mixed_answers_and_says_so():
    data = answers()
    with pytest.warns(UserWarning, match=r"split by item: \d+ of 2000 answers show options of both parts"):
        first, second = data.split(by="item", share=0.7, seed=0)
    assert not set(first.slate.flatten().tolist()) & set(second.slate.flatten().tolist())


def test_by_item_keeps_unconnected_parts_whole(recwarn):
    scenes = [answers(rows=50, options=4, seed=n) for n in range(10)]
    slate = torch.cat([part.slate + 4 * n for n, part in enumerate(scenes)])
    data = Comparisons(
        Items(torch.zeros(40, 0)), slate, torch.zeros(500).long(), torch.cat([p.label for p in scenes])
    )
    first, second = data.split(by="item", share=0.8, seed=0)
    assert (len(first), len(second)) == (400, 100)
    assert not recwarn.list


def test_the_outside_option_of_votes_belongs_to_both_parts(recwarn):
    item = torch.arange(20).repeat(5)
    data = votes(Items(torch.zeros(20, 0)), item, torch.arange(5).repeat_interleave(20), torch.ones(100))
    first, second = data.split(by="item", share=0.75, seed=0)
    assert (len(first), len(second)) == (75, 25)
    check_disjoint(first, second, "item")
    assert not recwarn.list


def test_equal_seeds_are_equal_splits_and_no_global_stream_moves():
    before = torch.random.get_rng_state()
    data = answers()
    one, two, other = (data.split(seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(one.slate, two.slate)
    assert len(one) != len(other) or not torch.equal(one.slate, other.slate)
    assert torch.equal(before, torch.random.get_rng_state())


def test_leaks_are_refused():
    data = answers(raters=3)
    first, second = data.split(by="answer")
    with pytest.raises(DataError, match=r"rater '0' answers in both parts \(3 do\)"):
        check_disjoint(first, second, "rater")
    with pytest.raises(DataError, match=r"option 'o0' is shown in both parts \(30 are\)"):
        check_disjoint(first, second, "item")
    swapped = Comparisons(second.options, second.slate.flip(1), second.rater, second.label)
    with pytest.raises(DataError, match=r"rater '\d' answers the question of test row 0 in both parts"):
        check_disjoint(second, swapped, "answer")


def test_leaks_are_seen_by_name_across_stores():
    data = answers(rows=20, raters=2)
    order = torch.arange(29, -1, -1)
    moved = Comparisons(
        data.options.take(order), 29 - data.slate, 1 - data.rater, data.label, rater_ids=("1", "0")
    )
    with pytest.raises(DataError, match=r"test row 0 in both parts \(20 test answers do\)"):
        check_disjoint(data, moved)
    strangers = Comparisons(data.options, data.slate, data.rater, data.label, rater_ids=("x", "y"))
    check_disjoint(data, strangers, "rater")
    check_disjoint(data, strangers, "answer")


def test_what_cannot_be_split():
    data = answers(raters=1)
    with pytest.raises(DataError, match=r"needs two or more raters"):
        data.split(by="rater")
    with pytest.raises(DataError, match=r"leave one part empty"):
        data.take(torch.tensor([0])).split()
    with pytest.raises(DataError, match=r"`share` must lie between 0 and 1, got 80"):
        split(data, share=80.0)
    with pytest.raises(DataError, match=r"`session` must name a group for each of 2000 answers, got 1"):
        split(data, session=["a"])
