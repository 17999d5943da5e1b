"""What answers cannot tell is detected where it is planted, and nowhere else."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from pluralign.data import Comparisons, Items, Segments, describe
from pluralign.data.identifiability import kinds, limits, panel, separable
from pluralign.population import Atoms
from pluralign.population.camps import Camps
from pluralign.population.draws import Draws
from pluralign.raters import CampPeople, SimulatedRaters, questions
from pluralign.raters.factors import Factors


def types(raters=400, per_rater=1, places=3, seed=0):
    """Two types, equally many, who want opposite things of 12 items."""
    taste = 1.5 * torch.randn(12, generator=torch.Generator().manual_seed(seed)).double()
    both = torch.stack([taste, -taste])[torch.arange(raters) % 2]
    asked = questions(12, per_rater, raters, seed, places=places)
    return SimulatedRaters(Factors(), both).answer(Items(torch.eye(12)), *asked, seed)


def test_types_show_in_triples_and_not_in_single_pairs():
    assert "types" not in limits(types(places=3))
    assert limits(types(places=2))["types"].startswith(
        "one answer to a pair from each rater cannot tell kinds"
    )
    assert limits(types(places=2, per_rater=2))["types"].startswith(
        "two answers to pairs from each rater show"
    )
    assert "types" not in limits(types(places=2, per_rater=3))
    assert limits(types(places=2))["types"] in describe(types(places=2)).warnings


def test_what_the_warning_says_is_true():
    """Tastes w and -w in equal shares predict every pair as indifference does, and no triple."""
    data = types(places=3)
    worth = Camps(groups=1, ridge=1.0).fit(data, seed=0).worth
    w = torch.randn(1, worth.width, generator=torch.Generator().manual_seed(1)).double()
    prior = Atoms(torch.cat([w, -w]), torch.tensor([0.5, 0.5]).double())
    share = Draws.atoms(prior.z, prior.share[:, None].expand(2, data.raters))
    belief = Camps(groups=1, ridge=1.0).fit(data, seed=0)
    belief = dataclasses.replace(belief, prior=prior, draws=share)
    pairs = types(places=2)
    torch.testing.assert_close(belief.predict(pairs), torch.full((400, 2), 0.5).double())
    assert float((belief.predict(data) - 1 / 3).abs().max()) > 0.05


def test_answers_with_more_than_two_outcomes_and_a_few_long_panels():
    pairs = types(places=2)
    ties = pairs.with_labels(torch.where(torch.arange(400)[:, None] % 20 == 0, 0.5, pairs.label))
    assert panel(ties) is None  # how often people tie tells strong tastes from weak ones
    assert panel(pairs) == 1
    assert panel(types(places=2, per_rater=7)) == 7
    longer = types(raters=10, places=2, per_rater=9, seed=1)
    mixed = dataclasses.replace(
        pairs,
        slate=torch.cat([pairs.slate, longer.slate]),
        rater=torch.cat([pairs.rater, longer.rater + 400]),
        label=torch.cat([pairs.label, longer.label]),
        rater_ids=None,
    )
    assert panel(mixed) == 1
    assert [kinds(n) for n in (0, 1, 2, 3, 4, 5, 7)] == [1, 1, 1, 2, 2, 4, 8]


def named(slate, first=1.0, options=6):
    slate = torch.tensor(slate)
    share = torch.full((len(slate),), first) if isinstance(first, float) else torch.tensor(first)
    rater = torch.zeros(len(slate), dtype=torch.long)
    return Comparisons.pairs(Items(torch.zeros(options, 0)), *slate.T, rater, share)


def test_names_without_features_need_a_graph_that_hangs_together():
    apart = limits(named([[0, 1], [1, 2], [2, 0], [3, 4]]))
    assert "falls into 2 parts, the largest with 3 options" in apart["parts"]
    assert "winners" not in apart
    chain = limits(named([[0, 1], [1, 2], [2, 0], [2, 3]]))
    assert chain["winners"].startswith(
        "1 options only win or only lose against the 3 that are linked both ways"
    )
    tied = limits(named([[0, 1], [1, 2], [2, 0], [2, 3]], [1.0, 1.0, 1.0, 0.5]))
    assert not tied.keys() & {"parts", "winners"}
    with_features = dataclasses.replace(
        named([[0, 1], [3, 4]]), options=Items(torch.eye(6)[:, :2] + torch.eye(6)[:, 2:4])
    )
    assert "parts" not in limits(with_features)


def test_directions_in_which_nothing_was_compared():
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(20, 3, generator=draw)
    features[10:, 2], features[:10, 2] = 1.0, 0.0  # differs between the halves, and no slate crosses them
    slate = torch.stack([torch.arange(20), (torch.arange(20) + 1) % 10 + 10 * (torch.arange(20) >= 10)], 1)
    share = (torch.rand(20, generator=draw) < 0.5).float()
    data = Comparisons.pairs(Items(features), *slate.T, torch.arange(20) % 4, share)
    assert limits(data)["directions"].startswith("options differ in 3 directions, those shown together in 2")
    crossed = dataclasses.replace(data, slate=torch.stack([slate[:, 0], (slate[:, 0] + 11) % 20], 1))
    assert not limits(crossed).keys() & {"directions", "collinear"}
    double = torch.cat([features, features[:, :1] - 2 * features[:, 1:2]], 1)
    copied = dataclasses.replace(crossed, options=Items(double))
    assert limits(copied)["collinear"].startswith("1 of 4 features follow from the others")
    steps = dataclasses.replace(crossed, options=Segments(features[:, None]))
    assert limits(steps).keys() == limits(crossed).keys()


def crowd(raters, per_rater, strength, seed=0, places=2):
    people = CampPeople(((strength, 0.0, -strength),), (1.0,)).draw(raters, seed)
    items = Items(torch.randn(15, 3, generator=torch.Generator().manual_seed(seed)))
    return people.answer(items, *questions(15, per_rater, raters, seed, places=places), seed)


@pytest.mark.parametrize("places", [2, 3])
def test_separable_raters_are_those_that_a_linear_programme_finds(places):
    data = crowd(60, 9, 1.0, places=places)
    features = data.options.features.double().numpy()
    found = 0
    for rater in range(60):
        mine = data.of_raters([rater])
        best = mine.label.argmax(1)
        gap = np.concatenate(
            [features[s[b]] - np.delete(features[s], b, 0) for s, b in zip(mine.slate.numpy(), best.numpy())]
        )
        # Is there w with gap w >= 1? Feasible exactly where the answers are separable.
        found += linprog(np.zeros(3), A_ub=-gap, b_ub=-np.ones(len(gap)), bounds=(None, None)).status == 0
    assert separable(data) == (found, 60)
    assert 0 < found < 60


def test_separable_raters_are_said():
    sure = describe(crowd(20, 12, 400.0))
    assert sure.separable == 20
    assert sure.limits["separable"].startswith(
        "20 of 20 raters are separable: a linear taste of their own explains"
    )
    noisy = describe(crowd(20, 40, 0.5))
    assert noisy.separable == 0
    assert "separable" not in noisy.limits
    assert "separable raters     0" in str(noisy)
    tied = crowd(20, 12, 400.0)
    tied = tied.with_labels(torch.where(torch.arange(len(tied))[:, None] % 12 == 0, 0.5, tied.label))
    assert separable(tied) == (0, 0)  # ties bound the scale
    none = dataclasses.replace(tied, slate=tied.slate[:, :1].expand(-1, 2).contiguous())
    assert (
        describe(none)
        .limits["directions"]
        .startswith("options differ in 3 directions, those shown together in 0")
    )


def test_one_rater():
    assert (
        limits(crowd(1, 30, 1.0))["raters"] == "one rater only: differences between raters cannot be learned."
    )
