"""A simulation that becomes unstable ends its episode, is counted, and teaches nobody anything."""

import gymnasium
import numpy as np
import pluralign_envs
import pytest
from gymnasium.vector import AutoresetMode

IDS = list(pluralign_envs.catalogue.WORLDS)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """MuJoCo writes its warnings into a file where it runs."""
    monkeypatch.chdir(tmp_path)


def wild(id):
    """A first state that no simulation survives."""
    world = pluralign_envs.make_world(id)
    qpos, qvel = world.start(np.full(world.draws, 0.5))
    return {"qpos": qpos, "qvel": np.full_like(qvel, 1e11)}


@pytest.mark.parametrize("id", IDS)
def test_a_single_copy_ends(id):
    env = gymnasium.make(id)
    first = env.reset(seed=0, options=wild(id))[0]
    observation, reward, terminated, truncated, info = env.step(np.zeros(env.action_space.shape))
    assert (observation == first).all()
    assert (reward, terminated, truncated, info["lost"]) == (0, True, False, True)
    assert (info["factors"] == 0).all()
    assert env.unwrapped.lost == 1
    env.reset(seed=0)
    *_, terminated, _, info = env.step(np.zeros(env.action_space.shape))
    assert not terminated
    assert "lost" not in info


@pytest.mark.parametrize("id", IDS)
def test_in_a_batch_the_others_go_on(id):
    envs, calm = (
        gymnasium.make_vec(id, num_envs=3, vectorization_mode="vector_entry_point") for _ in range(2)
    )
    envs.reset(seed=0)
    calm.reset(seed=0)
    state = {name: value[None] for name, value in wild(id).items()}
    last = envs.reset(options={"reset_mask": np.array([False, True, False]), **state})[0]
    action = np.full(envs.action_space.shape, 0.3)
    observation, _, terminated, truncated, info = envs.step(action)
    expected = calm.step(action)
    assert (
        terminated.tolist()
        == info["lost"].tolist()
        == info["final_info"]["lost"].tolist()
        == [False, True, False]
    )
    assert not truncated.any()
    assert (info["factors"][1] == 0).all()
    assert (info["final_obs"][1] == last[1]).all()
    assert np.isfinite(observation).all()
    assert (np.abs(observation[1]) < 100).all()  # a new episode has begun
    for copy in (0, 2):
        assert (observation[copy] == expected[0][copy]).all()
        assert (info["factors"][copy] == expected[4]["factors"][copy]).all()
    assert envs.lost == 1
    assert "lost" not in envs.step(action)[4]


def test_gymnasiums_own_batch_says_the_same():
    id = IDS[0]
    ours = gymnasium.make_vec(id, num_envs=2, vectorization_mode="vector_entry_point")
    theirs = gymnasium.make_vec(
        id, num_envs=2, vectorization_mode="sync", vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP}
    )
    state = wild(id)
    ours.reset(seed=0, options={name: np.stack([value] * 2) for name, value in state.items()})
    theirs.reset(seed=0, options=state)
    a, b = ours.step(np.zeros((2, 2))), theirs.step(np.zeros((2, 2)))
    for mine, other in zip(a[:4], b[:4], strict=True):
        assert (mine == other).all()
    for name in ("lost", "_lost", "factors"):
        assert (a[4]["final_info"][name] == b[4]["final_info"][name]).all()


def test_stable_baselines_is_told_that_it_is_no_time_limit():
    sb3 = pytest.importorskip("pluralign_envs.sb3")
    env = sb3.StableVecEnv(IDS[0], num_envs=2)
    env.reset()
    state = {name: np.stack([value] * 2) for name, value in wild(IDS[0]).items()}
    env.env.reset(seed=0, options=state)
    env.step_async(np.zeros((2, 2)))
    _, _, done, infos = env.step_wait()
    assert done.all()
    assert not infos[0]["TimeLimit.truncated"]
