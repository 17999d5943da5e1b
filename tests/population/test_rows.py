"""Derivatives of every rule, rows and buckets, and the two solvers that share them."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pluralign.choice import (
    RULES,
    Davidson,
    EqualThreshold,
    Lapse,
    LeftBias,
    Luce,
    Mistake,
    Ordinal,
    RaoKupper,
    Skip,
    Thurstone,
)
from pluralign.data import Comparisons, Items
from pluralign.population.newton import crowd, crowd_step, modes, solve
from pluralign.population.rows import Rows, answer_log_prob, buckets, likelihood
from pluralign.population.wide import Incidence, crowd_wide
from pluralign.utility import Linear

PAIRS = [
    Luce(),
    Luce(0.3),
    Thurstone(1.5),
    Davidson(0.7),
    RaoKupper(1.8),
    Ordinal((0.4, 1.2)),
    Lapse(Luce(), 0.1),
    Lapse(Davidson(), 0.2, bias=0.7),
    Mistake(Luce(), 0.15),
    EqualThreshold(Luce(), 0.3),
    LeftBias(Thurstone(), 0.4),
    Skip(Luce(), 0.3),
]
SLATES = [Luce(), Luce(2.0), Lapse(Luce(), 0.1), LeftBias(Luce(), 0.4), Lapse(LeftBias(Luce(), -0.3), 0.05)]
LABELS = {"first": (1.0, 0.0), "second": (0.0, 1.0), "tie": (0.5, 0.5), "graded": (0.7, 0.3)}


def test_every_rule_is_tested_here():
    assert {type(rule).__name__ for rule in PAIRS} == set(RULES)


@pytest.mark.parametrize("label", list(LABELS))
@pytest.mark.parametrize("rule", PAIRS, ids=str)
def test_derivatives_of_pairs(rule, label):
    gap = torch.tensor([-4.0, -1.1, -0.5, 0.6, 2.0, 5.0], dtype=torch.float64)
    told = torch.tensor(LABELS[label], dtype=torch.float64).expand(6, 2)
    utility = lambda d: torch.stack([d / 2, -d / 2], -1)
    log = rule.log_prob(utility(gap), told)
    value, slope, bend = likelihood(rule, gap[:, None], told)
    torch.testing.assert_close(value, log)
    torch.testing.assert_close(answer_log_prob(rule, gap[:, None], told), log)
    allowed = torch.isfinite(log)
    for m in allowed.nonzero()[:, 0].tolist():
        one = lambda d, m=m: rule.log_prob(utility(d), told[m])
        leaf = gap[m].clone().requires_grad_()
        assert torch.autograd.gradcheck(one, (leaf,))
        torch.testing.assert_close(slope[m, 0], torch.autograd.functional.jacobian(one, gap[m]))
        second = torch.autograd.functional.hessian(one, gap[m])
        torch.testing.assert_close(bend[m, 0, 0], (-second).clamp_min(0.0))
    assert bool((bend >= 0).all())


@pytest.mark.parametrize("rule", SLATES, ids=str)
def test_derivatives_of_slates(rule, rng):
    eta = 2 * torch.randn(5, 3, generator=rng, dtype=torch.float64)
    told = torch.tensor(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0.2, 0.3, 0.5]], dtype=torch.float64
    )
    value, slope, bend = likelihood(rule, eta, told)
    for m in range(5):
        one = lambda u, m=m: rule.log_prob(u, told[m])
        assert torch.autograd.gradcheck(one, (eta[m].clone().requires_grad_(),))
        torch.testing.assert_close(value[m], one(eta[m]))
        torch.testing.assert_close(slope[m], torch.autograd.functional.jacobian(one, eta[m]))
        size, side = torch.linalg.eigh(-torch.autograd.functional.hessian(one, eta[m]))
        torch.testing.assert_close(bend[m], (side * size.clamp_min(0)) @ side.T, atol=1e-9, rtol=1e-7)
    # Leading axes are many tastes at once.
    many = likelihood(rule, torch.stack([eta, eta + 1]), told)
    torch.testing.assert_close(many[1][0], slope)
    torch.testing.assert_close(many[0][0], many[0][1])  # a constant changes nothing


@pytest.mark.parametrize("rule", SLATES, ids=str)
def test_a_place_without_an_option_has_no_slope(rule):
    eta = torch.tensor([[0.4, -0.7, -torch.inf]], dtype=torch.float64)
    told = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    value, slope, bend = likelihood(rule, eta, told)
    pair = likelihood(rule, eta[:, :2], told[:, :2])
    torch.testing.assert_close(value, pair[0])
    torch.testing.assert_close(slope[:, :2], pair[1])
    torch.testing.assert_close(bend[:, :2, :2], pair[2])
    assert slope[0, 2] == 0
    assert not bend[0, 2].any()


@pytest.mark.parametrize("rule", PAIRS, ids=str)
def test_far_worths_stay_finite(rule):
    gap = torch.tensor([-800.0, 800.0, -1e4, 1e4], dtype=torch.float64)[:, None]
    told = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(4, 2)
    value, slope, bend = likelihood(rule, gap, told)
    assert not torch.isnan(value).any()
    assert torch.isfinite(slope).all()
    assert torch.isfinite(bend).all()


def made(seed=0, answers=60, raters=7, options=9, width=4, places=2, ragged=False, weighted=False):
    draw = torch.Generator().manual_seed(seed)
    slate = torch.stack([torch.randperm(options, generator=draw)[:places] for _ in range(answers)])
    label = torch.nn.functional.one_hot(torch.randint(places, (answers,), generator=draw), places).float()
    if ragged:
        short = (label[:, -1] == 0) & (torch.rand(answers, generator=draw) < 0.5)
        slate[short, -1] = -1
    rater = torch.randint(raters - 1, (answers,), generator=draw)  # the last has none
    weight = torch.rand(answers, generator=draw).double() if weighted else None
    items = Items(torch.randn(options, width, generator=draw).double())
    return Comparisons(
        items, slate, rater, label, weight=weight, rater_ids=tuple(str(r) for r in range(raters))
    )


SHAPES = [
    {},
    {"weighted": True},
    {"places": 3},
    {"places": 4, "ragged": True},
    {"places": 3, "ragged": True, "weighted": True},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_give_the_likelihood_of_a_naive_loop(shape, rng):
    data = made(**shape)
    basis = data.options.features
    rows = Rows.of(data, basis, Luce())
    taste = torch.randn(2, 4, generator=rng, dtype=torch.float64)
    expected = torch.zeros(2, data.raters, dtype=torch.float64)
    for m in range(len(data)):
        for t in range(2):
            shown = [k for k in data.slate[m].tolist() if k >= 0]
            log = torch.log_softmax(basis[shown] @ taste[t], 0) @ data.label[m, : len(shown)].double()
            expected[t, data.rater[m]] += log * (1.0 if data.weight is None else data.weight[m])
    torch.testing.assert_close(rows.log_prob(taste), expected)
    assert torch.equal(data.rater[rows.order], rows.rater)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_contrast_is_the_mean_squared_distance_on_a_slate(shape):
    data = made(**shape)
    x = data.options.features
    total, mass = 0.0, 0.0
    for m in range(len(data)):
        shown = [k for k in data.slate[m].tolist() if k >= 0]
        apart = [float((x[i] - x[j]).square().sum()) for i in shown for j in shown if i != j]
        weight = 1.0 if data.weight is None else float(data.weight[m])
        total += weight * sum(apart) / len(apart)
        mass += weight
    assert Rows.of(data, x, Luce()).contrast == pytest.approx(total / mass)


@pytest.mark.parametrize("rule", [Luce(), Lapse(Luce(), 0.1)], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_buckets_equal_a_naive_loop(shape, rule):
    """Modes of all raters at once, against Newton for each rater alone on that rater's answers."""
    data = made(**shape)
    basis = data.options.features
    mean, precision = torch.full((4,), 0.2).double(), 1.5 * torch.eye(4, dtype=torch.float64)
    rows = Rows.of(data, basis, rule)
    for limit in (1 << 24, 40):
        groups = buckets(rows, limit)
        assert sorted(torch.cat([g.rater for g in groups]).tolist()) == torch.unique(data.rater).tolist()
        mode, curvature, fit = modes(groups, rule, mean, precision, data.raters)
        for r in range(data.raters):
            mine = data.of_raters([r])
            if not len(mine):
                assert torch.equal(mode[r], mean)
                assert torch.equal(curvature[r], precision)
                continue
            alone = Rows.of(mine, basis, rule)
            taste = crowd(alone, mean[None], ridge=1.5, centre=mean, tolerance=1e-14)
            # Where curvature is cut off (a lapse), Newton only converges linearly: by the gain it stops at, 1e-8.
            close = 1e-6 if isinstance(rule, Luce) else 1e-4
            torch.testing.assert_close(mode[r], taste[0], atol=close, rtol=0)
            torch.testing.assert_close(fit[r], alone.log_prob(taste)[0, 0], atol=close, rtol=0)
            step = crowd_step(alone, taste, None, 1.5, mean)
            torch.testing.assert_close(curvature[r], step[2][0], atol=1e-3, rtol=0)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 200))
def test_buckets_hold_every_answer_once(rater, limit):
    rater = torch.tensor(rater)
    items = Items(torch.arange(2.0).double()[:, None])
    m = len(rater)
    data = Comparisons(
        items, torch.tensor([[0, 1]]).expand(m, 2), rater, torch.tensor([[1.0, 0.0]]).expand(m, 2)
    )
    groups = buckets(Rows.of(data, items.features, Luce()), limit)
    found = torch.zeros(data.raters)
    for group in groups:
        found[group.rater] += group.weight.sum(1).float()
        assert group.weight.shape[1] < 2 * max(1, int(data.counts[group.rater].max()))
    assert torch.equal(found, data.counts.float())


@pytest.mark.parametrize("rule", [Luce(), Thurstone(), Davidson(), Lapse(Luce(), 0.05)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_vanishes_at_the_optimum_of_a_crowd(rule, weighted):
    rows = Rows.of(made(weighted=weighted), made().options.features, rule)
    taste = crowd(rows, torch.zeros(1, 4).double(), ridge=0.7)
    _, gradient, _ = crowd_step(rows, taste, None, 0.7)
    assert float(gradient.abs().max()) < 1e-6


@pytest.mark.parametrize("rule", [Luce(), Davidson()], ids=str)
@pytest.mark.parametrize("places", [2, 3])
def test_narrow_and_wide_solvers_agree(rule, places):
    """Newton over gathered features, L-BFGS over sparse incidence: one optimum."""
    if places > 2 and not isinstance(rule, Luce):
        pytest.skip("a rule of pairs")
    data = made(places=places, weighted=True, answers=120)
    worth = Linear().start(data, width=None, generator=torch.Generator())
    basis = worth.basis(data.options)
    weight = torch.rand(2, len(data), generator=torch.Generator().manual_seed(1)).double()
    start, centre = torch.zeros(2, 4).double(), torch.full((4,), 0.3).double()
    rows = Rows.of(data, basis, rule)
    narrow = crowd(rows, start, weight[:, rows.order], ridge=1.0, centre=centre, tolerance=1e-14)
    wide = crowd_wide(
        Incidence.of(data, worth, rule), start, weight, ridge=1.0, centre=centre, tolerance=1e-15
    )
    torch.testing.assert_close(wide, narrow, atol=1e-6, rtol=0)


def test_nameless_options_are_worth_what_indicators_say():
    """Names alone: the sparse identity of the wide way equals a dense identity as features."""
    data = made()
    names = dataclasses.replace(data, options=Items(torch.zeros(9, 0)))
    worth = Linear().start(names, width=None, generator=torch.Generator())
    assert worth.nameless
    wide = crowd_wide(
        Incidence.of(names, worth, Luce()), torch.zeros(1, 9).double(), ridge=1.0, tolerance=1e-15
    )
    dense = crowd(Rows.of(data, torch.eye(9).double(), Luce()), torch.zeros(1, 9).double(), ridge=1.0)
    torch.testing.assert_close(wide, dense, atol=1e-6, rtol=0)


def test_solve_takes_no_step_where_nothing_is_known():
    flat = torch.diag(torch.tensor([2.0, 0.0, 5.0]).double())
    step = solve(flat, torch.tensor([2.0, 0.0, 10.0]).double())
    torch.testing.assert_close(step, torch.tensor([1.0, 0.0, 2.0]).double())
    both = solve(torch.stack([flat, torch.eye(3).double()]), torch.ones(2, 3).double())
    torch.testing.assert_close(both[1], torch.ones(3).double())
    assert torch.isfinite(both).all()


def test_directions_are_the_same_where_options_are_many():
    """Second moments of options, or of rows where those of options would not fit: one and the same matrix."""
    from pluralign.population.wide import directions

    draw = torch.Generator().manual_seed(0)
    items = Items(torch.randn(40, 5, generator=draw).double())
    slate = torch.randint(40, (120, 2), generator=draw)
    label = torch.nn.functional.one_hot(torch.randint(2, (120,), generator=draw), 2).double()
    data = Comparisons(items, slate, torch.arange(120) % 8, label)
    worth = Linear(identity=False).start(data, width=None, generator=draw)
    rows = Incidence.of(data, worth, Luce())
    assert rows.basis.shape == (40, 5)  # 40 > 4 * 5: by rows
    found = directions(data, rows, torch.zeros(5).double(), 2)
    gap = torch.from_numpy(rows.basis)
    x = gap[slate[:, 0]] - gap[slate[:, 1]]
    push = (label[:, 0] - 0.5)[:, None] * x
    each = torch.zeros(8, 5).double().index_add_(0, data.rater, push)
    moment = each.T @ each - push.T @ push
    side = torch.linalg.eigh(moment)[1].flip(1)[:, :2]
    torch.testing.assert_close((side.T @ found).abs(), torch.eye(2).double(), atol=1e-8, rtol=0)
