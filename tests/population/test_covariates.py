"""Covariates of raters are followed as far as they predict people who were not met, and no further."""

import dataclasses

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.data.covariates import Coding
from pluralign.data.errors import DataError
from pluralign.population import load
from pluralign.population.camps import Camps
from pluralign.population.covariates import WithCovariates, shifts
from pluralign.population.held_out import log_loss, settled
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.pooled import Pooled
from pluralign.population.saving import same
from pluralign.streams import Streams
from pluralign.utility import MLP, Linear

QUICK = Hierarchical(method="laplace", temper=1.0, draws=16, rounds=20)
SHIFT = torch.tensor([0.0, 1.2, 0.0], dtype=torch.float64)


def crowd(raters=120, per_rater=12, shift=SHIFT, seed=0, start=0):
    """Tastes around (1, 0, 0) + shift x covariate; a second covariate says nothing."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(60, 3, generator=draw).double()
    told = torch.randn(raters, 2, generator=draw).double()
    taste = torch.tensor([1.0, 0.0, 0.0]).double() + told[:, :1] * shift
    taste = taste + 0.5 * torch.randn(raters, 3, generator=draw).double()
    rater = torch.arange(raters).repeat_interleave(per_rater)
    first = torch.randint(60, (len(rater),), generator=draw)
    second = (first + torch.randint(1, 60, (len(rater),), generator=draw)) % 60
    chance = torch.sigmoid(((features[first] - features[second]) * taste[rater]).sum(1))
    said = (torch.rand(len(rater), generator=draw) < chance).float()
    ids = tuple(f"p{start + r}" for r in range(raters))
    return Comparisons.pairs(Items(features), first, second, rater, said, rater_ids=ids, covariates=told)


def halves(data):
    people = torch.arange(data.raters)
    return data.of_raters(people[: data.raters // 2]), data.of_raters(people[data.raters // 2 :])


@pytest.mark.parametrize("population", [QUICK, Camps(groups=2, restarts=2), Pooled(ridge=1.0)])
def test_a_stranger_without_answers_is_told_by_covariates(population, tmp_path):
    train, new = halves(crowd(raters=240))
    plain, told = population.fit(train, seed=0), WithCovariates(population).fit(train, seed=0)
    assert told.diagnostics["use"]
    gain = log_loss(plain, new) - log_loss(told, new)
    assert float(gain.mean()) > 3 * float(gain.std() / len(gain) ** 0.5)
    told.save(tmp_path / "belief")
    assert same(told, load(tmp_path / "belief"))
    torch.testing.assert_close(load(tmp_path / "belief").predict(new), told.predict(new))


def test_with_answers_it_is_still_better_and_adapts():
    train, new = halves(crowd(raters=240, per_rater=16))
    told, plain = WithCovariates(QUICK).fit(train), QUICK.fit(train)
    pool, judged = new.split("answer", share=0.5, seed=0)
    silent, adapted = log_loss(told, judged), None
    draws = told.adapt(pool)
    adapted = dataclasses.replace(told, draws=draws, rater_ids=pool.rater_ids)
    assert float((silent - log_loss(adapted, judged)).nanmean()) > 0
    other = dataclasses.replace(plain, draws=plain.adapt(pool), rater_ids=pool.rater_ids)
    assert float((log_loss(other, judged) - log_loss(adapted, judged)).nanmean()) > 0


def test_covariates_that_say_nothing_are_not_used():
    data = crowd(shift=torch.zeros(3).double())
    told, plain = WithCovariates(QUICK).fit(data), QUICK.fit(data)
    assert not told.diagnostics["use"]
    torch.testing.assert_close(told.predict(data), plain.predict(data))


def test_names_of_people_are_seen_through():
    """As many covariates as people fit everybody in training, and nobody else."""
    data = crowd(raters=30, shift=torch.zeros(3).double())
    named = dataclasses.replace(data, covariates=torch.eye(30).double() * 30**0.5)
    assert not WithCovariates(Pooled(ridge=1.0)).fit(named).diagnostics["use"]


def test_the_shift_is_found_within_its_standard_error():
    data = crowd(raters=400, per_rater=25, seed=3)
    worth = Linear().start(data, width=None, generator=torch.Generator())
    found = shifts(data, worth, Luce(), Streams.of(0), (3.0,))
    # Weights are of features scaled by `worth.scale`; normal tastes of spread .5 shrink a logit by 1 / sqrt(1 + .35 s^2).
    shift = found.shift[-1] * worth.scale
    wanted = torch.stack([SHIFT, torch.zeros(3).double()])
    error = 0.5 / 400**0.5 + 2 / (400 * 25) ** 0.5
    assert float((shift - wanted * shift[0, 1] / 1.2).abs().max()) < 4 * error
    assert 0.75 < float(shift[0, 1]) / 1.2 < 1.0
    assert found.gain > 5 * found.error


def test_the_standard_error_of_a_shift_is_that_of_fresh_crowds():
    found = []
    for seed in range(12):
        data = crowd(raters=100, per_rater=10, seed=100 + seed)
        worth = Linear().start(data, width=None, generator=torch.Generator())
        found.append(shifts(data, worth, Luce(), Streams.of(0), (3.0,)))
    spread = torch.stack([one.shift[-1] for one in found]).std(0).square().mean().sqrt()
    told = torch.stack([one.shift_error for one in found]).square().mean().sqrt()
    assert 0.7 < float(told / spread) < 1.4  # 72 numbers each: a standard error of a tenth


def test_the_average_rater_is_asked_without_a_rater():
    data = crowd()
    belief = WithCovariates(QUICK).fit(data)
    middle = dataclasses.replace(data, covariates=torch.zeros_like(data.covariates))
    rows = belief.worth.basis(data.options)[data.slate]
    torch.testing.assert_close(belief.worth.shown(middle), rows)
    assert belief.worth.steps(data.options.rows).shape == (60, belief.worth.width)
    assert float((belief.worth.shown(data) - rows).abs().max()) > 0.1


def test_each_rater_is_crossed_by_a_fit_that_did_not_see_them():
    data = crowd(raters=40)
    worth = Linear().start(data, width=None, generator=torch.Generator())
    found = shifts(data, worth, Luce(), Streams.of(0), (3.0,))
    fold = found.fold_of(data)
    mine = fold == 0
    turned = data.with_labels(torch.where(mine[data.rater][:, None], data.label.flip(1), data.label))
    again = shifts(turned, worth, Luce(), Streams.of(0), (3.0,))
    torch.testing.assert_close(found.shift[0], again.shift[0])
    assert float((found.shift[1] - again.shift[1]).abs().max()) > 1e-3
    assert found.fold_of(crowd(raters=2, start=1000)).tolist() == [10, 10]


def test_what_was_chosen_is_kept_when_fitted_again():
    data = crowd()
    model = WithCovariates(Camps(groups="auto", restarts=2))
    again = settled(model, model.fit(data))
    assert again.use is True
    assert isinstance(again.covariate_ridge, float)
    assert again.population.groups != "auto"


def test_bad_requests_are_one_sentence():
    data = crowd(raters=20)
    bare = dataclasses.replace(data, covariates=None)
    with pytest.raises(ValueError, match="the raters have none"):
        WithCovariates(QUICK, use=True).fit(bare)
    with pytest.raises(ValueError, match="utility must be linear, got MLP"):
        WithCovariates(Pooled(utility=MLP()), use=True).fit(data)
    with pytest.raises(ValueError, match="at least 10 raters"):
        WithCovariates(QUICK, use=True).fit(crowd(raters=5))
    with pytest.raises(ValueError, match="`use` must be"):
        WithCovariates(QUICK, use="yes")
    with pytest.raises(ValueError, match="one row for each of the 20 raters"):
        dataclasses.replace(data, covariates=torch.zeros(3, 2))
    belief = WithCovariates(QUICK, use=True).fit(data)
    with pytest.raises(ValueError, match="depend on 2 covariates of raters, and the raters have none"):
        belief.predict(bare)


PEOPLE = pd.DataFrame(
    {"age": [20, 30, None, 40], "job": ["nurse", "cook", "cook", ""], "same": [1, 1, 1, 1]},
    index=pd.Index(["a", "b", "c", "d"], name="rater_id"),
)


def test_columns_become_numbers_of_mean_nought_and_spread_one():
    with pytest.warns(UserWarning, match=r"1 of 4 raters have nothing in column 'age' .*first 'c'.*average"):
        coding = Coding.of(PEOPLE, ["age", "job"])
    assert coding.names == ("age", "job=nurse")
    told = coding(PEOPLE)
    root = (200 / 3) ** 0.5  # spread of 20, 30, 40 about 30
    torch.testing.assert_close(told[:, 0], torch.tensor([-10 / root, 0, 0, 10 / root]).double())
    half = 2**0.5
    torch.testing.assert_close(told[:, 1], torch.tensor([half, -1 / half, -1 / half, 0]).double())
    assert Coding.from_tree(coding.tree()) == coding
    others = pd.DataFrame({"age": [50.0], "job": ["smith"]})
    torch.testing.assert_close(coding(others)[0], torch.tensor([20 / root, -1 / half]).double())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=30, unique=True))
def test_coding_does_not_mind_the_unit(values):
    frame = pd.DataFrame({"x": values})
    if frame.x.std() < 1e-3:
        return
    one, other = (Coding.of(f, ["x"])(f) for f in (frame, frame * 7 + 3))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["aeg"], "did you mean 'age'"),
        (["same"], "same for everybody"),
        (["age", "age"], "named twice"),
        ([], "at least one column"),
    ],
)
def test_a_column_that_will_not_do(names, words):
    with pytest.raises(DataError, match=words):
        Coding.of(PEOPLE, names)


def test_a_number_that_is_none_and_words_that_are_too_many():
    frame = pd.DataFrame({"age": [*map(str, range(20)), "old"], "name": [f"w{k}" for k in range(21)]})
    with pytest.raises(DataError, match="rater 20 has 'old'"):
        Coding.of(frame, ["age"])
    with pytest.raises(DataError, match="21 different words"):
        Coding.of(frame, ["name"])
