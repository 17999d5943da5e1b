"""Faults of a person, against the tables of the published teachers and against closed forms."""

import math

import pytest
import torch
from scipy.stats import binomtest

from pluralign.choice import Luce
from pluralign.data.options import Items, Segments
from pluralign.raters import (
    TEACHERS,
    Attention,
    CampPeople,
    Factors,
    Faults,
    SimulatedRaters,
    preset,
    questions,
    relative_threshold,
)

ME, PAIR = torch.zeros(1, dtype=torch.long), torch.tensor([[0, 1]])
ONE = torch.ones(1, 1, dtype=torch.float64)
SEGMENTS = Segments(torch.tensor([[1, 0.5, 0, 2], [2, 0, 0.5, 0.9]], dtype=torch.float64)[..., None])
APART = Items(torch.tensor([[0.7], [0.0]], dtype=torch.float64))


def mine(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("discount", "rationality", "mistake", "expected"),
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
def test_table_of_bpref(discount, rationality, mistake, expected):
    people = SimulatedRaters(
        Factors(), ONE, rationality=mine(rationality), discount=mine(discount), mistake=mine(mistake)
    )
    assert people.share(SEGMENTS, PAIR, ME)[0, 0].item() == pytest.approx(expected, abs=1e-10)


def test_mistakes_lapses_and_bias_at_a_difference_of_seven_tenths():
    share = lambda **faults: SimulatedRaters(Factors(), ONE, **faults).share(APART, PAIR, ME)[0, 0].item()
    assert share(lapse=mine(0.1)) == pytest.approx(0.6513689950, abs=1e-10)
    assert share(mistake=mine(0.1)) == pytest.approx(0.6345502177, abs=1e-10)
    assert share(lapse=mine(0.2)) == pytest.approx(share(mistake=mine(0.1)), abs=1e-12)
    assert share(bias=mine(0.4)) == pytest.approx(1 / (1 + math.exp(-1.1)), abs=1e-12)
    assert share(bias=mine(0.4), rationality=mine(3.0)) == pytest.approx(1 / (1 + math.exp(-2.5)))
    assert share(mistake=mine(1.0)) == pytest.approx(1 - 0.6681877722, abs=1e-10)  # says the opposite
    assert share(lapse=mine(1.0)) == 0.5  # a troll


def test_swapping_a_pair_swaps_the_answer_unless_there_is_a_side():
    for faults, fair in ((Faults(rationality=2.0, lapse=0.1, mistake=0.05), True), (Faults(bias=0.3), False)):
        people = CampPeople(((1.0,),), (1.0,), faults=faults).draw(1, 0)
        there, back = (people.share(APART, pair, ME) for pair in (PAIR, PAIR.flip(1)))
        assert torch.equal(there, back.flip(1)) == fair


@pytest.mark.parametrize("faults", [Faults(mistake=0.2), Faults(bias=0.6), TEACHERS["mistake"]], ids=str)
def test_frequencies_are_the_chances(faults):
    people = CampPeople(((1.0,),), (1.0,), faults=faults).draw(6000, 0)
    everybody = torch.arange(6000)
    got = people.answer(APART, PAIR.expand(6000, 2), everybody, 3).label[:, 0]
    chance = people.share(APART, PAIR, ME)[0, 0].item()
    assert binomtest(int(got.sum()), 6000, chance).pvalue > 1e-3
    assert binomtest(int(got.sum()), 6000, 0.6681877722).pvalue < 1e-6  # somebody without the fault


def test_people_lean_more_or_less():
    people = CampPeople(((0.0,),), (1.0,), faults=Faults(bias=0.5, bias_spread=0.3)).draw(4000, 0)
    assert abs(float(people.bias.mean()) - 0.5) < 4 * 0.3 / math.sqrt(4000)
    assert abs(float(people.bias.std()) - 0.3) < 4 * 0.3 / math.sqrt(8000)


def test_equal_overrides_everything_and_uses_worths_that_do_not_fade():
    people = SimulatedRaters(
        Factors(), ONE, equal=mine(0.2), discount=mine(0.9), mistake=mine(0.3), rationality=mine(9.0)
    )
    assert people.log_outcomes(SEGMENTS, PAIR, ME).exp()[0].tolist() == [0, 1, 0]  # 3.5 against 3.4


def test_the_threshold_of_bpref_as_intended():
    # A tenth of what a segment of 50 steps brings in episodes of 1000 that return 400; the same at every update.
    assert relative_threshold(0.1, 400.0, 50, 1000) == pytest.approx(2.0)
    assert relative_threshold(0.1, -400.0, 50, 1000) == pytest.approx(2.0)
    updates = [relative_threshold(0.1, value, 50, 1000) for value in (400.0, 400.0, 800.0)]
    assert updates == pytest.approx([2.0, 2.0, 4.0])  # the published code gives 2, .2, .4
    with pytest.raises(ValueError, match="segments no longer than episodes, got"):
        relative_threshold(0.1, 1.0, 50, 20)


def test_attention_runs_along_the_segment():
    plain = Factors().basis(SEGMENTS)
    torch.testing.assert_close(Attention((1.0, 1.0)).basis(SEGMENTS), plain)
    rising = Attention((0.0, 1.0)).basis(SEGMENTS)
    assert rising[:, 0].tolist() == pytest.approx([0.5 / 3 + 2, 0.5 * 2 / 3 + 0.9])
    ends = Attention((1.0, 0.0, 1.0)).basis(SEGMENTS)  # weights 1, 1/3, 1/3, 1
    assert ends[:, 0].tolist() == pytest.approx([1 + 0.5 / 3 + 2, 2 + 0.5 / 3 + 0.9])
    short = Segments(SEGMENTS.factors, torch.tensor([[True, True, True, False], [True] * 4]))
    assert Attention((0.0, 1.0)).basis(short)[0, 0].item() == pytest.approx(0.25)
    with pytest.raises(ValueError, match="it needs Segments, got Items"):
        Attention((0.0, 1.0)).basis(APART)
    with pytest.raises(ValueError, match="`weights` must be two or more numbers"):
        Attention((1.0,))


def test_trolls_answer_at_random_and_others_do_not(rng):
    people = preset("trolls", {"a": 1.0, "b": 1.0}, strength=6.0).draw(200, 0)
    options = Items(torch.randn(40, 2, generator=rng))
    slate, rater = questions(40, 30, 200, 0)
    data, worth = people.answer(options, slate, rater, 0), people.utility(options)
    best = (worth[rater, slate[:, 0]] > worth[rater, slate[:, 1]]).float()
    troll = people.kind[rater] == 1
    assert int(people.kind.sum()) == 20
    hits = int((data.label[:, 0] == best)[troll].sum())
    assert binomtest(hits, int(troll.sum()), 0.5).pvalue > 1e-3
    assert float((data.label[:, 0] == best)[~troll].double().mean()) > 0.8


def test_mixed_people_may_skip_and_take_time(rng):
    from pluralign.raters import MixedPeople

    quick = CampPeople(((1.0,),), (1.0,), faults=Faults(pace=1.0))
    choosy = CampPeople(((1.0,),), (1.0,), faults=Faults(skip=0.5))
    people = MixedPeople((quick, choosy), (0.5, 0.5)).draw(40, 0)
    options = Items(torch.randn(30, 1, generator=rng))
    slate, rater = questions(30, 10, 40, 0)
    data = people.answer(options, slate, rater, 0)
    kind = people.kind[data.rater]
    assert bool((data.response_time[kind == 0] > 0).all())
    assert bool(data.response_time[kind == 1].isnan().all())
    worth = options.features[data.slate][..., 0].amax(1)
    assert float(worth[kind == 1].min()) > 0.5
    assert int((kind == 0).sum()) == 200


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Faults(mistake=1.5), "`mistake` must be a probability, got 1.5."),
        (lambda: Faults(bias=math.nan), "`bias` must be a finite number of utils"),
        (lambda: Faults(bias_spread=-1.0), "`bias_spread` must be 0 or more"),
        (
            lambda: SimulatedRaters(Factors(), ONE, Luce(), mistake=mine(0.1)).share(
                Items(torch.zeros(3, 1)), torch.tensor([[0, 1, 2]]), ME
            ),
            "`mistake` is about pairs, got slates of 3; give a `lapse`.",
        ),
    ],
)
def test_a_wrong_fault_is_explained(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)
