import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import bandit, voices, worlds

from pluralign.policies import (
    Learner,
    Simulator,
    Table,
    Tabular,
    TabularPolicy,
    discounted,
    maxmin_value,
    unrolled,
)
from pluralign.rewards import known_voices

# beartype draws which element of a list it checks.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
few = settings(max_examples=25, deadline=None)


def test_is_a_learner():
    assert isinstance(Tabular(bandit(torch.eye(2))), Learner)
    assert isinstance(Tabular(bandit(torch.eye(2))), Simulator)


@few
@given(world=worlds())
def test_policy_iteration_meets_the_linear_programme(world):
    learner, all_voices = Tabular(world), voices(world.factors.shape[-1])
    for one in torch.eye(len(all_voices)).double():
        best = learner.returns(learner.improve(all_voices, one), all_voices)[0] @ one
        exact = maxmin_value(world, (learner.rewards(all_voices) @ one)[..., None])
        assert float(best) == pytest.approx(exact.value, abs=1e-8 * (1 + abs(exact.value)))


@few
@given(world=worlds(), seed=st.integers(0, 1000))
def test_no_other_policy_is_better(world, seed):
    learner, all_voices = Tabular(world), voices(world.factors.shape[-1])
    weight = torch.full((len(all_voices),), 1.0).double() / len(all_voices)
    best = learner.returns(learner.improve(all_voices, weight), all_voices)[0] @ weight
    states, actions, _ = world.factors.shape
    generator = torch.Generator().manual_seed(seed)
    other = torch.rand(states, actions, generator=generator, dtype=torch.float64)
    other = TabularPolicy(other / other.sum(1, keepdim=True))
    assert learner.returns(other, all_voices)[0] @ weight <= best + 1e-9


@few
@given(world=worlds())
def test_occupancy_obeys_the_flow_of_the_world(world):
    learner = Tabular(world)
    visits = learner.occupancy(learner.random())
    arrivals = world.start + world.discount * torch.einsum("sa,saz->z", visits, world.transition)
    torch.testing.assert_close(visits.sum(1), arrivals, atol=1e-9, rtol=1e-9)
    assert float(visits.sum()) == pytest.approx(1 / (1 - world.discount), rel=1e-9)


def test_a_corridor_by_hand():
    # Three cells in a row, a prize of 1 per step in the last one: two steps away at discount 1/2, so
    # 0 + 0 + 1/4 + 1/8 + ... = 1/2, and 1 from the middle; the start is even among the first two.
    transition = torch.zeros(3, 2, 3, dtype=torch.float64)
    for s in range(3):
        transition[s, 0, max(s - 1, 0)] = 1
        transition[s, 1, min(s + 1, 2)] = 1
    factors = torch.zeros(3, 2, 1, dtype=torch.float64)
    factors[2] = 1
    world = Table(transition, torch.tensor([0.5, 0.5, 0.0]).double(), factors, 0.5)
    learner, one = Tabular(world), known_voices([[1.0]])
    policy = learner.improve(one, torch.ones(1))
    assert policy.chance.argmax(1)[:2].tolist() == [1, 1]
    assert float(learner.returns(policy, one)) == pytest.approx(0.75, abs=1e-12)


@few
@given(world=worlds(most_states=3), horizon=st.integers(1, 4))
def test_unrolled_is_backward_induction(world, horizon):
    value = torch.zeros(len(world.start), dtype=torch.float64)
    for _ in range(horizon):
        value = (world.factors[..., 0] + world.discount * world.transition @ value).amax(1)
    short = Tabular(unrolled(world, horizon))
    one = known_voices([[1.0] + [0.0] * (world.factors.shape[-1] - 1)])
    best = short.returns(short.improve(one, torch.ones(1)), one)
    assert float(best) == pytest.approx(float(world.start @ value), abs=1e-9)


def test_rollouts_agree_with_exact_returns_and_repeat():
    generator = torch.Generator().manual_seed(3)
    transition = torch.rand(4, 3, 4, generator=generator, dtype=torch.float64)
    factors = torch.rand(4, 3, 2, generator=generator, dtype=torch.float64)
    start = torch.full((4,), 0.25, dtype=torch.float64)
    world = Table(transition / transition.sum(-1, keepdim=True), start, factors, 0.5, horizon=40)
    learner, pair = Tabular(world), voices(2)
    segments = learner.rollout(learner.random(), 4000, seed=1)
    assert segments.factors.shape == (4000, 40, 2)
    sampled = discounted(pair, segments, world.discount)
    error = sampled.std(0) / 4000**0.5
    gap = (sampled.mean(0) - learner.returns(learner.random(), pair)[0]).abs()
    assert bool((gap < 4.5 * error).all())  # a false alarm in about 100 000, 0.5^40 cut off
    again = learner.rollout(learner.random(), 4000, seed=1)
    assert torch.equal(segments.factors, again.factors)
    assert not torch.equal(segments.factors, learner.rollout(learner.random(), 4000, seed=2).factors)


def test_episodes_that_end_are_masked():
    ends = torch.tensor([[[0.5]]], dtype=torch.float64)
    world = Table(ends, torch.ones(1).double(), torch.ones(1, 1, 1).double(), 1.0, horizon=30)
    learner, one = Tabular(world), known_voices([[1.0]])
    assert float(learner.returns(learner.random(), one)) == pytest.approx(2.0)  # 1 + 1/2 + 1/4 + ...
    segments = learner.rollout(learner.random(), 4000, seed=0)
    assert segments.mask is not None
    total = discounted(one, segments, 1.0)[:, 0]
    assert abs(float(total.mean()) - 2) < 4.5 * float(total.std()) / 4000**0.5


def test_a_best_start_is_kept():
    world = bandit(torch.tensor([[1.0, 1.0, 0.0]]))
    second = TabularPolicy(torch.tensor([[0.0, 1.0, 0.0]]).double())
    learner, one = Tabular(world), known_voices([[1.0]])
    assert learner.improve(one, torch.ones(1)).chance.argmax().item() == 0
    assert learner.improve(one, torch.ones(1), start=second).chance.argmax().item() == 1


def test_policies_act_and_draw():
    sure = TabularPolicy(torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double())
    assert sure.act(np.array([0, 1, 0])).tolist() == [1, 0, 1]
    coin = TabularPolicy(torch.tensor([[0.25, 0.75]]).double())
    with pytest.raises(ValueError, match="generator="):
        coin.act(np.zeros(3))
    drawn = coin.act(np.zeros(4000), generator=np.random.default_rng(0))
    assert abs(drawn.mean() - 0.75) < 4.5 * (0.1875 / 4000) ** 0.5


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, -0.5], "opposite taste"),
        ([1.0, 0.0, 0.0], "each of the 2 voices"),
        ([0.0, 0.0], "not all zero"),
        ([float("nan"), 1.0], "finite"),
    ],
)
def test_wrong_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        Tabular(bandit(torch.eye(2))).improve(voices(2), torch.tensor(weight))


def test_policy_of_another_world():
    learner = Tabular(bandit(torch.eye(2)))
    other = Tabular(bandit(torch.eye(3))).random()
    for use in (
        lambda: learner.returns(other, voices(2)),
        lambda: learner.rollout(other, 3),
        lambda: learner.improve(voices(2), torch.ones(2), start=other),
    ):
        with pytest.raises(ValueError, match="another world"):
            use()
    for observation in (np.zeros((4, 2)), np.array([0, 1])):
        with pytest.raises(ValueError, match="another world"):
            learner.random().act(observation, generator=np.random.default_rng(0))


def test_wrong_worlds():
    one = torch.ones(1).double()
    with pytest.raises(ValueError, match="infinite"):
        Table(one.reshape(1, 1, 1), one, one.reshape(1, 1, 1), 1.0)
    with pytest.raises(ValueError, match="state 0, action 0"):
        Table(2 * one.reshape(1, 1, 1), one, one.reshape(1, 1, 1), 0.9)
    with pytest.raises(TypeError, match="no transition"):
        Tabular(object()).random()
