import itertools

import pytest
import torch
from hypothesis import given, settings
from worlds import GROUPS, bandit, voices, worlds

from pluralign.policies import Tabular, TabularPolicy, maxmin_value
from pluralign.policies.leximin import Leximin, leximin_mixes

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
few = settings(max_examples=10, deadline=None)


def near(a, b, atol):
    torch.testing.assert_close(a.double(), torch.as_tensor(b, dtype=torch.float64), atol=atol, rtol=0)


def every_policy(world):
    """Returns of all policies that draw nothing, for all voices."""
    states, actions, factors = world.factors.shape
    learner, people = Tabular(world), voices(factors)
    rows = []
    for choice in itertools.product(range(actions), repeat=states):
        chance = torch.nn.functional.one_hot(torch.tensor(choice), actions).double()
        rows.append(learner.returns(TabularPolicy(chance), people)[0])
    return torch.stack(rows)


def test_by_hand_the_second_worst_is_raised_too():
    # Voice 0 gets 1 whatever is done; a coin between the others' prizes is fair to them, and beats the safe middle.
    table = torch.tensor([[1.0, 4.0, 2.0], [1.0, 2.0, 4.0], [1.0, 2.5, 2.5]]).double()
    mixes = leximin_mixes(table)
    near(mixes[0].returns.min(), 1.0, 1e-9)
    near(mixes[-1].returns, [1.0, 3.0, 3.0], 1e-8)
    near(mixes[-1].chance, [0.5, 0.5, 0.0], 1e-8)


def test_the_bandit_has_one_level_for_all():
    mixes = leximin_mixes(GROUPS.T)
    assert len(mixes) == 1
    near(mixes[0].returns, [0.4165517241] * 3, 1e-9)


def test_nobody_is_not_raised():
    table = torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, 0.0], [0.5, 0.5, 9.0]]).double()
    share = torch.tensor([0.5, 0.5, 0.0]).double()
    near(leximin_mixes(table, share)[-1].returns[:2], [0.5, 0.5], 1e-9)


@few
@given(world=worlds(most_states=3))
def test_by_best_responses_it_is_the_chain_over_all_policies(world):
    learner, people = Tabular(world), voices(world.factors.shape[-1])
    exact = leximin_mixes(every_policy(world))[-1].returns.sort().values
    lottery = Leximin(scale="none").optimise(learner, people)
    got = lottery.returns(learner, people)[0].sort().values
    size = 1 + float(exact.abs().max())
    near(got, exact, 1e-6 * size)
    worst = maxmin_value(world, learner.rewards(people)).value
    assert float(got[0]) == pytest.approx(worst, abs=1e-6 * size)


def test_maxmin_alone_may_waste_what_the_worst_off_cannot_have():
    world = bandit(torch.tensor([[0.1, 0.1, 0.1, 0.0], [0.0, 1.0, 0.6, 0.0], [1.0, 0.0, 0.7, 0.0]]))
    learner, people = Tabular(world), voices(3)
    got = Leximin(scale="none").optimise(learner, people).returns(learner, people)[0]
    # The third action pays .6 and .7; mixing in the second lifts voice 1 until both have .65 - ...:
    # .6 + .4 q = .7 - .7 q gives q = 1/11 and 7/11 + 0 for both.
    near(got, [0.1, 7 / 11, 7 / 11], 1e-8)
