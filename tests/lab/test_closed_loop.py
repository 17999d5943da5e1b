"""Collect, ask, fit, optimise, and again: on a maze with exact policies, and once with a simulated body."""

import dataclasses

import pandas as pd
import pluralign_envs
import pytest
import stable_baselines3  # noqa: F401 - its import seeds a global stream, so before any test
import torch

from pluralign.data.options import Segments
from pluralign.lab import closed_loop as module
from pluralign.lab.closed_loop import Closed, Loop, camps_of, closed_loop
from pluralign.lab.serving import GoingOn
from pluralign.lab.shown import pieces
from pluralign.policies import PPO, MaxMin, Personalised, Single, Tabular, maxmin_value
from pluralign.policies.pessimist import Pessimist
from pluralign.population.camps import Camps
from pluralign.population.ensemble import Ensemble
from pluralign.population.pooled import Pooled
from pluralign.raters import CampPeople, ChangingPeople, GaussianPeople, Swing
from pluralign.rewards.transforms import relative_gain

WORLD = "pluralign/PointMaze-v0"
TASTES = ((1.0, 0.0, -0.02), (0.0, 1.0, -0.02))
CAMPS = Camps(groups=2, ridge=0.1, restarts=4)
SHORT = Loop(rounds=3, asked=4, population=CAMPS)


@pytest.fixture(scope="module")
def maze():
    return pluralign_envs.twin(WORLD)


@pytest.fixture(scope="module")
def people():
    return CampPeople(TASTES, (0.7, 0.3)).draw(20, 0)


@pytest.fixture(scope="module")
def once(maze, people):
    return closed_loop(maze, people, SHORT, seed=0)


def test_people_who_are_asked_again_are_served_better(maze, people, once):
    assert isinstance(once, Closed)
    assert once.table["questions"].tolist() == [80, 160, 240]
    assert len(once.answers) == 240
    assert once.table["log_loss"].iloc[-1] < once.table["log_loss"].iloc[0]
    learner, truth = Tabular(maze), camps_of(people)
    own = [learner.returns(learner.improve(truth, one), truth)[0] for one in torch.eye(2).double()]
    random = learner.returns(learner.random(), truth)[0]
    scale = relative_gain(random, torch.stack(own).diagonal())
    exact = maxmin_value(maze, learner.rewards(truth), shift=scale.shift, factor=scale.factor)
    assert exact.value - 0.15 < once.table["worst"].iloc[-1] <= exact.value + 1e-6
    gained = scale(once.policy.returns(learner, truth)[0])
    assert once.table[["camp 0", "camp 1"]].iloc[-1].tolist() == pytest.approx(gained.tolist())


def test_one_reward_for_all_leaves_the_minority(maze, people):
    pooled = dataclasses.replace(SHORT, population=Pooled(ridge=0.1), optimiser=Single(), pick="random")
    table = closed_loop(maze, people, pooled, seed=0).table
    assert table["camp 0"].iloc[-1] > 0.9
    assert table["camp 1"].iloc[-1] < 0.1


def test_everybody_by_their_own_taste(maze, people):
    personal = dataclasses.replace(SHORT, optimiser=Personalised())
    assert closed_loop(maze, people, personal, seed=0).table["worst"].iloc[-1] > 0.9


def test_an_ensemble_that_asks_where_it_disagrees(maze, people):
    careful = Loop(
        rounds=2,
        pick="disagreement",
        population=Ensemble(dataclasses.replace(CAMPS, restarts=2), 3),
        optimiser=Pessimist(people=2),
    )
    found = closed_loop(maze, people, careful, seed=0)
    assert found.table["mean"].iloc[-1] > 0.5
    assert "sure" in found.policy.diagnostics


def test_the_same_again_and_from_where_it_stopped(maze, people, once, tmp_path, monkeypatch):
    calls, judge = [], module._judge

    def stops(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return judge(*args)

    monkeypatch.setattr(module, "_judge", stops)
    with pytest.raises(KeyboardInterrupt):
        closed_loop(maze, people, SHORT, seed=0, out=tmp_path / "run")
    again = closed_loop(maze, people, SHORT, seed=0, out=tmp_path / "run")
    assert len(calls) == 4  # one round done, one broken off, two more: the first was not done again
    pd.testing.assert_frame_equal(again.table, once.table, check_exact=True)
    assert torch.equal(again.answers.label, once.answers.label)
    with pytest.raises(FileExistsError, match="another config"):
        closed_loop(maze, people, SHORT, seed=1, out=tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("worst") == 3


def test_nobody_is_asked_the_same_twice(once):
    first, second = once.answers.slate.sort(1).values.T
    key = (once.answers.rater * 10_000 + first) * 10_000 + second
    fresh = torch.unique(key)
    # Within a round candidates may repeat by chance; between rounds they may not.
    assert len(fresh) >= 0.98 * len(key)


def test_later_questions_are_about_what_policies_do(maze, people, once):
    # New pieces come last: in the last round at least a third of what is asked shows one of them.
    last = once.answers.slate[-80:]
    assert float((last >= len(once.answers.options) - SHORT.pieces).any(1).double().mean()) > 1 / 3


@pytest.mark.parametrize(
    "crowd",
    [
        GaussianPeople((0.5, 0.5, -0.02), ((1.0, -0.9, 0.0), (-0.9, 1.0, 0.0), (0.0, 0.0, 0.0))),
        ChangingPeople(
            CampPeople(TASTES, (0.5, 0.5)), (Swing(((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))),)
        ),
    ],
    ids=["continuum", "turning"],
)
def test_other_crowds(maze, crowd):
    found = closed_loop(maze, crowd.draw(12, 0), Loop(rounds=2, asked=2, population=CAMPS), seed=0)
    assert len(found.table) == 2
    assert found.table[["mean", "worst", "accuracy"]].notna().all(axis=None)


def test_pieces_lie_inside_their_episodes(rng):
    steps = torch.arange(12).double().expand(5, -1)
    there = torch.tensor([12, 12, 7, 3, 1])
    episodes = Segments(steps[..., None].clone(), torch.arange(12) < there[:, None])
    for _ in range(20):
        cut = pieces(episodes, 4, generator=rng)
        assert cut.mask.sum(1).tolist() == [4, 4, 4, 3, 1]
        last = cut.factors[..., 0].amax(1)
        assert bool((last < there).all())
        moves = (cut.factors[:3, 1:, 0] - cut.factors[:3, :-1, 0]).flatten()
        assert set(moves.tolist()) == {1.0}


def test_camps_by_their_true_tastes(people):
    truth = camps_of(people)
    torch.testing.assert_close(truth.z, torch.tensor(TASTES, dtype=torch.float64))
    assert truth.weight.tolist() == pytest.approx([0.7, 0.3])


def test_a_learner_goes_on_from_what_is_known(maze, people):
    random = Tabular(maze).random()

    class Asked:
        starts: list = []  # noqa: RUF012

        def improve(self, voices, weight, *, seed=0, start=None, progress=None):
            self.starts.append(start)
            return random

    one, truth = torch.ones(2).double() / 2, camps_of(people)
    for known, start in (((random,), None), ((random,), ()), ((), None)):
        GoingOn(Asked(), known).improve(truth, one, start=start)
    assert Asked.starts == [(random,), (), None]


@pytest.mark.slow
def test_with_a_simulated_body():
    # Two camps that mind effort, more and less: that is learned in few steps.
    crowd = CampPeople(((0.1, 0.0, -2.0), (0.0, 0.1, -1.0)), (0.5, 0.5)).draw(8, 0)
    learner = PPO(WORLD, steps=4096, again=2048, imitation=20, episodes=16)
    settings = Loop(rounds=2, pieces=20, population=CAMPS, optimiser=MaxMin(rounds=1, scale="none"))
    found = closed_loop(WORLD, crowd, settings, learner=learner, seed=0)
    assert len(found.table) == 2
    assert found.answers.options.names == ("red", "blue", "effort")
    assert found.table["mean"].iloc[-1] > 0.3


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="`rounds` must be at least 1, got 0"):
        Loop(rounds=0)
    with pytest.raises(
        ValueError, match="`pick` must be one of random, information, disagreement, got 'best'"
    ):
        Loop(pick="best")
    with pytest.raises(ValueError, match="`pieces` must be at least 3"):
        Loop(pieces=2)
    with pytest.raises(TypeError, match="has no true tastes to judge by"):
        camps_of(object())
