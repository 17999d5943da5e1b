"""Standard errors of what camps want agree with theory where there is some, and with the truth."""

import pytest
import torch

from pluralign.data import Items
from pluralign.metrics.voice_errors import voice_errors, width_of_interval
from pluralign.population.camps import Camps
from pluralign.population.normal_mixture import NormalMixture
from pluralign.population.per_rater import PerRater
from pluralign.population.pooled import Pooled
from pluralign.raters import CampPeople, questions

TRUTH = torch.tensor([[1.5, 0.0, -1.0], [-1.5, 1.0, 0.0]], dtype=torch.float64)


def answers(centres, raters=60, per_rater=20):
    people = CampPeople(tuple(map(tuple, centres.tolist())), (1 / len(centres),) * len(centres)).draw(
        raters, 0
    )
    items = Items(torch.randn(30, 3, generator=torch.Generator().manual_seed(0)).double())
    return people.answer(items, *questions(30, per_rater, raters, 0), 0)


def test_of_one_taste_they_are_those_of_its_information():
    data, model = answers(TRUTH[:1]), Pooled(ridge=1e-6)
    belief = model.fit(data)
    errors = voice_errors(model, belief, data)
    basis = belief.worth.basis(data.options)[data.slate].double()
    gap = basis[:, 0] - basis[:, 1]
    chance = torch.sigmoid(gap @ belief.voices().z[0].double())
    information = torch.einsum("m,md,me->de", chance * (1 - chance), gap, gap)
    ratio = (errors[0].square() / torch.linalg.inv(information).diagonal()).mean()
    # Each is a chi-squared of 9 over 9: the mean of three has a standard deviation of .27.
    assert 0.2 < ratio < 2.1


@pytest.mark.parametrize(
    "model", [Camps(groups=2, ridge=0.1, restarts=2), NormalMixture(temper=1.0, volume=1.0)]
)
def test_camps_are_matched_and_the_truth_is_inside(model):
    data = answers(TRUTH)
    belief = model.fit(data)
    errors = voice_errors(model, belief, data)
    assert (errors < 0.6).all()  # unmatched camps would differ by 3 utils
    z = belief.voices().z.double() * belief.worth.scale.double()
    order = [0, 1] if z[0, 0] > 0 else [1, 0]
    off = (z[order] - TRUTH) / (errors * belief.worth.scale.double())[order]
    assert (off.abs() < 5).all()  # of Student's t with 9 degrees: one of 7,000 in six


def test_where_nothing_can_be_said_nothing_is():
    data = answers(TRUTH[:1], raters=8)
    per_rater = PerRater(ridge=1.0)
    assert voice_errors(per_rater, per_rater.fit(data), data) is None
    model = NormalMixture(groups=4, temper=1.0, volume=1.0)
    four = answers(TRUTH, raters=4)  # without one of them there are more kinds than people
    assert bool(torch.isinf(voice_errors(model, model.fit(four), four)).all())
    few = data.of_raters([0, 1, 2])
    assert voice_errors(Pooled(ridge=1.0), Pooled(ridge=1.0).fit(few), few) is None
    assert abs(width_of_interval() - 2.262) < 1e-3
