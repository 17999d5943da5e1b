"""What was seen is priced anew when tastes change, and a search begins with it."""

import numpy as np
import pytest
import torch
from worlds import Line

from pluralign.policies import SAC
from pluralign.policies.learners.batch import made
from pluralign.policies.learners.memory import Memory, Seen, paid, replay_class, running
from pluralign.rewards import known_voices

pytest.importorskip("stable_baselines3.sac")

PAIR = known_voices([[1.0, 0.0, -0.1], [0.0, 1.0, -0.1]])
LEFT, RIGHT = torch.eye(2).double()
SETTINGS = {"copies": 8, "batch": 64, "hidden": (32,), "episodes": 32, "learning_rate": 5e-3}


def wander(memory):
    """A search of 640 random steps, after which nothing was learned but all was seen."""
    SAC(Line, steps=640, warmup=640, memory=memory, **SETTINGS).improve(PAIR, LEFT, seed=0)


def test_old_steps_are_paid_by_the_tastes_of_today(monkeypatch):
    memory, told = Memory(), []
    wander(memory)
    before = memory.seen
    assert before.read.shape[:2] == (80, 8)
    assert before.cut.nonzero()[:, 0].unique().tolist() == [
        19,
        39,
        59,
        79,
    ]  # every 20 steps, by the clock alone
    assert not before.ended.any()
    recall = replay_class().recall

    def listen(buffer, seen, reward, *more):
        recall(buffer, seen, reward, *more)
        told.append((buffer.rewards[: len(seen)].copy(), more[-1], buffer.first))

    monkeypatch.setattr(replay_class(), "recall", listen)
    SAC(Line, steps=8, updates=1, memory=memory, **SETTINGS).improve(PAIR, RIGHT, seed=1)
    (rewards, unit, first), factors = told[0], before.factors
    assert first == 80
    np.testing.assert_allclose(rewards * unit, (factors[..., 1] - 0.1 * factors[..., 2]).numpy(), rtol=1e-5)
    assert len(memory.seen) == 81
    assert torch.equal(memory.seen.factors[:80], factors)


def test_what_was_seen_need_not_be_seen_again():
    """Twenty steps of each copy are enough for the other voice, where the same twenty alone are not."""
    memory = Memory()
    wander(memory)
    line = SAC(Line, **SETTINGS)
    few = {"steps": 160, "warmup": 160, "updates": 20, **SETTINGS}
    worth = lambda policy: float(line.returns(policy, PAIR).mean(0)[1])
    with_it = worth(SAC(Line, memory=memory, **few).improve(PAIR, RIGHT, seed=1))
    without = worth(SAC(Line, **few).improve(PAIR, RIGHT, seed=1))
    assert with_it > without + 3
    assert with_it > 8


def test_one_network_for_all_is_told_anew_whom_old_steps_serve():
    memory = Memory()
    wander(memory)
    policy = SAC(Line, personal=8, updates=1, memory=memory, **SETTINGS).personalise(
        PAIR.worth, PAIR.z, seed=1
    )
    assert policy.of(PAIR.z[0]).act(np.zeros((3, 1))).shape == (3, 1)
    assert memory.seen.read.shape == (81, 8, 1)  # tastes are not remembered


def test_discounted_sums_begin_anew_with_an_episode():
    none = torch.zeros(3, 1, 1)
    seen = Seen(none, none, none, torch.tensor([1.0, 2.0, 4.0])[:, None, None], torch.zeros(3, 1).bool(),
                torch.tensor([[False], [True], [False]]))  # fmt: skip
    reward = paid(seen, lambda factors, who: factors[:, 0], np.zeros((3, 1), dtype=int))
    assert running(seen, reward, 0.5).tolist() == [1.0, 2.5, 4.0]


def test_a_memory_is_of_one_world_and_number_of_copies():
    memory = Memory()
    wander(memory)
    with pytest.raises(
        ValueError, match=r"the memory is of 8 copies .* give each learner its own Memory\(\)"
    ):
        SAC(Line, memory=memory, **{**SETTINGS, "copies": 4}).improve(PAIR, RIGHT)


def test_a_broken_step_is_not_remembered():
    env = made(Line, 2)
    from gymnasium.spaces import Box

    buffer = replay_class()(8, Box(-1, 1, (1,)), env.single_action_space, "cpu", n_envs=2)

    class Copies:
        lost = np.array([True, False])
        factors = np.array([[0.0], [5.0]])

    buffer.paid = Copies()
    two = np.array([[1.0], [2.0]])
    step = (two, two, two, two[:, 0], np.array([True, False]), [{}, {}])
    buffer.add(*step)
    Copies.lost = np.array([True, True])
    buffer.add(*step)
    seen = buffer.seen(1)
    assert len(seen) == 1
    assert seen.read[0].tolist() == [[2.0], [2.0]]
    assert seen.factors[0].tolist() == [[5.0], [5.0]]
    assert not seen.cut.any()
