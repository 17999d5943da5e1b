"""Low rank: the start against a direct solution, planted directions found again, the wrong rank told."""

import pytest
import torch

from pluralign import LowRank, Pooled, recipes
from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.metrics.diagnostics import settled
from pluralign.population.low_rank import outermost
from pluralign.population.rows import Rows, likelihood
from pluralign.population.spectral import ridge_tastes


def planted(rng, raters=120, per_rater=40, width=80, rank=2, size=3.0, judged=20):
    """Tastes along two of eighty directions around a common one; answers to fit on and answers to judge by."""
    frame = torch.linalg.qr(torch.randn(width, rank + 1, generator=rng).double())[0]
    weight = torch.randn(raters, rank, generator=rng).double() * size
    taste = frame[:, 0] + weight @ frame[:, 1:].T
    items = torch.randn(600, width, generator=rng).double()
    many = per_rater + judged
    slate = torch.randint(600, (raters * many, 2), generator=rng)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % 600, slate[:, 1])
    rater = torch.arange(raters).repeat_interleave(many)
    worth = (items[slate] * taste[rater, None]).sum(-1)
    data = Comparisons(Items(items), slate, rater, Luce().sample(worth, generator=rng).double())
    told = torch.arange(len(data)) % many < per_rater
    return data.take(told), data.take(~told), frame[:, 1:]


def loss(belief, data):
    return float(-(data.label * belief.predict(data).clamp_min(1e-12).log()).sum(1).mean())


@pytest.mark.parametrize("count", [3, 40])
@pytest.mark.parametrize("places", [2, 3])
def test_ridge_estimates_solve_the_ridge_equations(count, places, rng):
    """Few answers go by their Gram matrix, many by that of the features; both are one Newton step."""
    items = torch.randn(50, 6, generator=rng).double()
    slate = torch.rand(4 * count, 50, generator=rng).argsort(1)[:, :places]
    label = torch.nn.functional.one_hot(torch.randint(places, (4 * count,), generator=rng), places).double()
    data = Comparisons(Items(items), slate, torch.arange(4).repeat_interleave(count), label)
    found = ridge_tastes(data, items, Luce(), torch.zeros(6).double(), ridge=2.0)
    rows = Rows.of(data, items, Luce())
    _, slope, bend = likelihood(Luce(), rows.eta(torch.zeros(6).double()), rows.label)
    for r in range(4):
        mine = rows.rater == r
        x = rows.x[mine]
        curvature = torch.einsum("mjz,mjk,mkw->zw", x, bend[mine], x) + 2 * torch.eye(6)
        step = torch.linalg.solve(curvature, torch.einsum("mjz,mj->z", x, slope[mine]))
        torch.testing.assert_close(found[r], step, atol=1e-7, rtol=0)


def test_planted_directions_are_found(rng):
    data, judged, frame = planted(rng)
    belief = LowRank(rank=2, ridge=1.0, temper=1.0).fit(data, seed=0)
    matrix = torch.linalg.qr(belief.worth.matrix / belief.worth.scale[:, None].reciprocal().clamp_min(1e-12))[
        0
    ]
    cosine = torch.linalg.svdvals(frame.T @ matrix)
    # 2 x 80 numbers are fitted to 4,800 answers; two random planes in 80 dimensions have cosines near .2.
    assert float(cosine.min()) > 0.85
    assert loss(belief, judged) < loss(Pooled(ridge=10.0).fit(data, seed=0), judged) - 0.1


def test_the_rank_is_chosen_by_held_out_answers(rng):
    data, judged, _ = planted(rng)
    belief = LowRank(ridge=1.0, temper=1.0).fit(data, seed=0)
    assert belief.diagnostics["rank"] in (2, 4)
    none = LowRank(rank=0, ridge=1.0, temper=1.0).fit(data, seed=0)
    assert loss(belief, judged) < loss(none, judged) - 0.1
    # Where raters agree, no direction is the choice.
    alike, _, _ = planted(rng, size=0.0)
    assert LowRank(ridge=1.0, temper=1.0).fit(alike, seed=0).diagnostics["rank"] == 0


def extremes(rng, raters=60, per_rater=25, width=80, rank=3):
    """People who never err and are shown the best and the worst of eight; the last third is not met in training."""
    reward = torch.randn(width, rank, generator=rng).double() / width**0.5
    weight = torch._standard_gamma(torch.full((raters, rank), 0.2).double(), generator=rng) + 1e-9
    weight = weight / weight.sum(1, keepdim=True)
    seen = torch.randn(raters * per_rater, 8, width, generator=rng).double()
    rater = torch.arange(raters).repeat_interleave(per_rater)
    worth = torch.einsum("mkd,md->mk", seen, (weight @ reward.T)[rater])
    row = torch.arange(len(rater))
    items = torch.stack([seen[row, worth.argmax(1)], seen[row, worth.argmin(1)]], 1)
    first = torch.rand(len(row), generator=rng) < 0.5
    items = torch.where(first[:, None, None], items, items.flip(1)).reshape(-1, width)
    data = Comparisons.pairs(Items(items), 2 * row, 2 * row + 1, rater, first.double())
    new = rater >= raters * 2 // 3
    early = row % per_rater < 6
    return data.take(~new), data.take(new & early), data.take(new & ~early)


def hits(belief, data, draws):
    right = belief.predict(data, draws).argmax(1) == data.label.argmax(1)
    return right.double()


def test_people_who_hardly_err_are_taken_at_their_word(rng):
    """The fitted covariance lags behind people without noise; the choice sees it, and newcomers gain too."""
    data, few, judged = extremes(rng)
    belief = LowRank().fit(data, seed=0)
    assert belief.diagnostics["method"] == "ridge"
    normal = LowRank(method="normal", rounds=0).fit(data, seed=0)
    gap = hits(belief, judged, belief.adapt(few)) - hits(normal, judged, normal.adapt(few))
    assert float(gap.mean()) > -2 * float(gap.std()) / len(gap) ** 0.5
    assert loss_of(belief, few, judged) < loss_of(normal, few, judged)
    noisy, _, _ = planted(rng, raters=60)
    assert LowRank(rank=2).fit(noisy, seed=0).diagnostics["method"] == "normal"


def loss_of(belief, few, judged):
    share = belief.predict(judged, belief.adapt(few)).clamp_min(1e-12)
    return float(-(judged.label * share.log()).sum(1).mean())


def test_what_was_chosen_is_what_is_fitted_again(rng):
    """Settings read off a belief include how often directions were refined."""
    data, _, _ = planted(rng, raters=40, per_rater=20)
    belief = LowRank(rank=2).fit(data, seed=0)
    again = settled(LowRank(rank=2), belief)
    assert (again.method, again.rounds) == (belief.diagnostics["method"], belief.diagnostics["rounds"])
    torch.testing.assert_close(again.fit(data, seed=0).draws.mean, belief.draws.mean, atol=1e-8, rtol=0)


def test_weights_on_the_simplex(rng):
    data, judged, _ = planted(rng, raters=60)
    belief = LowRank(rank=3, weights="simplex", ridge=1.0).fit(data, seed=0)
    assert belief.settings.weights == "simplex"
    assert belief.draws.z.min() >= 0
    torch.testing.assert_close(belief.draws.z.sum(-1), torch.ones(belief.draws.z.shape[:2]).double())
    assert loss(belief, judged) < loss(Pooled(ridge=10.0).fit(data, seed=0), judged) - 0.05


def test_the_outermost_are_the_corners(rng):
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double()
    inside = torch.rand(30, 3, generator=rng).double() + 0.2
    inside = inside / inside.sum(1, keepdim=True) @ corners
    found = outermost(torch.cat([inside[:10], corners, inside[10:]]), 3)
    assert {tuple(c.tolist()) for c in found} == {tuple(c.tolist()) for c in corners}


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match='`weights` must be "free" or "simplex"'):
        LowRank(weights="convex")
    with pytest.raises(ValueError, match="`rank` must be a number of at least 1"):
        LowRank(0, weights="simplex")
    with pytest.raises(ValueError, match="`draws` must be at least 2"):
        LowRank(draws=1)
    with pytest.raises(ValueError, match='`method` must be "auto", "normal" or "ridge"'):
        LowRank(method="laplace")
    with pytest.raises(ValueError, match="`rounds` must be 0 or more"):
        LowRank(rounds=-1)
    assert recipes.pref().weights == "free"


@pytest.mark.parametrize("method", ["normal", "ridge"])
def test_more_directions_than_the_columns_have(method, rng):
    """Twelve columns that say three things: people differ in three directions, whatever the rank."""
    few = torch.randn(50, 3, generator=rng).double()
    items = few @ torch.randn(3, 12, generator=rng).double()
    slate = torch.rand(480, 50, generator=rng).argsort(1)[:, :2]
    rater = torch.arange(480) % 40
    worth = (few[slate] * torch.randn(40, 1, 3, generator=rng).double()[rater]).sum(-1)
    data = Comparisons(Items(items), slate, rater, Luce().sample(worth, generator=rng).double())
    lean, full = (LowRank(rank=q, method=method, temper=1.0).fit(data).predict(data) for q in (3, 12))
    assert float((lean - full).abs().mean()) < 0.05
    assert float((full - 0.5).abs().mean()) > 0.1
