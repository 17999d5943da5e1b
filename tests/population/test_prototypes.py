"""Prototypes: Bayes' rule on the simplex against quadrature, and planted prototypes found again."""

import math

import pytest
import torch

from pluralign import Ideal, Prototypes, recipes
from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.population import Draws
from pluralign.population.mixing import loudness, mixed
from pluralign.population.rows import Rows
from pluralign.population.simplex import Simplex, concentration_of, log_ratio_frame, modes
from pluralign.streams import Streams
from pluralign.utility import Linear


def asked(worth, raters, per_rater, rng):
    """Answers by Luce's rule of raters with worths (R, N) about random pairs."""
    count = worth.shape[1]
    first = torch.randint(count, (raters * per_rater,), generator=rng)
    slate = torch.stack(
        [first, (first + 1 + torch.randint(count - 1, first.shape, generator=rng)) % count], 1
    )
    rater = torch.arange(raters).repeat_interleave(per_rater)
    label = Luce().sample(worth[rater[:, None], slate], generator=rng)
    return slate, rater, label.double()


@pytest.mark.parametrize("alpha", [(1.0, 1.0, 1.0), (0.4, 2.0, 0.8)])
@pytest.mark.parametrize("answers", [1, 5, 40, 400])
def test_the_posterior_is_that_of_quadrature(alpha, answers, rng):
    """Mean and spread of the weights against a grid over the triangle.

    S weighted draws with an effective number E have a standard error of spread / sqrt(E); E is at least S / 8 here.
    """
    corners = 3 * torch.randn(3, 4, generator=rng).double()
    features = torch.randn(30, 4, generator=rng).double()
    truth = torch.tensor([[0.5, 0.3, 0.2]]).double() @ corners @ features.T
    slate, rater, label = asked(truth, 1, answers, rng)
    data = Comparisons(Items(features), slate, rater, label, rater_ids=("a",))
    prior = Simplex(corners, torch.tensor(alpha).double(), draws=256)
    rows = Rows.of(data, features @ corners.T, Luce())
    found = prior.weights(rows)
    # Uniform in w with the Dirichlet density as weight; midpoints keep away from the edges.
    side = 400
    a, b = torch.meshgrid(*[(torch.arange(side).double() + 0.5) / side] * 2, indexing="ij")
    w = torch.stack([a, (1 - a) * b, (1 - a) * (1 - b)], -1).reshape(-1, 3)
    log = (torch.tensor(alpha).double() - 1) @ w.log().T + (1 - a).log().reshape(-1) + rows.log_prob(w)[:, 0]
    chance = torch.softmax(log, 0)
    mean = chance @ w
    spread = (chance @ (w - mean).square()).sqrt()
    assert float(found.effective[0]) > 256 / 8
    error = (found.mean[0] - mean).abs()
    assert bool((error < 4 * spread / found.effective[0].sqrt() + 1e-3).all())
    width = torch.diagonal(found.covariance[0]).sqrt()
    torch.testing.assert_close(width, spread, atol=2e-3, rtol=0.35)
    # The test can fail: the prior itself is not the posterior once there are answers to speak of.
    if answers == 400:
        share = prior.concentration / prior.concentration.sum()
        assert not bool(((share - mean).abs() < 4 * spread / found.effective[0].sqrt() + 1e-3).all())


def test_modes_are_stationary(rng):
    """The gradient of the log posterior in log-ratios vanishes there, by automatic differentiation."""
    corners = 2 * torch.randn(4, 3, generator=rng).double()
    features = torch.randn(20, 3, generator=rng).double()
    truth = torch.softmax(torch.randn(5, 4, generator=rng).double(), 1) @ corners @ features.T
    slate, rater, label = asked(truth, 5, 30, rng)
    data = Comparisons(Items(features), slate, rater, label)
    alpha, frame = torch.tensor([1.0, 0.5, 2.0, 1.0]).double(), log_ratio_frame(4)
    rows = Rows.of(data, features @ corners.T, Luce())
    mode, curvature = modes(rows, alpha, frame, torch.full((5, 4), 0.25).double(), sweeps=400)
    y = mode.clone().requires_grad_()
    w = torch.softmax(y @ frame.T, 1)
    worth = w @ corners @ features.T
    log = Luce().log_prob(worth[data.rater[:, None], data.slate], data.label).sum()
    log = log + (w.log() @ alpha).sum() - 0.02 * y.square().sum()
    (slope,) = torch.autograd.grad(log, y)
    # Steps stop at a gain of 1e-9 nats: slope^2 / (2 curvature), with curvatures up to a few hundred here.
    assert float(slope.abs().max()) < (2e-9 * 500) ** 0.5
    assert bool((torch.linalg.eigvalsh(curvature) > 0).all())


@pytest.mark.parametrize(("alpha", "accepted"), [((2.0, 1.0, 0.5), True), ((1.0, 1.0, 1.0), False)])
def test_the_concentration_is_learnt(alpha, accepted, rng):
    """From weights that are known: maximum likelihood within four standard errors, by the Fisher information."""
    truth, raters = torch.tensor([2.0, 1.0, 0.5]).double(), 4000
    w = torch._standard_gamma(truth.expand(raters, -1).contiguous(), generator=rng)
    w = w / w.sum(1, keepdim=True)
    draws = Draws(w[None], torch.ones(1, raters).double())
    found = concentration_of(draws, torch.ones(raters, dtype=torch.bool), sweeps=500)
    bend = torch.diag(torch.polygamma(1, truth)) - torch.polygamma(1, truth.sum())
    error = torch.linalg.inv(raters * bend).diagonal().sqrt()
    assert (
        bool(((found - torch.tensor(alpha).double()).abs() < 4 * error + 5 / raters * truth).all())
        == accepted
    )


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
def test_worths_are_made_as_loud_as_the_answers_say(factor, rng):
    """Of worths told too loud or too soft by a factor, that factor is found; with flat draws it is Bayes' rule."""
    raters, per_rater, corners = 60, 60, torch.eye(2).double()
    weight = torch.rand(raters, 1, generator=rng).double()
    items = 2 * torch.randn(100, 2, generator=rng).double()
    slate, rater, label = asked(torch.cat([weight, 1 - weight], 1) @ items.T, raters, per_rater, rng)
    data = Comparisons(Items(items), slate, rater, label)
    rows = Rows.of(data, items / factor, Luce())
    weights = Simplex(corners, torch.ones(2).double(), draws=128).weights(rows)
    # 3,600 answers, each of about .1 / 4 information on the logarithm of the factor: one in ten is four standard errors.
    assert loudness(rows, weights, 0.0) == factor
    # A prior that insists is heard.
    assert loudness(rows, weights, 1e6) == 0.7


def planted(rng, raters=40, per_rater=40):
    """Ideal points in the plane: raters somewhere in the triangle of three."""
    points = 1.5 * torch.tensor([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]]).double()
    weight = torch._standard_gamma(torch.full((raters, 3), 0.6).double(), generator=rng)
    weight = weight / weight.sum(1, keepdim=True)
    items = torch.randn(200, 2, generator=rng).double()
    worth = -2 * torch.cdist(weight @ points, items).square()
    slate, rater, label = asked(worth, raters, per_rater, rng)
    return Comparisons(Items(items), slate, rater, label), worth, points


def divergence(worth, found, data):
    truth = torch.softmax(worth[data.rater[:, None], data.slate], 1)
    return float((truth * (truth / found.clamp_min(1e-12)).clamp_min(1e-300).log()).sum(1).mean())


def test_planted_ideal_points_are_found(rng):
    data, worth, points = planted(rng)
    model = Prototypes(3, utility=Ideal(), ridge=0.1)
    belief = model.fit(data, seed=0)
    gap = divergence(worth, belief.predict(data), data)
    # Free numbers: three prototypes of two coordinates, a metric, and two weights for each rater (Wilks).
    assert gap < 3 * (7 + 2 * 40) / (2 * len(data))
    # One prototype and prototypes that are straight lines of taste are the wrong models, and told by the same measure.
    wrong = divergence(worth, Prototypes(1, utility=Ideal(), ridge=0.1).fit(data, seed=0).predict(data), data)
    straight = divergence(worth, Prototypes(3, ridge=0.1).fit(data, seed=0).predict(data), data)
    assert min(wrong, straight) > 3 * gap
    # The points themselves, up to their order, within a third of the distance between them.
    found = Ideal().point(belief.worth, belief.prior.corners)
    assert float(torch.cdist(points, found).min(1).values.max()) < 2.6 / 3


def test_voices_are_the_prototypes(rng):
    data, _, _ = planted(rng, raters=20, per_rater=20)
    belief = Prototypes(3, utility=Ideal(), ridge=0.5).fit(data, seed=0)
    voices = belief.voices()
    assert torch.equal(voices.z, belief.prior.corners)
    # Their shares are how much the raters have of each: together they give the mean taste.
    torch.testing.assert_close(voices.mixed(voices.weight), belief.draws.mean.mean(0), atol=1e-6, rtol=1e-6)


def test_one_corner_is_the_pooled_model(rng):
    data, _, _ = planted(rng, raters=5, per_rater=20)
    linear = Linear().start(data, width=None, generator=Streams.of(0)("start"))
    found = mixed(
        data, linear, Luce(), torch.zeros(2, 1).double(), ridge=1.0, concentration=None, draws=8, rounds=3
    )
    from pluralign import Pooled

    pooled = Pooled(ridge=1.0).fit(data, seed=0)
    torch.testing.assert_close(found.prior.corners[0], pooled.draws.mean[0], atol=1e-8, rtol=0)
    assert found.rounds == 0


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="`prototypes` must be a positive number"):
        Prototypes(0)
    with pytest.raises(ValueError, match="`concentration` must be a positive number"):
        Prototypes(2, concentration=0.0)
    with pytest.raises(ValueError, match="`draws` must be at least 2"):
        Prototypes(2, draws=1)


def test_more_prototypes_than_raters_are_refused(rng):
    data, _, _ = planted(rng, raters=3, per_rater=5)
    with pytest.raises(ValueError, match=r"`prototypes` must not exceed .* 3, got 4; give fewer"):
        Prototypes(4).fit(data)


def test_recipes_are_settings_of_their_own_paper():
    for recipe in (recipes.lore, recipes.pal_a, recipes.pal_b, recipes.pref):
        assert "Published:" in recipe.__doc__
        assert recipe() == recipe()
    assert isinstance(recipes.pal_a().utility, Ideal)
    assert recipes.lore().weights == "simplex"
    assert math.isclose(recipes.pal_b().concentration, 1.0)
