import numpy as np
import pytest
import torch
from hypothesis import given, settings
from worlds import GROUPS, bandit, voices, worlds

from pluralign.choice import Luce
from pluralign.policies import Personal, Personalised, Tabular
from pluralign.population import Atoms, Belief, Draws
from pluralign.rewards import draw_tastes, known_voices

few = settings(max_examples=20, deadline=None)
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")


@few
@given(world=worlds())
def test_every_taste_gets_its_best_policy(world):
    learner, people = Tabular(world), voices(world.factors.shape[-1])
    policy = Personalised().optimise(learner, people)
    assert isinstance(policy, Personal)
    for one, z in zip(torch.eye(len(people)).double(), people.z):
        own = learner.returns(learner.improve(people, one), people)[0] @ one
        assert float(learner.returns(policy.of(z), people)[0] @ one) == pytest.approx(float(own), abs=1e-9)


def test_acts_for_many_people_at_once():
    policy = Personalised().optimise(Tabular(bandit(GROUPS)), voices(3))
    z = torch.eye(3, dtype=torch.float64)[[2, 0, 1, 1]]
    assert policy.act(np.zeros(4), z).tolist() == [2, 0, 1, 1]
    assert policy.act(np.zeros(4), 100 * z).tolist() == [2, 0, 1, 1]
    assert policy.act(np.zeros(2), z[0]).tolist() == [2, 2]
    with pytest.raises(ValueError, match="each of the 2 observations"):
        policy.act(np.zeros(2), z)


def belief(people):
    share = torch.tensor([0.75, 0.25], dtype=torch.float64)
    three_and_one = torch.tensor([0, 0, 0, 1])
    certain = torch.eye(2, dtype=torch.float64)[:, three_and_one]
    draws = Draws.atoms(people.z, certain)
    return Belief(people.worth, Luce(), Atoms(people.z, share), draws, ("a", "b", "c", "d"), None)


def test_people_are_drawn_from_beliefs_as_often_as_they_are_met():
    people = known_voices([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5])
    for source in (belief(people), known_voices(people.z.tolist(), [0.75, 0.25])):
        z = draw_tastes(source, 4000, generator=torch.Generator().manual_seed(0))
        assert abs(float(z[:, 0].mean()) - 0.75) < 4.5 * (0.1875 / 4000) ** 0.5
    learner = Tabular(bandit(torch.eye(2)))
    policy = Personalised().optimise(learner, belief(people), seed=0)
    assert policy.act(np.zeros(2), people.z).tolist() == [0, 1]
