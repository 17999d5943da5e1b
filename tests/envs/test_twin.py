import gymnasium
import numpy as np
import pluralign_envs
import pytest

ID = "pluralign/PointMaze-v0"
twin = pluralign_envs.twin(ID)
layout = pluralign_envs.layout(ID)


def optimum(reward):
    """(S,) best action per state and (S,) best value, by value iteration to rounding."""
    value = np.zeros(len(twin.start))
    for _ in range(2000):
        worth = reward + twin.discount * twin.transition @ value
        value = worth.max(-1)
    return worth.argmax(-1), value


def finite(action):
    """(F,) exact discounted returns of a deterministic policy over the simulator's horizon."""
    state, total, rows = twin.start, np.zeros(len(twin.factor_names)), np.arange(len(twin.start))
    for step in range(twin.horizon):
        total += twin.discount**step * state @ twin.factors[rows, action]
        state = state @ twin.transition[rows, action]
    return total


def test_chances_sum_to_one():
    np.testing.assert_allclose(twin.transition.sum(-1), 1, atol=1e-12)
    assert twin.start.sum() == pytest.approx(1)
    assert (twin.transition >= 0).all()
    assert twin.factors.shape == (*twin.transition.shape[:2], 3)
    assert twin.factor_names == tuple(factor.name for factor in pluralign_envs.make_world(ID).factors)


def test_half_the_force_is_half_the_speed_for_a_quarter_of_the_effort():
    up, half_up = twin.action_names.index("up"), twin.action_names.index("half up")
    np.testing.assert_allclose(
        twin.transition[:, half_up], (np.eye(len(twin.start)) + twin.transition[:, up]) / 2
    )
    assert (twin.factors[:, up, 2] == 1).all()
    assert (twin.factors[:, half_up, 2] == 0.25).all()


@pytest.mark.parametrize(("goal", "steps"), [(0, 8), (1, 9)])
def test_the_optimum_walks_to_its_goal_and_stays(goal, steps):
    action, value = optimum(twin.factors[..., goal])
    middle = np.flatnonzero(twin.start)[2]
    state, closeness = middle, []
    for _ in range(twin.horizon):
        closeness.append(twin.factors[state, action[state], goal])
        state = twin.transition[state, action[state]].argmax()
    np.testing.assert_allclose(twin.position[state], layout.goals[twin.factor_names[goal]])
    assert np.argmax(np.array(closeness) == 1) == steps  # after 9 and 10 cells; measured after a step
    # By hand: two cells off 0.04, one cell off 0.82, then 1 for ever.
    two, one = np.exp(-((1 / 0.75) ** 4)), np.exp(-((0.5 / 0.75) ** 4))
    if goal == 1:  # its last two cells lie in line with the goal; red's turn a corner
        by_hand = twin.discount ** (steps - 2) * (
            two + twin.discount * one + twin.discount**2 / (1 - twin.discount)
        )
        assert value[middle] == pytest.approx(by_hand, rel=1e-3)


def test_what_is_best_for_one_camp_is_worth_nothing_to_the_other():
    uniform = twin.factors.mean(1), twin.transition.mean(1)
    weights = np.array([[1, 0, -0.02], [0, 1, -0.02]])
    random = twin.start @ np.linalg.solve(np.eye(len(twin.start)) - twin.discount * uniform[1], uniform[0])
    for camp, other in ((0, 1), (1, 0)):
        own, best = optimum(twin.factors @ weights[camp])[0], optimum(twin.factors @ weights[other])[1]
        rows = np.arange(len(twin.start))
        step, gain = twin.transition[rows, own], twin.factors[rows, own] @ weights[other]
        value = twin.start @ np.linalg.solve(np.eye(len(rows)) - twin.discount * step, gain)
        floor = random @ weights[other]
        assert abs((value - floor) / (twin.start @ best - floor)) < 0.05


@pytest.mark.parametrize("goal", [0, 1])
def test_the_simulator_is_as_fast_as_the_twin(goal):
    """The twin's way, walked in the simulator by a simple controller, is worth what the twin says."""
    action, _ = optimum(twin.factors[..., goal] - 0.02 * twin.factors[..., 2])
    rows = np.arange(len(twin.start))
    ahead = twin.transition[rows, action].argmax(-1)
    envs = gymnasium.make_vec(ID, num_envs=100, vectorization_mode="vector_entry_point")
    observation, _ = envs.reset(seed=0)
    total = np.zeros(3)
    for step in range(twin.horizon):
        place, velocity = observation[:, :2], observation[:, 2:]
        state = ((place[:, None] - twin.position) ** 2).sum(-1).argmin(-1)
        target = twin.position[ahead[ahead[state]]]
        # In corners, first make for the next cell.
        turn = (np.abs(target - twin.position[state]) > 0.1).all(-1)
        target[turn] = twin.position[ahead[state[turn]]]
        observation, _, _, _, info = envs.step(4 * (target - place) - 0.2 * velocity)
        total += twin.discount**step * info["factors"].mean(0)
    assert total[goal] == pytest.approx(finite(action)[goal], rel=0.05)
