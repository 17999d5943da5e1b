"""What every optimiser promises, over the names of the registry."""

import pytest
import torch
from worlds import GROUPS, bandit, voices

import pluralign
from pluralign.policies import (
    WELFARE,
    Constrained,
    Direction,
    Fair,
    Lottery,
    MinNorm,
    Optimiser,
    Tabular,
    optimiser,
)
from pluralign.rewards import Mean, Nash, known_voices

# Two more actions that are good for nobody: a random policy is then not the best there is for anyone.
WORLD = bandit(torch.cat([GROUPS, torch.zeros(3, 2).double()], 1))
SHARE = [0.6, 0.3, 0.1]
HARMLESS = known_voices([[0.0, 0.0, 1.0]])
ALL = {
    **{name: build() for name, build in WELFARE.items()},
    "constrained": Constrained(HARMLESS, (1.0,)),
    "direction": Direction((1.0, 2.0, 3.0)),
    "min norm": MinNorm(),
}


@pytest.mark.parametrize("name", ALL)
def test_every_optimiser_answers_with_a_lottery_and_repeats_itself(name):
    learner, people, solver, told = Tabular(WORLD), voices(3, SHARE), ALL[name], []
    assert isinstance(solver, Optimiser)
    lottery = solver.optimise(learner, people, seed=1, progress=told.append)
    assert isinstance(lottery, Lottery)
    assert bool((lottery.chance > 0).all())
    assert sum(told) > 0
    again = solver.optimise(learner, people, seed=1)
    assert torch.equal(lottery.chance, again.chance)
    # Voices in another order are served alike.
    order = torch.tensor([2, 0, 1])
    if name not in ("direction", "constrained", "min norm"):
        turned = known_voices(torch.eye(3)[order].tolist(), torch.tensor(SHARE)[order].tolist())
        moved = solver.optimise(learner, turned, seed=1).returns(learner, people)
        torch.testing.assert_close(moved, lottery.returns(learner, people), atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", sorted(set(WELFARE) - {"minimax-winner"}))
def test_units_change_nothing(name):
    """But for votes, where a louder voice is a surer voter."""
    learner, people = Tabular(WORLD), voices(3, SHARE)
    loud = people.scaled(torch.tensor([10.0, 1.0, 1.0], dtype=torch.float64))
    same, other = (optimiser(name).optimise(learner, who).returns(learner, people) for who in (people, loud))
    torch.testing.assert_close(same, other, atol=2e-6, rtol=0)


def test_each_rule_is_best_by_its_own_measure():
    """Returns on the relative scale; the random policy's are the zero."""
    learner, people = Tabular(WORLD), voices(3, SHARE)
    zero = learner.returns(learner.random(), people)[0]
    share = torch.tensor(SHARE, dtype=torch.float64)
    got = {}
    for name in WELFARE:
        raw = optimiser(name).optimise(learner, people).returns(learner, people)[0]
        got[name] = (raw - zero) / (torch.tensor([1.0, 0.8, 0.9]).double() - zero)
    best = lambda measure: max(got, key=lambda name: measure(got[name]))
    assert best(lambda j: float(j @ share)) == "mean"
    assert best(lambda j: float(j.min()) + 1e-9 * float(j.sum())) in ("maxmin", "leximin", "cvar")
    assert best(lambda j: float(j.clamp_min(1e-9).log().sum())) == "nash"
    assert best(lambda j: float(share @ j.clamp_min(1e-9).log())) == "proportional"


def test_proportional_fairness():
    """No other lottery gives people a larger share of what they have; so voices have their share of what is theirs."""
    learner, people = Tabular(bandit(GROUPS)), voices(3, SHARE)
    share, own = torch.tensor(SHARE, dtype=torch.float64), torch.tensor([1.0, 0.8, 0.9], dtype=torch.float64)
    got = Fair(Nash(), scale="none").optimise(learner, people).returns(learner, people)[0]
    assert float((GROUPS.T / got @ share).max()) <= 1 + 1e-6
    assert bool((got >= share * own - 1e-6).all())
    mean = Fair(Mean(), scale="none").optimise(learner, people).returns(learner, people)[0]
    assert not bool((mean >= share * own - 1e-6).all())


def test_unknown_names_and_the_face_of_the_package():
    with pytest.raises(ValueError, match="no welfare is called 'median'; there are mean, maxmin, nash"):
        optimiser("median")
    assert pluralign.Welfare is Fair
    assert isinstance(pluralign.Welfare(Mean()), Optimiser)
