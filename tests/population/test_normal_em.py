"""Normal tastes by the nearest normal distribution: against quadrature, truth and simulation-based calibration."""

import numpy as np
import pytest
import torch
from grids import log_evidence
from scipy.stats import chisquare

from pluralign.choice import Davidson, Luce
from pluralign.data import Comparisons, Items
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.laplace import laplace_em
from pluralign.population.nearest import posteriors
from pluralign.population.newton import modes
from pluralign.population.normal import ENOUGH, normal_em, surer
from pluralign.population.rows import Rows, buckets


def world(seed, raters=100, per_rater=12, width=2, places=2):
    """Answers of raters with standard-size normal tastes, and the tastes."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(80, width, generator=draw).double()
    mean = 0.5 * torch.randn(width, generator=draw).double()
    spread = torch.exp(0.3 * torch.randn(width, generator=draw)).double()
    taste = mean + spread * torch.randn(raters, width, generator=draw).double()
    rater = torch.arange(raters).repeat_interleave(per_rater)
    slate = torch.randint(80, (len(rater), places), generator=draw)
    worth = (features[slate] * taste[rater][:, None]).sum(-1)
    pick = torch.multinomial(torch.softmax(worth, 1), 1, generator=draw)[:, 0]
    label = torch.nn.functional.one_hot(pick, places).double()
    return Comparisons(Items(features), slate, rater, label), taste


def rows_of(data, rule=None):
    return Rows.of(data, data.options.rows.double(), rule or Luce())


@pytest.mark.parametrize("rule", [Luce(), Davidson(0.5)])
def test_moments_of_one_dimension_are_those_of_a_grid(rule):
    data, _ = world(0, raters=30, per_rater=6, width=1)
    rows = rows_of(data, rule)
    mean, precision = torch.tensor([0.4]).double(), torch.tensor([[0.7]]).double()
    middle, sharp, fit = posteriors(buckets(rows), rule, mean, precision, 30)
    grid = torch.linspace(-9, 9, 2001).double()[:, None]
    log = rows.log_prob(grid) - precision[0, 0] * (grid - mean).square() / 2
    weight = torch.softmax(log, 0)
    exact = (weight * grid).sum(0)
    spread = ((weight * (grid - exact).square()).sum(0)).sqrt()
    mode, *_ = modes(buckets(rows), rule, mean, precision, 30)
    # The nearest normal distribution has not the moments of the posterior, but is nearer to them than Laplace's.
    assert float(((middle[:, 0] - exact) / spread).abs().max()) < 0.1
    assert float((middle[:, 0] - exact).abs().mean()) < 0.3 * float((mode[:, 0] - exact).abs().mean())
    assert float((sharp[:, 0, 0] ** -0.5 / spread - 1).abs().max()) < 0.1
    # Its bound is below the evidence, and near it.
    gap = middle - mean
    far = precision[0, 0] * (gap[:, 0].square() + 1 / sharp[:, 0, 0]) - 1
    bound = fit - far / 2 + (precision[0, 0].log() - sharp[:, 0, 0].log()) / 2
    evidence = log_evidence(rows, mean, 1 / precision)
    assert bool((bound <= evidence + 1e-6).all())
    assert float((evidence - bound).max()) < 0.05


def test_a_stranger_has_the_prior_and_company_changes_nothing():
    data, _ = world(1, raters=9, per_rater=7)
    mean, precision = torch.tensor([0.3, -0.2]).double(), torch.eye(2).double()
    every = posteriors(buckets(rows_of(data)), Luce(), mean, precision, 9)
    few = data.take(data.rater < 4)
    some = posteriors(buckets(rows_of(few)), Luce(), mean, precision, 9)
    torch.testing.assert_close(some[0][:4], every[0][:4], atol=1e-9, rtol=0)
    torch.testing.assert_close(some[0][4:], mean.expand(5, -1))
    torch.testing.assert_close(some[1][4:], precision.expand(5, -1, -1))


@pytest.mark.parametrize("places", [2, 4])
def test_the_spread_of_tastes_is_recovered_where_laplace_loses_it(places):
    raters = 400
    data, taste = world(2, raters=raters, per_rater=12, width=1, places=places)
    rows = rows_of(data)
    true = float(taste.var())
    found = float(normal_em(rows, 100, 2.0, anchored=False)[1])
    # A variance has a standard error of sqrt(2 / R) of itself from tastes that are seen; answers hide half as much again.
    error = 1.5 * true * (2 / raters) ** 0.5
    assert abs(found - true) < 3 * error
    if places == 2:
        assert true - float(laplace_em(rows, 100, 2.0, anchored=False)[1]) > 3 * error


def test_a_large_crowd_is_learnt_from_a_part_of_it():
    data, taste = world(3, raters=6000, per_rater=11, width=1)
    rows = rows_of(data)
    assert len(rows) > ENOUGH
    _, covariance, middle, *_ = normal_em(rows, 60, 2.0, anchored=False)
    assert middle.shape == (6000, 1)
    assert abs(float(covariance) / float(taste.var()) - 1) < 0.1
    assert float(torch.corrcoef(torch.stack([middle[:, 0], taste[:, 0]]))[0, 1]) > 0.7


def ranks(method, worlds=6, count=20):
    """How many of count - 1 draws of a rater's taste lie below the true one (Talts et al. 2018)."""
    found = []
    for seed in range(worlds):
        data, taste = world(100 + seed)
        belief = Hierarchical(method=method, temper=1.0, draws=256).fit(data, seed=seed)
        draw = torch.Generator().manual_seed(seed)
        pick = torch.multinomial(belief.draws.weight.T, count - 1, replacement=True, generator=draw)
        z = belief.draws.z.permute(1, 0, 2).gather(1, pick[..., None].expand(-1, -1, taste.shape[1]))
        found.append((z * belief.worth.scale < taste[:, None]).sum(1).reshape(-1).numpy())
    return np.bincount(np.concatenate(found), minlength=count)


def test_tastes_are_calibrated_and_those_of_laplace_are_not():
    assert chisquare(ranks("normal")).pvalue > 1e-3
    assert chisquare(ranks("laplace")).pvalue < 1e-6


def rows_with(raters, width, rng):
    """Two questions of each rater; answers do not matter here."""
    x = torch.randn(2 * raters, 2, width, generator=rng).double()
    slate = torch.arange(4 * raters).reshape(-1, 2)
    data = Comparisons(
        Items(x.flatten(0, 1)),
        slate,
        torch.arange(2 * raters) // 2,
        torch.tensor([[1.0, 0.0]]).expand(2 * raters, 2),
    )
    return Rows.of(data, x.flatten(0, 1), Luce())


def test_seven_people_of_two_minds_say_nothing_of_an_eighth(rng):
    """A mean of .25 where tastes are 1 and -1: 15/16 / 7 of variance, more than its square."""
    spread, mean = torch.full((1, 1), 15 / 16).double(), torch.tensor([0.25]).double()
    sure = lambda raters: torch.full((raters, 1, 1), 1e9).double()
    few, many = rows_with(7, 1, rng), rows_with(700, 1, rng)
    assert float(surer(mean, spread, sure(7), few)) == 0.0
    assert float(surer(mean, spread, sure(700), many)) == pytest.approx(0.25 * (1 - 15 / 700), abs=1e-6)
    # Seven who agree, and say so clearly; and 700 who agree, but of whom each has told next to nothing.
    alike = 1e-6 * spread
    assert float(surer(mean, alike, sure(7), few)) == pytest.approx(0.25, abs=1e-3)
    told = 1e-6
    assert float(surer(mean, spread, (16 / 15 + told) * torch.ones(700, 1, 1).double(), many)) == 0.0


def test_the_surer_mean_misses_the_true_one_by_less(rng):
    """Sixteen numbers, ten people: by the theorem of James and Stein, whatever the true mean is."""
    rows, width, people = rows_with(10, 16, rng), 16, 10
    x = rows.x.reshape(-1, width)
    metric = x.T @ x / len(x)
    size = lambda gap: torch.einsum("nx,xy,ny->n", gap, metric, gap)
    for length in (0.0, 0.5, 2.0):
        true = torch.randn(400, width, generator=rng).double()
        true = length * true / true.norm(dim=1, keepdim=True)
        taste = true[:, None] + torch.randn(400, people, width, generator=rng).double()
        gap = taste - taste.mean(1, keepdim=True)
        spread = gap.mT @ gap / (people - 1)
        sure = 1e9 * torch.eye(width).double().expand(people, -1, -1)
        told = torch.stack([surer(t.mean(0), c, sure, rows) for t, c in zip(taste, spread)])
        gain = size(taste.mean(1) - true) - size(told - true)
        assert float(gain.mean()) > 2 * float(gain.std()) / 20
