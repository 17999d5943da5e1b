import dataclasses
import tempfile

import numpy as np
import pytest
import torch
from worlds import LINE, Line

from pluralign.policies import (
    PPO,
    Learner,
    MaxMin,
    NetworkPolicy,
    Personalised,
    Simulator,
    discounted,
    load_policy,
)
from pluralign.rewards import known_voices

PAIR = known_voices([[1.0, 0.0, -0.05], [0.0, 1.0, -0.05]], [0.7, 0.3], names=("left", "right"))
LEFT, RIGHT = torch.eye(2)
SMALL = {
    "copies": 32,
    "span": 20,
    "batch": 160,
    "hidden": (32, 32),
    "learning_rate": 5e-3,
    "episodes": 32,
    "imitation": 300,
}
FAST = PPO(Line, steps=4000, again=1000, personal=1000, **SMALL)


@pytest.fixture(scope="module")
def left():
    return FAST.improve(PAIR, LEFT, seed=0)


def best():
    """Full push to one end, then rest there: the mean return of nearly the best policy, over even starts."""
    x, total = torch.linspace(-0.5, 0.5, 101).double(), 0.0
    for t in range(LINE):
        push = ((1 - x) / 0.2).clamp_max(1)
        x = x + 0.2 * push
        total = total + FAST.discount**t * (torch.exp(-(((x - 1) / 0.5) ** 2)) - 0.05 * push**2)
    return float(total.mean())


def test_is_a_learner():
    assert isinstance(FAST, Learner)
    assert isinstance(FAST, Simulator)


def test_ppo_learns_a_line(left):
    """Four thousand steps, a third of a second, find the goal, if not yet the full speed."""
    chance = FAST.returns(FAST.random(), PAIR).mean(0)
    got = FAST.returns(left, PAIR).mean(0)
    assert float(got[0]) > float(chance[0]) + 0.7 * (best() - float(chance[0]))
    assert float(got[1]) < float(chance[1])  # whoever goes left is far from the right end


def test_equal_seeds_equal_bits_and_no_global_stream_moves(left, monkeypatch, tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    told = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    again = FAST.improve(PAIR, LEFT, seed=0, progress=told.append)
    assert not list(tmp_path.iterdir())  # training leaves nothing in the folder for temporary files
    other = FAST.improve(PAIR, LEFT, seed=1)
    assert all(torch.equal(left.state[name], again.state[name]) for name in left.state)
    assert any(not torch.equal(left.state[name], other.state[name]) for name in left.state)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert FAST.steps <= sum(told) < FAST.steps + 2 * FAST.copies * FAST.span


def test_the_unit_of_rewards_does_not_matter(left):
    """A power of two changes no digits, so the policy is the same to the last bit."""
    for unit in (2.0**10, 2.0**-10):
        same = FAST.improve(PAIR.scaled(torch.full((2,), unit).double()), LEFT, seed=0)
        assert all(torch.equal(left.state[name], same.state[name]) for name in left.state)


def test_rollouts_can_be_judged_by_any_voice(left):
    segments = FAST.rollout(left, 7, seed=3)
    assert segments.factors.shape == (7, LINE, 3)
    assert segments.names == ("left", "right", "effort")
    other = known_voices([[0.0, 0.0, 1.0]])
    by_hand = (segments.factors[..., 2] * FAST.discount ** torch.arange(LINE).double()).sum(1)
    torch.testing.assert_close(discounted(other, segments, FAST.discount)[:, 0], by_hand)
    assert segments.action is not None
    torch.testing.assert_close(segments.action[..., 0].double() ** 2, segments.factors[..., 2])
    assert torch.equal(segments.factors, FAST.rollout(left, 7, seed=3).factors)
    # Equal seeds begin in equal states, whatever the policy.
    first = lambda policy: FAST.rollout(policy, 7, seed=3).observation[:, 0]
    assert torch.equal(first(left), first(FAST.random()))


def test_going_on_never_makes_it_worse(left):
    """With a learning rate that destroys what was learned."""
    wild = dataclasses.replace(FAST, learning_rate=1.0, imitation=0)
    after = wild.improve(PAIR, LEFT, seed=0, start=left)
    assert float(FAST.returns(after, PAIR).mean(0)[0]) >= 0.95 * float(FAST.returns(left, PAIR).mean(0)[0])


def test_it_depends_on_where_you_are():
    """Whoever pays for both ends alike is served best by the nearer one; gradients alone settle for one end."""
    right = FAST.improve(PAIR, RIGHT, seed=0)
    left = FAST.improve(PAIR, LEFT, seed=0)
    both = FAST.improve(PAIR, torch.ones(2), seed=0, start=(left, right))
    seen = FAST.rollout(both, 64, seed=1)
    assert seen.observation is not None
    start, end = seen.observation[:, 0, 0], seen.observation[:, -1, 0]
    assert bool((end[start < -0.2] < -0.5).all())
    assert bool((end[start > 0.2] > 0.5).all())
    pooled = lambda policy: float(FAST.returns(policy, PAIR).mean())
    assert pooled(both) > max(pooled(left), pooled(right))


def test_maxmin_by_ppo_is_fair_and_one_policy_is_not():
    lottery = MaxMin(rounds=1).optimise(FAST, PAIR, seed=0)
    table = lottery.diagnostics["matrix"]
    # Alone, a policy for one camp leaves the other worse off than chance does; a coin between them gives half of that.
    assert float(table[:2].min(1).values.max()) < 0
    assert float(lottery.diagnostics["value"]) >= float(table[:2].mean(0).min()) - 1e-9
    assert float(lottery.diagnostics["value"]) > 0.3
    again = MaxMin(rounds=1).optimise(FAST, PAIR, seed=0)
    assert torch.equal(lottery.chance, again.chance)


def test_one_policy_serves_both_camps_and_a_loud_rater_changes_nothing(tmp_path):
    policy = Personalised().optimise(FAST, PAIR, seed=0)
    for g, z in enumerate(PAIR.z):
        got = FAST.returns(policy.of(z), PAIR).mean(0)
        assert float(got[g]) > 0.7 * best()
    start = np.zeros((2, 1), dtype=np.float32)
    action = policy.act(start, PAIR.z)
    assert action[0, 0] < -0.5
    assert action[1, 0] > 0.5
    np.testing.assert_allclose(action[:1], policy.act(start[:1], PAIR.z[0]), atol=1e-5)
    loud = PAIR.scaled(torch.tensor([10.0, 1.0]).double())
    same = Personalised().optimise(FAST, loud, seed=0)
    assert all(torch.equal(policy.network.state[n], same.network.state[n]) for n in policy.network.state)
    policy.save(tmp_path / "personal")
    # Numbers are the same; products of matrices may round otherwise, as files align memory otherwise.
    np.testing.assert_allclose(load_policy(tmp_path / "personal").act(start, PAIR.z), action, atol=1e-5)
    with pytest.raises(ValueError, match="each of the 2 observations"):
        policy.act(start, torch.zeros(3, 3).double())


def test_counted_actions():
    learner = PPO(lambda n: Line(n, discrete=True), steps=4000, again=0, **SMALL)
    left = learner.improve(PAIR, LEFT, seed=0)
    assert set(np.unique(left.act(np.zeros((5, 1))))) == {0}
    right = learner.improve(PAIR, RIGHT, seed=0)
    both = learner.improve(PAIR, torch.ones(2), seed=0, start=(left, right))
    assert both.act(np.array([[-0.3], [0.3]])).tolist() == [0, 2]


def test_environments_by_id_and_episodes_that_end_early():
    learner = PPO("pluralign-tests/Line-v0", steps=500, copies=4, span=20, batch=80, episodes=8, hidden=(8,))
    segments = learner.rollout(learner.improve(PAIR, LEFT, seed=0), 8)
    assert segments.factors.shape[2] == 3
    run = NetworkPolicy({}, (), torch.zeros(1), torch.ones(1), torch.full((1,), -1.0), torch.ones(1))
    away = _constant(run, 1.0)
    segments = learner.rollout(away, 8, seed=1)
    assert segments.mask is not None
    # From within .2 of the middle, at .2 a step, beyond 1.5 after 7 to 9 steps.
    assert set(segments.mask.sum(1).tolist()) <= {7, 8, 9}
    assert bool((segments.factors[~segments.mask] == 0).all())


def _constant(policy, value):
    state = {"action_net.weight": torch.zeros(1, 1), "action_net.bias": torch.full((1,), value)}
    return NetworkPolicy(state, policy.hidden, policy.centre, policy.scale, policy.low, policy.high)


def test_policies_are_saved_without_pickle(left, tmp_path):
    left.save(tmp_path / "left")
    again = load_policy(tmp_path / "left")
    x = np.linspace(-1, 1, 5)[:, None]
    assert all(torch.equal(left.state[name], again.state[name]) for name in left.state)
    np.testing.assert_allclose(again.act(x), left.act(x), atol=1e-5)
    assert sorted(p.name for p in (tmp_path / "left").iterdir()) == ["policy.json", "policy.safetensors"]
    # Training goes on from what was loaded.
    assert isinstance(FAST.improve(PAIR, LEFT, start=again), NetworkPolicy)


def test_errors_say_what_to_do(left):
    with pytest.raises(ValueError, match="another world"):
        left.act(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="opposite taste"):
        FAST.improve(PAIR, torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match="SAME_STEP"):
        PPO(lambda n: Line(n + 1)).random()
    with pytest.raises(ValueError, match="time limit"):
        PPO(Line, longest=5).rollout(left, 2)
    with pytest.raises(ValueError, match="generator="):
        FAST.random().act(np.zeros((2, 1)))
    with pytest.raises(TypeError, match="personalise"):
        Personalised().optimise(object(), PAIR)


def test_tastes_that_never_vary_are_refused():
    with pytest.raises(ValueError, match="without a preference"):
        FAST.personalise(PAIR.worth, torch.zeros(1, 3).double())


def test_a_policy_from_another_world_is_refused(tmp_path):
    """Also where observations and actions are of the same size, as in two mazes."""
    import pluralign_envs  # noqa: F401 - registers the worlds

    maze, safety = (
        PPO(f"pluralign/{name}-v0", steps=512, copies=8, span=16, batch=64, hidden=(8,), episodes=2)
        for name in ("PointMaze", "SharedSafety")
    )
    voices = known_voices([[1.0, 0.0, 0.0]])
    maze.improve(voices, torch.ones(1), seed=0).save(tmp_path / "policy")
    policy = load_policy(tmp_path / "policy")
    assert len(maze.rollout(policy, 2)) == 2
    with pytest.raises(
        ValueError, match="was trained in pluralign/PointMaze-v0 and is to act in pluralign/SharedSafety-v0"
    ):
        safety.rollout(policy, 2)


def test_a_world_that_nobody_registered_is_one_sentence():
    with pytest.raises(
        ValueError, match=r"registered as 'pluralign/Moon-v0'; import the package .* `import pluralign_envs`"
    ):
        PPO("pluralign/Moon-v0").random()
