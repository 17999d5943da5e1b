"""Newcomers like people met: the limits that are known, and moments."""

import pytest
import torch

from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.population.around import Around
from pluralign.population.newton import modes
from pluralign.population.rows import Rows, buckets


def answered(rng, taste, per_rater=12):
    items = torch.randn(80, taste.shape[1], generator=rng).double()
    rater = torch.arange(len(taste)).repeat_interleave(per_rater)
    first = torch.randint(40, (len(rater),), generator=rng)
    second = torch.randint(40, 80, (len(rater),), generator=rng)
    worth = ((items[first] - items[second]) * taste[rater]).sum(1)
    return Comparisons.pairs(Items(items), first, second, rater, (worth > 0).double()), items


def test_without_spread_the_nearest_known_tastes_are_weighed_by_bayes(rng):
    known = torch.randn(6, 3, generator=rng).double()
    data, items = answered(rng, torch.randn(5, 3, generator=rng).double())
    draws = Around(known, 1e-9 * torch.eye(3).double(), near=6).posterior(data, items, Luce())
    exact = torch.softmax(Rows.of(data, items, Luce()).log_prob(known), 0)
    torch.testing.assert_close(draws.mean, exact.T @ known, atol=1e-5, rtol=0)


def test_one_known_taste_is_a_normal_prior_around_it(rng):
    known = torch.randn(1, 3, generator=rng).double()
    data, items = answered(rng, torch.randn(5, 3, generator=rng).double())
    spread = torch.diag(torch.tensor([0.5, 1.0, 2.0])).double()
    draws = Around(known, spread).posterior(data, items, Luce())
    rows = Rows.of(data, items, Luce())
    mode, _, _ = modes(buckets(rows), Luce(), known[0], torch.linalg.inv(spread), data.raters)
    torch.testing.assert_close(draws.mean, mode, atol=1e-7, rtol=0)


def test_who_has_not_answered_is_like_anybody(rng):
    known, spread = (
        torch.randn(10, 3, generator=rng).double(),
        torch.diag(torch.tensor([0.5, 1.0, 2.0])).double(),
    )
    data, items = answered(rng, torch.randn(4, 3, generator=rng).double())
    data = data.take(data.rater != 2)
    prior = Around(known, spread, near=2, draws=10, strength=2.0)
    draws = prior.posterior(data, items, Luce())
    torch.testing.assert_close(draws.z[:10, 2], known)
    torch.testing.assert_close(draws.weight[:10, 2], torch.full((10,), 1 / 12).double())
    assert float(draws.weight[10:, 2].sum()) == pytest.approx(2 / 12)
    assert (draws.weight[:, 1] > 0).sum() == 2
    assert len(draws.z) == prior.size
    nobody = draws.z[10:, 2]
    assert bool((nobody.mean(0).abs() < 0.3).all())  # sixteen of them, evenly spread
    torch.testing.assert_close(nobody.square().mean(0), torch.diagonal(spread), rtol=0.5, atol=0)
    silent = Around(known, spread, strength=0.0).posterior(data.take(torch.arange(0)), items, Luce())
    torch.testing.assert_close(silent.mean, known.mean(0).expand(4, -1))


def test_sampled_newcomers_have_the_stated_moments(rng):
    prior = Around(torch.randn(7, 2, generator=rng).double(), torch.tensor([[0.5, 0.2], [0.2, 0.3]]).double())
    z = prior.sample(20_000, generator=rng)
    error = (torch.diagonal(prior.covariance) / len(z)).sqrt()
    assert bool(((z.mean(0) - prior.mean).abs() < 4.5 * error).all())
    # Normal around points: the fourth moment is at most three times the squared variance.
    wide = (2 / len(z)) ** 0.5 * torch.diagonal(prior.covariance).amax()
    assert bool(((z.T.cov(correction=0) - prior.covariance).abs() < 4.5 * wide).all())
