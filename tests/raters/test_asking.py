"""Designs of a study: who is asked what, by one verb."""

import pytest
import torch

import pluralign
from pluralign.data.options import Items
from pluralign.elicitation import Active
from pluralign.raters import Asking, CampPeople, Contrast, OnPolicy, Uniform, long_tailed, questions

PEOPLE = CampPeople(((2.0, 0.0, 0.0), (0.0, 2.0, 0.0)), (0.5, 0.5)).draw(60, 0)


@pytest.fixture
def options(rng):
    return Items(torch.randn(50, 3, generator=rng))


def apart(data):
    unit = data.options.features / data.options.features.std(0)
    return (unit[data.slate[:, 0]] - unit[data.slate[:, 1]]).norm(dim=1)


def test_uniform_is_the_questions_as_ever(options):
    data = Uniform().ask(PEOPLE, options, 8, 3)
    slate, rater = questions(50, 8, 60, 3)
    assert torch.equal(data.slate, slate)
    assert torch.equal(data.label, PEOPLE.answer(options, slate, rater, 3).label)
    assert Uniform(places=4).ask(PEOPLE, options, 2, 0).places == 4


@pytest.mark.parametrize(
    "design", [Uniform(), Contrast(), OnPolicy(20), OnPolicy(20, against_all=True)], ids=str
)
def test_everybody_is_asked_as_often_as_wanted(design, options):
    assert isinstance(design, Asking)
    count = torch.arange(60) % 7
    data = design.ask(PEOPLE, options, count, 0)
    assert torch.equal(data.counts, count)
    assert bool((data.slate[:, 0] != data.slate[:, 1]).all())
    assert torch.equal(data.slate, design.ask(PEOPLE, options, count, 0).slate)
    assert not torch.equal(data.slate, design.ask(PEOPLE, options, count, 1).slate)
    if isinstance(design, Uniform):  # nobody meets a pair twice
        assert len({(r, *sorted(s)) for r, s in zip(data.rater.tolist(), data.slate.tolist())}) == len(data)


def test_contrast_is_high_or_low(options):
    plain = apart(Uniform().ask(PEOPLE, options, 20, 0))
    high, low = (apart(Contrast(high).ask(PEOPLE, options, 20, 0)) for high in (True, False))
    # The largest of ten is above nine tenths of all, nearly always; compare with quantiles of plain pairs.
    assert float(high.median()) > float(plain.quantile(0.85))
    assert float(low.median()) < float(plain.quantile(0.15))
    expected = 0.5 ** (1 / 10)  # median of the largest of ten uniforms
    level = float((plain < high.median()).double().mean())
    assert abs(level - expected) < 0.03


def test_on_policy_asks_about_what_is_new(options):
    new = OnPolicy(10).ask(PEOPLE, options, 12, 0)
    assert int(new.slate.min()) >= 40
    mixed = OnPolicy(10, against_all=True).ask(PEOPLE, options, 200, 0)
    fresh = mixed.slate >= 40
    assert bool(fresh.any(1).all())
    # The other is any of the 49, new in 9 of 49 cases; the new one is first as often as second.
    both = float(fresh.all(1).double().mean())
    assert abs(both - 9 / 49) < 4 * (9 / 49 * 40 / 49 / len(mixed)) ** 0.5
    assert abs(float(fresh[:, 0].double().mean()) - (1 + 9 / 49) / 2) < 4 * 0.5 / len(mixed) ** 0.5


@pytest.mark.parametrize("shape", [1.2, 1.5, 3.0])
def test_few_give_many_answers(shape):
    count = long_tailed(2000, 20, 0, least=2, shape=shape)
    assert int(count.sum()) == 40_000
    assert int(count.min()) >= 2
    top = count.sort(descending=True).values[:200].sum() / 40_000
    # The best-served tenth of a Pareto crowd, above its least, holds .1^(1 - 1/shape) of it, less what all have alike.
    assert float(top) > 0.2
    if shape == 1.2:
        assert (
            float(top)
            > float(long_tailed(2000, 20, 0, least=2, shape=3.0).sort(descending=True).values[:200].sum())
            / 40_000
            + 0.1
        )
    assert torch.equal(count, long_tailed(2000, 20, 0, least=2, shape=shape))


def test_active_questions_tell_more_than_random_ones(options):
    known = CampPeople(((2.0, 0.0, 0.0), (0.0, 2.0, 0.0)), (0.5, 0.5)).draw(40, 9)
    belief = pluralign.Camps(groups=2, ridge=1.0).fit(Uniform().ask(known, options, 20, 1), seed=0)
    design = Active(belief, pool=20)
    assert isinstance(design, Asking)
    sure = {}
    for name, asking in (("active", design), ("uniform", Uniform())):
        answers = asking.ask(PEOPLE, options, 3, 5)
        assert torch.equal(answers.counts, torch.full((60,), 3))
        sure[name] = belief.adapt(answers).weight.amax(0)
    gain = sure["active"] - sure["uniform"]
    assert float(gain.mean()) > 3 * float(gain.std()) / 60**0.5
    count = torch.arange(60) % 4
    assert torch.equal(design.ask(PEOPLE, options, count, 5).counts, count)
    with pytest.raises(ValueError, match="`pool` must hold all 30 questions of a rater, got 20"):
        design.ask(PEOPLE, options, 30, 0)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda o: OnPolicy(60).ask(PEOPLE, o, 3, 0),
            "`newest` must be 2 to 50, the number of options, got 60.",
        ),
        (lambda o: Contrast(pool=1), "`pool` must be 2 or more pairs, got 1"),
        (lambda o: Uniform().ask(PEOPLE, o, torch.ones(3, dtype=torch.long), 0), "for each of the 60 raters"),
        (lambda o: long_tailed(10, 1, 0, least=2), "`least` must be between 0 and the mean of 1, got 2."),
        (
            lambda o: long_tailed(10, 5, 0, shape=1.0),
            "`shape` must be above 1, or there is no mean, got 1.0.",
        ),
    ],
)
def test_a_wrong_design_is_explained(act, message, options):
    with pytest.raises(ValueError) as caught:
        act(options)
    assert message in str(caught.value)
