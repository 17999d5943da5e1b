import numpy as np
import pytest

sb3 = pytest.importorskip("stable_baselines3")
from pluralign_envs.sb3 import StableVecEnv  # noqa: E402

ID = "pluralign/PointMaze-v0"


def test_episodes_end_as_stable_baselines_expects():
    weight = np.array([1.0, 0.0, -0.5])
    env = StableVecEnv(ID, num_envs=3, max_episode_steps=4, reward=lambda factors: factors @ weight)
    env.seed(5)
    first, total = env.reset(), 0
    for step in range(1, 9):
        observation, reward, done, infos = env.step(np.full((3, 2), 0.5))
        np.testing.assert_allclose(reward, env.factors @ weight, rtol=1e-6)
        total = total + reward
        if step % 4:
            assert not done.any()
            assert infos == [{}, {}, {}]
            last = observation
            continue
        assert done.all()
        for copy, info in enumerate(infos):
            assert info["TimeLimit.truncated"]
            assert info["episode"]["l"] == 4
            assert info["episode"]["r"] == pytest.approx(total[copy], rel=1e-5)
            assert (info["factors"] == env.factors[copy]).all()
            # Pushed right by 0.5 N, the puck went on: the last observation is not the first of the next.
            assert info["terminal_observation"][0] >= last[copy, 0] - 0.1
            assert (info["terminal_observation"] != observation[copy]).any()
        total = 0
    env.seed(5)
    assert (env.reset() == first).all()
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("goal", [0, 1])
def test_ppo_reaches_the_goal_its_rater_wants(goal):
    env = StableVecEnv(ID, num_envs=64, reward=lambda factors: factors[:, goal])
    model = sb3.PPO(
        "MlpPolicy",
        env,
        n_steps=100,
        batch_size=640,
        n_epochs=5,
        learning_rate=1e-3,
        gamma=0.97,
        seed=0,
        device="cpu",
    )
    model.learn(64_000)
    env.seed(1)
    observation = env.reset()
    for _ in range(99):
        observation, _, _, _ = env.step(model.predict(observation, deterministic=True)[0])
    assert (env.factors[:, goal] > 0.9).mean() > 0.9
    assert env.factors[:, 1 - goal].max() < 0.1
