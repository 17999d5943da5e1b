"""Simulated people: the B-Pref teachers by their formulas, and one random stream per person."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from pluralign.choice import (
    Davidson,
    EqualThreshold,
    Lapse,
    LeftBias,
    Luce,
    Ordinal,
    RaoKupper,
    Skip,
    Thurstone,
)
from pluralign.data import Items, Segments, Texts
from pluralign.population.pooled import Pooled
from pluralign.raters import TEACHERS, CampPeople, Factors, Faults, GaussianPeople, SimulatedRaters, questions

# Rewards of two segments of four steps: sums 3.5 and 3.4, faded at 0.9 3.134 and 2.808.
REWARDS = torch.tensor([[1.0, 0.5, 0.0, 2.0], [2.0, 0.0, 0.5, 0.9]], dtype=torch.float64)
SEGMENTS = Segments(REWARDS[..., None])
ONE = torch.tensor([[1.0]], dtype=torch.float64)
PAIR, ME = torch.tensor([[0, 1]]), torch.tensor([0])


def per_person(value):
    return torch.tensor([value], dtype=torch.float64)


def crowd(count=40, seed=0, **more):
    cloud = GaussianPeople((0.5, -0.5, 0.0), ((1.0, 0.3, 0.0), (0.3, 1.0, 0.0), (0.0, 0.0, 0.5)), **more)
    return cloud.draw(count, seed)


def items(count=12, seed=0):
    return Items(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize(
    ("gamma", "beta", "mistake", "expected"),
    [
        (1.0, 1.0, 0.0, 0.5249791875),
        (1.0, 1.0, 0.1, 0.5199833500),
        (1.0, 10.0, 0.0, 0.7310585786),
        (1.0, 10.0, 0.1, 0.6848468629),
        (0.9, 1.0, 0.0, 0.5807857981),
        (0.9, 1.0, 0.1, 0.5646286385),
        (0.9, 10.0, 0.0, 0.9630307907),
        (0.9, 10.0, 0.1, 0.8704246326),
    ],
)
def test_teachers_of_bpref(gamma, beta, mistake, expected):
    teacher = SimulatedRaters(
        Factors(),
        ONE,
        rationality=per_person(beta),
        lapse=per_person(2 * mistake),
        discount=per_person(gamma),
    )
    assert teacher.share(SEGMENTS, PAIR, ME)[0, 0].item() == pytest.approx(expected, abs=1e-10)
    assert teacher.share(SEGMENTS, PAIR.flip(1), ME)[0, 1].item() == pytest.approx(expected, abs=1e-10)


def test_the_last_step_counts_one_in_segments_of_any_length():
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    short = Segments(SEGMENTS.factors, mask)
    people = SimulatedRaters(Factors(), ONE, discount=per_person(0.9))
    d = 3.134 - (2.0 * 0.9 + 0.0)
    assert people.share(short, PAIR, ME)[0, 0].item() == pytest.approx(1 / (1 + math.exp(-d)), abs=1e-12)
    assert people.utility(short)[0].tolist() == pytest.approx([3.5, 2.0])  # what it is worth does not fade


def test_equal_overrides_everything_and_is_felt_without_fading():
    teacher = SimulatedRaters(
        Factors(),
        ONE,
        rationality=per_person(math.inf),
        lapse=per_person(1.0),
        equal=per_person(0.2),  # 3.5 - 3.4 is nearer, 3.134 - 2.808 is not
        discount=per_person(0.9),
    )
    assert teacher.answer(SEGMENTS, PAIR, ME, 0).label.tolist() == [[0.5, 0.5]]
    far = teacher.answer(Segments(REWARDS[..., None] * 3), PAIR, ME, 0)
    assert far.label[0].sort().values.tolist() == [0, 1]


def test_skipped_questions_have_no_row():
    """Segments worth 3.5 and 3.4, whatever is felt of them after fading."""
    asked = (SEGMENTS, PAIR.expand(5, 2), ME.expand(5), 0)
    teacher = lambda skip, **more: SimulatedRaters(Factors(), ONE, skip=per_person(skip), **more)
    assert [len(teacher(s).answer(*asked)) for s in (-math.inf, 3.4, 3.49, 3.5)] == [5, 5, 5, 0]
    assert len(teacher(3.4, discount=per_person(0.9)).answer(*asked)) == 5
    assert [len(SimulatedRaters(Factors(), ONE, Skip(Luce(), t)).answer(*asked)) for t in (3.4, 3.5)] == [
        5,
        0,
    ]
    with pytest.raises(ValueError, match="`Skip` must be outermost, got Lapse"):
        SimulatedRaters(Factors(), ONE, Lapse(Skip(Luce(), 0.0), 0.1)).answer(*asked)
    drawn = crowd(faults=Faults(skip=1.0))
    assert drawn.skip is not None
    assert drawn.take(torch.tensor([3])).skip.tolist() == [1.0]


def test_who_skips_answers_the_rest_as_ever():
    store, (slate, rater) = items(), questions(12, 60, 40, 1)
    every = crowd().answer(store, slate, rater, 5)
    rule = Skip(Luce(), 0.8, "close", 0.3)
    some = crowd(rule=rule).answer(store, slate, rater, 5)
    given = crowd(rule=rule).answered(store, slate, rater)
    expected, spread = float(given.sum()), float((given * (1 - given)).sum()) ** 0.5
    assert abs(len(some) - expected) < 4 * spread
    table = lambda data: {
        (int(r), *s, *y) for r, s, y in zip(data.rater, data.slate.tolist(), data.label.tolist())
    }
    assert table(some) < table(every)
    # A fit knows that skipping says nothing more once worths are known: it is the fit of the inner rule.
    fitted = [Pooled(rule=r, ridge=1.0).fit(some, seed=0).draws.mean for r in (rule, Luce())]
    torch.testing.assert_close(*fitted, atol=1e-6, rtol=0)


def test_people_who_never_err_follow_the_sign_of_the_difference():
    people, options = crowd(faults=TEACHERS["oracle"]), items()
    slate, rater = questions(12, 20, 40, 1)
    got = people.answer(options, slate, rater, 0)
    worth = people.utility(options)[rater[:, None], slate]
    assert torch.equal(got.label[:, 0] > 0.5, worth[:, 0] > worth[:, 1])
    three = people.answer(options, *questions(12, 20, 40, 1, places=3), 0)
    best = people.utility(options)[three.rater[:, None], three.slate].argmax(1)
    assert torch.equal(three.label.argmax(1), best)
    same = SimulatedRaters(Factors(), torch.zeros(1, 3).double(), rationality=per_person(math.inf))
    assert same.share(options, PAIR, ME).tolist() == [[0.5, 0.5]]  # and are torn between equals


RULES = [
    Luce(),
    Thurstone(),
    Davidson(),
    RaoKupper(),
    Ordinal(),
    Lapse(Luce(), 0.2),
    LeftBias(Luce(), 0.5),
    EqualThreshold(Luce(), 0.1),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_frequencies_lie_in_exact_binomial_limits(rule):
    people = SimulatedRaters(Factors(), ONE.expand(6000, 1), rule, lapse=torch.full((6000,), 0.1).double())
    options = Items(torch.tensor([[0.7], [0.0]], dtype=torch.float64))
    everybody = torch.arange(6000)
    got = people.answer(options, PAIR.expand(6000, 2), everybody, 3).label[:, 0]
    chance = people.log_outcomes(options, PAIR, ME).exp()[0]
    assert chance.sum().item() == pytest.approx(1)
    for label, p in zip(torch.linspace(1, 0, len(chance)), chance.tolist()):
        hits = int(((got - label).abs() < 1e-6).sum())
        assert binomtest(hits, 6000, min(p, 1.0)).pvalue > 1e-3


def test_no_rule_meets_infinity_minus_infinity():
    for rule in RULES:
        sure = SimulatedRaters(Factors(), ONE, rule, rationality=per_person(math.inf))
        share = sure.share(Items(torch.tensor([[0.7], [0.0]])), PAIR, ME)[0, 0].item()
        assert share == pytest.approx(0.9 if isinstance(rule, Lapse) else 1.0)


@given(st.integers(0, 2**40), st.permutations(range(8)), st.integers(1, 7))
@settings(deadline=None, max_examples=30)
def test_answers_of_a_person_do_not_depend_on_who_else_is_asked(seed, order, size):
    people, options = crowd(8), items()
    slate, rater = questions(12, 5, 8, seed)
    whole = people.answer(options, slate, rater, seed)
    # Some of them, in another order, from a smaller group of people.
    some = torch.tensor(order[:size])
    part = people.take(some)
    rows = torch.cat([(rater == r).nonzero()[:, 0] for r in some.tolist()])
    alone = part.answer(options, slate[rows], torch.arange(size).repeat_interleave(5), seed)
    assert torch.equal(alone.label, whole.label[rows])
    assert alone.rater_ids == tuple(str(r) for r in some.tolist())
    # Everybody's questions shuffled between people: each still meets their own in order.
    mixed = torch.arange(40).view(8, 5).T.reshape(-1)
    assert torch.equal(people.answer(options, slate[mixed], rater[mixed], seed).label, whole.label[mixed])


def test_a_study_in_batches_equals_the_study_in_one_go():
    people, options = crowd(8), items()
    slate, rater = questions(12, 10, 8, 0)
    whole = people.answer(options, slate, rater, 5)
    asked, got = torch.zeros(8, dtype=torch.long), []
    for s, r in zip(slate.split(7), rater.split(7)):
        got.append(people.answer(options, s, r, 5, asked=asked).label)
        asked += torch.bincount(r, minlength=8)
    assert torch.equal(torch.cat(got), whole.label)
    assert not torch.equal(people.answer(options, slate, rater, 6).label, whole.label)


def test_a_generator_moves_on_and_an_int_does_not():
    people, options = crowd(8), items()
    slate, rater = questions(12, 20, 8, 0)
    draw = torch.Generator().manual_seed(0)
    first, second = (people.answer(options, slate, rater, draw).label for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, people.answer(options, slate, rater, torch.Generator().manual_seed(0)).label)


def test_shorter_slates_and_every_store():
    people = SimulatedRaters(Factors(), ONE, rationality=per_person(2.0), lapse=per_person(0.3))
    options = Items(torch.tensor([[0.7], [0.0], [9.0]], dtype=torch.float64))
    padded = people.share(options, torch.tensor([[0, 1, -1]]), ME)[0]
    assert padded.tolist()[:2] == pytest.approx(people.share(options, PAIR, ME)[0].tolist())
    assert padded[2] == 0
    slate = torch.tensor([[0, 1, -1]]).expand(50, 3)
    got = people.answer(options, slate, torch.zeros(50, dtype=torch.long), 0)
    assert got.label[:, 2].sum() == 0
    texts = Texts(("a", "abcdefg"))  # log length, 8 / 2 characters apart
    assert people.utility(texts)[0].diff().item() == pytest.approx(math.log(4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SimulatedRaters(Factors(), ONE, lapse=per_person(1.5)),
            r"`lapse` must lie in \[0, 1\], got 1.5",
        ),
        (lambda: SimulatedRaters(Factors(), ONE, rationality=per_person(math.nan)), "`rationality` must lie"),
        (lambda: SimulatedRaters(Factors(), ONE * math.inf), "`taste` must be finite"),
        (lambda: crowd(3).take(torch.tensor([1, 1])), "`stream` must be different"),
        (lambda: crowd(3).share(SEGMENTS, PAIR, ME), "a taste has 3 numbers and the options 1"),
        (lambda: crowd(3).share(items(), PAIR, ME + 3), r"`rater` must be in 0\.\.2, got 3"),
        (lambda: crowd(3).share(items(2), PAIR + 1, ME), "must point into the 2 options"),
        (lambda: crowd(3, faults=TEACHERS["myopic"]).share(items(), PAIR, ME), "needs Segments"),
        (
            lambda: crowd(3, faults=Faults(equal=0.1)).share(items(), torch.tensor([[0, 1, 2]]), ME),
            "`equal` is about pairs",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_fitting_by_the_rule_that_answered_recovers_the_tastes():
    truth = ((1.0, -0.5, 0.3), (-1.0, 0.5, 0.8))
    people = CampPeople(truth, (0.6, 0.4)).draw(200, 0)
    options = items(40)
    data = people.answer(options, *questions(40, 40, 200, 1), 2)
    x = options.features.double()[data.slate]
    for g, taste in enumerate(torch.tensor(truth, dtype=torch.float64)):
        mine = people.group[data.rater] == g
        loss = lambda w, m=mine: -Luce().log_prob(x[m] @ w, data.label[m].double()).sum()
        w = torch.zeros(3, dtype=torch.float64)
        for _ in range(8):  # Newton
            slope = torch.autograd.functional.jacobian(loss, w)
            w = w - torch.linalg.solve(torch.autograd.functional.hessian(loss, w), slope)
        wald = (w - taste) @ torch.autograd.functional.hessian(loss, taste) @ (w - taste)
        assert float(wald) < 16.27  # 99.9 % point of chi-squared with 3 degrees of freedom
