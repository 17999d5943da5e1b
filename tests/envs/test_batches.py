import gymnasium
import numpy as np
import pluralign_envs
import pytest
from gymnasium.vector import AutoresetMode

IDS = list(pluralign_envs.catalogue.WORLDS)


def make(id=IDS[0], copies=5, **settings):
    return gymnasium.make_vec(id, num_envs=copies, vectorization_mode="vector_entry_point", **settings)


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("nthread", [0, 2])
def test_batch_equals_single_copies_bit_for_bit(id, nthread):
    batch = make(id, max_episode_steps=7, nthread=nthread)
    singles = gymnasium.make_vec(
        id,
        num_envs=5,
        max_episode_steps=7,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )
    assert batch.observation_space == singles.observation_space
    assert batch.action_space == singles.action_space
    assert batch.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert (batch.reset(seed=3)[0] == singles.reset(seed=3)[0]).all()
    rng = np.random.default_rng(0)
    for step in range(1, 23):
        action = rng.uniform(-1, 1, batch.action_space.shape).astype(np.float32)
        ours, theirs = batch.step(action), singles.step(action)
        for a, b in zip(ours[:4], theirs[:4], strict=True):
            assert a.dtype == b.dtype
            assert (a == b).all()
        if step % 7:
            assert (ours[4]["factors"] == theirs[4]["factors"]).all()
            assert set(ours[4]) == set(theirs[4])
        else:
            # gymnasium knows the factors of an ended step in `final_info` only; ours are in `factors` too.
            assert (ours[4]["final_info"]["factors"] == theirs[4]["final_info"]["factors"]).all()
            assert (ours[4]["factors"] == ours[4]["final_info"]["factors"]).all()
            assert ours[4]["_final_info"].all()
            assert ours[4]["_final_obs"].all()
            for a, b in zip(ours[4]["final_obs"], theirs[4]["final_obs"], strict=True):
                assert (a == b).all()


def test_some_copies_can_be_reset_to_a_state():
    envs = make(copies=3)
    before = envs.reset(seed=0)[0]
    mask = np.array([False, True, False])
    options = {"reset_mask": mask, "qpos": np.array([[0.1, 0.2]]), "qvel": np.array([[0.3, 0.4]])}
    after = envs.reset(options=options)[0]
    assert (after[~mask] == before[~mask]).all()
    np.testing.assert_array_equal(after[1], np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32))


def test_copies_out_of_step_end_apart():
    envs = make(copies=2, max_episode_steps=3)
    envs.reset(seed=0)
    envs.step(np.zeros((2, 2)))
    envs.reset(options={"reset_mask": np.array([True, False])})
    envs.step(np.ones((2, 2)))
    observation, _, _, truncated, info = envs.step(np.ones((2, 2)))
    assert truncated.tolist() == [False, True] == info["_final_obs"].tolist()
    assert info["final_obs"][0] is None
    assert (info["final_obs"][1] != observation[1]).any()
    assert (info["final_info"]["factors"][1] == info["factors"][1]).all()


def test_results_are_not_overwritten_by_later_steps():
    envs = make()
    first = envs.reset(seed=0)[0]
    kept = first.copy()
    seen = envs.step(np.ones((5, 2)))
    copies = seen[0].copy(), seen[4]["factors"].copy()
    envs.step(-np.ones((5, 2)))
    assert (first == kept).all()
    assert (seen[0] == copies[0]).all()
    assert (seen[4]["factors"] == copies[1]).all()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: make(copies=0), "`num_envs` must be a whole number of at least 1, got 0."),
        (lambda: make(nthread=-1), "`nthread` must be a whole number of at least 0, got -1."),
        (lambda: make(max_episode_steps=0), "`max_episode_steps` must be a whole number of at least 1"),
        (lambda: make().reset(seed=[1, 2]), "`seed` must be one number or 5, got 2."),
        (lambda: make().reset(options={"reset_mask": np.zeros(5)}), "`reset_mask` must be (5,) booleans"),
    ],
)
def test_a_wrong_call_is_explained(act, message):
    with pytest.raises(ValueError) as caught:
        act()
    assert message in str(caught.value)
