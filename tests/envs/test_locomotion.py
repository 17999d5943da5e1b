"""Factors of the walkers against MuJoCo's own numbers."""

import gymnasium
import mujoco
import numpy as np
import pluralign_envs
import pytest
from pluralign_envs.gymnasium_model import ASSETS

IDS = ["pluralign/Cheetah-v0", "pluralign/Walker-v0", "pluralign/Ant-v0"]
FILES = dict(zip(IDS, ("half_cheetah.xml", "walker2d_v5.xml", "ant.xml"), strict=True))


def state(id, steps=30, seed=0):
    """A model, its data at a state reached by random actions, and the last action."""
    env = gymnasium.make(id).unwrapped
    env.reset(seed=seed)
    env.action_space.seed(seed)
    for _ in range(steps):
        action = env.action_space.sample()
        _, _, _, _, info = env.step(action)
    model = env._physics.model
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = env._physics.qpos[0], env._physics.qvel[0]
    data.ctrl[:] = action
    mujoco.mj_forward(model, data)
    return env, model, data, dict(zip(env.factor_names, info["factors"], strict=True))


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_factors_are_what_mujoco_says(id, seed):
    _, model, data, factors = state(id, seed=seed)
    torso = data.body("torso")
    power = np.abs(data.actuator_force * data.actuator_velocity).sum()
    velocity = np.zeros(6)
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, torso.id, velocity, 0)
    ahead = ("east", "north") if "east" in factors else ("speed",)
    for axis, name in enumerate(ahead):
        assert factors[name] == pytest.approx(velocity[3 + axis], abs=1e-9)
    assert factors["power"] == pytest.approx(power, rel=1e-9)
    assert power > 1
    assert factors["height"] == pytest.approx(torso.xpos[2], abs=1e-9)
    assert factors["upright"] == pytest.approx(torso.xmat[8], abs=1e-9)
    assert factors["bounce"] == pytest.approx(velocity[5] ** 2, abs=1e-9)


@pytest.mark.parametrize("id", IDS)
def test_steps_are_those_of_gymnasiums_model(id):
    """From the same state, the same action leads where the untouched model goes."""
    model = mujoco.MjModel.from_xml_path(str(ASSETS / FILES[id]))
    data, env = mujoco.MjData(model), gymnasium.make(id).unwrapped
    env.reset(seed=0)
    data.qpos[:], data.qvel[:] = env._physics.qpos[0], env._physics.qvel[0]
    rng = np.random.default_rng(0)
    for _ in range(5):
        data.ctrl[:] = rng.uniform(-1, 1, env.action_space.shape)
        env.step(data.ctrl)
        mujoco.mj_step(model, data, nstep=env.world.substeps)
        # Warm starts, which the untouched model has, change the contact solver's last digits.
        np.testing.assert_allclose(env._physics.qpos[0], data.qpos, atol=1e-4)


@pytest.mark.parametrize("id", IDS)
def test_standing_still_uses_no_power(id):
    world = pluralign_envs.make_world(id)
    env = gymnasium.make(id).unwrapped
    env.reset(seed=0)
    *_, info = env.step(np.zeros(env.action_space.shape))
    factors = dict(zip(env.factor_names, info["factors"], strict=True))
    assert factors["power"] == 0
    assert factors["upright"] > 0.9
    assert [factor.name for factor in world.factors] == list(env.factor_names)
