"""Items, names alone, texts, segments, and networks over them, for every registered population."""

import dataclasses

import torch
from people import asked, check_predicts, members, model, strangers

from pluralign.data import Items, Segments, Texts
from pluralign.population import load
from pluralign.raters import CampPeople, questions
from pluralign.utility import MLP


@members
def test_options_known_by_name_alone(name, data):
    plain = dataclasses.replace(data, options=Items(torch.zeros(10, 0), data.options.ids))
    belief = model(name).fit(plain, seed=0)
    share = check_predicts(belief, plain)
    assert float((share * data.label).sum(1).log().mean()) > -torch.tensor(2.0).log()
    # An option never met has no worth of its own: between two of them nothing is known.
    new = dataclasses.replace(plain, options=Items(torch.zeros(10, 0), tuple(f"new {n}" for n in range(10))))
    torch.testing.assert_close(
        belief.predict(new), torch.full((len(data), 2), 0.5).double(), atol=1e-9, rtol=0
    )


@members
def test_many_options_known_by_name_alone(name):
    """Beyond 64 names the fit goes by sparse products and narrowed directions."""
    people = CampPeople(((2.0, 0.0), (-2.0, 1.0)), (0.5, 0.5)).draw(20, 0)
    features = torch.randn(80, 2, generator=torch.Generator().manual_seed(0))
    answers = people.answer(Items(features), *questions(80, 40, 20, 0), 0)
    data = dataclasses.replace(answers, options=Items(torch.zeros(80, 0)))
    belief = model(name).fit(data, seed=0)
    share = check_predicts(belief, data)
    assert float((share * data.label).sum(1).log().mean()) > -torch.tensor(2.0).log()
    check_predicts(belief, strangers(data))


@members
def test_texts_with_embeddings(name, tmp_path):
    """Wide features, on the way that rotates and narrows."""
    draw = torch.Generator().manual_seed(0)
    people = CampPeople(((2.0, 0.0), (-2.0, 1.0)), (0.5, 0.5)).draw(16, 0)
    features = torch.randn(90, 2, generator=draw)
    answers = people.answer(Items(features), *questions(90, 20, 16, 0), 0)
    embedding = features @ torch.randn(2, 70, generator=draw) + 0.1 * torch.randn(90, 70, generator=draw)
    texts = Texts(tuple("x" * (1 + n) for n in range(90)), embedding, tuple(f"t{n}" for n in range(90)))
    data = dataclasses.replace(answers, options=texts)
    belief = model(name).fit(data, seed=0)
    share = check_predicts(belief, data)
    assert float((share * data.label).sum(1).log().mean()) > -torch.tensor(2.0).log()
    new = dataclasses.replace(data, options=dataclasses.replace(texts, ids=None))
    check_predicts(belief, strangers(new))
    belief.save(tmp_path / "belief")
    assert torch.equal(load(tmp_path / "belief").predict(data), share)


def track(data, seed=0):
    """Segments of three steps and fewer whose sums are the features of the items."""
    draw = torch.Generator().manual_seed(seed)
    part = torch.rand(len(data.options), 3, 1, generator=draw).double()
    factors = part / part.sum(1, keepdim=True) * data.options.features[:, None]
    mask = torch.ones(len(data.options), 3, dtype=torch.bool)
    factors[0, 1] += factors[0, 2]
    factors[0, 2], mask[0, 2] = 100.0, False  # a step that is not there must not count
    return dataclasses.replace(data, options=Segments(factors, mask))


@members
def test_segments_of_trajectories(name, data):
    belief = model(name).fit(track(data), seed=0)
    share = check_predicts(belief, track(data))
    assert float((share * data.label).sum(1).log().mean()) > -torch.tensor(2.0).log()
    voices = belief.voices()
    steps = voices.reward(track(data).options.factors)  # (N, T, G)
    total = (steps * track(data).options.mask[..., None]).sum(1)
    torch.testing.assert_close(total, voices.returns(track(data).options))


@members
def test_a_network_as_utility(name):
    data = asked(raters=6, per_rater=10)
    belief = model(name, utility=MLP(hidden=(4,))).fit(data, seed=0)
    share = check_predicts(belief, data)
    check_predicts(belief, strangers(data))
    assert belief.voices().reward(data.options.rows).shape[0] == len(data.options)
    assert torch.equal(model(name, utility=MLP(hidden=(4,))).fit(data, seed=0).predict(data), share)
