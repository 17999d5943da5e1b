"""Slates, ties, graded and held answers, over every registered population."""

import dataclasses

import pytest
import torch
from people import asked, check_predicts, members, model, quick, ragged, strangers

from pluralign.choice import Davidson
from pluralign.population.registry import named


@members
def test_slates_of_three(name):
    data = asked(places=3)
    belief = model(name).fit(data, seed=0)
    share = check_predicts(belief, data)
    assert float((share * data.label).sum(1).log().mean()) > -torch.tensor(3.0).log()
    check_predicts(belief, strangers(data))


@members
def test_slates_of_different_length(name):
    data = ragged(asked(places=3))
    belief = model(name).fit(data, seed=0)
    check_predicts(belief, data)
    draws = belief.adapt(strangers(data))
    assert bool(torch.isfinite(draws.mean).all())


@members
def test_pairs_in_slates_of_three_are_pairs(name, data):
    """A slate with an empty third place is a pair, and fits the same."""
    wide = dataclasses.replace(
        data,
        slate=torch.cat([data.slate, torch.full((len(data), 1), -1)], 1),
        label=torch.cat([data.label, torch.zeros(len(data), 1)], 1),
    )
    share = model(name).fit(wide, seed=0).predict(wide)
    torch.testing.assert_close(share[:, :2], model(name).fit(data, seed=0).predict(data), atol=1e-5, rtol=0)


@members
def test_ties_and_graded_answers(name, data, rng):
    graded = torch.rand(len(data), generator=rng).double()
    graded[::5] = 0.5
    soft = data.with_labels(torch.stack([graded, 1 - graded], 1))
    check_predicts(model(name).fit(soft, seed=0), soft)
    ties = model(name, rule=Davidson()).fit(soft, seed=0)
    check_predicts(ties, soft)


@members
def test_held_answers_are_used(name, data, monkeypatch):
    """Answers given as `held` decide the settings; none of `data` is then set aside."""
    import pluralign.population.held_out as held_out

    def refuse(*_):
        raise AssertionError("a part of the data was set aside although held answers were given")

    monkeypatch.setattr(held_out, "hold_out", refuse)
    kept, held = data.split(by="answer", share=0.7, seed=0)
    settings = named(name)(**quick(name))
    belief = settings.fit(kept, seed=0, held=held)
    check_predicts(belief, held)


@members
def test_settings_are_chosen_by_what_was_held(name, data):
    """Held answers that say the opposite choose the most cautious setting there is."""
    if name not in ("pooled", "per_rater"):
        pytest.skip("no ridge that is chosen alone")
    kept, held = data.split(by="answer", share=0.7, seed=0)
    against = held.with_labels(held.label.flip(1))
    fair = named(name)().fit(kept, seed=0, held=held).diagnostics["ridge"]
    cautious = named(name)().fit(kept, seed=0, held=against).diagnostics["ridge"]
    assert cautious > fair
