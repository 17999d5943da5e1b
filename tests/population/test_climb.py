"""Corners by climbing the likelihood: slopes, shares and posteriors against sums written out, and sure people found."""

import numpy as np
import pytest
import torch

from pluralign import Pooled, Prototypes, load
from pluralign.choice import Luce, Thurstone
from pluralign.data import Comparisons, Items
from pluralign.population.climb import Panel, climbed, cloud, law_of, shares
from pluralign.population.rows import Rows
from pluralign.population.simplex import Mixes
from pluralign.population.wide import Incidence
from pluralign.streams import Streams
from pluralign.utility import Linear


def questions(rng, raters=6, each=5, places=2, width=4):
    items = Items(torch.randn(30, width, generator=rng))
    slate = torch.stack([torch.randperm(30, generator=rng)[:places] for _ in range(raters * each)])
    rater = torch.arange(raters).repeat_interleave(each)
    label = torch.rand(len(slate), places, generator=rng).double()
    if places > 2:
        slate[::4, -1], label[::4, -1] = -1, 0.0
    weight = torch.rand(len(slate), generator=rng).double() + 0.5
    return Comparisons(items, slate, rater, label / label.sum(1, keepdim=True), weight=weight)


def linear(data):
    return Linear().start(data, width=None, generator=Streams.of(0)("start"))


@pytest.mark.parametrize(("places", "rule"), [(2, Luce(0.7)), (2, Thurstone()), (3, Luce())])
def test_the_slope_is_that_of_the_likelihood_written_out(places, rule, rng):
    data = questions(rng, places=places)
    full, mix = linear(data), torch.rand(7, 3, generator=rng)
    mix = mix / mix.sum(1, keepdim=True)
    panel = Panel.of(Incidence.of(data, full, rule), data.rater, data.raters, mix)
    log_share = torch.log_softmax(torch.randn(7, generator=rng), 0)
    tip = torch.randn(full.width, 3, generator=rng).double()

    def written_out(tip):
        told = Rows.of(data, full.basis(data.options), rule).log_prob(mix.double() @ tip.T)
        return torch.logsumexp(told + log_share.double()[:, None], 0).sum()

    value, slope, chance = panel.look(tip.numpy(), log_share)
    direct = torch.func.grad(written_out)(tip)
    assert abs(value - float(written_out(tip))) < 1e-5 * abs(value)
    np.testing.assert_allclose(slope, direct.numpy(), atol=1e-4 * float(direct.abs().max()))
    torch.testing.assert_close(chance.sum(1), torch.ones(data.raters), atol=1e-5, rtol=0)


def test_shares_are_the_likeliest(rng):
    """Lindsay (1983): no mix would gain from more share; a far guess does."""
    told = 3 * torch.randn(200, 12, generator=rng)
    even = torch.full((12,), -np.log(12.0))
    chance = torch.softmax(told, 1)

    def gain(log_share):
        return float((chance / (chance @ log_share.exp())[:, None]).mean(0).max()) - 1

    # The pseudo-rater who is like nobody is worth one in 200.
    assert gain(shares(told, even, 4000)) < 0.02 < gain(even)


def sure(rng, raters=500, each=10, width=5, alpha=0.4):
    """People who never err, each a mix of three tastes, and strangers with answers to predict."""
    corner = torch.linalg.qr(torch.randn(width, width, generator=rng).double())[0][:, :3]
    w = torch._standard_gamma(torch.full((raters, 3), alpha).double(), generator=rng)
    w = w / w.sum(1, keepdim=True)
    items = torch.randn(4000, width, generator=rng).double()
    slate = torch.randint(4000, (raters * each, 2), generator=rng)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 0] + 1) % 4000, slate[:, 1])
    rater = torch.arange(raters).repeat_interleave(each)
    worth = (items[slate] * (w @ corner.T)[rater][:, None]).sum(-1)
    label = torch.nn.functional.one_hot(worth.argmax(1), 2).double()
    return Comparisons(Items(items.float()), slate, rater, label), corner


def spread_apart(found, corner):
    """The largest share of a true corner that lies outside the span of those found."""
    side = torch.linalg.qr(found)[0]
    return float((corner - side @ (side.T @ corner)).square().sum(0).max())


def test_people_who_never_err_are_found(rng):
    """Their three tastes are spanned to the width of an answer; where they start from is not."""
    data, corner = sure(rng)
    full = linear(data)
    centred = full.scale[:, None]
    start = (corner + 0.4 * torch.randn(corner.shape, generator=rng).double()) / centred
    incidence, ridge = Incidence.of(data, full, Luce()), torch.full((5,), 0.02).double()
    found, rounds = climbed(
        incidence, data.rater, data.raters, start, ridge=ridge, loose=0.02, draws=32, rounds=10
    )
    assert 2 <= rounds <= 10
    first, last = spread_apart(centred * start, corner), spread_apart(centred * found, corner)
    # 5,000 answers about 15 numbers: an angle of about one in sqrt(5,000 / 15), squared .003; ten times that is failure.
    assert last < 0.03 < first
    # Who never errs is loud: typical worths are far from a coin's.
    gap = (incidence.shows @ (full.basis(data.options) @ found).numpy()).std()
    assert gap > 4
    mix, share = law_of(incidence, data.rater, data.raters, found, 128)
    assert abs(float(share.sum()) - 1) < 1e-9
    # Nearly all sit near corners, as planted; of an even law one in eight has more than .8 of one taste.
    assert float(share @ (mix.amax(1) > 0.8).double()) > 0.3


def test_any_law_of_mixes_is_bayes(rng):
    data = questions(rng)
    full = linear(data)
    prior = Mixes(
        torch.randn(3, 4, generator=rng).double(),
        cloud(3, 20).double(),
        torch.rand(23, generator=rng).double(),
    )
    prior = Mixes(prior.corners, prior.mix, prior.share / prior.share.sum())
    basis = full.basis(data.options)
    draws = prior.posterior(data, basis, Luce())
    tastes = prior.mix @ prior.corners
    worth = (basis @ tastes.T)[data.slate]
    told = Luce().log_prob(worth.mT, data.label[:, None].expand(-1, 23, -1)) * data.weight[:, None]
    told = torch.zeros(data.raters, 23).double().index_add_(0, data.rater, told)
    torch.testing.assert_close(draws.weight.T, torch.softmax(told + prior.share.log(), 1))
    drawn = prior.sample(20_000, generator=rng)
    error = prior.covariance.diagonal().sqrt() / 20_000**0.5
    assert bool(((drawn.mean(0) - prior.mean).abs() < 4.5 * error).all())
    torch.testing.assert_close(
        torch.cov(drawn.T), prior.covariance, atol=0.05 * float(prior.covariance.trace()), rtol=0
    )


def test_a_cloud_of_mixes_is_a_belief_like_others(rng, tmp_path):
    data, _ = sure(rng, raters=60, each=12)
    belief = Prototypes(3, ridge=0.1, concentration="cloud", draws=16, rounds=4).fit(data, seed=0)
    assert isinstance(belief.prior, Mixes)
    voices = belief.voices()
    torch.testing.assert_close(voices.mixed(voices.weight), belief.draws.mean.mean(0), atol=1e-6, rtol=1e-6)
    belief.save(tmp_path / "belief")
    torch.testing.assert_close(load(tmp_path / "belief").predict(data), belief.predict(data))
    right = lambda b: float((b.predict(data).argmax(1) == data.label.argmax(1)).double().mean())
    # 720 answers: a standard error of .02 for the one who knows nobody.
    assert right(belief) > right(Pooled(ridge=1.0).fit(data, seed=0)) + 0.1
