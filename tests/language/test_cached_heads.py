"""Heads by gradients over cached states: gradients against autograd, quality against the exact fit."""

import dataclasses

import pytest
import torch

import pluralign
from pluralign.data import Comparisons, Items
from pluralign.language.cached import Cached, Pairs, gradient, nats


def planted(raters=60, each=60, texts=300, width=12, seed=0):
    noise = torch.Generator().manual_seed(seed)
    x = torch.randn(texts, width, generator=noise)
    taste = 1.5 * torch.randn(raters, 2, generator=noise)
    rater = torch.arange(raters).repeat_interleave(each)
    slate = torch.randint(texts, (raters * each, 2), generator=noise)
    worth = x[:, :2] @ taste.T + x[:, 2:3]
    gap = worth[slate[:, 0], rater] - worth[slate[:, 1], rater]
    first = (torch.rand(len(gap), generator=noise) < torch.sigmoid(gap)).float()
    order = torch.randperm(len(gap), generator=noise)
    return Comparisons.pairs(
        Items(x, tuple(map(str, range(texts)))), *slate[order].T, rater[order], first[order]
    )


@pytest.mark.parametrize("each", [9, 90])  # 90: more places than raters times texts
def test_gradients_are_those_of_autograd(each):
    data = planted(raters=7, each=each, texts=20)
    noise = torch.Generator().manual_seed(1)
    v = torch.randn(4, 12, generator=noise).requires_grad_()
    z = torch.randn(7, 4, generator=noise).requires_grad_()
    worth = torch.einsum("nd,qd,rq->rn", data.options.features, v, z)
    gap = worth[data.rater, data.slate[:, 0]] - worth[data.rater, data.slate[:, 1]]
    right = torch.nn.functional.binary_cross_entropy_with_logits(gap, data.label[:, 0])
    right.backward()
    pairs = Pairs.of(data)
    for _ in range(2):  # what the first left behind changes nothing
        found, one, two = gradient(data.options.features, pairs, v.detach(), z.detach())
    torch.testing.assert_close(nats(found, pairs.share), right.detach())
    torch.testing.assert_close(one, v.grad)
    torch.testing.assert_close(two, z.grad)
    half = gradient(data.options.features.bfloat16(), Pairs.of(data), v.detach(), z.detach())[1]
    assert (half - one).norm() < 0.02 * one.norm()
    with pytest.raises(ValueError, match="trained on pairs, got slates of 3"):
        Pairs.of(dataclasses.replace(data, slate=torch.cat([data.slate, data.slate[:, :1]], 1),
                                     label=torch.nn.functional.pad(data.label, (0, 1))))  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_of_many_texts_are_gathered_by_threads(threads):
    """Each thread takes rows of its own, and what is left over is added."""
    data = planted(raters=30, each=20, texts=2503)
    noise = torch.Generator().manual_seed(1)
    v, z = torch.randn(4, 12, generator=noise), torch.randn(30, 4, generator=noise)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        gap, one, _ = gradient(data.options.features, pairs := Pairs.of(data), v, z)
    finally:
        torch.set_num_threads(before)
    slope, order = torch.sigmoid(gap) - pairs.share, data.rater.argsort(stable=True)
    features = data.options.features[data.slate[order, 0]] - data.options.features[data.slate[order, 1]]
    right = (slope[:, None] * z[data.rater[order]]).T @ features / len(gap)
    torch.testing.assert_close(one, right)


def test_it_predicts_as_the_exact_fit_does(tmp_path):
    train, test = planted().split(by="answer", share=0.8, seed=0)
    loss = lambda belief: -(test.label * belief.predict(test).clamp_min(1e-9).log()).sum(1)
    found = Cached(rank=2, device="cpu").fit(train)
    exact, pooled = pluralign.LowRank(rank=2, ridge=1.0, temper=1.0).fit(train), pluralign.Pooled().fit(train)
    assert (loss(found) - loss(exact)).mean() < 0.02
    gap = loss(pooled) - loss(found)
    assert gap.mean() > 4 * gap.std() / len(gap) ** 0.5
    again = Cached(rank=2, device="cpu", number="bfloat16").fit(train)
    assert (loss(again) - loss(found)).mean().abs() < 0.01
    found.save(tmp_path / "belief")
    assert torch.equal(pluralign.load(tmp_path / "belief").predict(test), found.predict(test))
    with pytest.raises(ValueError, match="`number` must be"):
        Cached(number="float8")


def test_rank_zero_is_one_taste_for_all():
    data = planted(raters=20)
    share = Cached(rank=0, device="cpu", updates=400, ridge=1.0).fit(data).predict(data)
    right = pluralign.Pooled(ridge=1.0).fit(data).predict(data)
    # What is left of differences along the common direction is another model's answer, not noise.
    assert (share - right).abs().mean() < 0.05
