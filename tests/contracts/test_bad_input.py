"""Bad and meagre data: a finite belief or one clear sentence, over every registered population."""

import dataclasses

import pytest
import torch
from people import ROUNDING, check_predicts, members, model, quick, strangers

from pluralign.data import Comparisons, Items
from pluralign.population.registry import named


def _one(data):
    return data.take(torch.tensor([0])).of_raters([0])


def _same_option(data):
    slate = data.slate.clone()
    slate[:20, 1] = slate[:20, 0]
    return dataclasses.replace(data, slate=slate)


def _contradiction(data):
    """Everybody answers everything both ways."""
    turned = data.with_labels(data.label.flip(1))
    return Comparisons(
        data.options,
        torch.cat([data.slate, turned.slate]),
        torch.cat([data.rater, turned.rater]),
        torch.cat([data.label, turned.label]),
    )


def _constant(data):
    features = torch.cat([data.options.features, torch.full((len(data.options), 1), 7.0).double()], 1)
    return dataclasses.replace(data, options=dataclasses.replace(data.options, features=features))


def _huge(data):
    return dataclasses.replace(
        data, options=dataclasses.replace(data.options, features=data.options.features * 1e8 + 1e6)
    )


def _twins(data):
    """Every rater once more, with another name."""
    return dataclasses.replace(
        data.take(torch.cat([torch.arange(len(data))] * 2)),
        rater=torch.cat([data.rater, data.rater + data.raters]),
        rater_ids=tuple(f"{r}" for r in range(2 * data.raters)),
    )


MEAGRE = {
    "one answer in all": _one,
    "a rater with one answer": lambda d: d.take((d.rater > 0) | (torch.arange(len(d)) == 0)),
    "one rater": lambda d: d.of_raters([3]),
    "one answer each": lambda d: d.take(torch.arange(0, len(d), 14)),
    "raters without answers": lambda d: d.take(d.rater > 4),
    "all ties": lambda d: d.with_labels(torch.full_like(d.label, 0.5)),
    "an option compared with itself": _same_option,
    "only options compared with themselves": lambda d: dataclasses.replace(
        d, slate=d.slate[:, :1].expand(-1, 2).contiguous()
    ),
    "a constant feature": _constant,
    "no features that differ": lambda d: dataclasses.replace(
        d, options=dataclasses.replace(d.options, features=torch.ones_like(d.options.features))
    ),
    "huge features": _huge,
    "duplicate raters": _twins,
    "contradictory raters": _contradiction,
    "everybody agrees": lambda d: d.with_labels(
        torch.nn.functional.one_hot(d.options.features[d.slate][..., 0].argmax(1), 2).double()
    ),
    "float32": lambda d: dataclasses.replace(
        d, options=dataclasses.replace(d.options, features=d.options.features.float())
    ),
}


@members
@pytest.mark.parametrize("case", list(MEAGRE))
def test_meagre_data_give_a_finite_belief(name, case, data):
    meagre = MEAGRE[case](data)
    for settings in (model(name, groups=1), named(name)(**quick(name))):
        belief = settings.fit(meagre, seed=0)
        share = check_predicts(belief, meagre)
        check_predicts(
            belief, strangers(data) if "features" not in case and "constant" not in case else meagre
        )
        assert len(belief.voices()) >= 1
        assert 0 <= belief.shrinkage <= 1
    if case in ("all ties", "contradictory raters", "only options compared with themselves"):
        torch.testing.assert_close(share, torch.full_like(share, 0.5), atol=1e-6, rtol=0)


@members
def test_twins_are_told_the_same(name, data):
    twins = _twins(data)
    draws = model(name).fit(twins, seed=0).draws
    torch.testing.assert_close(draws.mean[: data.raters], draws.mean[data.raters :], atol=ROUNDING, rtol=0)


@members
def test_no_answers_are_refused_in_one_sentence(name, data):
    with pytest.raises(ValueError, match="fit needs at least one answer, got none; check the filter"):
        model(name).fit(data.take(torch.arange(0)), seed=0)


def test_more_camps_than_raters_are_refused_in_one_sentence(data):
    with pytest.raises(
        ValueError, match=r"`groups` must not exceed .* 12, got 13; give fewer camps"
    ) as caught:
        named("camps")(groups=13).fit(data, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_features_that_are_no_numbers_are_refused(bad):
    features = torch.zeros(3, 2)
    features[1, 1] = bad
    with pytest.raises(ValueError, match=r"must be finite; 1 of 6 numbers are not, first row 1, column 1"):
        Items(features)


def test_a_wrong_name_lists_those_that_exist():
    with pytest.raises(
        ValueError, match=r"no population is called 'camp'; there are pooled, per_rater, camps"
    ):
        named("camp")


@members
def test_other_features_than_in_training_are_refused(name, data, fitted):
    other = dataclasses.replace(data, options=Items(torch.zeros(len(data.options), 2).double()))
    with pytest.raises(ValueError, match="options must have the 3 features of the training data, got 2"):
        fitted(name).predict(other)
