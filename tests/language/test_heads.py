"""Heads against values that anyone can check, and against what was planted."""

import math

import pytest
import torch

import pluralign
from pluralign.data import Comparisons, Items
from pluralign.language.heads import (
    AttributeHeads,
    cleaned,
    decorrelated,
    directions,
    fit_attributes,
    fit_categorical,
    fit_gate,
    mean_variance_chance,
    picked,
    strength,
    toward,
)  # fmt: skip
from pluralign.language.heads.attributes import mixed
from pluralign.language.heads.categorical import Categorical, categorical_chance
from pluralign.language.heads.direction import asked
from pluralign.language.heads.strength import margin_loss


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Attributes and gate (ArmoRM) -----------------------------------------------------------------------------------------


def test_attribute_heads_are_ridge_regressions_of_what_was_rated():
    x, noise = draw(60, 4), draw(60, 2, seed=1)
    y = x @ draw(4, 2, seed=2) + 3 + 0.1 * noise
    y[:20, 1] = torch.nan
    heads = fit_attributes(x.float(), y.float(), ridge=2.0)
    for k, rows in ((0, slice(0, 60)), (1, slice(20, 60))):
        a, b = x[rows] - x[rows].mean(0), y[rows, k] - y[rows, k].mean()
        right = torch.linalg.solve(a.T @ a + 2 * torch.eye(4).double(), a.T @ b)
        torch.testing.assert_close(heads.weight[:, k], right, atol=1e-5, rtol=1e-5)
        assert float((heads(x[rows])[:, k] - y[rows, k]).mean().abs()) < 1e-5
    with pytest.raises(ValueError, match="attribute 1 has no rating"):
        fit_attributes(x, torch.stack([y[:, 0], torch.full((60,), torch.nan).double()], 1))


def test_verbosity_is_taken_off_until_ranks_do_not_rise_with_it():
    from scipy.stats import spearmanr

    x = draw(200, 3)
    weight = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.8, 1.0]]).double().T
    heads = AttributeHeads(weight, torch.zeros(3).double(), torch.zeros(3).double())
    before = heads(x)
    assert spearmanr(before[:, 2], before[:, 1]).statistic > 0.4
    after = decorrelated(heads, x, against=1, most=0.05)(x)
    assert -0.02 < spearmanr(after[:, 2], after[:, 1]).statistic <= 0.05
    torch.testing.assert_close(after[:, 1], before[:, 1])


def test_a_gate_learns_which_attribute_a_prompt_asks_for():
    kind = torch.arange(400) % 2
    prompt = torch.stack([1.0 - 2 * kind, draw(400) * 0 + 1], 1).double()
    gap = draw(400, 2, seed=4)
    won = torch.sign(gap.gather(1, kind[:, None]))
    gate = fit_gate(prompt[:300], (gap * won)[:300], scale=3.0, seed=0)
    margin = (gate(prompt[300:]) * (gap * won)[300:]).sum(1)
    single = (gap * won)[300:].mean(1)
    assert (margin > 0).double().mean() > 0.95
    assert (single > 0).double().mean() < 0.85  # equal weights, the control
    heads = AttributeHeads(torch.eye(2).double(), torch.zeros(2).double(), torch.zeros(2).double())
    score = mixed(heads, gate, gap[:2], torch.tensor([0, 1]), prompt[:2])
    torch.testing.assert_close(score, (gate(prompt[:2]) * gap[:2]).sum(1))


# Hidden context (DPL) -------------------------------------------------------------------------------------------------


def test_chances_of_hidden_worths():
    one, other = torch.tensor([0.5, 0.0, 0.5]).double(), torch.tensor([0.0, 1.0, 0.0]).double()
    assert float(categorical_chance(one, other)) == 0.5
    assert float(
        categorical_chance(torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.1, 0.6, 0.3]))
    ) == pytest.approx(0.2 * 0.05 + 0.3 * (0.1 + 0.3) + 0.5 * (0.7 + 0.15))
    chance = mean_variance_chance(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))
    assert float(chance) == pytest.approx(0.8413447, abs=1e-6)


def test_levels_their_moments_and_the_cautious_choice():
    head = Categorical(torch.zeros(1, 3).double(), torch.tensor([0.1, 0.3, 0.6]).double().log())
    mean, variance = head.moments(torch.zeros(1).double())
    assert float(mean) == pytest.approx(0.75)
    assert float(variance) == pytest.approx(0.1 * 0 + 0.3 * 0.25 + 0.6 - 0.75**2)
    assert [float(head.lower(torch.zeros(1).double(), s)) for s in (0.05, 0.2, 0.5)] == [0.0, 0.5, 1.0]
    assert head.explained(torch.zeros(4, 1).double()) == 0.0


def test_an_option_that_contexts_disagree_on_gets_a_wide_distribution():
    """Item 0 is best in one context and worst in the other, item 1 is middling in both: the example of the paper."""
    noise = torch.Generator().manual_seed(1)
    pair = torch.randint(3, (6000, 2), generator=noise)
    pair = pair[pair[:, 0] != pair[:, 1]]
    context = torch.rand(len(pair), generator=noise) < 0.5
    worth = torch.where(context[:, None], torch.tensor([2.0, 1.0, 0.0]), torch.tensor([-1.0, 1.0, 0.0]))
    first = (worth.gather(1, pair[:, :1]) > worth.gather(1, pair[:, 1:]))[:, 0].float()
    head = fit_categorical(torch.eye(3), pair, first, decay=0.0, updates=300)
    _, variance = head.moments(torch.eye(3))
    assert variance[0] > 4 * variance[1:].max()
    said = head(torch.eye(3))
    assert float(categorical_chance(said[0], said[1])) == pytest.approx(0.5, abs=0.05)
    assert float(categorical_chance(said[1], said[2])) > 0.95


# Directions (DPA) -----------------------------------------------------------------------------------------------------


def test_directions_pick_along_themselves():
    scores = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.8, 0.8]]])
    way = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [1.0, -1.0]])
    assert picked(scores, way)[:, 0].tolist() == [0, 1, 2, 0]
    torch.testing.assert_close(
        toward(scores[0], torch.tensor([3.0, 4.0])), torch.tensor([0.6, 0.8, 1.12]).double()
    )
    found = directions(3)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3).double())
    assert found[0, 1] == pytest.approx(-math.sin(math.pi / 4))
    angle = torch.atan2(*directions(500, 0.1, 0.3, seed=0).T.flip(0))
    assert 0.1 <= angle.min() < 0.11 < 0.29 < angle.max() <= 0.3
    assert asked(torch.tensor([3.0, 4.0]), ("help", "length")) == "Weigh: help 60, length 80."
    with pytest.raises(ValueError, match="must not be all zeros"):
        toward(scores, torch.zeros(2))
    with pytest.raises(ValueError, match="angles must rise"):
        directions(2, 1.0, 0.0)


# Preference strength (Secrets II) -------------------------------------------------------------------------------------


def test_strength_finds_flipped_answers_and_cleaning_helps():
    x, taste = draw(120, 5), draw(5, seed=1) * 2
    noise = torch.Generator().manual_seed(2)
    first, second = torch.randint(120, (2, 900), generator=noise)
    first, second = first[first != second], second[first != second]
    truth = ((x[first] - x[second]) @ taste > 0).float()
    flip = torch.rand(len(first), generator=noise) < 0.15
    share = torch.where(flip, 1 - truth, truth)
    data = Comparisons.pairs(
        Items(x.float()), first, second, torch.zeros(len(first), dtype=torch.long), share
    )
    told = strength(data, members=3, seed=0)
    assert told.mean[flip].median() < -1 < 1 < told.mean[~flip].median()
    clean = cleaned(data, told, turn=0.12, soft=0.1)
    right = lambda d: float(((d.label[:, 0] > 0.5) == (truth > 0.5)).double().mean())
    assert right(clean) > right(data) + 0.08
    assert float(margin_loss(torch.zeros(len(first)).double(), told)[0]) == pytest.approx(
        math.log1p(math.exp(float(told.mean[0])))
    )
    again = strength(data, pluralign.Pooled(ridge=1.0), members=3, seed=0)
    torch.testing.assert_close(again.mean, told.mean)
    with pytest.raises(ValueError, match="sum to 1 at most"):
        cleaned(data, told, turn=0.7, soft=0.5)
