import warnings

import gymnasium
import line  # noqa: F401 - registers the environment
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_stable

from pluralign.rewards import PersonalWrapper, RewardWrapper, VectorRewardWrapper, known_voices

PAIR = known_voices([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5]], [0.75, 0.25])


def make():
    return gymnasium.make("pluralign-tests/SingleLine-v0", disable_env_checker=True)


def paid():
    return RewardWrapper(make(), PAIR)


def personal(voices=PAIR):
    return PersonalWrapper(make(), voices)


@pytest.mark.parametrize("build", [paid, personal])
def test_checkers_of_gymnasium_and_stable_baselines(build):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(different from the unwrapped version|`spec`).*")
        check_env(build(), skip_render_check=True)
        check_stable(build())


def test_pays_the_weighted_sum_of_the_voices():
    env = RewardWrapper(make(), PAIR, torch.tensor([2.0, 1.0]))
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.array([0.5], dtype=np.float32))
    left, right, effort = info["factors"]
    assert reward == pytest.approx(2 * (left - 0.5 * effort) + (right - 0.5 * effort), abs=1e-12)
    np.testing.assert_allclose(info["rewards"], [left - 0.5 * effort, right - 0.5 * effort], atol=1e-12)
    by_share = paid()
    by_share.reset(seed=0)
    _, reward, *_ = by_share.step(np.array([0.5], dtype=np.float32))
    assert reward == pytest.approx(info["rewards"] @ [0.75, 0.25], abs=1e-12)


def test_each_episode_serves_somebody():
    env = personal()
    met = []
    for episode in range(200):
        observation, info = env.reset(seed=0 if episode == 0 else None)
        assert observation.shape == (4,)
        met.append(int(info["z"][0]))
        told = env.gauge.direction(torch.as_tensor(info["z"])).numpy()
        np.testing.assert_allclose(observation[1:], told, atol=1e-6)
        assert np.linalg.norm(told) == pytest.approx(1)
    assert abs(np.mean(met) - 0.75) < 4.5 * (0.1875 / 200) ** 0.5


def test_a_given_taste_is_served_and_paid_in_its_own_spread():
    env = personal()
    _, info = env.reset(seed=1, options={"z": PAIR.z[1]})
    assert info["z"].tolist() == PAIR.z[1].tolist()
    rewards = []
    for _ in range(100):
        env.reset(options={"z": PAIR.z[1]})
        rewards += [env.step(env.action_space.sample())[1] for _ in range(20)]
    assert (
        0.6 < np.std(rewards) < 1.5
    )  # one over the random steps of the construction, which are ten episodes


def test_ten_times_the_reward_is_the_same_person():
    quiet, loud = personal(), personal(PAIR.scaled(torch.tensor([10.0, 0.1], dtype=torch.float64)))
    for seed in range(5):
        one, _ = quiet.reset(seed=seed)
        two, _ = loud.reset(seed=seed)
        np.testing.assert_allclose(one, two, atol=1e-6)
        action = np.array([0.3], dtype=np.float32)
        assert quiet.step(action)[1] == pytest.approx(loud.step(action)[1], rel=1e-9)


def test_unseeded_environments_differ_and_seeded_ones_do_not():
    first = lambda seed: personal().reset(seed=seed)[0].tolist()
    assert first(3) == first(3)
    assert len({first(None)[0] for _ in range(4)}) == 4


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="each of the 2 voices"):
        RewardWrapper(make(), PAIR, torch.ones(3))
    with pytest.raises(ValueError, match="each of the 2 voices"):
        RewardWrapper(make(), PAIR, -torch.ones(2))
    silent = gymnasium.make("CartPole-v1")
    env = RewardWrapper(silent, PAIR)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="publishes no"):
        env.step(0)
    with pytest.raises(ValueError, match="flatten"):
        PersonalWrapper(gymnasium.make("FrozenLake-v1"), PAIR)


def test_importing_rewards_does_not_import_gymnasium():
    import subprocess
    import sys

    code = "import sys, pluralign.rewards, pluralign.policies; print([m for m in ('gymnasium', 'mujoco', 'stable_baselines3') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_copies_are_paid_together_as_each_alone():
    """Also in the step that ends an episode, whose factors are its own and not those of the next one's start."""
    import pluralign_envs  # noqa: F401 - registers the worlds

    world, push = (
        "pluralign/PointMaze-v0",
        np.random.default_rng(0).uniform(-1, 1, (7, 3, 2)).astype(np.float32),
    )
    many = VectorRewardWrapper(
        gymnasium.make_vec(world, 3, vectorization_mode="vector_entry_point", max_episode_steps=5),
        PAIR,
        torch.tensor([2.0, 1.0]),
    )
    many.reset(seed=4)
    together = [many.step(rows) for rows in push]
    for copy in range(3):
        one = RewardWrapper(gymnasium.make(world, max_episode_steps=5), PAIR, torch.tensor([2.0, 1.0]))
        one.reset(seed=4 + copy)
        for step, rows in enumerate(push[:5]):
            _, reward, _, over, info = one.step(rows[copy])
            assert together[step][1][copy] == reward
            assert np.array_equal(together[step][4]["rewards"][copy], info["rewards"])
            assert together[step][3][copy] == over
    with pytest.raises(ValueError, match="one number, not negative, for each of the 2 voices"):
        VectorRewardWrapper(many.env, PAIR, torch.ones(3))


def test_a_lost_step_pays_nothing():
    class Breaking(gymnasium.vector.VectorEnv):
        def step(self, actions):
            none = np.zeros(2, dtype=bool)
            info = {"factors": np.ones((2, 3)), "lost": np.array([True, False])}
            return np.zeros((2, 1)), np.zeros(2), info["lost"], none, info

    _, reward, _, _, info = VectorRewardWrapper(Breaking(), PAIR).step(np.zeros((2, 1)))
    assert reward.tolist() == [0.0, 0.5]
    assert info["rewards"].tolist() == [[0.0, 0.0], [0.5, 0.5]]
