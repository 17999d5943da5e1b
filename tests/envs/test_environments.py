import os
import subprocess
import sys

import gymnasium
import mujoco
import numpy as np
import pluralign_envs
import pytest
from gymnasium.utils.env_checker import check_env

IDS = list(pluralign_envs.catalogue.WORLDS)


@pytest.mark.filterwarnings("ignore:.*Box observation space:UserWarning")
@pytest.mark.parametrize("id", IDS)
def test_both_checkers_pass(id):
    sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
    env = gymnasium.make(id, render_mode="rgb_array")
    sb3.check_env(env.unwrapped)  # first: gymnasium's leaves the environment closed
    check_env(env.unwrapped)


@pytest.mark.parametrize("id", IDS)
def test_a_seed_fixes_the_episode(id):
    def episode(seed):
        env = gymnasium.make(id)
        env.action_space.seed(0)
        seen = [env.reset(seed=seed)[0]]
        truncated = False
        while not truncated:
            observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
            assert reward == 0
            assert not terminated
            assert info["factors"].shape == (len(env.unwrapped.factors),)
            seen.append(observation)
        return np.array(seen)

    assert len(episode(0)) == 1 + gymnasium.spec(id).max_episode_steps
    assert (episode(0) == episode(0)).all()
    assert (episode(0)[0] != episode(1)[0]).any()


def test_frames():
    env = gymnasium.make(IDS[0], render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (480, 640, 3)
    assert frame.dtype == np.uint8
    red, green, blue = np.moveaxis(frame.astype(int), -1, 0)
    at_red, at_blue = red > green + blue, blue > red + green // 2
    assert np.argwhere(at_red)[:, 1].mean() < 320 < np.argwhere(at_blue)[:, 1].mean()
    env.close()


def test_missing_graphics_name_the_package(monkeypatch):
    env = gymnasium.make(IDS[0], render_mode="rgb_array")
    env.reset(seed=0)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setitem(sys.modules, "mujoco.egl", None)
    with pytest.raises(RuntimeError, match="apt-get install libegl1"):
        env.render()


def test_a_context_that_is_none_names_the_package(monkeypatch):
    """GLFW without a display returns a context; MuJoCo then finds that it is none."""

    class Nothing:
        make_current = free = lambda self: None

    def fails(*given):
        raise mujoco.FatalError("an OpenGL platform library has not been loaded")

    env = gymnasium.make(IDS[0], render_mode="rgb_array")
    env.reset(seed=0)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr("pluralign_envs.render._context", lambda width, height: Nothing())
    monkeypatch.setattr(mujoco, "MjrContext", fails)
    with pytest.raises(
        RuntimeError, match=r"No graphics for rendering .* run `apt-get install libegl1"
    ) as told:
        env.render()
    assert "\n" not in str(told.value)


def test_graphics_that_mujoco_does_not_find_name_the_package():
    code = "import pluralign_envs.physics"
    env = {**os.environ, "MUJOCO_GL": "nonsense"}
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    last = told.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: No graphics for rendering (MUJOCO_GL='nonsense': invalid value")
    assert "set MUJOCO_GL=egl" in last


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda env: env.step([0.0]), "An action must have shape (2,), got (1,)."),
        (lambda env: env.step([0.0, np.nan]), "Actions must be finite; 1 numbers are not, first at [1]."),
        (lambda env: env.reset(options={"place": 1}), "Unknown reset options ['place']"),
        (lambda env: env.reset(options={"qpos": [0, np.nan]}), "`qpos` must be finite, got nan."),
        (lambda env: env.reset(options={"qpos": [0]}), "`qpos` must have shape (2,), got (1,)."),
        (
            lambda _: pluralign_envs.twin("Maze"),
            "There is no world 'Maze'; the worlds are pluralign/PointMaze-v0, ",
        ),
        (lambda env: type(env)(render_mode="human"), "`render_mode` must be None or one of ['rgb_array']"),
    ],
)
def test_a_wrong_call_is_explained(act, message):
    env = gymnasium.make(IDS[0]).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError) as caught:
        act(env)
    assert message in str(caught.value)


def test_step_needs_a_reset():
    with pytest.raises(gymnasium.error.ResetNeeded):
        gymnasium.make(IDS[0]).unwrapped.step([0.0, 0.0])


def test_motors_saturate():
    env = gymnasium.make(IDS[0]).unwrapped
    seen = []
    for force in (1.0, 7.0):
        env.reset(seed=0)
        observation, _, _, _, info = env.step([force, 0.0])
        seen.append((*observation, *info["factors"]))
    assert seen[0] == seen[1]


def test_registering_imports_no_simulator():
    code = "import sys, pluralign_envs; print({'mujoco', 'torch', 'stable_baselines3', 'pluralign'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
