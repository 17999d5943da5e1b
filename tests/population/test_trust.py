"""Adversaries are found and not followed; where there are none, none are seen."""

import math

import pytest
import torch

from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.population.held_out import log_loss
from pluralign.population.pooled import Pooled
from pluralign.population.prior import Atoms
from pluralign.population.trust import Trust
from pluralign.raters import SimulatedRaters, questions
from pluralign.utility import Linear

TASTE = torch.tensor([1.5, -1.0, 0.5], dtype=torch.float64)


def crowd(trust, per_rater=30, seed=0):
    features = torch.randn(60, 3, generator=torch.Generator().manual_seed(seed)).double()
    slate, rater = questions(60, per_rater, len(trust), seed)
    blank = Comparisons(Items(features), slate, rater, torch.tensor([[1.0, 0.0]]).expand(len(slate), 2))
    worth = Linear().start(blank, width=None, generator=torch.Generator())
    return SimulatedRaters(worth, trust[:, None].double() * TASTE).answer(blank.options, slate, rater, seed)


@pytest.fixture(scope="module")
def mixed():
    return crowd(torch.tensor([-1.0] * 8 + [1.0] * 52 + [2.0] * 20))


def test_adversaries_are_listed_and_speak_in_no_voice(mixed):
    belief = Trust(ridge=1.0).fit(mixed, seed=0)
    found = belief.diagnostics["adversaries"]
    assert {int(r) for r in found} == set(range(8))
    assert all(0.5 < chance <= 1 for chance in found.values())
    voices = belief.voices()
    assert len(voices) == 1
    assert float(torch.cosine_similarity(voices.z[0], TASTE, dim=0)) > 0.97
    # Each is predicted as it answers: the adversaries against the voice.
    assert bool((belief.draws.mean[:8] @ voices.z[0] < 0).all())


def test_honest_raters_lose_nothing(mixed):
    kept, held = mixed.split(by="answer", share=0.7, seed=0)
    honest = slice(8, None)
    told = log_loss(Trust(ridge=1.0).fit(kept, seed=0), held)[honest]
    alone = kept.of_raters(list(range(8, 80)))
    best = log_loss(Pooled(ridge=1.0).fit(alone, seed=0), held.of_raters(list(range(8, 80))))
    gap = told - best
    assert float(gap.mean()) < 2 * float(gap.std()) / len(gap) ** 0.5
    # And the average taste of the crowd does lose: the test can tell.
    pooled = log_loss(Pooled(ridge=1.0).fit(kept, seed=0), held)[honest]
    gap = pooled - best
    assert float(gap.mean()) > 2 * float(gap.std()) / len(gap) ** 0.5


def test_a_homogeneous_crowd_has_no_adversaries():
    belief = Trust(ridge=1.0).fit(crowd(torch.ones(60)), seed=0)
    assert belief.diagnostics["adversaries"] == {}
    assert belief.diagnostics["trust"]["-1"] < 1e-3
    assert "warning" not in belief.diagnostics


def test_a_rater_turned_round_is_told_by_hand():
    """Shares .2 and .8 for trust -1 and 1, one answer for an option worth w more: odds (.2 / .8) s(-w) / s(w)."""
    worth = 1.3
    data = Comparisons.pairs(
        Items(torch.tensor([[1.0], [0.0]])), *(torch.tensor([k]) for k in (0, 1, 0)), torch.ones(1)
    )
    prior = Atoms(
        torch.tensor([[-worth], [worth]], dtype=torch.float64), torch.tensor([0.2, 0.8], dtype=torch.float64)
    )
    weight = prior.posterior(data, data.options.features.double(), Luce()).weight[:, 0]
    odds = 0.25 * math.exp(-worth)  # s(-w) / s(w) = exp(-w)
    assert float(weight[0]) == pytest.approx(odds / (1 + odds), abs=1e-12)


def test_a_crowd_of_two_minds_is_said_to_be_ambiguous_or_split():
    belief = Trust(ridge=1.0, presumed=0.0).fit(crowd(torch.tensor([-1.0] * 30 + [1.0] * 30)), seed=0)
    assert 0.35 < belief.diagnostics["trust"]["-1"] < 0.65


@pytest.mark.parametrize("levels", [(-1.0, 0.5), (1.0, 1.0)])
def test_levels_need_the_rater_by_whom_the_taste_is_measured(levels):
    with pytest.raises(ValueError, match="`levels` must be different numbers, 1 among them"):
        Trust(levels=levels)
