"""Designs of a study: who is asked what, by one verb."""

import itertools

import pytest
import torch

import pluralign
from pluralign.data.options import Items
from pluralign.elicitation import Active
from pluralign.raters import Asking, CampPeople, Contrast, Designed, OnPolicy, Uniform, long_tailed, questions
from pluralign.raters.designed import BLOCKS, most_telling

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
    "design", [Uniform(), Contrast(), Designed(), OnPolicy(20), OnPolicy(20, against_all=True)], ids=str
)
def test_everybody_is_asked_as_often_as_wanted(design, options):
    assert isinstance(design, Asking)
    count = torch.arange(60) % 7
    data = design.ask(PEOPLE, options, count, 0)
    assert torch.equal(data.counts, count)
    assert bool((data.slate[:, 0] != data.slate[:, 1]).all())
    assert torch.equal(data.slate, design.ask(PEOPLE, options, count, 0).slate)
    assert not torch.equal(data.slate, design.ask(PEOPLE, options, count, 1).slate)
    if isinstance(design, Uniform | Designed):  # nobody meets a pair twice
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


def test_a_design_by_hand():
    """The longest pair first; then what is not known yet counts, and not what is long; then what is fresh."""
    unit = torch.tensor([[[0.0, 0.0], [4.0, 0.0], [0.5, 0.0], [3.5, 0.0], [2.0, 2.0], [2.0, 0.1]]]).double()
    # (0, 1) has d = (4, 0), and I becomes diag(1 + 16/4, 1). Of the four options left (2, 4) and (3, 4) have 2.25/5 + 4,
    # (2, 3) has 9/5; of equal ones the earlier. Then only 3 and 5 are fresh.
    assert most_telling(unit, 3, 1.0)[0].tolist() == [[0, 1], [2, 4], [3, 5]]
    # With nothing learned from an answer, pairs are taken by length alone.
    assert most_telling(unit, 2, 1e9)[0].tolist() == [[0, 1], [2, 3]]


def test_each_question_adds_most_to_what_is_told(rng):
    """Against log det of the information, computed anew for every pair of fresh options."""
    units = torch.randn(2, 30, 4, generator=rng).double()
    for unit, found in zip(units, most_telling(units, 12, 0.3).tolist()):
        info, fresh = 0.3 * torch.eye(4).double(), set(range(30))
        for mine in found:
            told = {
                (a, b): float(torch.logdet(info + torch.outer(unit[a] - unit[b], unit[a] - unit[b]) / 4))
                for a, b in itertools.combinations(sorted(fresh), 2)
            }
            assert tuple(mine) == max(told, key=told.__getitem__)
            info = info + torch.outer(unit[mine[0]] - unit[mine[1]], unit[mine[0]] - unit[mine[1]]) / 4
            fresh -= set(mine)


def test_a_design_asks_about_what_is_rare(rng):
    """One option in twenty differs in the second number: many questions need it, not one in ten."""
    rows = torch.randn(200, 2, generator=rng)
    rows[10:, 1] = 0.0
    people = CampPeople(((2.0, 0.0), (0.0, 2.0)), (0.5, 0.5)).draw(60, 0)
    rare = lambda design: float((design.ask(people, Items(rows), 10, 0).slate < 10).any(1).double().mean())
    assert rare(Designed()) > 0.3
    assert rare(Uniform()) < 0.2


def test_a_design_tires_no_option(options):
    data = Designed().ask(PEOPLE, options, 20, 0)
    mine = data.slate.view(60, 20, 2)
    assert all(
        len(set(row)) == 40 for row in mine.flatten(1).tolist()
    )  # of fifty options, nobody saw one twice
    assert torch.equal(mine[0].sort(1).values, mine[1].sort(1).values)
    assert abs(float((mine[:, :, 0] < mine[:, :, 1]).double().mean()) - 0.5) < 4 * 0.5 / 1200**0.5
    some = Designed(pool=30).ask(PEOPLE, options, 10, 0).slate.view(60, 20)
    assert len({frozenset(row) for row in some.tolist()}) == BLOCKS
    # Whoever is asked less gets the beginning of it.
    count = torch.arange(60) % 6 + 15
    fewer = Designed().ask(PEOPLE, options, count, 0)
    begun = (torch.arange(20) < count[:, None]).flatten()
    assert torch.equal(fewer.slate, data.slate[begun])
    # More questions than fresh options, and every pair there is.
    every = Designed().ask(PEOPLE, options.take(torch.arange(5)), 10, 0).slate.sort(1).values
    assert {tuple(s) for s in every[:10].tolist()} == set(itertools.combinations(range(5), 2))
    with pytest.raises(ValueError, match="make 10 different questions of 2, fewer than 11"):
        Designed().ask(PEOPLE, options.take(torch.arange(5)), 11, 0)
