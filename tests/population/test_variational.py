"""The variational population: exact symmetries, the divergence against its closed form, and no collapse unseen."""

import dataclasses

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.elicitation.information import information_gain
from pluralign.population import load
from pluralign.population.amortised import Encoder, divergence, encoded
from pluralign.population.batches import Batches, stopped_early
from pluralign.population.cloud import Cloud, clouded
from pluralign.population.draws import Draws
from pluralign.population.held_out import log_loss
from pluralign.population.pooled import Pooled
from pluralign.population.rows import Rows
from pluralign.population.saving import same
from pluralign.population.variational import COLLAPSED, Variational
from pluralign.recipes import spl, vpl, vpl_spo
from pluralign.utility import TasteMLP
from pluralign.utility.scores import AtTastes, slate_worths

EXACT = 1e-10  # float64, sums of a few dozen numbers of order one in another order
NETWORK = {"width": 2, "steps": 5, "temper": 1.0, "components": 0, "prior": "normal", "draws": 8}


def people(raters=60, per_rater=12, seed=0, spread=2.0):
    """Raters with normal tastes over three features of forty options that are always the same."""
    features = torch.randn(40, 3, generator=torch.Generator().manual_seed(99)).double()
    draw = torch.Generator().manual_seed(seed)
    taste = torch.randn(raters, 3, generator=draw).double() * spread
    rater = torch.arange(raters).repeat_interleave(per_rater)
    slate = torch.randint(40, (len(rater), 2), generator=draw)
    slate[:, 1] = (slate[:, 0] + 1 + slate[:, 1] % 39) % 40
    worth = (features[slate] * taste[rater][:, None]).sum(-1)
    first = torch.rand(len(rater), generator=draw).double() < torch.sigmoid(worth[:, 0] - worth[:, 1])
    return Comparisons(Items(features), slate, rater, torch.stack([first, ~first], 1).double())


@pytest.fixture
def encoder(rng):
    """Gates that are not one."""
    start = Encoder.start(2, generator=rng)
    noise = lambda t: t + 0.3 * torch.randn(t.shape, generator=rng, dtype=t.dtype)
    return Encoder(tuple(tuple(tuple(noise(t) for t in layer) for layer in gate) for gate in start.gates))


@pytest.fixture
def basis(rng):
    return torch.randn(40, 4, generator=rng, dtype=torch.float64)


def close(one, other):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, atol=EXACT, rtol=0)


# The encoder --------------------------------------------------------------------------------------------------------


def test_neither_order_nor_place_nor_repetition_matters(encoder, basis, rng):
    data = people(5)
    one = encoded(encoder, basis, data)
    turned = dataclasses.replace(data, slate=data.slate.flip(1), label=data.label.flip(1))
    close(one, encoded(encoder, basis, turned.take(torch.randperm(len(data), generator=rng))))
    twice = data.take(torch.cat([torch.arange(len(data))] * 2))
    heavy = dataclasses.replace(data, weight=torch.full((len(data),), 2.0).double())
    close(encoded(encoder, basis, twice), encoded(encoder, basis, heavy))
    assert float((encoded(encoder, basis, heavy)[0] - one[0]).abs().max()) > 0.01


def test_a_pair_is_a_slate_of_three_with_an_empty_place(encoder, basis):
    data = people(5)
    wide = dataclasses.replace(
        data,
        slate=torch.cat([data.slate, torch.full((len(data), 1), -1)], 1),
        label=torch.cat([data.label, torch.zeros(len(data), 1)], 1),
    )
    close(encoded(encoder, basis, data), encoded(encoder, basis, wide))


def test_without_answers_the_encoder_says_the_prior_exactly(encoder, basis):
    data = people(5).take(torch.arange(24))
    data = dataclasses.replace(data, weight=torch.cat([torch.ones(12), torch.zeros(12)]).double())
    mean, precision = encoded(encoder, basis, data)  # one rater who answered, one whose answers weigh nothing
    assert torch.equal(mean[1:], torch.zeros(4, 3).double())
    assert torch.equal(precision[1:], torch.eye(3).double().expand(4, -1, -1))
    assert float(torch.linalg.eigvalsh(precision[0]).max()) > 1.1


def test_opposite_answers_mean_the_opposite_taste(encoder, basis):
    """The swap of winners and losers that swap-guided learning asks for by a penalty holds by construction."""
    basis[:, 0] = 0.0
    data = people(5)
    mean, precision = encoded(encoder, basis, data)
    close((-mean, precision), encoded(encoder, basis, data.with_labels(data.label.flip(1))))


def test_the_divergence_has_its_factor_of_one_half(rng):
    root = torch.randn(2, 5, 3, 3, generator=rng, dtype=torch.float64)
    precision = root @ root.mT + torch.eye(3).double()
    mean = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64)
    one, other = (MultivariateNormal(m, precision_matrix=p) for m, p in zip(mean, precision, strict=True))
    found = divergence(mean[0], precision[0], mean[1], precision[1])
    torch.testing.assert_close(found, kl_divergence(one, other))
    unit = torch.ones(1, 1, 1).double()
    shifted = divergence(torch.ones(1, 1).double(), unit, torch.zeros(1, 1).double(), unit)
    assert float(shifted) == pytest.approx(0.5)


def test_the_gradient_of_the_encoder(basis):
    data = people(2, 3)
    start = Encoder.start(2, hidden=2, generator=torch.Generator().manual_seed(0))
    flat = [t for gate in start.gates for layer in gate for t in layer]
    rows, hole, weight = data.slate, torch.zeros(6, 2, dtype=torch.bool), torch.ones(6).double()

    def mean(rows_of_options, *tensors):
        rest = iter(tensors)
        built = Encoder(tuple(((next(rest), next(rest)), (next(rest), next(rest))) for _ in range(2)))
        return built(rows_of_options[rows], data.label, hole, weight, data.rater, 2)[0]

    inputs = [basis.requires_grad_(), *[(t + 0.1).requires_grad_() for t in flat]]
    assert torch.autograd.gradcheck(mean, inputs)


def test_who_stops_early_is_a_matter_of_questions_not_of_rows():
    data = people(30)
    twice = data.take(torch.cat([torch.arange(len(data))] * 2))
    kept = [
        stopped_early(Batches.of(d, 10**6, torch.Generator()).next(), torch.Generator().manual_seed(1)).weight
        for d in (data, twice)
    ]
    assert torch.equal(torch.cat([kept[0]] * 2), kept[1])
    assert 0.6 < float(kept[0].mean()) < 0.9  # three quarters are expected, their standard error is .04


# The population -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd():
    return people(120, 16)


@pytest.fixture(scope="module")
def learnt(crowd):
    return Variational(steps=60, prior="normal").fit(crowd, seed=0)


def test_a_planted_continuous_population_does_not_collapse(crowd, learnt):
    """Strangers after sixteen answers are predicted better than by the pooled model, by many standard errors."""
    notes = learnt.diagnostics
    assert notes["active_units"] == 3
    assert notes["kl"] > 1
    assert "verdict" not in notes
    answers = people(80, 32, seed=1)
    told = torch.arange(len(answers)) % 32 < 16
    judged = dataclasses.replace(answers.take(~told), rater_ids=tuple(f"new {r}" for r in range(80)))
    known = dataclasses.replace(learnt, draws=learnt.adapt(answers.take(told)), rater_ids=judged.rater_ids)
    gain = log_loss(Pooled(ridge=1.0).fit(crowd), judged) - log_loss(known, judged)
    assert float(gain.mean()) > 5 * float(gain.std()) / 80**0.5


def test_a_forced_collapse_is_said():
    """A divergence that counts a thousand times leaves nothing of the latent, and the belief says so."""
    forced = Variational(
        kl=1e3, rate=0.1, informed=False, warmup=1, temper=1.0, steps=80, components=0, prior="normal"
    )
    notes = forced.fit(people(), seed=0).diagnostics
    assert notes["active_units"] == 0
    assert notes["kl"] < 0.1
    assert notes["verdict"] == COLLAPSED


def test_no_differences_between_raters_are_called_none():
    data = people(60, 20, spread=0.0)
    belief = Variational(steps=20).fit(data, seed=0)
    pooled = Pooled().fit(data, seed=0)
    assert float((belief.predict(data) - pooled.predict(data)).abs().max()) < 0.1


def test_a_learnt_prior_finds_tastes_that_are_not_normal(rng):
    """Two camps of 30 and 70 %: the shares of the cloud left and right of zero are theirs."""
    basis = torch.randn(50, 1, generator=rng, dtype=torch.float64) * 2
    slate, rater = torch.randint(50, (4000, 2), generator=rng), torch.arange(200).repeat_interleave(20)
    taste = torch.where(torch.arange(200) < 60, -2.0, 2.0).double()
    gap = (basis[slate[:, 0], 0] - basis[slate[:, 1], 0]) * taste[rater]
    first = torch.rand(4000, generator=rng).double() < torch.sigmoid(gap)
    label = torch.stack([first, ~first], 1).double()
    data = Comparisons(Items(torch.zeros(50, 0)), slate, rater, label)
    rows = Rows.of(data, basis, Luce())
    wide = Draws(3 * torch.randn(16, 200, 1, generator=rng).double(), torch.full((16, 200), 1 / 16).double())
    cloud = clouded(wide, rows, count=200, rounds=200, louder=1.0, generator=rng)
    assert isinstance(cloud, Cloud)
    left = cloud.z[:, 0] < 0
    assert float(cloud.share[left].sum()) == pytest.approx(0.3, abs=0.03)
    spread = float((cloud.share * (cloud.z[:, 0].abs() - 2).square()).sum().sqrt())
    assert spread < 1.3  # the draws that it was made of are 1.85 away
    found = cloud.posterior(data, basis, Luce())
    assert float(((found.mean[:, 0] > 0) == (taste > 0)).double().mean()) > 0.99


@pytest.mark.parametrize("prior", ["learnt", "normal"])
def test_priors_of_both_shapes_are_saved(prior, crowd, tmp_path):
    belief = Variational(steps=5, temper=1.0, components=0, prior=prior).fit(crowd, seed=0)
    belief.save(tmp_path / "belief")
    again = load(tmp_path / "belief")
    assert same(again, belief)
    assert torch.equal(again.adapt(crowd).weight, belief.adapt(crowd).weight)


# Worths that are not linear in the taste ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["film", "concatenation"])
def test_a_network_of_option_and_taste_is_worth_the_same_by_every_door(way, rng):
    data = people(4, 6)
    worth = TasteMLP((5, 4), way).start(data, width=2, generator=rng)
    z = torch.randn(3, 4, 2, generator=rng, dtype=torch.float64)
    whole = torch.stack([AtTastes(worth, z[s]).basis(data.options) for s in range(3)])  # (S, N, R)
    slates = slate_worths(worth, data, z)
    torch.testing.assert_close(slates, whole[:, data.slate, data.rater[:, None]])
    named = dataclasses.replace(data.options, ids=tuple(f"option {n}" for n in range(40)))
    assert torch.equal(slate_worths(worth, dataclasses.replace(data, options=named), z), slates)
    shared = slate_worths(worth, data, z[:, :1].expand(-1, 4, -1), shared=True)
    torch.testing.assert_close(shared, whole[:, data.slate, 0])
    assert float((whole[0, :, 0] - whole[1, :, 0]).std()) > 0
    bent = slate_worths(worth, data, 2 * z) + slate_worths(worth, data, 0 * z) - 2 * slates
    assert float(bent.abs().max()) > 1e-4


def test_a_network_of_the_taste_fits_adapts_asks_and_is_saved(tmp_path):
    data = people(20, 8)
    belief = Variational(utility=TasteMLP((8,)), **NETWORK).fit(data, seed=0)
    share = belief.predict(data)
    torch.testing.assert_close(share.sum(1), torch.ones(160).double())
    assert belief.utility(data.options, belief.draws).shape == (20, 40)
    voices = belief.voices(2)
    torch.testing.assert_close(voices.reward(data.options.rows), voices.returns(data.options))
    none = belief.adapt(data.take(torch.arange(0)))
    torch.testing.assert_close(none.mean, torch.zeros(20, 2).double(), atol=1e-6, rtol=0)
    assert bool((information_gain(belief, none, data) >= 0).all())
    belief.save(tmp_path / "belief")
    assert torch.equal(load(tmp_path / "belief").predict(data), share)


def test_rivals_make_worths_chances_for_every_taste():
    data = people(20, 8)
    utility = TasteMLP((8,), rivals=30)
    belief = Variational(utility=utility, **NETWORK).fit(data, seed=0)
    plain = Variational(utility=TasteMLP((8,)), **NETWORK).fit(data, seed=0)
    torch.testing.assert_close(belief.predict(data), plain.predict(data))
    loud = dataclasses.replace(belief.draws, z=belief.draws.z * 50)
    for draws in (belief.draws, loud):
        worth = belief.utility(data.options, draws)
        assert bool(((worth >= 0) & (worth <= 1)).all())
    raw = plain.voices(1).returns(data.options)[:, 0]
    paid = belief.voices(1).returns(data.options)[:, 0]
    assert torch.equal(raw.argsort(), paid.argsort())  # the order of options is the same


def test_recipes_are_settings():
    assert vpl().width == 32
    assert vpl().utility.way == "concatenation"
    assert vpl_spo() == dataclasses.replace(vpl(), utility=dataclasses.replace(vpl().utility, rivals=100))
    assert (spl().free, spl().utility.way) == (1.0, "film")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"width": 0}, "`width` must be at least 1"),
        ({"kl": -1.0}, "`kl` must be a finite number of 0 or more"),
        ({"prior": "x"}, "`prior` must"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(wrong, said):
    with pytest.raises(ValueError, match=said):
        Variational(**wrong)
