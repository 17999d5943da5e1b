"""What must change nothing, over every registered population."""

import dataclasses

import torch
from people import members, model, strangers

from pluralign.data import Comparisons


@members
def test_swapping_options_and_labels_changes_nothing(name, data, fitted, rng):
    swap = torch.rand(len(data), generator=rng) < 0.5
    turned = dataclasses.replace(
        data,
        slate=torch.where(swap[:, None], data.slate.flip(1), data.slate),
        label=torch.where(swap[:, None], data.label.flip(1), data.label),
    )
    torch.testing.assert_close(
        model(name).fit(turned, seed=0).predict(data), fitted(name).predict(data), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        fitted(name).predict(dataclasses.replace(data, slate=data.slate.flip(1))).flip(1),
        fitted(name).predict(data),
    )


@members
def test_an_answer_of_weight_two_is_the_answer_twice(name, data):
    twice = data.take(torch.cat([torch.arange(len(data))] * 2))
    weight = torch.full((len(data),), 2.0).double()
    heavy = dataclasses.replace(data, weight=weight)
    one, other = model(name).fit(heavy, seed=0), model(name).fit(twice, seed=0)
    torch.testing.assert_close(one.predict(data), other.predict(data), atol=1e-5, rtol=0)
    new = one.adapt(strangers(heavy)).mean
    torch.testing.assert_close(new, one.adapt(strangers(twice)).mean, atol=1e-5, rtol=0)


@members
def test_an_answer_of_weight_zero_says_nothing(name, data):
    noise = data.with_labels(data.label.flip(1))
    both = Comparisons(
        data.options,
        torch.cat([data.slate, noise.slate]),
        torch.cat([data.rater, noise.rater]),
        torch.cat([data.label, noise.label]),
        weight=torch.cat([torch.ones(len(data)), torch.zeros(len(data))]).double(),
        rater_ids=data.rater_ids,
    )
    one, other = model(name).fit(both, seed=0), model(name).fit(data, seed=0)
    torch.testing.assert_close(one.predict(data), other.predict(data), atol=1e-5, rtol=0)
