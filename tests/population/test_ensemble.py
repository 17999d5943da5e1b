"""What is not known of the population stays apart from how people differ, and shrinks with more people."""

import dataclasses

import pytest
import torch

from pluralign.data import Items
from pluralign.population.camps import Camps
from pluralign.population.ensemble import Ensemble, apart, disagreement, resampled
from pluralign.population.held_out import settled
from pluralign.population.low_rank import LowRank
from pluralign.population.pooled import Pooled
from pluralign.population.prototypes import Prototypes
from pluralign.population.routed import Routed
from pluralign.raters import CampPeople, questions


def asked(raters, per_rater=15, seed=0):
    people = CampPeople(((2.0, 0.0, -1.0), (-2.0, 1.0, 0.0)), (0.6, 0.4)).draw(raters, seed)
    items = Items(torch.randn(20, 3, generator=torch.Generator().manual_seed(1)).double())
    return people.answer(items, *questions(20, per_rater, raters, seed), seed)


def test_predictions_are_the_average_of_the_members():
    data = asked(20)
    belief = Ensemble(Camps(2, ridge=1.0, restarts=2), members=3).fit(data, seed=0)
    members = apart(belief)
    assert len(members) == 3
    average = torch.stack([m.predict(data) for m in members]).mean(0)
    torch.testing.assert_close(belief.predict(data), average)
    spread = torch.stack([m.predict(data)[:, 0] for m in members]).std(0, correction=0)
    torch.testing.assert_close(disagreement(belief, data), spread)
    assert belief.diagnostics["disagreement"] == pytest.approx(float(spread.mean()))


@pytest.mark.parametrize(
    "member",
    [
        LowRank(rank=1, method="ridge", temper=100.0, draws=8),
        Prototypes(2, ridge=1.0, concentration="cloud", draws=8, rounds=3),
    ],
)
def test_members_whose_draws_are_met_people_or_mixes_are_told_apart(member):
    data = asked(20)
    belief = Ensemble(member, members=2).fit(data, seed=0)
    average = torch.stack([m.predict(data) for m in apart(belief)]).mean(0)
    torch.testing.assert_close(belief.predict(data), average)


def test_a_raters_answers_do_not_choose_among_members():
    belief = Ensemble(Camps(2, ridge=1.0, restarts=2), members=3).fit(asked(20), seed=0)
    draws = belief.adapt(asked(5, seed=4))
    torch.testing.assert_close(
        draws.weight.reshape(3, 2, 5).sum(1), torch.full((3, 5), 1 / 3, dtype=draws.weight.dtype)
    )


def test_members_of_a_pooled_ensemble_differ_by_their_standard_error():
    """Four times the people, half the disagreement (a bootstrap of 16 knows a spread to 1 / sqrt(2 * 15) = 18 %)."""
    few, many = (Ensemble(Pooled(ridge=0.1), members=16).fit(asked(n), seed=0) for n in (25, 100))
    ratio = few.diagnostics["disagreement"] / many.diagnostics["disagreement"]
    assert 2 * (1 - 0.5) < ratio < 2 * (1 + 0.5)


def test_members_may_depend_on_context():
    data = asked(10)
    context = torch.rand(len(data), generator=torch.Generator().manual_seed(0)).double()
    data = dataclasses.replace(data, context=context)
    belief = Ensemble(Routed(heads=2, restarts=2, thresholds=3), members=2).fit(data, seed=0)
    average = torch.stack([m.predict(data) for m in apart(belief)]).mean(0)
    torch.testing.assert_close(belief.predict(data), average)


def test_who_is_drawn_twice_is_two_people():
    data = asked(6)
    again = resampled(data, torch.Generator().manual_seed(0))
    assert again.raters == 6
    assert again.counts.tolist() == [15] * 6
    for r in range(6):
        mine = again.slate[again.rater == r]
        assert any(torch.equal(mine, data.slate[data.rater == q]) for q in range(6))


def test_settings_are_chosen_once():
    data = asked(12)
    one = Camps(restarts=2).fit(data, seed=0)
    fixed = settled(Camps(restarts=2), one)
    assert (fixed.groups, fixed.ridge) == (one.diagnostics["groups"], one.diagnostics["ridge"])
    assert settled(Camps(groups=3), one).groups == 3


def test_only_an_ensemble_can_be_taken_apart():
    belief = Pooled(ridge=1.0).fit(asked(4), seed=0)
    with pytest.raises(TypeError, match="needs the belief of an Ensemble, got one of Pooled"):
        apart(belief)
