"""Bad and meagre data: a finite belief or one clear sentence, over every registered population."""

import dataclasses
import math
import re

import pytest
import torch
from people import ROUNDING, check_predicts, members, model, quick, strangers

from pluralign.data import Comparisons, Items, Segments, Texts
from pluralign.metrics.diagnostics import diagnose
from pluralign.population.registry import named
from pluralign.raters import CampPeople


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


def _busy(data):
    """One rater's fourteen answers weigh as a hundred thousand; everybody else answers as before."""
    weight = torch.where(data.rater == 0, 1e5 / 14, 1.0).double()
    return dataclasses.replace(data, weight=weight)


def _own_contradiction(data):
    """One rater answers everything both ways, the others as before."""
    mine = data.take(data.rater == 0)
    return Comparisons(
        data.options,
        torch.cat([data.slate, mine.slate]),
        torch.cat([data.rater, mine.rater]),
        torch.cat([data.label, mine.label.flip(1)]),
        rater_ids=data.rater_ids,
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
    "one contradictory rater": _own_contradiction,
    "a rater whose answers weigh 100,000": _busy,
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
    for settings in (model(name, groups=1, prototypes=1, rank=1), named(name)(**quick(name))):
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


@members
def test_more_groups_than_raters_fit_or_are_refused_in_one_sentence(name, data):
    """Whatever a member calls its groups."""
    words = ("groups", "heads", "prototypes", "rank", "atoms", "members", "components")
    many = {
        k: 13 for k in words if isinstance(getattr(model(name), k, ""), int | str) and hasattr(model(name), k)
    }
    few = data.take(data.rater < 2)
    refused = ""
    try:
        belief = model(name, **many).fit(few.of_raters([0, 1]), seed=0)
    except ValueError as problem:
        refused = str(problem)
    if refused:
        assert re.search(r"`\w+` must", refused), refused
        assert refused.count(". ") == refused.count("\n") == 0
        return
    check_predicts(belief, data)
    assert len(belief.voices()) >= 1


@members
def test_a_rater_with_a_hundred_thousand_answers(name):
    """One of six raters gave nearly all answers: the fit stays finite, and the others are heard."""
    if name not in ("pooled", "per_rater", "camps", "hierarchical", "trust"):
        pytest.skip("by weight in the meagre data: the same sums in a thousandth of the time")
    people = CampPeople(((2.0, 0.0, -1.0), (-2.0, 1.0, 0.0)), (0.5, 0.5)).draw(6, 0)
    items = Items(torch.randn(30, 3, generator=torch.Generator().manual_seed(0)).double())
    draw = torch.Generator().manual_seed(1)
    slate = torch.stack([torch.randint(30, (100_200,), generator=draw) for _ in range(2)], 1)
    slate[:, 1] = torch.where(slate[:, 1] == slate[:, 0], (slate[:, 0] + 1) % 30, slate[:, 1])
    rater = torch.zeros(100_200, dtype=torch.long)
    rater[100_000:] = torch.arange(200) % 5 + 1
    data = people.answer(items, slate, rater, 0)
    belief = model(name).fit(data, seed=0)
    share = check_predicts(belief, data)
    if name != "pooled":  # what is known of the others is more than what the one says
        other = data.rater > 0
        loss = -(share.clamp_min(1e-12).log() * data.label).sum(1)[other].mean()
        alone = model("pooled").fit(data, seed=0).predict(data)
        assert loss < -(alone.log() * data.label).sum(1)[other].mean() + 1e-6


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_features_that_are_no_numbers_are_refused(bad):
    features = torch.zeros(3, 2)
    features[1, 1] = bad
    with pytest.raises(
        ValueError, match=r"must be finite; 1 of 6 numbers are not, first row 1, column 1"
    ) as caught:
        Items(features)
    assert str(caught.value).endswith("Fill or drop them before you build the store.")
    with pytest.raises(
        ValueError, match=r"`embedding` must be finite; 1 of 6 numbers are not, first row 1 \(b\)"
    ):
        Texts(("x", "y", "z"), features, ("a", "b", "c"))
    with pytest.raises(
        ValueError, match=r"`factors` must be finite; 1 of 6 numbers are not, first row 1, column 1"
    ):
        Segments(features[:, None])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -0.5, 1.5])
def test_labels_that_are_no_shares_are_refused(bad, data):
    label = data.label.clone()
    label[3, 0] = bad
    with pytest.raises(
        ValueError, match=r"`label` shares must lie in \[0, 1\]; 1 of 168 rows do not, first row 3"
    ):
        data.with_labels(label)


@members
def test_a_diagnosis_is_finite_and_reads_well(name, data, fitted):
    found = diagnose(fitted(name), data, control=name == "camps")
    assert found.raters == 12
    assert 1 <= found.effective_camps <= 12
    assert 0 <= found.shrinkage <= 1
    assert all(math.isfinite(v) and v >= 0 for v in found.activity)
    assert math.isfinite(found.flip.value)
    assert math.isfinite(found.gain.value)
    if name == "pooled":
        assert found.flip.value == 0
    else:
        assert found.flip.value > 0.3  # two camps who want nearly opposite things are heard by everybody else
    for text in (found.verdict, *found.warnings, *found.gauges):
        assert "nan" not in text
    assert str(found).startswith(found.verdict)


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
