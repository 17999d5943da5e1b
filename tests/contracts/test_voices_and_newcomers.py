"""Voices, and people drawn from a belief, over every registered population."""

import pytest
import torch
from people import ROUNDING, members, model
from scipy.stats import chi2

from pluralign.population.saving import same
from pluralign.raters import SimulatedRaters, questions


@members
def test_voices_speak_for_everybody(name, data, fitted):
    belief = fitted(name)
    for count in (None, 1, 2):
        voices = belief.voices(count)
        assert float(voices.weight.sum()) == pytest.approx(1, abs=1e-9)
        assert bool((voices.weight > 0).all())
        assert len(voices) == len(voices.names) <= (count or 8)
        assert voices.returns(data.options).shape == (len(data.options), len(voices))
        assert voices.reward(data.options.rows).shape == (len(data.options), len(voices))
    one = belief.voices(1)
    if name != "trust":  # adversaries are not followed
        torch.testing.assert_close(one.z[0], belief.draws.mean.mean(0), atol=ROUNDING, rtol=0)
    assert same(belief.voices(2, seed=3), belief.voices(2, seed=3))


@members
def test_new_people_can_be_drawn(name, fitted):
    belief = fitted(name)
    z = belief.sample(50, seed=0)
    assert z.shape == (50, belief.worth.width)
    assert torch.equal(z, belief.sample(50, seed=0))
    if name != "pooled":
        assert not torch.equal(z, belief.sample(50, seed=1))


@members
def test_what_a_member_simulates_it_recovers(name, data, fitted):
    """Sample people from the belief, let them answer, fit again: true shares come back.

    With d free numbers, twice the divergence of the fit from the truth, summed over the answers, is chi-square
    with d degrees of freedom (Wilks); a prior only makes it smaller on average.
    """
    if name == "distributional":
        pytest.skip("people who were met are not told apart; the population is recovered in its own tests")
    belief = fitted(name)
    raters, per_rater = 12, 40
    people = SimulatedRaters(belief.worth, belief.sample(raters, seed=2))
    answers = people.answer(data.options, *questions(len(data.options), per_rater, raters, 2), 2)
    found = model(name).fit(answers, seed=0).predict(answers)
    truth = people.share(data.options, answers.slate, answers.rater).to(found)
    limit = chi2.ppf(1 - 1e-4, df=raters * belief.worth.width)
    assert _divergence(truth, found) < limit
    # The same bound rejects people who answer the other way round.
    assert _divergence(truth.flip(1), found) > limit


def _divergence(truth, found):
    return float(2 * (truth * (truth.clamp_min(1e-12) / found.clamp_min(1e-12)).log()).sum())
