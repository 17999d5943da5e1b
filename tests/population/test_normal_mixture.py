"""Kinds of people who differ within a kind: against quadrature, planted truth, and populations that are something else."""

import math

import pytest
import torch

from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.metrics import log_loss
from pluralign.population.camps import Camps
from pluralign.population.normal import surer
from pluralign.population.normal_mixture import EACH, NormalMixture
from pluralign.population.normals import Normals
from pluralign.population.prior import Gaussian
from pluralign.population.rows import Rows

QUIET = {"temper": 1.0, "volume": 1.0}  # no search


def crowd(kinds, counts, spread, per_rater=30, seed=0, options=80):
    """Answers of people around the tastes of their kinds, further answers of the same people, and the tastes."""
    draw = torch.Generator().manual_seed(seed)
    centre = torch.tensor(kinds, dtype=torch.float64).repeat_interleave(torch.tensor(counts), 0)
    taste = centre + spread * torch.randn(centre.shape, generator=draw, dtype=torch.float64)
    features = torch.randn(options, centre.shape[1], generator=draw).double()
    rater = torch.arange(len(taste)).repeat_interleave(2 * per_rater)
    slate = torch.randint(options, (len(rater), 2), generator=draw)
    worth = (features[slate] * taste[rater][:, None]).sum(-1)
    first = (torch.rand(len(rater), generator=draw) < torch.softmax(worth, 1)[:, 0]).double()
    data = Comparisons(Items(features), slate, rater, torch.stack([first, 1 - first], 1))
    early = torch.arange(len(rater)) % (2 * per_rater) < per_rater
    return data.take(early), data.take(~early), taste


def test_bayes_rule_is_that_of_a_grid():
    """One number of taste, two kinds: chances of the kinds, mean and spread of the taste, and a stranger's."""
    data, _, _ = crowd([[1.5], [-1.0]], [8, 8], 0.5, per_rater=5)
    told = data.take(data.rater != 3)
    prior = Normals(
        torch.tensor([[1.5], [-1.0]]).double(),
        torch.tensor([0.7, 0.3]).double(),
        torch.tensor([[0.25]]).double(),
        256,
    )
    draws = prior.posterior(told, told.options.rows.double(), Luce())
    grid = torch.linspace(-8, 8, 4001).double()[:, None]
    each = -(grid - prior.mean.T).square() / 0.5 + prior.share.log()  # (S, G), the same constant for both
    like = Rows.of(told, told.options.rows.double(), Luce()).log_prob(grid)  # (S, R)
    joint = torch.softmax((like[:, None] + each[..., None]).flatten(0, 1), 0).reshape(len(grid), 2, -1)
    torch.testing.assert_close(prior.chances(draws), joint.sum(0), atol=0.01, rtol=0)
    exact = (joint.sum(1) * grid).sum(0)
    torch.testing.assert_close(draws.mean[:, 0], exact, atol=0.02, rtol=0)
    spread = (joint.sum(1) * (grid - exact).square()).sum(0)
    torch.testing.assert_close(draws.covariance[:, 0, 0], spread, atol=0.03, rtol=0)
    torch.testing.assert_close(prior.chances(draws)[:, 3], prior.share)


def test_one_kind_is_the_normal_prior():
    data, _, _ = crowd([[1.0, -0.5]], [9], 0.8, per_rater=6)
    mean, covariance = torch.tensor([0.4, -0.2]).double(), torch.tensor([[0.8, 0.2], [0.2, 0.5]]).double()
    basis = data.options.rows.double()
    alone = Gaussian(mean, covariance, 32).posterior(data, basis, Luce())
    mixed = Normals(mean[None], torch.ones(1).double(), covariance, 32).posterior(data, basis, Luce())
    torch.testing.assert_close(mixed.z, alone.z)
    torch.testing.assert_close(mixed.weight, alone.weight)


def test_newcomers_are_of_the_kinds():
    prior = Normals(
        torch.tensor([[3.0, 0.0], [-3.0, 0.0]]).double(),
        torch.tensor([0.8, 0.2]).double(),
        torch.tensor([[0.5, 0.3], [0.3, 0.4]]).double(),
    )
    z = prior.sample(20_000, generator=torch.Generator().manual_seed(0))
    first = z[:, 0] > 0
    assert abs(float(first.double().mean()) - 0.8) < 4 * math.sqrt(0.16 / 20_000)
    found = torch.cov(z[first].T)
    torch.testing.assert_close(found, prior.covariance, atol=0.03, rtol=0)


def test_kinds_shares_and_spread_are_recovered():
    kinds, counts, spread = [[2.0, 0.0, -0.5], [0.0, 2.0, -0.5]], [90, 60], 0.5
    data, _, taste = crowd(kinds, counts, spread)
    belief = NormalMixture(**QUIET).fit(data, seed=0)
    prior = belief.prior
    assert len(prior.mean) == belief.diagnostics["groups"] == 2
    order = prior.mean[:, 0].argsort(descending=True)
    member = torch.arange(150) < 90
    chance = prior.chances(belief.draws)[order]
    assert float((chance[0] > 0.5).eq(member).double().mean()) > 0.97
    torch.testing.assert_close(prior.share[order], torch.tensor([0.6, 0.4]).double(), atol=0.03, rtol=0)
    for g, mine in zip(order.tolist(), (member, ~member), strict=True):
        # What a person's thirty answers leave unsure, beside how people of a kind differ.
        error = (taste[mine].var(0) / mine.sum() + 0.2**2 / mine.sum() * 4).sqrt()
        assert float(((prior.mean[g] - taste[mine].mean(0)).abs() / error).max()) < 4
    width = torch.diagonal(prior.covariance).sqrt()
    # A standard deviation of 150 people is known to a seventeenth, and less as their tastes are told by answers.
    torch.testing.assert_close(width, torch.full((3,), spread).double(), atol=0.15, rtol=0)


@pytest.mark.parametrize("seed", range(2))
def test_four_of_another_kind_are_found_and_the_crowd_is_not_split(seed):
    """`Camps` has but one taste for a camp, and takes people who differ a little for further camps."""
    data, later, _ = crowd([[2.0, 0.0, -0.5], [0.0, 2.0, -0.5]], [40, 4], 0.35, per_rater=40, seed=seed)
    belief = NormalMixture(**QUIET).fit(data, seed=0)
    voices = belief.voices()
    assert len(voices) == 2
    assert float(voices.weight.min()) == pytest.approx(4 / 44, abs=0.01)
    loss = lambda fitted: float(log_loss(fitted.predict(later), later.label).mean())
    assert loss(belief) < loss(Camps().fit(data, seed=0))


def test_people_of_one_kind_are_left_one_kind():
    data, _, _ = crowd([[1.0, -1.0]], [60], 1.0)
    belief = NormalMixture(**QUIET).fit(data, seed=0)
    assert belief.diagnostics["groups"] == 1
    assert len(belief.voices()) == 4  # centres of the cloud, as of any other


@pytest.mark.parametrize("seed", range(2))
def test_few_answers_each_do_not_make_kinds_of_one(seed):
    """Three answers each: a bound in place of the evidence, or a fit stopped early, finds three kinds."""
    data, _, _ = crowd([[0.5, 0.5, 0.5]], [400], 1.5, per_rater=3, seed=seed)
    assert NormalMixture(**QUIET).fit(data, seed=0).diagnostics["groups"] == 1


def test_a_wrong_number_of_kinds_is_told_by_the_evidence():
    """AIC3 by hand: the evidence, which the bound is near to, less 3/2 for every number that a further kind has."""
    data, _, _ = crowd([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.5]], [30, 30, 30], 0.4)
    found = NormalMixture(**QUIET).fit(data, seed=0)
    table = {int(name): 90 * score for name, score, _ in found.diagnostics["groups_table"]}
    assert min(table, key=table.__getitem__) == 3
    for groups in (1, 2, 3):
        fixed = NormalMixture(groups=groups, **QUIET).fit(data, seed=0)
        price = 1.5 * (groups - 1) * 3
        bound = price - fixed.diagnostics["log_evidence"]
        assert bound - 3 < table[groups] < bound + 0.1
    assert table[1] - table[3] > 50


def test_the_search_for_kinds_leaves_nobody_alone():
    """One person wants what nobody else does, and is no kind."""
    data, _, _ = crowd([[3.0, 0.0], [-3.0, 0.0], [0.0, -3.0]], [12, 6, 1], 0.2, per_rater=20)
    belief = NormalMixture(**QUIET).fit(data, seed=0)
    assert belief.diagnostics["groups"] == 2
    assert float(belief.prior.chances(belief.draws).sum(1).min()) >= EACH - 0.01


def test_a_part_of_the_crowd_is_drawn_to_indifference_by_its_own_number():
    data, _, taste = crowd([[1.0, -0.5]], [24], 0.7, per_rater=10)
    rows = Rows.of(data, data.options.rows.double(), Luce())
    covariance = 0.49 * torch.eye(2).double()
    sharp = torch.linalg.inv(covariance) + 2 * torch.eye(2).double().expand(24, 2, 2)
    mean, half = taste.mean(0), (torch.arange(24) < 12).double()
    kept = lambda part: float(surer(mean, covariance, sharp, rows, part)[0] / mean[0])
    assert kept(None) == pytest.approx(kept(torch.ones(24).double()))
    lost = 1 - kept(None)
    assert lost > 0
    assert 1 - kept(half) == pytest.approx(2 * lost)  # half as many people are twice as unsure


def test_more_kinds_than_raters_are_refused():
    data, _, _ = crowd([[1.0, 0.0]], [3], 0.5)
    with pytest.raises(
        ValueError, match=r"`groups` must not exceed the number of raters with answers, 3, got 4"
    ):
        NormalMixture(groups=4).fit(data)
    with pytest.raises(ValueError, match=r"`groups` must be a positive number of kinds"):
        NormalMixture(groups=0)
    with pytest.raises(ValueError, match=r"`rank` must be a positive number of directions"):
        NormalMixture(rank=0)
    with pytest.raises(ValueError, match=r"`draws` must be at least 2"):
        NormalMixture(draws=1)
    with pytest.raises(ValueError, match=r"`rounds` must be at least 1"):
        NormalMixture(rounds=0)
