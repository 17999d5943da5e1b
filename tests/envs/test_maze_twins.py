"""The larger mazes: their twins against shortest paths, and the simulator against its twin."""

from collections import deque

import gymnasium
import numpy as np
import pluralign_envs
import pytest

LARGE, SAFETY = "pluralign/PointMazeLarge-v0", "pluralign/SharedSafety-v0"


def optimum(twin, reward):
    """(S,) best actions by value iteration."""
    value = np.zeros(len(twin.start))
    for _ in range(400):
        worth = reward + twin.discount * twin.transition @ value
        value = worth.max(-1)
    return worth.argmax(-1)


def walk(twin, action, state):
    """States after each step of a deterministic way, until it stays."""
    seen = []
    for _ in range(twin.horizon):
        after = int(twin.transition[state, action[state]].argmax())
        if after == state:
            return seen
        seen.append(state := after)
    raise AssertionError("the way never ends")


def shortest(maze, start, goal, forbidden=()):
    """Steps between two cells along free cells, by breadth first search."""
    free = {tuple(cell) for cell in maze.cells.tolist()} - set(forbidden)
    queue, found = deque([(start, 0)]), {start}
    while queue:
        (row, column), steps = queue.popleft()
        if (row, column) == goal:
            return steps
        for cell in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if cell in free - found:
                found.add(cell)
                queue.append((cell, steps + 1))
    raise AssertionError("no way")


def cell(maze, letter):
    return next((r, c) for r, row in enumerate(maze.rows) for c, found in enumerate(row) if found == letter)


def test_every_goal_of_the_large_maze_is_reached_by_the_shortest_way():
    world, twin = pluralign_envs.make_world(LARGE), pluralign_envs.twin(LARGE)
    assert len(world.maze.goals) == 10
    middle = int(np.flatnonzero(twin.start)[2])
    start = tuple(world.maze.cells[middle].tolist())
    for goal, (letter, name) in enumerate(world.maze.goals):
        action = optimum(twin, twin.factors[..., goal] - 0.01 * twin.factors[..., -1])
        way = walk(twin, action, middle)
        assert len(way) == shortest(world.maze, start, cell(world.maze, letter))
        np.testing.assert_allclose(twin.position[way[-1]], world.layout.goals[name])
        assert twin.factors[way[-1], 0, goal] == 1


def test_goals_are_apart():
    world = pluralign_envs.make_world(LARGE)
    at_goals = np.array(list(world.layout.goals.values()))
    assert np.abs(world.closeness(at_goals) - np.eye(10)).max() < 1e-6


@pytest.mark.parametrize(("goal", "detour"), [(0, 6), (1, 6), (2, 4)])
def test_safety_costs_a_detour_that_those_who_mind_will_make(goal, detour):
    world, twin = pluralign_envs.make_world(SAFETY), pluralign_envs.twin(SAFETY)
    assert twin.factor_names == ("red", "blue", "green", "hazard", "effort")
    middle = int(np.flatnonzero(twin.start)[1])
    start, end = tuple(world.maze.cells[middle].tolist()), cell(world.maze, "RBG"[goal])
    hazards = [(r, c) for r, row in enumerate(world.maze.rows) for c, found in enumerate(row) if found == "!"]
    wish = twin.factors[..., goal] - 0.01 * twin.factors[..., -1]
    bold = walk(twin, optimum(twin, wish), middle)
    careful = walk(twin, optimum(twin, wish - 10 * twin.factors[..., 3]), middle)
    assert len(bold) == shortest(world.maze, start, end)
    assert len(careful) == len(bold) + detour == shortest(world.maze, start, end, hazards)
    assert twin.factors[bold, 0, 3].sum() == 2
    assert twin.factors[careful, 0, 3].sum() == 0
    np.testing.assert_allclose(twin.position[careful[-1]], twin.position[bold[-1]])


@pytest.mark.parametrize("id", [LARGE, SAFETY])
def test_the_simulator_follows_the_twin(id):
    """The optimal way of the last goal, walked by a simple controller, is worth what the twin says within 8 %."""
    twin = pluralign_envs.twin(id)
    goal = twin.factor_names.index("effort") - 1 - ("hazard" in twin.factor_names)
    cost = twin.factors[..., goal + 1 : -1].sum(-1) + 0.02 * twin.factors[..., -1]
    action, rows = optimum(twin, twin.factors[..., goal] - cost), np.arange(len(twin.start))
    ahead = twin.transition[rows, action].argmax(-1)
    state, exact = twin.start, 0.0
    for step in range(twin.horizon):
        exact += twin.discount**step * state @ twin.factors[rows, action, goal]
        state = state @ twin.transition[rows, action]
    envs = gymnasium.make_vec(id, num_envs=50, vectorization_mode="vector_entry_point")
    observation, _ = envs.reset(seed=0)
    total = 0.0
    for step in range(twin.horizon):
        place, velocity = observation[:, :2], observation[:, 2:]
        here = ((place[:, None] - twin.position) ** 2).sum(-1).argmin(-1)
        target = twin.position[ahead[ahead[here]]]
        turn = (np.abs(target - twin.position[here]) > 0.1).all(-1)
        target[turn] = twin.position[ahead[here[turn]]]
        observation, _, _, _, info = envs.step(4 * (target - place) - 0.2 * velocity)
        total += twin.discount**step * info["factors"][:, goal].mean()
    assert total == pytest.approx(exact, rel=0.08)


def test_hazards_are_where_they_are_drawn():
    """Looked up by cell, as against measured from the centres of hazardous cells; nothing is hazardous outside."""
    world = pluralign_envs.make_world("pluralign/SharedSafety-v0")
    position = np.random.default_rng(0).uniform(-3, 3, (4000, 2)) * [1.0, 0.7]
    off = np.abs(position[:, None] - world.maze.hazards).max(-1)
    near = (off < world.maze.cell / 2).any(1)
    assert 0.1 < near.mean() < 0.5
    assert np.array_equal(world.maze.hazardous(position), near)
    assert np.array_equal(world.maze.hazardous(position.reshape(2, 2000, 2)), near.reshape(2, 2000))
