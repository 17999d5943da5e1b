"""Reacher, crowd and pusher: factors against MuJoCo's own numbers, and what can be done in them."""

import gymnasium
import mujoco
import numpy as np
import pluralign_envs
import pytest
from pluralign_envs.crowd import GOAL, PERIOD, REACH, WALK
from pluralign_envs.pusher import RADIUS, TRAYS
from pluralign_envs.reacher import LINKS, TARGETS

REACHER, CROWD, PUSHER = (f"pluralign/{name}-v0" for name in ("Reacher", "Crowd", "Pusher"))


def make(id, copies=32):
    return gymnasium.make_vec(id, num_envs=copies, vectorization_mode="vector_entry_point")


def named(env, info):
    return dict(zip(env.factor_names, np.moveaxis(info["factors"], -1, 0), strict=True))


def test_reacher_factors_are_what_mujoco_says():
    env = gymnasium.make(REACHER).unwrapped
    env.reset(seed=0)
    for action in np.random.default_rng(0).uniform(-1, 1, (7, 2)):
        *_, info = env.step(action)
    factors, model = named(env, info), env._physics.model
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:], data.ctrl[:] = env._physics.qpos[0], env._physics.qvel[0], action
    mujoco.mj_forward(model, data)
    velocity, tip = np.zeros(6), data.body("fingertip")
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, tip.id, velocity, 0)
    np.testing.assert_allclose(env.world.fingertip(data.qpos), tip.xpos[:2], atol=1e-12)
    assert factors["haste"] == pytest.approx(np.linalg.norm(velocity[3:]))
    assert factors["power"] == pytest.approx(np.abs(data.actuator_force * data.actuator_velocity).sum())
    assert factors["elbow"] == pytest.approx(np.sin(data.qpos[1]))
    for name, place in TARGETS.items():
        far = np.linalg.norm(tip.xpos[:2] - data.body(name).xpos[:2])
        assert factors[name] == pytest.approx(np.exp(-((far / 0.08) ** 2)))
        np.testing.assert_allclose(data.body(name).xpos[:2], place)


@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("bend", [1, -1])
def test_every_target_can_be_reached_with_the_elbow_either_way(target, bend):
    x, y = TARGETS[target]
    cosine = (x**2 + y**2 - LINKS[0] ** 2 - LINKS[1] ** 2) / (2 * LINKS[0] * LINKS[1])
    elbow = bend * np.arccos(cosine)
    shoulder = np.arctan2(y, x) - np.arctan2(LINKS[1] * np.sin(elbow), LINKS[0] + LINKS[1] * np.cos(elbow))
    envs = make(REACHER)
    envs.reset(seed=0)
    for _ in range(envs.max_episode_steps - 1):
        qpos, qvel = envs._physics.qpos, envs._physics.qvel
        off = np.stack(
            [np.arctan2(np.sin(shoulder - qpos[:, 0]), np.cos(shoulder - qpos[:, 0])), elbow - qpos[:, 1]], -1
        )
        *_, info = envs.step(1.5 * off - 0.1 * qvel)
    factors = named(envs, info)
    assert factors[target].min() > 0.95
    assert max(factors[other].max() for other in TARGETS if other != target) < 0.02
    np.testing.assert_allclose(factors["elbow"], np.sin(elbow), atol=0.05)


def test_people_pace_as_their_script_says():
    envs = make(CROWD, 3)
    envs.reset(seed=0)
    start, speed = envs._physics.qpos[:, 2:].copy(), envs._physics.qvel[:, 2:].copy()
    phase = np.arctan2(-speed * PERIOD / (2 * np.pi), start)
    rng = np.random.default_rng(0)
    for step in range(1, envs.max_episode_steps):
        envs.step(rng.uniform(-1, 1, (3, 2)))
        script = REACH * np.cos(phase + 2 * np.pi * step * envs._physics.seconds / PERIOD)
        # Half a physics step of 0.05 s at their top speed of 1.4 m/s.
        np.testing.assert_allclose(envs._physics.qpos[:, 2:], script, atol=0.036)


def test_crowd_factors_by_hand():
    world = pluralign_envs.make_world(CROWD)
    away = np.concatenate([[3.5, -1.0], np.full(5, 2.0)])
    moving = np.concatenate([[0.3, 0.4], np.zeros(5)])
    progress, arrival, comfort, distance, effort = world.measure(away, moving, np.array([0.6, -0.8]))
    assert progress == pytest.approx(0.4)  # the goal lies due north
    assert arrival == pytest.approx(np.exp(-((1 / 0.75) ** 4)))
    assert distance == pytest.approx(np.hypot(1.5, 3))
    assert effort == pytest.approx(1)
    assert 0.99 < comfort < 1
    met = np.concatenate([[WALK[1], 0.5], np.full(5, 0.5)])
    assert world.measure(met, moving, np.zeros(2))[2:4] == pytest.approx([0, 0])


def test_progress_adds_up_to_the_way_made():
    envs = make(CROWD, 8)
    observation, _ = envs.reset(seed=0)
    first, total = np.linalg.norm(GOAL - observation[:, :2], axis=-1), np.zeros(8)
    for _ in range(40):
        observation, _, _, _, info = envs.step(np.sign(GOAL - observation[:, :2]) * [1, 0.2])
        total += named(envs, info)["progress"] * envs._physics.seconds
    assert total.min() > 3
    np.testing.assert_allclose(total, first - np.linalg.norm(GOAL - observation[:, :2], axis=-1), atol=0.15)


def test_haste_and_comfort_are_at_odds():
    """Straight ahead at full speed, against along the northern wall: sooner there, and less comfortable."""

    def cross(careful):
        envs = make(CROWD, 64)
        observation, _ = envs.reset(seed=0)
        total = 0.0
        for _ in range(envs.max_episode_steps - 1):
            x, y = observation[:, 0], observation[:, 1]
            aim = np.broadcast_to(GOAL, (64, 2)).copy()
            if careful:
                aim[:, 1] = np.where(x < 2.8, 2.35, 0)
                aim[:, 0] = np.where((x < -2.8) & (y < 2.2), -3.5, 3.5)
            observation, _, _, _, info = envs.step(3 * (aim - observation[:, :2]))
            total = total + np.stack([named(envs, info)[name] for name in ("arrival", "comfort")], -1)
        return total / (envs.max_episode_steps - 1)

    hasty, careful = cross(False), cross(True)
    gap, error = (hasty - careful).mean(0), (hasty - careful).std(0) / 8
    assert gap[0] > 3 * error[0]
    assert gap[1] < -3 * error[1]


def push(envs, observation, puck, tray):
    """Get behind a puck as seen from the tray, then push it there."""
    hand, at = observation[:, :2], observation[:, 2 + 2 * puck : 4 + 2 * puck]
    way = np.array(TRAYS[tray]) - at
    left = np.linalg.norm(way, axis=-1, keepdims=True)
    way = way / np.maximum(left, 1e-9)
    off = hand - at
    along = (off * way).sum(-1, keepdims=True)
    aside = off - along * way
    behind = (along < -RADIUS) & (np.linalg.norm(aside, axis=-1, keepdims=True) < 0.02)
    # Beside or in front of it: around, at three radii.
    side = np.where(np.linalg.norm(aside, axis=-1, keepdims=True) > 1e-6, aside, way[:, ::-1] * [1, -1])
    side = side / np.linalg.norm(side, axis=-1, keepdims=True)
    around = at + 3 * RADIUS * side - 3 * RADIUS * way
    back = at - 2.6 * RADIUS * way
    goal = np.where(along < -1.5 * RADIUS, back, around)
    force = np.where(behind, np.minimum(1, 8 * left) * way - 4 * aside, 6 * (goal - hand))
    return np.where((left < 0.02) & behind, 0.0, force)


@pytest.mark.parametrize(("puck", "tray"), [(0, "left"), (1, "left"), (0, "right")])
def test_a_puck_can_be_pushed_into_either_tray(puck, tray):
    envs = make(PUSHER, 64)
    observation, _ = envs.reset(seed=0)
    for _ in range(envs.max_episode_steps - 1):
        observation, _, _, _, info = envs.step(push(envs, observation, puck, tray))
    factors, name = named(envs, info), ("red", "blue")[puck]
    other = {"left": "right", "right": "left"}[tray]
    assert (factors[f"{name}_{tray}"] > 0.9).mean() > 0.7
    assert (factors[f"{name}_{tray}"] > factors[f"{name}_{other}"]).mean() > 0.85


def test_balls_do_not_pass_through_each_other_or_the_fence():
    envs = make(PUSHER)
    rng = np.random.default_rng(0)
    envs.reset(seed=0)
    for _ in range(30):
        force = rng.choice([-1.0, 1.0], (32, 2))
        for _ in range(4):
            place = envs.step(force)[0][:, :6].reshape(-1, 3, 2)
            for a, b in ((0, 1), (0, 2), (1, 2)):
                assert np.linalg.norm(place[:, a] - place[:, b], axis=-1).min() > 1.5 * RADIUS
            assert (np.abs(place) < [0.6 - 0.06, 0.45 - 0.06]).all()


def test_pucks_start_on_either_side_and_apart():
    world = pluralign_envs.make_world(PUSHER)
    qpos, _ = world.start(np.random.default_rng(0).random((1000, 6)))
    red, blue = qpos[:, 2:4], qpos[:, 4:6]
    assert 0.45 < (red[:, 0] < 0).mean() < 0.55
    assert np.linalg.norm(red - blue, axis=-1).min() > 2 * RADIUS
    assert np.linalg.norm(red - qpos[:, :2], axis=-1).min() > 2 * RADIUS
