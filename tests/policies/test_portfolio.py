import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import GROUPS, bandit, voices, worlds

from pluralign.policies import Personal, Tabular, load_policy
from pluralign.policies.portfolio import Portfolio, greedy
from pluralign.rewards import known_voices

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
few = settings(max_examples=10, deadline=None)


def served(matrix, chosen, share):
    return float(matrix[list(chosen)].amax(0) @ share)


@few
@given(seed=st.integers(0, 10_000), k=st.integers(1, 4))
def test_greed_is_worth_what_the_theorem_says(seed, k):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(7, 9, generator=generator, dtype=torch.float64)
    share = torch.rand(9, generator=generator, dtype=torch.float64)
    share = share / share.sum()
    chosen = greedy(matrix, share, k)
    floor = float(matrix.amin(0) @ share)
    best = max(served(matrix, some, share) for some in itertools.combinations(range(7), k))
    assert len(set(chosen)) == k
    assert served(matrix, chosen, share) - floor >= (1 - 1 / math.e) * (best - floor) - 1e-12


def test_one_two_and_three_policies_for_three_groups():
    learner, share = Tabular(bandit(GROUPS)), [0.6, 0.3, 0.1]
    people = voices(3, share)
    one = Portfolio(1, scale="none").optimise(learner, people)
    assert one.policies[0].chance[0].argmax() == 0  # best for the crowd's average, .65
    two = Portfolio(2, scale="none").optimise(learner, people)
    # Actions 0 and 1: the last group gets .3 instead of .9; actions 0 and 2 would cost the second group .5.
    assert sorted(int(p.chance[0].argmax()) for p in two.policies) == [0, 1]
    assert two.diagnostics["gaps"].tolist() == pytest.approx([0, 0, 0.6], abs=1e-7)
    assert two.diagnostics["gap"] == pytest.approx(0.6, abs=1e-7)
    assert two.diagnostics["mean_gap"] == pytest.approx(0.06, abs=1e-7)
    assert two.diagnostics["coverage"] == pytest.approx(0.9, abs=1e-6)
    all_three = Portfolio(3).optimise(learner, people)
    assert all_three.diagnostics["gap"] == pytest.approx(0, abs=1e-9)
    assert all_three.serves.tolist() == [
        [int(p.chance[0].argmax()) for p in all_three.policies].index(g) for g in range(3)
    ]


def test_a_turn_finds_what_greed_among_own_best_policies_does_not():
    # Four people in two pairs; each pair has a compromise worth .9 to both, which nobody's own best policy is.
    pays = torch.zeros(4, 6, dtype=torch.float64)
    pays[:, :4] = torch.eye(4)
    pays[:2, 4], pays[2:, 5] = 0.9, 0.9
    pays[1, 0] = pays[3, 2] = 0.1
    menu = Portfolio(2, scale="none", within=0.11).optimise(Tabular(bandit(pays)), voices(4))
    assert sorted(int(p.chance[0].argmax()) for p in menu.policies) == [4, 5]
    assert menu.diagnostics["gap"] == pytest.approx(0.1, abs=1e-9)
    assert menu.diagnostics["coverage"] == pytest.approx(1.0)


@few
@given(world=worlds())
def test_more_policies_serve_people_better_and_enough_serve_them_best(world):
    learner, people = Tabular(world), voices(world.factors.shape[-1])
    gaps = [Portfolio(k).optimise(learner, people).diagnostics for k in range(1, len(people) + 1)]
    means = [float(g["mean_gap"]) for g in gaps]
    assert means == sorted(means, reverse=True) or max(np.diff(means)) < 1e-9
    assert gaps[-1]["gap"] == pytest.approx(0, abs=1e-7)
    assert all(float(g["gap"]) >= -1e-9 for g in gaps)


def test_strangers_are_served_by_the_best_policy_on_the_menu(tmp_path):
    learner = Tabular(bandit(GROUPS))
    menu = Portfolio(2, scale="none").optimise(learner, voices(3, [0.6, 0.3, 0.1]))
    assert isinstance(menu, Personal)
    z = torch.rand(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    strangers = known_voices(z.tolist())
    paid = torch.stack([learner.returns(p, strangers)[0] for p in menu.policies])
    mine = torch.stack([learner.returns(menu.of(one), strangers)[0] for one in z]).diagonal()
    torch.testing.assert_close(mine, paid.amax(0), atol=1e-6, rtol=0)
    states = np.zeros(30)
    action = menu.act(states, 10 * z)
    assert action.tolist() == [int(menu.of(one).act(np.zeros(1))[0]) for one in z]
    assert menu.act(states, z[0]).shape == (30,)
    with pytest.raises(ValueError, match="each of the 30 observations"):
        menu.act(states, z[:2])
    menu.save(tmp_path / "menu")
    assert load_policy(tmp_path / "menu").act(states, z).tolist() == action.tolist()


def test_settings_are_checked():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Portfolio(0)
