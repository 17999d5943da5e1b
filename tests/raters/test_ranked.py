"""People without a sum of factors: those who go down a list, and those with an ideal in mind."""

import math

import pytest
import torch
from scipy.stats import binomtest

from pluralign.data.options import Items, Segments
from pluralign.elicitation import Answering
from pluralign.raters import IdealPeople, RankedPeople, RankedRaters, Squares, ideal_point, preset, questions

ME = torch.zeros(1, dtype=torch.long)


def ranked(order=(0, 1, 2), margin=(1.0, 1.0, 1.0), sign=(1.0, 1.0, 1.0), lapse=None):
    far = lambda values: torch.tensor([values], dtype=torch.float64)
    return RankedRaters(
        torch.tensor([order]), far(margin), far(sign), None if lapse is None else far(lapse)[:, 0]
    )


def judged(people, first, second):
    return people.share(Items(torch.tensor([first, second])), torch.tensor([[0, 1]]), ME)[0, 0].item()


@pytest.mark.parametrize(
    ("people", "first", "second", "share"),
    [
        (ranked(), [2.1, 0.0, 0.0], [1.0, 9.0, 9.0], 1.0),  # the first factor decides, whatever the rest
        (ranked(), [1.9, 0.0, 0.0], [1.0, 9.0, 0.0], 0.0),  # too near: the second
        (ranked(), [2.0, 0.0, 0.0], [1.0, 1.0, 1.0], 0.5),  # at the margin nothing counts
        (ranked(order=(2, 0, 1)), [0.0, 0.0, 2.0], [9.0, 9.0, 0.0], 1.0),
        (ranked(sign=(-1.0, 1.0, 1.0)), [0.0, 0.0, 0.0], [2.0, 0.0, 0.0], 1.0),
        (ranked(sign=(0.0, 1.0, 1.0)), [9.0, 0.0, 0.0], [0.0, 2.0, 0.0], 0.0),
        (ranked(lapse=(0.2,)), [9.0, 0.0, 0.0], [0.0, 0.0, 0.0], 0.9),
    ],
)
def test_the_first_factor_that_differs_enough_decides(people, first, second, share):
    assert judged(people, first, second) == pytest.approx(share)
    assert judged(people, second, first) == pytest.approx(1 - share)


def test_margins_make_circles_that_no_worth_can():
    people = ranked(order=(0, 1), margin=(1.0, 0.0), sign=(1.0, 1.0))
    a, b, c = [0.0, 2.0], [0.8, 1.0], [1.6, 0.0]
    assert [judged(people, *pair) for pair in ((a, b), (b, c), (c, a))] == [1.0, 1.0, 1.0]


def test_who_cannot_decide_does_not_answer_unless_by_a_guess():
    options = Items(torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]))
    slate, rater = torch.tensor([[0, 1]]).expand(4000, 2), torch.zeros(4000, dtype=torch.long)
    assert len(ranked().answer(options, slate, rater, 0)) == 0
    told = ranked(lapse=(0.3,)).answer(options, slate, rater, 0)
    assert binomtest(len(told), 4000, 0.3).pvalue > 1e-3
    assert binomtest(int(told.label[:, 0].sum()), len(told), 0.5).pvalue > 1e-3


def test_camps_of_ranks_answer_as_they_would_alone(rng):
    people = preset("ranked", {"a": 1.0, "b": 2.0, "cost": -1.0})
    assert isinstance(people, RankedPeople)
    assert people.orders == ((0, 1, 2), (1, 0, 2))
    assert people.margin == pytest.approx((1 / 3, 2 / 3, 1 / 3))
    assert people.sign == (1.0, 1.0, -1.0)
    drawn, options = people.draw(400, 0), Items(torch.randn(40, 3, generator=rng))
    assert isinstance(drawn, Answering)
    assert torch.bincount(drawn.group).tolist() == [200, 200]
    spread = (drawn.margin / torch.tensor(people.margin)).log().std()
    assert abs(float(spread) - 0.15) < 4 * 0.15 / math.sqrt(2400)
    slate, rater = questions(40, 6, 400, 0)
    data = drawn.answer(options, slate, rater, 0)
    share = drawn.share(options, data.slate, data.rater)
    assert torch.equal(share.float(), data.label)
    assert 0 < len(data) < 2400
    alone = drawn.take(torch.tensor([17])).answer(options, slate[rater == 17], rater[rater == 17] * 0, 0)
    assert torch.equal(alone.label, data.label[data.rater == 17])


def test_an_ideal_is_better_than_less_and_than_more():
    people = IdealPeople(((3.0, 0.0),), (1.0,), (2.0, 0.0)).draw(1, 0)
    options = Items(torch.tensor([[1.0, 5.0], [3.0, -5.0], [4.0, 0.0]], dtype=torch.float64))
    worth = people.utility(options)[0]
    torch.testing.assert_close(worth - worth[1], torch.tensor([-8.0, 0.0, -2.0]).double())
    assert people.share(options, torch.tensor([[2, 0]]), ME)[0, 0].item() == pytest.approx(
        1 / (1 + math.exp(-6))
    )
    torch.testing.assert_close(ideal_point(people.taste)[0, 0], torch.tensor(3.0).double())


def test_the_ideal_of_a_segment_is_about_its_steps():
    steady, mixed = torch.full((4, 1), 2.0), torch.tensor([[0.0], [4.0], [0.0], [4.0]])
    pieces = Segments(torch.stack([steady, mixed]))
    people = IdealPeople(((2.0,),), (1.0,), (1.0,)).draw(1, 0)
    worth = people.utility(pieces)[0]
    assert float(worth[0] - worth[1]) == pytest.approx(16.0)  # though both sums are 8
    rows = Squares().steps(pieces.factors)
    torch.testing.assert_close(rows.sum(1) @ people.taste[0], worth)


def test_the_preset_of_ideals_is_recovered_by_a_quadratic_fit(rng):
    import pluralign

    people = preset("ideal-points", {"a": 2.0, "b": 1.0}, strength=4.0).draw(300, 0)
    options = Items(
        torch.randn(60, 2, generator=rng) * torch.tensor([2.0, 1.0]) / math.sqrt(2), names=("a", "b")
    )
    slate, rater = questions(60, 40, 300, 0)
    data = people.answer(options, slate, rater, 0)
    fit = lambda utility: pluralign.Camps(groups=2, ridge=1.0, utility=utility).fit(data, seed=0)
    from pluralign.metrics import adjusted_rand

    found = fit(pluralign.Ideal())
    assert adjusted_rand(found.draws.weight.argmax(0), people.group) > 0.95
    truth = people.share(options, slate, rater)
    loss = [
        float((truth - fit(u).predict(data)).square().mean()) for u in (pluralign.Ideal(), pluralign.Linear())
    ]
    assert loss[0] < loss[1] / 2  # sums of factors cannot say "just right"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ranked(order=(0, 0, 1)), "`order` rows must hold each of the factors 0..2 once."),
        (lambda: ranked(margin=(-1.0, 1.0, 1.0)), "`margin` must be 0 or more, got -1.0."),
        (lambda: judged(ranked(), [0.0], [1.0]), "people rank 3 factors, the options have 1."),
        (
            lambda: RankedPeople(((0, 1),), (1.0,), (1.0,), (1.0,)),
            "must name each of the 1 factors of `margin` once",
        ),
        (lambda: RankedPeople(((0,),), (0.9,), (1.0,), (1.0,)), "`share` must sum to 1"),
        (lambda: IdealPeople(((1.0,),), (1.0,), (-1.0,)), "`care` must be 0 or more utils per squared unit"),
        (
            lambda: IdealPeople(((1.0,),), (1.0,), (1.0, 2.0)),
            "`care` must have one number for each of 1 factors",
        ),
        (lambda: IdealPeople(((1.0,), (2.0,)), (1.0, 0.0), (1.0,)), "leave out a camp with nobody in it"),
    ],
)
def test_wrong_people_are_explained(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)
