"""Vote shares of nobody in particular: calibrated, and several tastes only where votes ask for them."""

import dataclasses
import math

import pytest
import torch

from pluralign.data import Comparisons, Items
from pluralign.population.distributional import Distributional, calibration_error
from pluralign.population.pooled import Pooled

CAMPS = torch.tensor([[6.0, 0.0], [-3.0, 6.0]], dtype=torch.float64)


def votes(share, questions=400, each=60, seed=0):
    """`each` anonymous votes on each question: people of two decided camps."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(2 * questions, 2, generator=draw).double()
    first, second = torch.arange(questions), torch.arange(questions) + questions
    chance = torch.sigmoid((features[first] - features[second]) @ CAMPS.T) @ torch.tensor(share).double()
    said = torch.distributions.Binomial(each, chance)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        count = said.sample()
    weight = torch.full((questions,), float(each)).double()
    return Comparisons.pairs(
        Items(features), first, second, torch.arange(questions), count / each, weight=weight
    ), chance


def test_shares_come_out_as_observed_and_camps_are_found():
    data, chance = votes((0.7, 0.3))
    belief = Distributional(members=2).fit(data, seed=0)
    found = belief.predict(data)[:, 0]
    pooled = Pooled(ridge=0.3).fit(data, seed=0)
    assert (
        float((found - chance).square().mean())
        < float((pooled.predict(data)[:, 0] - chance).square().mean()) / 10
    )
    assert belief.diagnostics["calibration_error"] < 1e-3 < calibration_error(pooled, data)
    assert belief.prior.share[0] == pytest.approx(0.7, abs=0.05)
    near = torch.nn.functional.normalize(belief.voices().z) @ torch.nn.functional.normalize(CAMPS).T
    assert bool((near.diagonal() > 0.97).all())
    assert Distributional().fit(data, seed=0).diagnostics["members"] >= 2


def test_one_mind_is_one_member():
    data, _ = votes((1.0, 0.0))
    assert Distributional().fit(data, seed=0).diagnostics["members"] == 1


def test_names_are_not_looked_at():
    data, _ = votes((0.7, 0.3), questions=60)
    other = dataclasses.replace(data, rater=torch.zeros_like(data.rater), rater_ids=("all",))
    one, two = (Distributional(members=2).fit(d, seed=0) for d in (data, other))
    torch.testing.assert_close(one.prior.z, two.prior.z, atol=1e-9, rtol=0)


def test_calibration_error_by_hand():
    """Two votes of four for the first where .8 is told: (.3)^2 - .25 / 3; one vote says nothing."""
    options = Items(torch.tensor([[1.0], [0.0]]))
    first = torch.zeros(4, dtype=torch.long)
    data = Comparisons.pairs(options, first, first + 1, first, torch.tensor([1.0, 1.0, 0.0, 0.0]))

    class Told:
        def predict(self, data):
            return torch.tensor([[0.8, 0.2]]).double().expand(len(data), -1)

    assert calibration_error(Told(), data) == pytest.approx(0.09 - 0.25 / 3, abs=1e-6)  # labels are float32
    assert math.isnan(calibration_error(Told(), data.take(torch.tensor([0]))))
