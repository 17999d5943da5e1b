import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from worlds import GROUPS, bandit, voices, worlds

from pluralign.policies import MaxMin, Tabular, maxmin_value
from pluralign.policies.direction import Direction
from pluralign.policies.min_norm import MinNorm, climb, min_norm

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
few = settings(max_examples=8, deadline=None)


def near(a, b, atol):
    torch.testing.assert_close(a.double(), torch.as_tensor(b, dtype=torch.float64), atol=atol, rtol=0)


def test_directions_of_a_bandit_by_hand():
    learner, people = Tabular(bandit(torch.eye(2))), voices(2)
    # One prize: t (1 + 3) = 1.
    lottery = Direction((1.0, 3.0), scale="none").optimise(learner, people)
    near(lottery.returns(learner, people)[0], [0.25, 0.75], 1e-9)
    assert lottery.diagnostics["length"] == pytest.approx(0.25)
    alone = Direction((1.0, 0.0), scale="none").optimise(learner, people)
    near(alone.returns(learner, people)[0], [1.0, 0.0], 1e-9)


@few
@given(world=worlds())
def test_a_direction_is_a_linear_programme(world):
    learner, people = Tabular(world), voices(world.factors.shape[-1])
    way = torch.arange(1.0, len(people) + 1)
    lottery = Direction(tuple(way.tolist()), scale="none").optimise(learner, people)
    exact = maxmin_value(world, learner.rewards(people), factor=1 / way)
    assert lottery.diagnostics["length"] == pytest.approx(exact.value, abs=1e-7 * (1 + abs(exact.value)))
    same = Direction((2.0,) * len(people)).optimise(learner, people).diagnostics["length"] * 2
    assert same == pytest.approx(MaxMin().optimise(learner, people).diagnostics["value"], abs=1e-6)


def test_min_norm_of_two_by_hand():
    # Shortest point between a and b: the foot of the perpendicular if it lies between them, else the shorter end.
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    near(min_norm(torch.stack([a, b])), [0.8, 0.2], 1e-12)
    near(min_norm(torch.stack([a, torch.tensor([3.0, 1.0])])), [1.0, 0.0], 1e-12)
    near(min_norm(torch.stack([a, -a])), [0.5, 0.5], 1e-12)


@few
@given(seed=st.integers(0, 1000), voices=st.integers(2, 5))
def test_the_min_norm_vector_helps_everybody(seed, voices):
    g = torch.randn(voices, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    short = min_norm(g) @ g
    assert bool((g @ short >= short @ short - 1e-9).all())


def gain_left(matrix, returns):
    """The largest total gain of a lottery that harms nobody."""
    rows = matrix.numpy()
    found = linprog(
        -rows.sum(1),
        A_ub=-rows.T,
        b_ub=-returns.numpy(),
        A_eq=[[1.0] * len(rows)],
        b_eq=[1.0],
        method="highs",
    )
    return -found.fun - float(returns.sum())


def test_climbing_ends_where_nothing_helps_all():
    pays = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.7, 0.7], [0.1, 0.2]], dtype=torch.float64)
    chance, _ = climb(pays, torch.full((4,), 0.25, dtype=torch.float64))
    assert gain_left(pays, chance @ pays) < 1e-3
    assert bool((chance @ pays >= pays.mean(0)).all())


@few
@given(world=worlds(most_states=3))
def test_nobody_loses_on_the_way_to_the_frontier(world):
    learner, people = Tabular(world), voices(world.factors.shape[-1])
    found = MinNorm().optimise(learner, people).diagnostics
    assert bool((found["returns"] >= found["start"] - 1e-6).all())
    assert gain_left(found["matrix"], found["returns"] - 1e-6) < 0.02


def test_settings_are_checked():
    learner = Tabular(bandit(GROUPS))
    with pytest.raises(ValueError, match="each of the 3 voices, got 2"):
        Direction((1.0, 1.0)).optimise(learner, voices(3))
    with pytest.raises(ValueError, match="none negative"):
        Direction((1.0, -1.0))
    with pytest.raises(ValueError, match=r"\(0, 1\)"):
        MinNorm(spread=0.0)
