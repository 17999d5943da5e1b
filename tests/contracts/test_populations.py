"""What every population model promises, over every registered member: a new file in the folder is tested at once."""

import dataclasses

import pytest
import torch
from jaxtyping import TypeCheckError
from scipy.stats import chi2

from pluralign.choice import Davidson, Luce
from pluralign.data import Comparisons, Items, Segments, Texts
from pluralign.population import Atoms, Belief, Gaussian, PopulationModel, load
from pluralign.population.amortised import Amortised
from pluralign.population.camps import Camps
from pluralign.population.ensemble import Council
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.in_context import Reader
from pluralign.population.registry import MODELS, named
from pluralign.population.saving import same
from pluralign.raters import CampPeople, SimulatedRaters, questions
from pluralign.utility import MLP

# Fixed settings, so that a test of a promise does not also run a search; a member without an entry runs as it comes.
FIXED = {
    "pooled": {"ridge": 1.0},
    "per_rater": {"ridge": 1.0},
    "camps": {"groups": 2, "ridge": 1.0, "restarts": 3},
    "hierarchical": {"draws": 16, "rounds": 30, "rank": 2, "ridge": 3.0, "temper": 1.0},
    "trust": {"ridge": 1.0},
    "drifting": {"draws": 16, "rounds": 30, "temper": 1.0, "modes": 1},
    "routed": {"heads": 2, "restarts": 3},
    "ensemble": {"member": Hierarchical(draws=8, rounds=12, rank=2, temper=1.0), "members": 2},
    "distributional": {"members": 2, "restarts": 2},
    "variational": {"temper": 1.0, "steps": 20, "components": 0, "prior": "normal"},
    "in_context": {"temper": 1.0, "steps": 10, "simulated": 10, "components": 0},
}
ROUNDING = 1e-6  # another order of the same sums, in float64, through an optimum with curvature about one
members = pytest.mark.parametrize("name", list(MODELS))


def model(name, **more):
    kind = MODELS[name]
    fields = {f.name for f in dataclasses.fields(kind)}
    return kind(**{k: v for k, v in {**FIXED.get(name, {}), **more}.items() if k in fields})


def asked(raters=12, per_rater=14, options=10, places=2, seed=0, camps=((2.0, 0.0, -1.0), (-2.0, 1.0, 0.0))):
    """Answers of two camps about items with three features and names."""
    share = (0.6, 0.4) if len(camps) == 2 else (1.0,)
    people = CampPeople(camps, share).draw(raters, seed)
    features = torch.randn(options, len(camps[0]), generator=torch.Generator().manual_seed(seed))
    items = Items(features.double(), tuple(f"i{n}" for n in range(options)))
    return people.answer(items, *questions(options, per_rater, raters, seed, places=places), seed)


def ragged(data, seed=0):
    """The same answers where some slates of three lose their last option."""
    short = torch.rand(len(data), generator=torch.Generator().manual_seed(seed)) < 0.4
    short &= data.label[:, 2] == 0
    slate = data.slate.clone()
    slate[short, 2] = -1
    assert short.any()
    return dataclasses.replace(data, slate=slate)


def check_predicts(belief, data):
    share = belief.predict(data)
    assert share.shape == data.slate.shape
    assert bool(torch.isfinite(share).all())
    assert bool(((share >= 0) & (share <= 1 + 1e-12)).all())
    torch.testing.assert_close(share.sum(1), torch.ones(len(data)).to(share), atol=1e-9, rtol=0)
    assert bool((share[data.slate == -1] == 0).all())
    return share


def strangers(data, prefix="stranger"):
    return dataclasses.replace(data, rater_ids=tuple(f"{prefix} {r}" for r in range(data.raters)))


@pytest.fixture(scope="module")
def data():
    return asked()


@pytest.fixture(scope="module")
def fitted(data):
    """One belief per member, fitted once for all tests that only look."""
    beliefs = {}

    def get(name):
        if name not in beliefs:
            beliefs[name] = model(name).fit(data, seed=0)
        return beliefs[name]

    return get


# Shapes and names ---------------------------------------------------------------------------------------------------


@members
def test_a_member_is_settings_with_one_verb(name):
    settings = named(name)()
    assert isinstance(settings, PopulationModel)
    assert dataclasses.is_dataclass(settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.rule = Luce(2.0)


@members
def test_fit_gives_a_belief_that_predicts(name, data, fitted):
    belief = fitted(name)
    assert isinstance(belief, Belief)
    assert belief.rater_ids == data.rater_ids
    assert belief.draws.raters == data.raters
    assert belief.draws.z.shape[2] == belief.worth.width
    assert belief.settings == model(name)
    share = check_predicts(belief, data)
    # Better than a coin on what it was shown; two camps of 60 and 40 still share something.
    assert float((share * data.label).sum(1).log().mean()) > -torch.tensor(2.0).log()


@members
def test_predictions_are_the_average_of_the_shares_of_single_draws(name, data, fitted):
    belief = fitted(name)
    shares = belief.shares(data, belief.draws)
    expected = (shares * belief.draws.weight[:, data.rater, None]).sum(0)
    torch.testing.assert_close(belief.predict(data), expected)


@members
def test_utility_orders_options_as_predictions_do(name, data, fitted):
    belief = fitted(name)
    worth = belief.utility(data.options, belief.draws)
    assert worth.shape == (data.raters, len(data.options))
    if len(belief.draws.z) == 1:  # with more draws the average of probabilities may turn a close call
        gap = worth[data.rater, data.slate[:, 0]] - worth[data.rater, data.slate[:, 1]]
        torch.testing.assert_close(belief.predict(data)[:, 0], torch.sigmoid(gap))


# Raters never met ---------------------------------------------------------------------------------------------------


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
    elif isinstance(belief.prior, Council):
        width = [part.width for part in belief.prior.parts]
        for mean, part in zip(draws.mean[0].split(width), belief.prior.parts, strict=True):
            torch.testing.assert_close(mean * len(width), part.prior.mean, atol=1e-6, rtol=0)
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


# Symmetries ---------------------------------------------------------------------------------------------------------


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


# Seeds and files ----------------------------------------------------------------------------------------------------


@members
def test_equal_settings_data_and_seed_mean_equal_results(name, data, fitted):
    again = model(name).fit(data, seed=0)
    assert same(again, fitted(name))
    generator = torch.Generator().manual_seed(5)
    first = named(name)(**_quick(name)).fit(data, seed=generator)
    second = named(name)(**_quick(name)).fit(data, seed=torch.Generator().manual_seed(5))
    assert same(first, second)


def _quick(name):
    """Settings that search, where a member can."""
    quick = {
        "camps": {"restarts": 2},
        "hierarchical": {"draws": 8},
        "drifting": {"draws": 8},
        "routed": {"restarts": 2},
        "ensemble": {"member": Camps(restarts=2), "members": 2},
        "distributional": {"restarts": 1},
        "variational": {"steps": 10, "draws": 16},
        "in_context": {"simulated": 10, "steps": 10, "draws": 16},
    }
    return quick.get(name, {})


@members
def test_a_seed_is_an_int_or_a_generator(name, data):
    with pytest.raises((TypeError, TypeCheckError), match="torch"):
        model(name).fit(data, seed="x")


@members
def test_save_and_load_predict_the_same_numbers(name, data, fitted, tmp_path):
    belief = fitted(name)
    belief.save(tmp_path / "belief")
    again = load(tmp_path / "belief")
    assert same(again, belief)
    assert again.settings == belief.settings
    assert torch.equal(again.predict(data), belief.predict(data))
    new = strangers(data)
    assert torch.equal(again.adapt(new).z, belief.adapt(new).z)
    assert torch.equal(again.sample(5, seed=1), belief.sample(5, seed=1))
    with pytest.raises(FileExistsError, match="exists already"):
        belief.save(tmp_path / "belief")


# Voices and new people ----------------------------------------------------------------------------------------------


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


# Answers of every kind ----------------------------------------------------------------------------------------------


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
    settings = named(name)(**_quick(name))
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


# Bad and meagre data ------------------------------------------------------------------------------------------------


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
    for settings in (model(name, groups=1), named(name)(**_quick(name))):
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


# Every kind of option -----------------------------------------------------------------------------------------------


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
