"""The in-context population: symmetries of attention, the prior without answers, and no worse than exact inference."""

import dataclasses

import pytest
import torch

from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.population.held_out import log_loss
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.in_context import InContext, Reader
from pluralign.population.pooled import Pooled
from pluralign.recipes import gpo
from pluralign.utility import TasteMLP

EXACT = 1e-9  # float64, through two linear systems


def people(raters, per_rater, seed):
    features = torch.randn(40, 3, generator=torch.Generator().manual_seed(99)).double()
    draw = torch.Generator().manual_seed(seed)
    taste = 1.5 * torch.randn(raters, 3, generator=draw).double()
    rater = torch.arange(raters).repeat_interleave(per_rater)
    slate = torch.randint(40, (len(rater), 2), generator=draw)
    slate[:, 1] = (slate[:, 0] + 1 + slate[:, 1] % 39) % 40
    worth = (features[slate] * taste[rater][:, None]).sum(-1)
    first = torch.rand(len(rater), generator=draw).double() < torch.sigmoid(worth[:, 0] - worth[:, 1])
    ids = tuple(f"{seed} {r}" for r in range(raters))
    return Comparisons(Items(features), slate, rater, torch.stack([first, ~first], 1).double(), rater_ids=ids)


@pytest.fixture
def reader(rng):
    """A reader with something to say."""
    start = Reader.start(3, 8, 6, generator=rng)
    head = (torch.randn(6, 4, generator=rng, dtype=torch.float64), start.layers[3][1])
    return dataclasses.replace(start, layers=(*start.layers[:3], head))


def test_attention_sees_neither_order_nor_place_nor_repetition(reader, rng):
    data = people(5, 12, 0)
    basis = torch.randn(40, 4, generator=rng, dtype=torch.float64)
    one = reader.posterior(data, basis, Luce())
    turned = dataclasses.replace(data, slate=data.slate.flip(1), label=data.label.flip(1))
    mixed = reader.posterior(turned.take(torch.randperm(len(data), generator=rng)), basis, Luce())
    twice = data.take(torch.cat([torch.arange(len(data))] * 2))
    heavy = dataclasses.replace(data, weight=torch.full((len(data),), 2.0).double())
    again, double = reader.posterior(twice, basis, Luce()), reader.posterior(heavy, basis, Luce())
    for a, b in ((one, mixed), (again, double)):
        torch.testing.assert_close(a.z, b.z, atol=EXACT, rtol=0)
        torch.testing.assert_close(a.weight, b.weight, atol=EXACT, rtol=0)
    assert float((one.z - double.z).abs().max()) > 0.01


def test_without_answers_attention_says_the_prior(reader, rng):
    data = people(5, 12, 0)
    basis = torch.randn(40, 4, generator=rng, dtype=torch.float64)
    silent = reader.posterior(data.take(torch.arange(12)), basis, Luce())
    torch.testing.assert_close(silent.z[:, 1, 1:], reader.noise, atol=EXACT, rtol=0)
    torch.testing.assert_close(silent.weight[:, 1], torch.full((8,), 1 / 8).double())
    assert float((silent.z[:, 0] - silent.z[:, 1]).abs().max()) > 0.1


def test_what_was_learnt_reads_strangers_as_well_as_exact_inference():
    """On normal tastes the predictions after four answers are within .03 nats of the hierarchical model's."""
    data, answers = people(120, 16, 0), people(100, 24, 1)
    told = torch.arange(len(answers)) % 24 < 4
    belief = InContext(simulated=40, steps=0, temper=1.0, components=0).fit(data, seed=0)
    exact, pooled = Hierarchical().fit(data, seed=0), Pooled(ridge=1.0).fit(data)
    judged = answers.take(~told)
    loss = {
        name: log_loss(
            dataclasses.replace(b, draws=b.adapt(answers.take(told)), rater_ids=answers.rater_ids), judged
        )
        for name, b in {"read": belief, "exact": exact, "pooled": pooled}.items()
    }
    assert float((loss["read"] - loss["exact"]).mean()) < 0.03
    gain = loss["pooled"] - loss["read"]
    assert float(gain.mean()) > 4 * float(gain.std()) / 10


def test_a_network_of_the_taste_is_refused():
    with pytest.raises(ValueError, match=r"`utility` must be a basis .* use Variational"):
        InContext(utility=TasteMLP())


def test_gpo_is_settings():
    assert gpo().simulated == 0
    assert isinstance(gpo(), InContext)
