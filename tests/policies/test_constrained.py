import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.optimize import linprog, minimize
from worlds import bandit, voices, worlds

from pluralign.policies import Tabular
from pluralign.policies.constrained import Constrained
from pluralign.policies.game import Floors, best_mix
from pluralign.rewards import Mean, Nash, WorstOff, known_voices

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
few = settings(max_examples=10, deadline=None)


def near(a, b, atol):
    torch.testing.assert_close(a.double(), torch.as_tensor(b, dtype=torch.float64), atol=atol, rtol=0)


def test_by_hand_two_ways_one_reckless():
    # The reckless way pays 1 and costs 1, the safe one pays .4 and costs nothing; at most .25 of cost: a quarter reckless.
    world = bandit(torch.tensor([[1.0, 0.4], [1.0, 0.0]]))
    people, cost = known_voices([[1.0, 0.0]]), known_voices([[0.0, 1.0]], names=("harm",))
    lottery = Constrained(cost, (0.25,), scale="none").optimise(Tabular(world), people)
    near(lottery.diagnostics["returns"], [0.25 + 0.75 * 0.4, -0.25], 1e-8)
    near(lottery.diagnostics["costs"], [0.25], 1e-8)
    # One more unit of cost would buy .6 more of return.
    near(lottery.diagnostics["prices"], [0.6], 1e-7)
    free = Constrained(cost, (2.0,), scale="none").optimise(Tabular(world), people)
    near(free.diagnostics["returns"], [1.0, -1.0], 1e-8)
    near(free.diagnostics["prices"], [0.0], 1e-7)


def occupancies(world):
    """Equations that visits obey: A x = b, x >= 0."""
    states, actions, _ = world.factors.shape
    leaves = np.repeat(np.eye(states), actions, axis=1)
    return leaves - world.discount * world.transition.reshape(-1, states).numpy().T, world.start.numpy()


def exact(world, share, limit):
    """Largest mean of all factors but the last, whose discounted sum is at most `limit`."""
    flow, start = occupancies(world)
    pays = world.factors.reshape(-1, world.factors.shape[-1]).numpy()
    found = linprog(
        -pays[:, :-1] @ share, A_ub=pays[None, :, -1], b_ub=[limit], A_eq=flow, b_eq=start, method="highs"
    )
    least = linprog(pays[:, -1], A_eq=flow, b_eq=start, method="highs").fun
    return found, least


@few
@given(world=worlds())
def test_mean_within_a_limit_is_the_linear_programme(world):
    width = world.factors.shape[-1]
    share = np.arange(1.0, width) / np.arange(1.0, width).sum()
    free, least = exact(world, share, 1e9)
    cost = float(world.factors.reshape(-1, width)[:, -1].numpy() @ free.x)
    limit = 0.5 * (cost + least) if cost > least + 1e-6 else cost + 0.1
    found, _ = exact(world, share, limit)
    people = known_voices(torch.eye(width)[:-1].tolist(), share.tolist())
    costs = known_voices(torch.eye(width)[-1:].tolist())
    learner = Tabular(world)
    lottery = Constrained(costs, (limit,), scale="none").optimise(learner, people)
    size = 1 + abs(found.fun)
    assert lottery.diagnostics["value"] == pytest.approx(-found.fun, abs=1e-7 * size)
    assert float(lottery.diagnostics["costs"][0]) <= limit + 1e-7 * size
    assert float(lottery.returns(learner, costs)[0, 0]) <= limit + 1e-7 * size


@pytest.mark.parametrize("welfare", [Nash(), WorstOff()])
def test_fair_within_a_limit(welfare):
    """Over a bandit the best chances are found by another solver."""
    table = torch.tensor([[1.0, 0.1, -0.9], [0.1, 1.0, -0.5], [0.3, 0.3, 0.0], [0.6, 0.4, -0.4]]).double()
    share = torch.tensor([0.5, 0.5, 0.0]).double()
    mix = best_mix(table, welfare, share, Floors(torch.tensor([2]), torch.tensor([-0.3]).double()))
    loss = lambda x: -float(welfare.value(torch.as_tensor(x) @ table, share))
    best = min(
        minimize(
            loss,
            start,
            bounds=[(0, 1)] * 4,
            constraints=[
                {"type": "eq", "fun": lambda x: x.sum() - 1},
                {"type": "ineq", "fun": lambda x: x @ table[:, 2].numpy() + 0.3},
            ],
            method="SLSQP",
        ).fun
        for start in np.random.default_rng(0).dirichlet(np.ones(4), 8)
    )
    assert mix.value >= -best - 1e-6
    assert float(mix.returns[2]) >= -0.3 - 1e-7
    # The weights explain it: no action pays more under them than the lottery does.
    assert float((table @ mix.weight).max()) <= float(mix.returns @ mix.weight) + 1e-6
    assert float(mix.weight[2]) > 0.01
    people, cost = voices(2), known_voices([[0.0, 0.0, -1.0]])
    people = known_voices([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    lottery = Constrained(cost, (0.3,), welfare, scale="none").optimise(Tabular(bandit(table.T)), people)
    assert lottery.diagnostics["value"] == pytest.approx(mix.value, abs=1e-6)


def test_a_proxy_is_trained_on_and_the_cost_itself_is_kept():
    # The proxy thinks the second way as bad as the first; the cost says it is harmless.
    world = bandit(torch.tensor([[1.0, 0.8, 0.2], [1.0, 0.0, 0.0], [1.0, 0.9, 0.0]]))
    people, cost = known_voices([[1.0, 0.0, 0.0]]), known_voices([[0.0, 1.0, 0.0]])
    proxy = known_voices([[0.0, 0.0, 1.0]])
    found = Constrained(cost, (0.1,), scale="none", proxy=proxy).optimise(Tabular(world), people)
    assert float(found.diagnostics["costs"][0]) <= 0.1 + 1e-9
    true = Constrained(cost, (0.1,), scale="none").optimise(Tabular(world), people)
    assert found.diagnostics["value"] <= true.diagnostics["value"] + 1e-9


def test_errors_say_what_to_do():
    world, cost = bandit(torch.tensor([[1.0, 0.0], [1.0, 0.5]])), known_voices([[0.0, 1.0]], names=("harm",))
    with pytest.raises(ValueError, match=r"keeps harm within 0.2; the safest has 0.5"):
        Constrained(cost, (0.2,)).optimise(Tabular(world), known_voices([[1.0, 0.0]]))
    with pytest.raises(ValueError, match="one finite number for each of the 1 costs"):
        Constrained(cost, (0.1, 0.2))
    with pytest.raises(ValueError, match="`proxy`"):
        Constrained(cost, (0.1,), Mean(), proxy=voices(2))
