"""What every world promises, over all of them."""

import gymnasium
import mujoco
import numpy as np
import pluralign_envs
import pytest

IDS = list(pluralign_envs.catalogue.WORLDS)
UNITS = {"fraction", "m", "m/s", "m^2/s^2", "W", "N^2", "1"}


@pytest.fixture(scope="module", params=IDS)
def id(request):
    return request.param


@pytest.fixture(scope="module")
def model(id):
    return mujoco.MjModel.from_xml_string(pluralign_envs.make_world(id).mjcf)


def make(id, copies, **settings):
    return gymnasium.make_vec(id, num_envs=copies, vectorization_mode="vector_entry_point", **settings)


def test_factors_have_names_units_and_words(id):
    world = pluralign_envs.make_world(id)
    assert isinstance(world, pluralign_envs.World)
    names = [factor.name for factor in world.factors]
    assert len(set(names)) == len(names) >= 3
    assert all(name.isidentifier() for name in names)
    assert {factor.unit for factor in world.factors} <= UNITS
    assert all(len(factor.description.split()) > 2 for factor in world.factors)
    assert world.summary.endswith(".")


def test_bodies_and_cameras_are_named(id, model):
    assert all(model.body(i).name for i in range(model.nbody))
    assert all(model.camera(i).name for i in range(model.ncam))
    assert model.camera(pluralign_envs.make_world(id).camera).id >= 0
    assert all(model.actuator(i).name for i in range(model.nu))


def test_no_shadows_and_no_warm_start(model):
    assert model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_WARMSTART
    assert not model.light_castshadow.any() or model.vis.quality.shadowsize == 0


def test_an_episode_of_random_actions_stays_finite_and_factors_differ(id):
    envs = make(id, 8)
    envs.reset(seed=0)
    rng, total = np.random.default_rng(0), []
    for _ in range(envs.max_episode_steps - 1):
        action = rng.uniform(-1, 1, envs.action_space.shape) * envs.single_action_space.high
        observation, _, _, _, info = envs.step(action)
        assert np.isfinite(observation).all()
        total.append(info["factors"])
    total = np.array(total)
    assert np.isfinite(total).all()
    fraction = [factor.unit == "fraction" for factor in envs.factors]
    assert (np.abs(total[..., fraction]) <= 1).all()
    assert (total.std((0, 1)) > 0).sum() >= 2


def test_measure_broadcasts(id, model):
    world, rng = pluralign_envs.make_world(id), np.random.default_rng(0)
    qpos, qvel = world.start(rng.random((2, 3, world.draws)))
    action = rng.uniform(-1, 1, (2, 3, model.nu))
    assert qpos.shape == (2, 3, model.nq)
    assert qvel.shape == (2, 3, model.nv)
    together = world.measure(qpos, qvel, action)
    assert together.shape == (2, 3, len(world.factors))
    assert world.observe(qpos, qvel).shape == (2, 3, world.observation_size)
    assert (world.measure(qpos[1, 2], qvel[1, 2], action[1, 2]) == together[1, 2]).all()


def test_a_frame_shows_something(id):
    env = gymnasium.make(id, render_mode="rgb_array")
    env.reset(seed=0)
    try:
        frame = env.render()
    except RuntimeError as problem:
        pytest.skip(str(problem))
    finally:
        env.close()
    assert frame.shape == (480, 640, 3)
    assert frame.std((0, 1)).max() > 10
