"""What is put in comes out, within its standard error; and where the model is wrong, the same test says so."""

import dataclasses

import pytest
import torch
from scipy.stats import chi2

from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.metrics.recovery import adjusted_rand, align
from pluralign.population.camps import Camps
from pluralign.population.held_out import log_loss
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.pooled import Pooled
from pluralign.population.rows import Rows, likelihood
from pluralign.raters import SimulatedRaters, questions
from pluralign.utility import Linear

TRUTH = torch.tensor([[1.5, 0.0, -1.0], [-1.0, 1.0, 0.5]], dtype=torch.float64)
RARE = 1e-4  # one false alarm in 10,000


def asked(taste, per_rater, rule=None, seed=0, options=40, group=None):
    """Answers of raters with these tastes over standardised features; and the worth that standardises."""
    features = torch.randn(options, taste.shape[1], generator=torch.Generator().manual_seed(seed)).double()
    slate, rater = questions(options, per_rater, len(taste), seed)
    first = torch.tensor([[1.0, 0.0]]).expand(len(slate), 2)
    blank = Comparisons(Items(features), slate, rater, first)
    worth = Linear().start(blank, width=None, generator=torch.Generator())
    people = SimulatedRaters(worth, taste, rule or Luce(), group)
    return people.answer(blank.options, slate, rater, seed), worth


def camp_answers(rule=None, raters=50, per_rater=60, seed=0):
    group = (torch.arange(raters) * 5 >= 3 * raters).long()  # 60 to 40
    data, worth = asked(TRUTH[group], per_rater, rule, seed, group=group)
    return data, worth, group


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("temperature", "accepted"), [(1.0, True), (1.5, False)])
def test_two_camps_are_recovered_and_a_wrong_temperature_is_not(temperature, accepted, seed):
    data, worth, group = camp_answers(Luce(temperature), seed=seed)
    belief = Camps(groups=2, ridge=1e-6).fit(data, seed=seed)
    order = align(belief.prior.z, TRUTH)
    assert adjusted_rand(belief.draws.weight.argmax(0), group) == 1.0  # so each camp is a fit of its own
    wald = 0.0
    for g in range(2):
        mine = data.take(group[data.rater] == g)
        rows = Rows.of(mine, worth.basis(mine.options), Luce())
        _, _, bend = likelihood(Luce(), rows.eta(TRUTH[g]), rows.label)
        x = rows.x[:, 0]
        information = x.T @ (bend[:, 0] * x)
        error = belief.prior.z[order[g]] - TRUTH[g]
        wald += float(error @ information @ error)
    assert (wald < chi2.ppf(1 - RARE, df=TRUTH.numel())) == accepted


def test_shares_of_the_camps_are_recovered():
    data, _, _ = camp_answers(raters=100, per_rater=30)
    belief = Camps(groups=2, ridge=1.0).fit(data)
    torch.testing.assert_close(belief.prior.share, torch.tensor([0.6, 0.4]).double(), atol=0.01, rtol=0)


MEAN = torch.tensor([0.8, -0.4], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.5], [0.5, 0.8]], dtype=torch.float64)


@pytest.mark.parametrize(("temperature", "accepted"), [(1.0, True), (1.5, False)])
def test_a_normal_population_is_recovered_and_a_wrong_temperature_is_not(temperature, accepted):
    """Mean by its Wald statistic, covariance by the error of a sample covariance.

    The tastes are seen through noise, so the spread of an estimate is (covariance + noise) / raters. The tolerance of
    the covariance allows 10 % on top for the bias of Laplace's approximation with 100 answers.
    """
    raters = 400
    root = torch.linalg.cholesky(COVARIANCE)
    taste = MEAN + torch.randn(raters, 2, generator=torch.Generator().manual_seed(3)).double() @ root.T
    data, _ = asked(taste, 100, Luce(temperature))
    belief = Hierarchical(temper=1.0).fit(data)
    noise = belief.draws.covariance.mean(0)
    seen = COVARIANCE + noise
    error = belief.prior.mean - MEAN
    wald = raters * float(error @ torch.linalg.solve(seen, error))
    off = (belief.prior.covariance - COVARIANCE).abs()
    own = seen.diagonal()
    tolerance = 4 * ((own[:, None] * own + seen**2) / raters).sqrt() + 0.1 * COVARIANCE.abs()
    good = wald < chi2.ppf(1 - RARE, df=2) and bool((off < tolerance).all())
    assert good == accepted
    if accepted:  # tastes of people: the posterior is as wide as it is wrong
        gap = belief.draws.mean - taste
        score = torch.einsum("rx,rxy,ry->r", gap, torch.linalg.inv(belief.draws.covariance), gap)
        # Average of chi-square(2) over 400 raters: 2 with standard error sqrt(4 / 400) = .1.
        assert abs(float(score.mean()) - 2) < 5 * 0.1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_people_who_agree_are_one_camp(seed):
    data, _ = asked(TRUTH[:1].expand(40, -1), 25, seed=seed)
    belief = Camps(restarts=3).fit(data, seed=seed)
    assert belief.effective_camps == pytest.approx(1.0)
    # The fit of one camp is the pooled fit.
    torch.testing.assert_close(
        belief.predict(data), Pooled().fit(data, seed=seed).predict(data), atol=0.05, rtol=0
    )


def test_people_in_two_camps_are_two_camps():
    data, _, group = camp_answers(per_rater=25)
    belief = Camps(restarts=3).fit(data)
    assert len(belief.prior.z) == 2
    assert adjusted_rand(belief.draws.weight.argmax(0), group) > 0.9


def test_people_who_agree_hardly_differ_in_a_normal_population():
    data, _ = asked(TRUTH[:1].expand(60, -1), 40)
    belief = Hierarchical(temper=1.0).fit(data)
    truth = float(TRUTH[0].square().sum())
    assert float(belief.prior.covariance.trace()) < 0.1 * truth
    assert belief.shrinkage > 0.5


MEMBERS = {"camps": Camps(groups=2, ridge=1.0), "hierarchical": Hierarchical(temper=1.0)}


@pytest.mark.parametrize("name", list(MEMBERS))
def test_knowing_who_answered_helps_only_where_it_means_something(name):
    """Paired over raters against pooled: a clear gain; with raters shuffled none, and no harm beyond a little."""
    data, _, _ = camp_answers(raters=60, per_rater=30)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    shuffled = dataclasses.replace(data, rater=data.rater[order])
    gain = {}
    for case, answers in (("true", data), ("shuffled", shuffled)):
        last = torch.arange(len(answers)) % 30 >= 20
        kept, held = answers.take(~last), answers.take(last)
        loss = log_loss(Pooled(ridge=1.0).fit(kept), held) - log_loss(MEMBERS[name].fit(kept), held)
        loss = loss[torch.isfinite(loss)]
        gain[case] = (float(loss.mean()), float(loss.std() / len(loss) ** 0.5))
    assert gain["true"][0] > 5 * gain["true"][1]
    assert gain["shuffled"][0] < 3 * gain["shuffled"][1]
    assert gain["shuffled"][0] > -0.02  # nats per answer; the true gain is more than .1
    assert gain["true"][0] > 0.1
