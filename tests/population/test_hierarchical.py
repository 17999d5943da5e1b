"""Hierarchical Bayes three ways, against integrals by quadrature."""

import dataclasses
import math
import random
import sys
from functools import cache

import numpy as np
import pytest
import torch
from grids import log_evidence

from pluralign.choice import Luce, RaoKupper
from pluralign.data import Comparisons, Items
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.laplace import laplace_em
from pluralign.population.prior import Gaussian, inverse, normal_grid
from pluralign.population.registry import MODELS
from pluralign.population.rows import Rows
from pluralign.raters import GaussianPeople, questions
from pluralign.streams import Streams
from pluralign.utility import Linear

pytest.importorskip("pyro")
MEAN, COVARIANCE = (0.8, -0.5, 0.3), ((1.0, 0.4, 0.0), (0.4, 0.8, 0.0), (0.0, 0.0, 0.3))


def asked(dims=1, raters=16, per_rater=12, seed=0, rule=None, places=2):
    covariance = tuple(row[:dims] for row in COVARIANCE[:dims])
    people = GaussianPeople(MEAN[:dims], covariance, rule=rule or Luce()).draw(raters, seed)
    items = Items(torch.randn(14, dims, generator=torch.Generator().manual_seed(seed)).double())
    return people.answer(items, *questions(14, per_rater, raters, seed, places=places), seed)


def rows_of(data, rule=None):
    worth = Linear().start(data, width=None, generator=torch.Generator())
    return worth, Rows.of(data, worth.basis(data.options), rule or Luce())


@cache
def fitted(method, dims=1, raters=16, steps=200, warmup=200):
    return Hierarchical(method=method, temper=1.0, steps=steps, warmup=warmup, draws=64).fit(
        asked(dims, raters), seed=0
    )


@cache
def exact():
    """The posterior of one-dimensional tastes by sums over a grid: population means and spreads, raters' tastes."""
    from pluralign.population.hierarchical_guide import WIDE

    _, rows = rows_of(asked())
    unit = math.sqrt(min(1.0, 0.5 / rows.contrast))
    z = torch.linspace(-14, 14, 701, dtype=torch.float64)
    fit = rows.log_prob(z[:, None])  # (z, R)
    mean = torch.linspace(-2, 4, 49, dtype=torch.float64)
    scale = torch.linspace(-3, 2, 41, dtype=torch.float64).exp()
    m, s = (x.reshape(-1) for x in torch.meshgrid(mean, scale, indexing="ij"))
    prior = (
        -((m / (WIDE * unit)) ** 2) / 2 - (s / (WIDE * unit)) ** 2 / 2 + s.log()
    )  # d scale = scale d log scale
    spread = -(((z - m[:, None]) / s[:, None]) ** 2) / 2
    spread = (spread - torch.logsumexp(spread, 1, keepdim=True)).exp()  # (grid, z)
    chance = (fit - fit.amax(0)).exp()
    evidence = spread @ chance  # (grid, R)
    weight = torch.softmax(prior + evidence.log().sum(1), 0)
    taste = weight @ (spread @ (chance * z[:, None]) / evidence)
    square = weight @ (spread @ (chance * z[:, None] ** 2) / evidence)
    centre, variance = weight @ m, weight @ s**2
    return {
        "mean": (centre, (weight @ m**2 - centre**2).sqrt()),
        "variance": (variance, (weight @ s**4 - variance**2).sqrt()),
        "taste": (taste, (square - taste**2).sqrt()),
    }


def far(found, truth, samples):
    """Distance in standard errors of an average of `samples` independent draws."""
    value, deviation = truth
    return float(((found - value).abs() / deviation * samples**0.5).max())


@pytest.mark.parametrize("method", ["svi", pytest.param("nuts", marks=pytest.mark.slow)])
def test_posterior_of_the_population_is_that_of_a_grid(method):
    """Means over effective samples; 5 standard errors, of 2 numbers: 1 false alarm in a million."""
    belief, truth = fitted(method), exact()
    notes = belief.diagnostics
    assert notes["warnings"] == ()
    assert notes["effective"] > 100
    assert far(belief.prior.mean[0], truth["mean"], notes["effective"]) < 5
    assert far(belief.prior.covariance[0, 0], truth["variance"], notes["effective"]) < 5
    # It could fail: half a posterior deviation is far beyond the tolerance.
    assert far(belief.prior.mean[0] + 0.5 * truth["mean"][1], truth["mean"], notes["effective"]) > 5


@pytest.mark.parametrize("method", ["svi", pytest.param("nuts", marks=pytest.mark.slow)])
def test_posterior_of_every_rater_is_that_of_a_grid(method):
    """64 draws per rater; for NUTS they are thinned and nearly independent."""
    belief, truth = fitted(method), exact()
    assert far(belief.draws.mean[:, 0], truth["taste"], 40) < 5
    deviation = belief.draws.covariance[:, 0, 0].sqrt()
    # The standard error of a deviation is deviation / sqrt(2 n).
    assert float((deviation / truth["taste"][1] - 1).abs().max()) < 5 / (2 * 40) ** 0.5


@pytest.mark.parametrize("dims", [1, 2])
def test_laplace_evidence_is_near_that_of_quadrature(dims):
    """Laplace's approximation is off by about 1 / answers in each rater."""
    _, rows = rows_of(asked(dims, per_rater=40))
    mean, covariance, _, _, _, evidence = laplace_em(rows, 60, 2.0, anchored=False)
    exact = log_evidence(rows, mean, covariance)
    assert abs(float(exact.sum()) - evidence) < rows.raters / 40 * 2
    assert bool((exact < 0).all())


@pytest.mark.parametrize("dims", [1, 2])
def test_evidence_of_the_guide_is_that_of_quadrature(dims):
    from pluralign.population import hierarchical_guide as bayes

    data = asked(dims)
    worth, rows = rows_of(data)
    start = bayes.Start.of(Hierarchical(), data, worth)
    with bayes.own_state(0):
        guide = bayes.Guide.near(start).settled()
    value, _ = start.population.parts(guide.centre[None])
    inner = normal_grid(256, dims)[:, None].expand(-1, rows.raters, -1)
    found = guide.evidence(rows, value, inner)[0]
    value = {name: part[0] for name, part in value.items()}
    root = start.population.root(value)
    truth = log_evidence(rows, value["mean"], root @ root.mT)
    # 256 evenly spread points from each of two nearly right densities: well below 1 / sqrt(512) of a nat.
    torch.testing.assert_close(found, truth, atol=0.02, rtol=0)


@pytest.mark.parametrize(("dims", "rule", "places"), [(1, Luce(), 2), (2, Luce(), 3), (2, RaoKupper(), 2)])
def test_importance_weights_correct_laplace_draws(dims, rule, places):
    """Means of tastes given the population, against a grid over tastes."""
    _, rows = rows_of(asked(dims, rule=rule, places=places, per_rater=6), rule)
    mean = torch.tensor(MEAN[:dims], dtype=torch.float64)
    covariance = torch.tensor(COVARIANCE, dtype=torch.float64)[:dims, :dims].contiguous()
    prior = Gaussian(mean, covariance, draws=512)
    from pluralign.population.newton import modes
    from pluralign.population.rows import buckets

    mode, curvature, _ = modes(buckets(rows), rule, mean, inverse(covariance), rows.raters)
    draws = prior.around(mode, curvature, rows, inverse(covariance))
    axis = torch.linspace(-7, 7, 1001 if dims == 1 else 141, dtype=torch.float64)
    mesh = torch.stack(torch.meshgrid(*[axis] * dims, indexing="ij"), -1).reshape(-1, dims)
    z = mean + mesh @ torch.linalg.cholesky(covariance).T
    weight = torch.softmax(rows.log_prob(z) - mesh.square().sum(1)[:, None] / 2, 0)
    truth = weight.T @ z
    deviation = (weight.T @ z.square() - truth.square()).sqrt()
    error = (draws.mean - truth).abs() / deviation * draws.effective[:, None].sqrt()
    assert float(error.max()) < 4
    plain = (mode - truth).abs() / deviation * draws.effective[:, None].sqrt()
    assert float(plain.max()) > 4  # the mode alone is not the mean


@pytest.mark.slow
def test_variational_inference_of_two_dimensions_agrees_with_laplace_on_many_raters():
    """With 100 raters the posterior is narrow: population means agree within three of its deviations."""
    data = asked(2, raters=100, per_rater=20)
    quick = Hierarchical(temper=1.0).fit(data, seed=0)
    slow = Hierarchical(method="svi", steps=60).fit(data, seed=0)
    error = (slow.prior.covariance.diagonal() / 100).sqrt()
    assert bool(((quick.prior.mean - slow.prior.mean).abs() < 3 * error).all())
    torch.testing.assert_close(quick.predict(data), slow.predict(data), atol=0.1, rtol=0)


@pytest.mark.parametrize("method", ["svi", pytest.param("nuts", marks=pytest.mark.slow)])
def test_pyro_keeps_to_itself(method):
    """No stream, parameter or switch of the process is other than before, and equal seeds give equal results."""
    import pyro

    pyro.get_param_store().clear()
    pyro.param("mine", torch.tensor(1.0))
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    checks = torch.distributions.Distribution._validate_args
    data = asked(2, raters=4, per_rater=5)
    settings = Hierarchical(method=method, steps=25, warmup=20, chains=2, draws=8)
    first, second = settings.fit(data, seed=1), settings.fit(data, seed=1)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002
    assert random.getstate() == python_state
    assert list(pyro.get_param_store().keys()) == ["mine"]
    assert torch.distributions.Distribution._validate_args == checks
    assert torch.equal(first.predict(data), second.predict(data))
    assert not torch.equal(settings.fit(data, seed=2).predict(data), first.predict(data))
    pyro.get_param_store().clear()


@pytest.mark.parametrize("method", ["svi", pytest.param("nuts", marks=pytest.mark.slow)])
def test_every_shape_of_answers(method, tmp_path):
    """Short slates, weights, silent raters, three dimensions, one draw; saved and read again."""
    from pluralign.population import load

    data = asked(3, raters=4, per_rater=4, places=3)
    slate = data.slate.clone()
    short = (data.label[:, 2] == 0) & (torch.arange(len(data)) % 2 == 0)
    slate[short, 2] = -1
    data = dataclasses.replace(
        data, slate=slate, weight=torch.arange(len(data)) % 3 + 0.5, rater_ids=("a", "b", "c", "d", "silent")
    )
    settings = Hierarchical(method=method, steps=25, warmup=20, chains=1, draws=16)
    belief = settings.fit(data, seed=0)
    assert belief.draws.z.shape == (16, 5, 3)
    share = belief.predict(data)
    torch.testing.assert_close(share.sum(1), torch.ones(len(data)).double())
    assert bool((share[data.slate == -1] == 0).all())
    belief.save(tmp_path / "belief")
    assert torch.equal(load(tmp_path / "belief").predict(data), share)
    one = dataclasses.replace(settings, draws=1).fit(data, seed=0)
    assert one.draws.z.shape == (1, 5, 3)


def test_a_rater_without_answers_has_the_population(tmp_path):
    data = dataclasses.replace(asked(1), rater_ids=tuple(f"r{n}" for n in range(17)))
    belief = Hierarchical(method="svi", steps=100, draws=64).fit(data, seed=0)
    silent = belief.draws.take(torch.tensor([16]))
    deviation = belief.prior.covariance[0, 0].sqrt()
    assert abs(float(silent.mean[0, 0] - belief.prior.mean[0])) < 4 * float(deviation) / 8
    assert float(silent.effective[0]) > 60


def test_sentences_about_bad_sampling():
    belief = Hierarchical(method="nuts", warmup=2, chains=2, draws=4).fit(asked(2, raters=6), seed=0)
    text = " ".join(belief.diagnostics["warnings"])
    assert "effective samples, fewer than 100; give more `warmup`" in text
    assert belief.diagnostics["effective"] < 100
    from pluralign.population.hierarchical_pyro import _bound_notes, _complaints, _mixing, tail_index

    assert _complaints(1.0, 400.0, 0, 600) == []
    assert "have not met (R-hat 1.30, above 1.05)" in _complaints(1.3, 400.0, 0, 600)[0]
    assert "3 of 600 steps diverged" in _complaints(1.0, 400.0, 3, 600)[0]
    assert _mixing(torch.zeros(2, 40, 3).double()) == (math.inf, 0.0)  # chains that never move
    draw = torch.randn(2, 400, 1, generator=torch.Generator().manual_seed(0)).double()
    r_hat, effective = _mixing(draw)
    assert r_hat < 1.02
    assert 400 < effective < 1600
    assert _mixing(draw + torch.tensor([0.0, 2.0]).double()[:, None, None])[0] > 1.2
    assert "few steps" in _bound_notes(torch.zeros(5).double())["warnings"][0]
    assert "still rose by" in _bound_notes(torch.arange(200.0).double())["warnings"][0]
    assert _bound_notes(torch.zeros(200).double())["warnings"] == ()
    # Weights exp(e) of an exponential e of rate 1 / k have a Pareto tail of index k.
    exponential = torch.empty(4000, dtype=torch.float64).exponential_(
        generator=torch.Generator().manual_seed(0)
    )
    assert tail_index(0.5 * exponential) == pytest.approx(0.5, abs=0.25)
    assert tail_index(1.2 * exponential) > 0.8
    assert tail_index(torch.zeros(100).double()) == -math.inf


def test_without_pyro_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyro", None)
    import pluralign.population

    for name in ("hierarchical_pyro", "hierarchical_guide"):
        monkeypatch.delitem(sys.modules, f"pluralign.population.{name}", raising=False)
        monkeypatch.delattr(pluralign.population, name, raising=False)
    with pytest.raises(
        ModuleNotFoundError, match=r'need Pyro; run: pip install "pluralign\[bayes\]"'
    ) as caught:
        Hierarchical(method="svi").fit(asked(), seed=0)
    assert "\n" not in str(caught.value)
    MODELS["hierarchical"](temper=1.0).fit(asked(), seed=0)  # the fast method needs none


def test_settings_that_are_none():
    with pytest.raises(
        ValueError, match="`method` must be one of auto, normal, laplace, svi, nuts, got 'mcmc'"
    ):
        Hierarchical(method="mcmc")
    with pytest.raises(ValueError, match="`draws` must be at least 1"):
        Hierarchical(draws=0)


def test_streams_of_the_methods_are_named():
    """A generator gives one number; the rest is by name, so chains differ."""
    assert Streams.of(0).number("nuts", 0) != Streams.of(0).number("nuts", 1)


@pytest.mark.parametrize("method", ["svi", "nuts"])
def test_wide_options_are_not_fitted_by_another_method_without_a_word(method):
    draw = torch.Generator().manual_seed(0)
    slate, rater = questions(100, 12, 16, 0)
    wide = Comparisons.pairs(
        Items(torch.randn(100, 80, generator=draw)),
        *slate.T,
        rater,
        torch.rand(len(rater), generator=draw).round(),
    )
    with pytest.raises(ValueError, match="takes up to 64 features"):
        Hierarchical(method=method).fit(wide)
