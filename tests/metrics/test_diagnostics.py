"""What a diagnosis says of beliefs that are as they should be, of collapsed ones, and of people without differences."""

import dataclasses
import re

import pytest
import torch

import pluralign
from pluralign.data import Items
from pluralign.metrics.diagnostics import (
    ALIKE,
    activity,
    diagnose,
    effective_camps,
    gauges,
    responses,
    shuffled,
    turned,
)
from pluralign.population import Atoms, Gaussian
from pluralign.population.camps import Camps
from pluralign.population.draws import Draws
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.per_rater import PerRater
from pluralign.population.pooled import Pooled
from pluralign.population.trust import Trust
from pluralign.raters import CampPeople, questions

CAMPS = Camps(groups=2, ridge=1.0, restarts=3)
CLOUD = Hierarchical(draws=16, rounds=30, rank=2, temper=1.0)


def answers(*centres, raters=60, per_rater=20, seed=0, places=2):
    people = CampPeople(centres, (1 / len(centres),) * len(centres)).draw(raters, seed)
    items = Items(torch.randn(30, 3, generator=torch.Generator().manual_seed(seed)).double())
    return people.answer(items, *questions(30, per_rater, raters, seed, places=places), seed)


@pytest.fixture(scope="module")
def two():
    return answers((2.0, 0.0, -1.0), (-2.0, 1.0, 0.0))


@pytest.fixture(scope="module")
def one():
    return answers((2.0, 0.0, -1.0))


@pytest.mark.parametrize("model", [CAMPS, CLOUD], ids=["camps", "cloud"])
def test_two_camps_are_told_apart_and_one_is_not(model, two, one):
    found = pluralign.diagnose(model.fit(two, seed=0), two)
    assert found.verdict.startswith("Raters differ beyond noise: their own answers are worth +0.")
    assert found.beyond is not None
    assert found.beyond.value > 5 * found.beyond.standard_error
    assert found.active == 1
    assert found.flip.value > 0.8  # camps share a direction, so not all turns round
    assert 1.9 < found.effective_camps < 2.4
    assert "hardly follow" not in str(found)
    none = pluralign.diagnose(model.fit(one, seed=0), one)
    assert none.verdict.startswith("These data show no differences between raters beyond noise: use pooled.")
    assert none.flip.value < 0.05
    assert none.effective_camps < 1.4
    assert none.shrinkage > 0.5
    assert none.warnings[0].startswith("predictions hardly follow what a rater answers (0.0")
    with pytest.raises(ValueError, match="there must be answers to diagnose a belief by"):
        diagnose(model.fit(one, seed=0), one.take(torch.arange(0)))


def test_a_belief_made_to_collapse_is_found_out(two):
    belief = CLOUD.fit(two, seed=0)
    assert isinstance(belief.prior, Gaussian)
    narrow = dataclasses.replace(belief.prior, covariance=belief.prior.covariance * 1e-5)
    deaf = Draws(narrow.mean.expand(1, two.raters, -1), torch.ones(1, two.raters).double())
    collapsed = dataclasses.replace(belief, prior=narrow, draws=deaf)
    found = diagnose(collapsed, two, control=False)
    assert found.flip.value < 0.01
    assert found.active == 0
    assert found.effective_camps == 1
    assert found.warnings[0].startswith("predictions hardly follow what a rater answers (0.00 of the way")
    assert found.beyond is None
    assert "no control says" in found.verdict


def test_camps_that_found_one_taste_say_that_they_looked(one):
    """The gain of the best number above one is that of the table, and its error that of their difference."""
    belief = Camps(groups="auto", ridge=1.0, restarts=2).fit(one, seed=0)
    assert belief.diagnostics["groups"] == 1
    found = diagnose(belief, one, control=False)
    said = re.fullmatch(
        re.escape(ALIKE)
        + r" \(Of up to 8 camps, the best number above one, (\d), gains ([+-].{5}) nats per held-out "
        r"answer \(95 % interval over raters ([+-].{5}) to ([+-].{5})\) over one taste for all\.\)",
        found.verdict,
    )
    assert said is not None
    loss = {name: value for name, value, _ in belief.diagnostics["groups_table"]}
    number, gain, low, high = said.groups()
    assert float(gain) == pytest.approx(loss["1"] - loss[number], abs=5.1e-4)
    assert loss[number] == min(value for name, value in loss.items() if name != "1")
    error = {name: value for name, _, value in belief.diagnostics["groups_table"]}
    apart = error[number] if loss["1"] < loss[number] else error["1"]  # the error of the best is none
    assert float(high) - float(low) == pytest.approx(2 * 1.96 * apart, abs=1.1e-3)


def test_pooled_and_per_rater_are_the_two_ends(two):
    pooled = diagnose(Pooled(ridge=1.0).fit(two, seed=0), two)
    assert (pooled.flip.value, pooled.gain.value, pooled.activity) == (0, 0, ())
    assert pooled.verdict.startswith("This belief has one taste for everybody")
    # The most probable taste under a prior about zero is odd in the labels: flipped answers flip it, and predictions.
    alone = PerRater(ridge=1.0).fit(two, seed=0)
    assert responses(alone, two)[0].value == pytest.approx(1.0, abs=1e-6)


def test_a_gain_that_only_the_fit_saw_is_not_called_a_difference(one):
    """A taste for everybody alone learns the common one; it does so for shuffled raters too."""
    found = diagnose(PerRater(ridge=1.0).fit(one, seed=0), one)
    assert found.gain.value > 0.1
    assert found.beyond is not None
    assert abs(found.beyond.value) < 3 * found.beyond.standard_error
    assert "use pooled" in found.verdict


def test_numbers_by_hand(two):
    """Two atoms at +-1 along one axis: the prior's variance there is 1, and three of four sure raters vary by 3/4."""
    belief = Camps(groups=1, ridge=1.0).fit(two, seed=0)
    atoms = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]).double()
    prior = Atoms(atoms, torch.tensor([0.5, 0.5]).double())
    sure = Draws.atoms(atoms, torch.tensor([[1.0, 1, 1, 0], [0, 0, 0, 1]]).double())
    known = dataclasses.replace(belief, prior=prior, draws=sure, rater_ids=("a", "b", "c", "d"))
    # 4096 draws of a fair coin: the sample variance of the prior is within about 5 / 4096 of 1.
    assert activity(known) == pytest.approx((0.75,), abs=0.01)
    assert effective_camps(known) == pytest.approx(4 / 3**0.75)  # exp(-(3/4 log 3/4 + 1/4 log 1/4))
    unsure = dataclasses.replace(known, draws=Draws.atoms(atoms, torch.full((2, 4), 0.5).double()))
    assert effective_camps(unsure) == pytest.approx(1)
    assert activity(unsure) == pytest.approx((0,), abs=1e-12)


def test_turning_and_shuffling():
    data = answers((1.0, 0.0, 0.0), raters=3, per_rater=4, places=3)
    assert torch.equal(turned(data).label, (1 - data.label) / 2)
    pairs = answers((1.0, 0.0, 0.0), raters=3, per_rater=4)
    assert torch.equal(turned(pairs).label, pairs.label.flip(1))
    mixed = shuffled(pairs, torch.Generator().manual_seed(0))
    assert torch.equal(mixed.counts, pairs.counts)
    assert torch.equal(mixed.label, pairs.label)
    assert not torch.equal(mixed.rater, pairs.rater)


def test_one_answer_each_and_more_camps_than_answers_tell(two):
    single = two.take(torch.arange(0, len(two), 20))
    found = diagnose(Camps(groups=2, ridge=1.0).fit(single, seed=0), single)
    assert "types" in found.limits
    assert any(text.startswith("one answer to a pair from each rater") for text in found.warnings)
    assert "nobody gave two answers" in str(found)
    few = answers((2.0, 0.0, -1.0), (-2.0, 1.0, 0.0), (0.0, 3.0, 0.0), per_rater=3)
    said = diagnose(Camps(groups=3, ridge=1.0).fit(few, seed=0), few, control=False).warnings
    assert any("are sure to tell 2 kinds of raters apart, this belief has 3" in text for text in said)


def test_gauges_are_those_of_the_population(two):
    said = lambda model: " ".join(diagnose(model.fit(two, seed=0), two, control=False).gauges)
    assert "only differences of worth are known" in said(Pooled(ridge=1.0))
    assert "camps have no names" in said(CAMPS)
    assert "camps have no names" not in said(Pooled(ridge=1.0))
    assert "the majority is presumed honest" in said(Trust(ridge=1.0))
    belief = CLOUD.fit(two, seed=0)
    turned_round = dataclasses.replace(belief, worth=belief.worth.onto(torch.eye(3).double()))
    assert "up to a change of axes" in gauges(turned_round)[1]
    assert len(gauges(belief)) == 1


def test_a_diagnosis_reads_as_text_and_as_a_table(two):
    found = diagnose(CAMPS.fit(two, seed=0), two)
    assert str(found).splitlines()[0] == found.verdict
    assert "active directions       1 of 1" in str(found)
    assert "<table>" in found._repr_html_()
    assert str(diagnose(CAMPS.fit(two, seed=0), two)) == str(found)
