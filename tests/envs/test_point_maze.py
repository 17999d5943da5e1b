import gymnasium
import numpy as np
import pluralign_envs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pluralign_envs import Maze, PointMaze

ID = "pluralign/PointMaze-v0"
world = PointMaze()
metres = st.floats(-3, 3)


def factors(position, action=(0.0, 0.0)):
    return world.measure(np.array(position), np.zeros(2), np.array(action))


def test_factors_by_hand():
    # 0.75 m off a goal closeness is exp(-1); 0.375 m off, exp(-1/16); from the start neither goal is felt.
    red, blue = world.layout.goals["red"], world.layout.goals["blue"]
    np.testing.assert_allclose(factors(red, (0.6, -0.8)), [1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(factors(np.add(blue, (0, 0.75)), (1, 1)), [0, np.exp(-1), 2], atol=1e-12)
    np.testing.assert_allclose(factors(np.add(red, (0.375, 0))), [np.exp(-1 / 16), 0, 0], atol=1e-12)
    uniform = np.random.default_rng(0).random((1000, 2))
    assert world.measure(*world.start(uniform), np.zeros((1000, 2))).max() < 1e-6


@given(metres, metres, st.floats(0, 2 * np.pi), st.floats(-1, 1), st.floats(-1, 1))
def test_closeness_depends_on_distance_alone(x, y, angle, push_x, push_y):
    centre = np.array(world.layout.goals["red"])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    here, turned = factors((x, y), (push_x, push_y)), factors(centre + turn @ (np.array([x, y]) - centre))
    assert here[0] == pytest.approx(turned[0], abs=1e-9)  # rounding, times a slope of at most 2 per metre
    assert ((here >= 0) & (here <= (1, 1, 2))).all()


def test_factors_are_declared():
    env = gymnasium.make(ID).unwrapped
    assert env.factor_names == ("red", "blue", "effort")
    assert [factor.unit for factor in env.factors] == ["fraction", "fraction", "N^2"]
    assert all(f"{world.scale} m" in factor.description for factor in env.factors[:2])
    assert isinstance(world, pluralign_envs.World)


def test_a_step_of_full_force_is_one_cell():
    env = gymnasium.make(ID).unwrapped
    env.reset(options={"qpos": world.maze.centre(np.array([3, 3])), "qvel": [0, 0]})
    seen = [env.step(np.array([1, 0]))[0] for _ in range(5)]
    # Top speed is force over drag, 3.33 m/s; after 5 steps exp(-5 * 0.15 s * 0.3 / 0.02) is nothing.
    assert seen[-1][2] == pytest.approx(1 / world.drag, rel=1e-3)
    assert seen[-1][0] - seen[-2][0] == pytest.approx(world.maze.cell, rel=1e-2)


def test_walls_hold():
    envs = gymnasium.make_vec(ID, num_envs=64, vectorization_mode="vector_entry_point")
    envs.reset(seed=0)
    rng, walls = np.random.default_rng(0), world.layout.walls
    low, high = walls[:, :2], walls[:, :2] + walls[:, 2:]
    for _ in range(20):
        push = rng.choice([-1.0, 1.0], size=(64, 2))
        for _ in range(5):
            place = envs.step(push)[0][:, None, :2]
            inside = ((place > low) & (place < high)).all(-1)
            assert not inside.any(), place[inside.any(-1)]


def test_start_is_drawn_within_the_layout():
    corner, size = world.layout.start[:2], world.layout.start[2:]
    qpos, qvel = world.start(np.array([[0, 0], [1, 1], [0.5, 0.5]]))
    np.testing.assert_allclose(qpos, [corner, corner + size, corner + size / 2])
    assert (qvel == 0).all()


def test_layout_tiles_the_map():
    layout = pluralign_envs.layout(ID)
    walls = layout.walls[:, 2] * layout.walls[:, 3]
    free = len(world.maze.cells) * layout.cell**2
    assert walls.sum() + free == pytest.approx(layout.bounds[2] * layout.bounds[3])
    assert set(layout.goals) == {"red", "blue"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("##", "#"), "`rows` of a maze must have equal lengths, got lengths [1, 2]."),
        (("sRX",), "`rows` use ['X']"),
        (("s.",), "Goal 'R' must be drawn once, it is drawn 0 times."),
        (("s.sR",), "The start cells 's' must fill one rectangle"),
    ],
)
def test_a_wrong_map_is_explained(rows, message):
    with pytest.raises(ValueError) as caught:
        Maze(rows=rows, goals=(("R", "red"),), cell=1.0)
    assert message in str(caught.value)
