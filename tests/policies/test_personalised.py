import numpy as np
import pytest
import torch
from hypothesis import given, settings
from worlds import GROUPS, bandit, voices, worlds

from pluralign.choice import Luce
from pluralign.policies import Personal, Personalised, Portfolio, Tabular, serve
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


@few
@given(world=worlds())
def test_rewards_of_one_rater_times_ten_change_no_policy(world):
    learner, people = Tabular(world), voices(world.factors.shape[-1])
    factor = torch.ones(len(people), dtype=torch.float64)
    factor[0] = 10.0
    quiet, loud = (Personalised().optimise(learner, who, seed=0) for who in (people, people.scaled(factor)))
    for g, z in enumerate(people.z):
        assert torch.equal(quiet.of(z).chance, loud.of(factor[g] * z).chance)


def test_a_loud_rater_among_many_moves_nobody():
    """The same crowd with one rater's tastes times ten trains the same network: it is told the same directions."""
    z = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    crowd = known_voices(torch.eye(2).tolist())
    shown = []

    class Told(Tabular):
        def improve(self, voices, weight, **more):
            shown.append(voices.z @ torch.eye(2).double())
            return super().improve(voices, weight, **more)

        def personalise(self, worth, tastes, **more):
            shown.append(tastes)
            return super().personalise(worth, tastes, **more)

    for factor in (1.0, 10.0):
        tastes = z.clone()
        tastes[3] *= factor
        share = torch.full((30,), 1 / 30, dtype=torch.float64)
        known = Draws(tastes[None], torch.ones(1, 30, dtype=torch.float64))
        one = Belief(crowd.worth, Luce(), Atoms(z, share), known, tuple(map(str, range(30))), None)
        Personalised(people=64).optimise(Told(bandit(torch.eye(2))), one, seed=0)
    half = len(shown) // 2
    assert all(torch.equal(a, b) for a, b in zip(shown[:half], shown[half:]))


def test_the_rare_are_trained_for_as_much_as_the_common():
    trained = []

    class Told(Tabular):
        def personalise(self, worth, tastes, **more):
            trained.append(tastes)
            return super().personalise(worth, tastes, **more)

    people = known_voices([[1.0, 0.0], [0.0, 1.0]])
    rare = torch.eye(2, dtype=torch.float64)[:, (torch.arange(40) == 7).long()]
    share = torch.tensor([39 / 40, 1 / 40], dtype=torch.float64)
    one = Belief(
        people.worth,
        Luce(),
        Atoms(people.z, share),
        Draws.atoms(people.z, rare),
        tuple(map(str, range(40))),
        None,
    )
    Personalised(people=512).optimise(Told(bandit(torch.eye(2))), one, seed=0)
    assert abs(float(trained[0][:, 1].mean()) - 0.5) < 4.5 * (0.25 / 512) ** 0.5


def test_strangers_are_served_from_draws_zero_and_few_shot():
    learner = Tabular(bandit(GROUPS))
    people = voices(3, [0.6, 0.3, 0.1])
    # Three possible tastes; before any answer by their shares, then nearly sure of the last one.
    draws = Draws.atoms(people.z, torch.tensor([[0.6, 0.05], [0.3, 0.05], [0.1, 0.9]], dtype=torch.float64))
    for personal in (Personalised().optimise(learner, people), Portfolio(3).optimise(learner, people)):
        nothing_known, known = serve(personal, draws)
        assert int(nothing_known.chance[0].argmax()) == 0  # best on average, .65
        assert int(known.chance[0].argmax()) == 2
