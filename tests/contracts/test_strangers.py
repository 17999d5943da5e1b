"""Raters never met, over every registered population."""

import dataclasses
import math

import pytest
import torch
from people import ROUNDING, asked, check_predicts, members, strangers

from pluralign.population import Atoms, Gaussian
from pluralign.population.amortised import Amortised
from pluralign.population.council import Council
from pluralign.population.in_context import Reader
from pluralign.population.normals import Normals
from pluralign.population.simplex import Simplex


@members
def test_unknown_raters_are_predicted_from_the_prior_and_refused_when_strict(name, data, fitted):
    belief = fitted(name)
    new = strangers(data)
    share = check_predicts(belief, new)
    silent = belief.adapt(new.take(torch.arange(0)))
    torch.testing.assert_close(share, belief.predict(new, silent))
    # Everybody unknown is one and the same to the model.
    first = dataclasses.replace(new, rater=torch.zeros_like(new.rater))
    torch.testing.assert_close(share, belief.predict(first))
    with pytest.raises(KeyError, match=r"12 raters were never met .*'stranger 0'.*adapt"):
        belief.predict(new, strict=True)
    assert torch.equal(belief.predict(data, strict=True), belief.predict(data))


@members
def test_known_and_unknown_raters_in_one_set(name, data, fitted):
    belief = fitted(name)
    assert data.rater_ids is not None
    half = tuple(("new " if r % 2 else "") + i for r, i in enumerate(data.rater_ids))
    both = belief.predict(dataclasses.replace(data, rater_ids=half))
    odd = data.rater % 2 == 1
    torch.testing.assert_close(both[~odd], belief.predict(data)[~odd])
    torch.testing.assert_close(both[odd], belief.predict(strangers(data))[odd])


@members
def test_raters_are_known_by_name_not_by_number(name, data, fitted):
    belief = fitted(name)
    turned = dataclasses.replace(
        data, rater=data.raters - 1 - data.rater, rater_ids=tuple(reversed(data.rater_ids))
    )
    torch.testing.assert_close(belief.predict(turned), belief.predict(data))


@members
def test_adapting_to_no_answers_is_the_prior(name, data, fitted):
    belief = fitted(name)
    draws = belief.adapt(data.take(torch.arange(0)))
    assert draws.raters == data.raters
    if isinstance(belief.prior, Atoms):
        torch.testing.assert_close(draws.weight[:, 0], belief.prior.share)
    elif isinstance(belief.prior, Normals):
        torch.testing.assert_close(belief.prior.shares(draws), belief.prior.share)
        torch.testing.assert_close(draws.mean[0], belief.prior.share @ belief.prior.mean, atol=1e-6, rtol=0)
    elif isinstance(belief.prior, Council):
        width = [part.width for part in belief.prior.parts]
        means = draws.mean[0].split(width)
        for mean, part, weight in zip(means, belief.prior.parts, belief.prior.weight[0], strict=True):
            torch.testing.assert_close(mean, weight * part.prior.mean, atol=1e-6, rtol=0)
    elif isinstance(belief.prior, Simplex):
        # Sobol points: the mean of S draws is that of the prior up to about log(S) / S of its spread.
        spread = torch.diagonal(belief.prior.covariance).sqrt()
        count = len(draws.z)
        error = (draws.mean[0] - belief.prior.mean).abs()
        assert bool((error <= 4 * math.log(count) / count * spread + 1e-9).all())
    else:
        assert isinstance(belief.prior, Gaussian | Amortised | Reader)
        torch.testing.assert_close(draws.mean[0], belief.prior.mean, atol=1e-6, rtol=0)
        if len(draws.z) > 1:
            # Sobol points: the covariance of S draws is that of the prior up to about log(S) / S.
            error = (draws.covariance[0] - belief.prior.covariance).norm() / belief.prior.covariance.norm()
            assert float(error) < 0.5
    torch.testing.assert_close(draws.mean, draws.mean[:1].expand_as(draws.mean))


@members
def test_adapting_does_not_depend_on_the_order_of_answers(name, data, fitted, rng):
    belief = fitted(name)
    answers = strangers(asked(raters=4, per_rater=9, seed=7))
    mixed = answers.take(torch.randperm(len(answers), generator=rng))
    one, other = belief.adapt(answers), belief.adapt(mixed)
    torch.testing.assert_close(one.mean, other.mean, atol=ROUNDING, rtol=0)
    torch.testing.assert_close(
        belief.predict(answers, one), belief.predict(answers, other), atol=ROUNDING, rtol=0
    )


@members
def test_adapting_answers_one_rater_at_a_time(name, fitted):
    """What others said is of no use once the population is known."""
    belief = fitted(name)
    answers = strangers(asked(raters=4, per_rater=9, seed=7))
    together = belief.adapt(answers).mean
    alone = torch.cat([belief.adapt(answers.of_raters([r])).mean for r in range(4)])
    torch.testing.assert_close(together, alone, atol=ROUNDING, rtol=0)


@members
def test_adapting_helps_where_raters_differ(name, fitted):
    if name in ("pooled", "distributional"):
        pytest.skip("fitted as if everybody had one taste, or nobody a name")
    belief = fitted(name)
    many = strangers(asked(raters=10, per_rater=40, seed=3))
    told = torch.arange(len(many)) % 40 < 30
    learnt, judged = many.take(told), many.take(~told)
    log = lambda share: float((judged.label * share.clamp_min(1e-12).log()).sum(1).mean())
    gain = log(belief.predict(judged, belief.adapt(learnt))) - log(belief.predict(judged))
    assert gain > 0.05  # nats per answer; tastes of length 2.2 make raters predictable


@members
def test_draws_for_another_number_of_raters_are_refused(name, data, fitted):
    belief = fitted(name)
    with pytest.raises(ValueError, match="`draws` must be for the 12 raters of the data, got 2"):
        belief.predict(data, belief.draws.take(torch.tensor([0, 1])))
