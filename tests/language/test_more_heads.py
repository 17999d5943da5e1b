"""Sources that disagree, paraphrases, contexts, ensembles, normal worths: against what one can check and what was planted."""

import math

import pytest
import torch

from pluralign.language.heads import (
    centred,
    combined,
    fit_mean_variance,
    fit_sources,
    fused,
    inconsistency,
    outermost,
)
from pluralign.language.heads.contexts import mixture, posterior, reversed_share, told
from pluralign.language.heads.ensembles import spread


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def answers(x, taste, pair, seed):
    chance = torch.sigmoid((x[pair[:, 0]] - x[pair[:, 1]]) @ taste)
    return (torch.rand(len(pair), generator=torch.Generator().manual_seed(seed)) < chance).double()


# Several sources (MORE) -----------------------------------------------------------------------------------------------


def test_a_small_source_is_not_given_up_for_a_large_one():
    x = draw(200, 4)
    tastes = (torch.tensor([2.0, 1.0, 0, 0]).double(), torch.tensor([-2.0, 1.0, 0, 0]).double())
    pair = torch.randint(200, (2200, 2), generator=torch.Generator().manual_seed(1))
    source = (torch.arange(2200) >= 2000).long()
    first = torch.where(source == 0, answers(x, tastes[0], pair, 2), answers(x, tastes[1], pair, 3))
    even, plain = (fit_sources(x, pair, first, source, pooled=p) for p in (False, True))
    assert (
        plain.loss[1] > math.log(2) > even.loss.max()
    )  # the plain method is worse than a coin for the small source
    assert even.weight[1] > 0.3
    torch.testing.assert_close(even.share.sum(), torch.ones(()).double())
    gap = (x[pair[:, 0]] - x[pair[:, 1]]) @ even.weight
    slope = (torch.sigmoid(gap) - first)[:, None] * (x[pair[:, 0]] - x[pair[:, 1]])
    means = torch.stack([slope[source == k].mean(0) for k in (0, 1)]) + even.weight / 2200
    # The end is on the frontier: what would help one source hurts the other.
    assert (even.share @ means).norm() < 0.05 * means.norm(dim=1).min()
    with pytest.raises(ValueError, match="source 1 has no answer"):
        fit_sources(x, pair, first, source * 2)


def test_one_source_is_bradley_terry():
    x, pair = draw(60, 3), torch.randint(60, (500, 2), generator=torch.Generator().manual_seed(1))
    first = answers(x, torch.tensor([1.0, -1.0, 0.5]).double(), pair, 2)
    found = fit_sources(x, pair, first, torch.zeros(500, dtype=torch.long), updates=2000)
    gap = x[pair[:, 0]] - x[pair[:, 1]]
    slope = ((torch.sigmoid(gap @ found.weight) - first)[:, None] * gap).sum(0) + found.weight
    assert slope.abs().max() < 1e-3 * 500 / 4


# Paraphrases (ConvexDA, RewardFusion) ---------------------------------------------------------------------------------


def test_corners_of_a_hull():
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5], [0.2, 0.7], [0.5, 0.0]])
    assert outermost(square).tolist() == [True] * 4 + [False] * 3
    assert outermost(torch.cat([square[4:5], square[:4]])).tolist() == [False] + [True] * 4
    assert outermost(draw(6, 20)).all()  # in many dimensions everybody is a corner


def test_scores_are_fused_with_near_texts_alone():
    known = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    states = torch.tensor([[2.0, 0.02], [1.0, 1.0]]).double()
    reward = torch.tensor([1.0, 5.0]).double()
    out = fused(reward, states, known, torch.tensor([3.0, -9.0]).double(), share=0.25)
    assert out.tolist() == pytest.approx([1.5, 5.0])
    with pytest.raises(ValueError, match="`share` must be in"):
        fused(reward, states, known, reward, share=2.0)


def test_fusing_makes_paraphrases_score_alike():
    base = draw(40, 16)
    group = torch.arange(40).repeat_interleave(4)
    states = base[group] + 0.1 * draw(160, 16, seed=1)
    taste = draw(16, seed=2)
    noisy = states @ taste + 1.5 * draw(160, seed=3)
    after = fused(noisy, states, base, base @ taste, share=0.8)
    assert inconsistency(after, group) < 0.3 * inconsistency(noisy, group)
    assert inconsistency(base[group] @ taste, group) == pytest.approx(0, abs=1e-12)


# Contexts -------------------------------------------------------------------------------------------------------------


def test_a_comparison_without_a_context_is_a_mixture():
    score = torch.tensor([[[2.0, 0.0]], [[0.0, 3.0]]])
    chance = torch.tensor([0.75, 0.25])
    right = 0.75 / (1 + math.exp(-2)) + 0.25 / (1 + math.exp(3))
    assert float(mixture(score, chance)) == pytest.approx(right, abs=1e-6)
    found = posterior(score, torch.tensor([1.0]), chance)
    assert float(found[0]) == pytest.approx(0.75 / (1 + math.exp(-2)) / right, abs=1e-6)
    assert reversed_share(score).tolist() == [0.5]
    assert told(["why?", "how?"], ["a child asks", ""]) == ["[a child asks]\n\nwhy?", "how?"]
    with pytest.raises(ValueError, match="each of 1 prompts needs a context"):
        told(["a"], [])


# Ensembles ------------------------------------------------------------------------------------------------------------


def test_members_are_compared_within_a_prompt():
    prompt = torch.tensor([0, 0, 1, 1])
    reward = torch.tensor([[0.0, 2, 100, 104], [7, 7, -3, -5], [1, 3, 0, 2]]).double()
    torch.testing.assert_close(
        centred(reward, prompt),
        torch.tensor([[-1.0, 1, -2, 2], [0, 0, 1, -1], [-1, 1, -1, 1]]).double(),
    )
    assert combined(reward, prompt, "worst").tolist() == [-1, 0, -2, -1]
    assert combined(reward, prompt, "median").tolist() == [-1, 1, -1, 1]
    mean = combined(reward, prompt)
    torch.testing.assert_close(combined(reward, prompt, "careful", doubt=0.0), mean)
    assert (combined(reward, prompt, "careful") < mean).all()
    with pytest.raises(ValueError, match="two members or more"):
        combined(reward[:1], prompt)
    with pytest.raises(ValueError, match="`how` must be"):
        combined(reward, prompt, "loudest")


def test_a_careful_choice_is_not_fooled_by_one_member():
    """Best of 32 by the mean falls for errors of single members, the worst member's score less so."""
    truth = draw(200 * 32)
    reward = truth + 0.3 * draw(4, 200 * 32, seed=1)
    wild = torch.rand(4, 200 * 32, generator=torch.Generator().manual_seed(2)) < 0.02
    reward = reward + 12.0 * wild
    prompt = torch.arange(200).repeat_interleave(32)
    best = lambda how: truth.reshape(200, 32).gather(
        1, combined(reward, prompt, how).reshape(200, 32).argmax(1)[:, None]
    )
    gap = best("worst") - best("mean")
    assert gap.mean() > 4 * gap.std() / 200**0.5


def test_heads_of_one_backbone_err_alike():
    prompt = torch.arange(300) // 3
    shared = draw(2, 300, seed=4)
    reward = draw(300) + shared[[0, 0, 1, 1]] + 0.2 * draw(4, 300, seed=5)
    between, inside = spread(reward, prompt, [0, 0, 1, 1])
    # Centring over three answers takes a third of the variance off: 2/3 (1 + .04 / 2) and 2/3 .04.
    assert between == pytest.approx(2 / 3 * 1.02, rel=4 * (2 / 200) ** 0.5)
    assert inside == pytest.approx(2 / 3 * 0.04, rel=4 * (1 / 200) ** 0.5)


# Normal worths (DPL) --------------------------------------------------------------------------------------------------


def test_what_contexts_disagree_on_gets_a_large_variance():
    """Text 0 is best in one context and worst in the other; 1, 2, 3 are ordered alike in both."""
    noise = torch.Generator().manual_seed(1)
    pair = torch.randint(4, (6000, 2), generator=noise)
    pair = pair[pair[:, 0] != pair[:, 1]]
    context = torch.rand(len(pair), generator=noise) < 0.5
    worth = torch.where(
        context[:, None], torch.tensor([3.0, 1.0, 0.0, -1.0]), torch.tensor([-3.0, 1.0, 0.0, -1.0])
    )
    first = (worth.gather(1, pair[:, :1]) > worth.gather(1, pair[:, 1:]))[:, 0].double()
    head = fit_mean_variance(torch.eye(4), pair, first, updates=300)
    mean, variance = head.moments(torch.eye(4))
    assert variance[0] > 4 * variance[1:].max()
    assert mean[1] > mean[2] > mean[3]
    lower = head.lower(torch.eye(4), 0.05)
    assert int(mean.argmax()) == 1 == int(lower.argmax())
    assert int(lower.argmin()) == 0
