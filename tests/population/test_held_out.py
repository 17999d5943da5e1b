"""Held-out answers: nothing leaks, every answer is somewhere, and the choice is the careful one."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.population import Atoms, Belief, Draws
from pluralign.population.held_out import choose, hold_out, log_loss
from pluralign.population.registry import MODELS
from pluralign.streams import Streams
from pluralign.utility import Linear


def answers(rater, seed=0, options=20, time=True):
    draw = torch.Generator().manual_seed(seed)
    m = len(rater)
    slate = torch.stack([torch.randperm(options, generator=draw)[:2] for _ in range(m)])
    items = Items(torch.randn(options, 2, generator=draw).double())
    label = torch.nn.functional.one_hot(torch.randint(2, (m,), generator=draw), 2).float()
    when = torch.arange(m).float() if time else None  # a mark by which each answer is known again
    return Comparisons(items, slate, torch.tensor(rater), label, time=when)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(0, 20), st.integers(2, 20))
def test_no_answer_is_in_both_parts_and_held_options_are_not_seen(rater, seed, options):
    data = answers(rater, seed, options)
    kept, held = hold_out(data, Streams.of(seed))
    one, other = set(kept.time.tolist()), set(held.time.tolist())
    assert not one & other
    assert len(kept) > 0  # something to learn from
    assert len(kept) + len(held) <= len(data)
    for part in (kept, held):
        at = part.time.long()
        assert torch.equal(part.slate, data.slate[at])
        assert torch.equal(part.rater, data.rater[at])
        assert torch.equal(part.label, data.label[at])
        assert part.rater_ids == data.rater_ids
    if not (data.counts >= 2).any() or not len(held):
        return
    for r in range(data.raters):
        mine = held.slate[held.rater == r]
        seen = kept.slate[kept.rater == r]
        if not len(mine) or not len(seen):
            continue
        missing = int(data.counts[r]) - len(seen)
        if 2 * missing <= int(data.counts[r]) and missing > len(mine):
            # Answers were dropped: then none that shares an option with a held-out one is left.
            assert not torch.isin(seen, mine).any()


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(0, 20))
def test_every_rater_keeps_an_answer_and_half_of_them(rater, seed):
    data = answers(rater, seed)
    kept, held = hold_out(data, Streams.of(seed))
    if (data.counts >= 2).any() and len(held) and bool((kept.counts > 0)[data.counts > 0].all()):
        assert bool((held.counts <= 1 + 0.2 * data.counts).all())
        assert bool((2 * kept.counts >= data.counts - held.counts)[data.counts >= 4].all())


def test_about_a_fifth_is_held_out():
    data = answers([r for r in range(200) for _ in range(7)], options=500)
    _, held = hold_out(data, Streams.of(0))
    # 200 raters with 1.4 answers each: one, and a second by lot.
    assert abs(len(held) / len(data) - 0.2) < 0.02
    assert int(held.counts.min()) == 1
    assert int(held.counts.max()) == 2


def test_raters_with_one_answer_each_are_held_out_whole():
    data = answers(list(range(50)))
    kept, held = hold_out(data, Streams.of(0))
    assert len(kept) + len(held) == 50
    assert 3 <= len(held) <= 20
    assert not set(kept.rater.tolist()) & set(held.rater.tolist())


def test_equal_streams_hold_out_equal_answers():
    data = answers([r for r in range(9) for _ in range(5)])
    first, second = hold_out(data, Streams.of(3)), hold_out(data, Streams.of(3))
    assert torch.equal(first[1].time, second[1].time)
    assert not torch.equal(first[1].time, hold_out(data, Streams.of(4))[1].time)
    empty = data.take(torch.arange(0))
    assert [len(part) for part in hold_out(empty, Streams.of(0))] == [0, 0]


def knows(data, size):
    """A belief of one taste along the first feature."""
    worth = Linear().start(data, width=None, generator=torch.Generator())
    z = torch.tensor([[size, 0.0]]).double()
    one = torch.ones(1).double()
    return Belief(
        worth,
        Luce(),
        Atoms(z, one),
        Draws.atoms(z, torch.ones(1, data.raters).double()),
        data.rater_ids,
        None,
    )


def test_log_loss_is_a_mean_for_every_rater_of_decided_answers():
    data = answers([0, 0, 1, 3, 3, 3])
    label = data.label.clone()
    label[3] = 0.5
    data = data.with_labels(label)
    share = knows(data, 1.5).predict(data)
    loss = log_loss(knows(data, 1.5), data)
    hand = [-(float(share[m, int(data.label[m].argmax())])) for m in range(6)]
    minus = [-torch.tensor(-h).log() for h in hand]
    assert float(loss[0]) == pytest.approx(float(minus[0] + minus[1]) / 2)
    assert float(loss[1]) == pytest.approx(float(minus[2]))
    assert torch.isnan(loss[2])
    assert float(loss[3]) == pytest.approx(float(minus[4] + minus[5]) / 2)


def led(count=60, size=2.0):
    """Answers that follow the first feature at `size` utils."""
    data = answers([r for r in range(count) for _ in range(10)], options=40)
    share = knows(data, size).predict(data)[:, 0]
    first = (torch.rand(len(share), generator=torch.Generator().manual_seed(1)) < share).float()
    return data.with_labels(torch.stack([first, 1 - first], 1))


@pytest.mark.parametrize("ridge", [-1.0, float("nan"), float("inf"), "much"])
def test_no_population_takes_a_ridge_that_is_no_precision(ridge):
    with_ridge = [kind for kind in MODELS.values() if "ridge" in {f.name for f in dataclasses.fields(kind)}]
    assert len(with_ridge) >= 9
    for kind in with_ridge:
        with pytest.raises((ValueError, TypeError), match="ridge"):
            kind(ridge=ridge)


def test_choose_takes_the_smallest_macro_averaged_loss():
    data = led()
    candidates = {size: lambda part, s=size: knows(part, s) for size in (-2.0, 0.0, 2.0, 9.0)}
    name, choice = choose(candidates, data, Streams.of(0))
    assert name == 2.0
    assert [row[0] for row in choice.table] == ["-2.0", "0.0", "2.0", "9.0"]
    assert choice.table[2][2] == 0.0  # no difference to itself
    assert min(row[1] for row in choice.table) == choice.table[2][1]
    kept, held = hold_out(data, Streams.of(0))
    _, choice = choose(candidates, kept, Streams.of(0), held)
    loss = log_loss(knows(data, 2.0), held)
    assert choice.table[2][1] == pytest.approx(float(loss[torch.isfinite(loss)].mean()))


def test_choose_asks_the_answers_that_it_is_given():
    data = led()
    against = data.with_labels(data.label.flip(1))
    candidates = {size: lambda part, s=size: knows(part, s) for size in (-2.0, 2.0)}
    assert choose(candidates, data, Streams.of(0), against)[0] == -2.0
    seen = []
    choose(
        {n: lambda part, n=n: seen.append(len(part)) or knows(part, n) for n in (1.0, 2.0)},
        data,
        Streams.of(0),
        data,
    )
    assert seen == [len(data)] * 2


def test_a_part_of_large_data_is_judged_by_its_own_raters(monkeypatch):
    import pluralign.population.held_out as held_out

    data = led(100)
    kept, held = hold_out(data, Streams.of(0))
    monkeypatch.setattr(held_out, "some", lambda data, streams, most: data.take(data.rater < 10))
    seen = []
    fit = lambda part: seen.append(part) or knows(part, 2.0)
    losses = held_out.held_out_losses({1: fit, 2: fit}, kept, Streams.of(0), held)
    assert torch.isfinite(losses[0]).nonzero()[:, 0].tolist() == list(range(10))
    assert seen[0] is seen[1]  # one part for all candidates


def test_a_cautious_choice_takes_the_first_that_is_not_worse_than_noise():
    data = led()
    at = lambda *sizes: {size: lambda part, s=size: knows(part, s) for size in sizes}
    assert choose(at(2.0, 2.05), data, Streams.of(0), cautious=3.0)[0] == 2.0
    assert choose(at(2.05, 2.0), data, Streams.of(0), cautious=3.0)[0] == 2.05
    assert choose(at(0.0, 2.0), data, Streams.of(0), cautious=1.0)[0] == 2.0
    assert choose(at(0.0, 2.0), data, Streams.of(0), cautious=1e6)[0] == 0.0


def test_nothing_to_choose_by_leaves_the_first():
    data = led(3)
    ties = data.with_labels(torch.full_like(data.label, 0.5))
    candidates = {size: lambda part, s=size: knows(part, s) for size in (7.0, 2.0)}
    assert choose(candidates, ties, Streams.of(0))[0] == 7.0
    assert choose(candidates, data.take(torch.arange(1)), Streams.of(0))[0] == 7.0
    only = {5.0: candidates[7.0]}
    assert choose(only, data, Streams.of(0))[0] == 5.0


def test_no_rater_information_is_one_rater():
    data = led(5)
    nameless = dataclasses.replace(data, rater=torch.zeros_like(data.rater), rater_ids=("everybody",))
    belief = MODELS["pooled"](ridge=1.0).fit(data)
    again = MODELS["pooled"](ridge=1.0).fit(nameless)
    torch.testing.assert_close(belief.prior.z, again.prior.z)
    assert dataclasses.is_dataclass(again)
