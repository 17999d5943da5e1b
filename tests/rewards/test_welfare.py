import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.rewards import (
    AlphaFair,
    CVaR,
    EachOnce,
    Gini,
    LogSigmoid,
    Mean,
    Nash,
    SoftMin,
    WorstOff,
    log_sigmoid_centred,
)

RULES = [
    Mean(),
    WorstOff(),
    Nash(),
    AlphaFair(0.5),
    AlphaFair(2.0),
    SoftMin(0.1),
    CVaR(0.3),
    Gini(2.0),
    Gini(4.0),
    LogSigmoid(0.5),
]
THREE = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
EVEN = torch.full((3,), 1 / 3, dtype=torch.float64)

floats = st.floats(0.05, 10)
few = settings(max_examples=20, deadline=None)


@st.composite
def people(draw, most=6):
    count = draw(st.integers(1, most))
    numbers = lambda: torch.tensor(
        draw(st.lists(floats, min_size=count, max_size=count)), dtype=torch.float64
    )
    returns, weight = numbers(), numbers()
    return returns, weight / weight.sum()


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(0.0, 0.5333333333), (0.5, 0.4914027173), (1.0, 0.4481404747), (2.0, 0.3698630137)],
)
def test_equally_distributed_equivalent(alpha, expected):
    # By hand: the power mean of (.2, .5, .9) with exponent 1 - alpha; alpha = 1 is the geometric mean.
    assert float(AlphaFair(alpha).equivalent(THREE, EVEN)) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Mean(), 1.6 / 3),
        (WorstOff(), 0.2),
        (SoftMin(0.1), 0.3049156679),
        (CVaR(1 / 3), 0.2),
        (CVaR(2 / 3), 0.35),
        (CVaR(0.5), (0.2 + 0.25) / 1.5),  # the worst third, and half of the middle one
        (Gini(1.0), 1.6 / 3),
        (Gini(2.0), (5 * 0.2 + 3 * 0.5 + 0.9) / 9),  # weights 1 - (2/3)^2, (2/3)^2 - (1/3)^2, (1/3)^2
        (Nash(), (0.2 * 0.5 * 0.9) ** (1 / 3)),
    ],
)
def test_values_by_hand(rule, expected):
    value = rule.value(THREE, EVEN)
    value = value.exp() if isinstance(rule, Nash) else value
    assert float(value) == pytest.approx(expected, abs=1e-10)


def test_gini_with_slope_two_is_the_mean_times_one_minus_the_gini_coefficient():
    gini = (THREE[:, None] - THREE).abs().mean() / (2 * THREE.mean())
    assert float(Gini(2.0).value(THREE, EVEN)) == pytest.approx(float(THREE.mean() * (1 - gini)), abs=1e-12)


@pytest.mark.parametrize("rule", RULES, ids=str)
@few
@given(data=people())
def test_anonymity(rule, data):
    returns, weight = data
    order = torch.arange(len(returns)).flip(0)
    swapped = rule.value(returns[order], weight[order])
    torch.testing.assert_close(swapped, rule.value(returns, weight), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("rule", RULES, ids=str)
@few
@given(data=people(), extra=st.floats(0.01, 5), place=st.integers(0, 5))
def test_pareto(rule, data, extra, place):
    returns, weight = data
    more = returns.clone()
    more[place % len(returns)] += extra
    assert rule.value(more, weight) >= rule.value(returns, weight) - 1e-12
    assert rule.value(returns + extra, weight) > rule.value(returns, weight)  # more for all is better


@pytest.mark.parametrize("rule", RULES, ids=str)
@few
@given(data=people())
def test_splitting_a_voice_into_two_with_half_the_people_each_changes_nothing(rule, data):
    returns, weight = data
    twice = torch.cat([returns, returns[:1]])
    halves = torch.cat([weight, weight[:1] / 2])
    halves[0] /= 2
    torch.testing.assert_close(rule.value(twice, halves), rule.value(returns, weight), atol=1e-10, rtol=1e-10)


@few
@given(data=people())
def test_only_the_worst_off_rule_ignores_clones(data):
    returns, weight = data
    cloned = torch.cat([returns, returns[-1:]])
    more = torch.cat([weight, weight[-1:]]) / (1 + weight[-1])
    assert WorstOff().value(cloned, more) == WorstOff().value(returns, weight)
    moved = Mean().value(cloned, more) - Mean().value(returns, weight)
    share = weight[-1] / (1 + weight[-1])
    torch.testing.assert_close(moved, share * (returns[-1] - returns @ weight), atol=1e-10, rtol=1e-9)


@few
@given(data=people(), scale=st.floats(0.1, 10))
def test_nash_orders_alike_when_one_voice_changes_its_unit(data, scale):
    returns, weight = data
    other = returns.flip(0) + 0.1
    unit = torch.ones_like(returns)
    unit[0] = scale
    before = Nash().value(returns, weight) - Nash().value(other, weight)
    after = Nash().value(returns * unit, weight) - Nash().value(other * unit, weight)
    torch.testing.assert_close(after, before, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("rule", RULES, ids=str)
@few
@given(data=people(), other=st.lists(floats, min_size=6, max_size=6))
def test_gradient_is_a_supergradient(rule, data, other):
    """value(y) <= value(x) + gradient(x) . (y - x): concave, with the right slope."""
    x, weight = data
    y = torch.tensor(other, dtype=torch.float64)[: len(x)]
    tangent = rule.value(x, weight) + rule.gradient(x, weight) @ (y - x)
    size = 1 + tangent.abs() + rule.gradient(x, weight).abs().max() * 10
    assert rule.value(y, weight) <= tangent + 1e-10 * size


@pytest.mark.parametrize("rule", [r for r in RULES if r.smooth], ids=str)
def test_smooth_gradients_against_automatic_ones(rule):
    weight = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    x = THREE.clone().requires_grad_()
    (slope,) = torch.autograd.grad(rule.value(x, weight), x)
    torch.testing.assert_close(rule.gradient(THREE, weight), slope, atol=1e-12, rtol=1e-12)


def test_batches():
    many = torch.stack([THREE, THREE.flip(0), THREE * 2])
    for rule in RULES:
        alone = torch.stack([rule.value(row, EVEN) for row in many])
        torch.testing.assert_close(rule.value(many, EVEN), alone)


def test_a_voice_without_people_is_nobody():
    returns = torch.tensor([-1.0, 0.5], dtype=torch.float64)
    weight = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for rule in [*RULES, Nash(disagreement=0.2)]:
        assert torch.isfinite(rule.value(returns, weight))
    assert float(WorstOff().value(returns, weight)) == 0.5


def test_nash_is_minus_infinity_below_the_disagreement_point():
    assert float(Nash(disagreement=(0.0, 0.6, 0.0)).value(THREE, EVEN)) == -torch.inf


def test_log_sigmoid_by_hand():
    got = log_sigmoid_centred(torch.tensor([1.2, -0.3], dtype=torch.float64), 0.5)
    assert got.tolist() == pytest.approx([-0.4031860489, -1.1711006659], abs=1e-10)
    both = torch.tensor([1.2, -0.3], dtype=torch.float64)
    even = torch.full((2,), 0.5, dtype=torch.float64)
    assert float(LogSigmoid((0.5, 0.5)).value(both, even)) == pytest.approx(float(got.mean()), abs=1e-12)
    # However good the first fares, the second's failure costs more than half of its shortfall.
    far = torch.tensor([100.0, -3.0], dtype=torch.float64)
    assert float(LogSigmoid().value(far, even)) < -1.5


def test_each_once_forgets_shares_but_not_absence():
    uneven = torch.tensor([0.9, 0.1, 0.0], dtype=torch.float64)
    even = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    for rule in RULES:
        assert float(EachOnce(rule).value(THREE, uneven)) == pytest.approx(float(rule.value(THREE, even)))
        torch.testing.assert_close(EachOnce(rule).gradient(THREE, uneven), rule.gradient(THREE, even))
        assert EachOnce(rule).smooth == rule.smooth


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CVaR(0.0), "worst tenth"),
        (lambda: Gini(0.5), "at least 1"),
        (lambda: SoftMin(0.0), "WorstOff"),
        (lambda: AlphaFair(-1.0), "negative"),
        (lambda: LogSigmoid(temperature=0.0), "positive"),
        (lambda: LogSigmoid((0.0, 0.0)).value(THREE, EVEN), "3 voices"),
        (lambda: Mean().value(THREE, -EVEN), "none negative"),
        (lambda: Nash((0.0, 0.0)).value(THREE, EVEN), "3 voices"),
    ],
)
def test_errors_say_what_to_do(build, message):
    with pytest.raises(ValueError, match=message):
        build()
