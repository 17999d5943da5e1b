"""A stack believes its members as far as held-out answers bear them out, by how much a rater has said."""

import dataclasses

import pytest
import torch

from pluralign.data import Items
from pluralign.population.camps import Camps
from pluralign.population.council import Council, dose
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.pooled import Pooled
from pluralign.population.stacked import Stacked, _affordable, _insist, _Told, stack
from pluralign.population.variational import Variational
from pluralign.raters import CampPeople, questions
from pluralign.utility.taste_mlp import TasteMLP

CAMPS = Camps(2, ridge=1.0, restarts=3)


def asked(raters=60, per_rater=20, seed=0, camps=((2.0, 0.0, -1.0), (-2.0, 1.0, 0.0))):
    share = (0.6, 0.4) if len(camps) == 2 else (1.0,)
    people = CampPeople(camps, share).draw(raters, seed)
    items = Items(torch.randn(20, 3, generator=torch.Generator().manual_seed(1)).double())
    return people.answer(items, *questions(20, per_rater, raters, seed), seed)


def test_classes_of_numbers_of_answers():
    assert dose(torch.tensor([0, 1, 2, 3, 4, 7, 8, 31, 32])).tolist() == [0, 1, 2, 2, 3, 3, 4, 5, 6]


def told(first, second, rows=2000):
    """Answers of `rows` raters whose shares two members put at `first` and `second`."""
    return _Told(torch.stack([first, second]), torch.ones(rows).double())


def test_weights_are_those_of_the_mixture_the_answers_were_drawn_from():
    """Two coins, .9 and .2, mixed .7 to .3: every toss is one answer. By hand the estimate is (heads - .2) / .7."""
    rng = torch.Generator().manual_seed(3)
    heads = torch.rand(2000, generator=rng) < 0.7 * 0.9 + 0.3 * 0.2
    shares = [torch.where(heads, p, 1 - p).double() for p in (0.9, 0.2)]
    found = stack([told(*shares)], torch.full((2,), 0.5).double(), 1e-9)
    assert float(found[0]) == pytest.approx((float(heads.double().mean()) - 0.2) / 0.7, abs=1e-4)


def test_no_answers_leave_the_weights_where_they_were():
    start = torch.tensor([0.8, 0.2]).double()
    nothing = _Told(torch.zeros(2, 0).double(), torch.zeros(0).double())
    torch.testing.assert_close(stack([nothing], start, 5.0), start)


def test_predictions_are_the_weighted_average_of_the_members():
    data = asked()
    members = (Pooled(ridge=1.0), CAMPS)
    belief = Stacked(members).fit(data, seed=0)
    assert isinstance(belief.prior, Council)
    new = dataclasses.replace(asked(8, 3, seed=5), rater_ids=tuple(f"new {r}" for r in range(8)))
    alone = [m.fit(data, seed=0) for m in members]
    row = belief.prior.weight[2]  # of three answers
    expected = sum(w * b.predict(new, b.adapt(new)) for w, b in zip(row, alone, strict=True))
    torch.testing.assert_close(belief.predict(new, belief.adapt(new)), expected, atol=0.02, rtol=0)


def test_camps_are_believed_more_the_more_a_stranger_has_said():
    belief = Stacked((Pooled(ridge=1.0), CAMPS)).fit(asked(), seed=0)
    pooled = [row[0] for row in belief.diagnostics["weight_of_strangers"]]
    assert pooled[0] > 0.5 > pooled[3]
    assert belief.diagnostics["weight_of_known"][0] < 0.2


def test_without_differences_the_stack_is_no_worse_than_pooled():
    data = asked(camps=((2.0, 0.0, -1.0),))
    new = dataclasses.replace(
        asked(20, 30, seed=9, camps=((2.0, 0.0, -1.0),)), rater_ids=tuple(f"n{r}" for r in range(20))
    )
    first = torch.arange(len(new)) % 30 < 10
    loss = {}
    for name, model in (("stack", Stacked()), ("pooled", Pooled())):
        belief = model.fit(data, seed=0)
        share = belief.predict(new.take(~first), belief.adapt(new.take(first)))
        each = -(new.take(~first).label * share.log()).sum(1)
        if name == "stack":
            assert belief.diagnostics["weight_of_strangers"][0][0] > 0.98
        loss[name] = torch.stack([each[new.take(~first).rater == r].mean() for r in range(20)])
    gap = loss["stack"] - loss["pooled"]
    assert float(gap.mean()) < 2 * float(gap.std()) / 20**0.5 + 1e-3


def test_who_says_nothing_is_served_otherwise_only_where_answers_insist():
    """A pooled fit that is held back by far too strong a ridge is worse for strangers than camps, clearly."""
    belief = Stacked((Pooled(ridge=3000.0), CAMPS)).fit(asked(), seed=0)
    assert belief.diagnostics["weight_of_strangers"][0][0] < 0.95
    share = torch.tensor([[0.5, 0.5, 0.5], [0.9, 0.8, 0.15]]).double()
    told = [_Told(share, torch.ones(3).double())]
    # Gains of an even mix: log 1.4, log 1.3, log .65: mean .056, standard error .24.
    even = torch.tensor([0.5, 0.5]).double()
    assert not _insist(told, even)
    assert _insist(told * 100, even)


def test_only_worths_that_are_linear_in_the_taste_can_be_stacked():
    network = Variational(utility=TasteMLP(), steps=5, components=0, temper=1.0)
    with pytest.raises(ValueError, match="that of Variational is not; leave it out"):
        Stacked((Pooled(ridge=1.0), network)).fit(asked(12), seed=0)


def test_weights_that_are_given():
    data = asked(10)
    belief = Stacked((Pooled(ridge=1.0), CAMPS), weights=(0.3, 0.7)).fit(data, seed=0)
    shares = [m.fit(data, seed=0).predict(data) for m in (Pooled(ridge=1.0), CAMPS)]
    torch.testing.assert_close(belief.predict(data), 0.3 * shares[0] + 0.7 * shares[1], atol=1e-5, rtol=0)
    for wrong in ((0.5, 0.6), (1.0,), (1.5, -0.5), "even"):
        with pytest.raises(ValueError, match="`weights` must be 2 shares that sum to one"):
            Stacked((Pooled(), CAMPS), weights=wrong)


def test_very_many_raters_are_described_by_fewer_draws_each():
    member = Hierarchical(draws=32)
    assert [_affordable(member, r).draws for r in (100, 16_384, 65_536, 1_000_000)] == [32, 32, 8, 4]
    assert _affordable(Pooled(), 1_000_000) == Pooled()


def test_a_stack_of_nothing():
    with pytest.raises(ValueError, match="at least one population"):
        Stacked(())
