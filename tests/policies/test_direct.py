"""Policies learned from answers alone, on a plane where the best step is known."""

import dataclasses

import numpy as np
import pytest
import torch
from strolls import QUICK, answers, strolls, success

from pluralign.data import Comparisons, Items, Segments
from pluralign.policies import PersonalNetwork, load_policy
from pluralign.policies.direct import METHODS, TRAINERS, Direct, trainer
from pluralign.population.camps import Camps
from pluralign.population.per_rater import PerRater


@pytest.fixture(scope="module")
def segments():
    return strolls(400, 0)


@pytest.mark.parametrize(
    ("method", "scale"), [("cpl", 0.2), ("dpo", 0.1), ("ipo", 0.01), ("tdpo", 0.1), ("dppo", 0.1)]
)
def test_one_taste_is_served_without_a_reward(segments, method, scale):
    data = answers(segments, torch.ones(10, dtype=torch.long), 100, 1)
    served = dataclasses.replace(QUICK, method=method, scale=scale).fit(data)
    assert success(served.policy, 1) > 0.5
    assert success(served.policy, 0) < -0.4
    copied = dataclasses.replace(QUICK, updates=0).fit(data)
    assert abs(success(copied.policy, 1)) < 0.25  # imitation alone goes nowhere in particular
    assert served.diagnostics["ranking_accuracy"] > copied.diagnostics["ranking_accuracy"] + 0.2
    assert served.diagnostics["preferred_moved"] > served.diagnostics["refused_moved"]


def test_two_camps_are_served_where_one_policy_for_all_serves_neither(segments):
    goal = torch.arange(24) % 2
    data = answers(segments, goal, 60, 2)
    belief = Camps(groups=2).fit(data)
    served = dataclasses.replace(QUICK, updates=600).fit(data, belief)
    assert isinstance(served.policy, PersonalNetwork)
    mine = [success(served.of(served.rater_ids[r]), int(goal[r])) for r in (0, 1)]
    assert min(mine) > 0.4
    pooled = QUICK.fit(data)
    assert min(success(pooled.policy, g) for g in (0, 1)) < 0.2
    lottery = served.lottery()
    assert len(lottery) == 2
    # The policies are a belief: they predict answers, also of people whom they meet late.
    later = answers(segments, goal, 20, 20)
    right = lambda share: float((share.argmax(1) == later.label.argmax(1)).double().mean())
    read = served.belief()
    assert right(read.predict(later)) > right(pooled.belief().predict(later)) + 0.2
    asked = dataclasses.replace(
        answers(segments, goal, 12, 21), rater_ids=tuple(f"new {r}" for r in range(24))
    )
    told = read.adapt(asked)
    assert right(read.predict(dataclasses.replace(later, rater_ids=asked.rater_ids), told)) > 0.75
    with pytest.raises(TypeError, match="has none to pay"):
        read.worth.steps(segments.factors)
    assert float(lottery.chance.min()) == pytest.approx(0.5, abs=0.1)


def test_wrong_camps_are_mended_by_the_policies_own_likelihood(segments):
    goal = torch.arange(24) % 2
    data = answers(segments, goal, 60, 3)
    belief = Camps(groups=2).fit(data)
    first = torch.where(torch.arange(24) < 16, (goal == 0).double(), (goal == 1).double())  # a third is wrong
    first = 0.1 + 0.8 * first
    wrong = dataclasses.replace(
        belief, draws=dataclasses.replace(belief.draws, weight=torch.stack([first, 1 - first]))
    )
    served = dataclasses.replace(QUICK, refine=2, updates=900).fit(data, wrong)
    found = served.weight.argmax(0)
    right = torch.maximum((found == goal).double().mean(), (found != goal).double().mean())
    assert float(right) > 0.95


def test_continuous_tastes_are_told_by_their_direction(segments):
    goal = torch.arange(24) % 2
    data = answers(segments, goal, 60, 4)
    belief = PerRater().fit(data)
    served = dataclasses.replace(QUICK, updates=600).fit(data, belief)
    mine = [success(served.of(served.rater_ids[r]), int(goal[r])) for r in range(4)]
    assert min(mine) > 0.4
    with pytest.raises(ValueError, match="tastes are continuous"):
        served.lottery()


@pytest.mark.parametrize("method", sorted(set(TRAINERS) - {"dppo"}))
def test_counted_actions_and_every_method(method):
    """Two actions, of which people like the second, anywhere. Every method learns it from graded answers."""
    draw = torch.Generator().manual_seed(5)
    action = torch.randint(2, (200, 6, 1), generator=draw).float()
    state = torch.rand(200, 6, 2, generator=draw)
    segments = Segments(action * 2 - 1, observation=state, action=action)
    slate = torch.randint(200, (600, 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % 200, slate[:, 1])
    gap = segments.factors.sum((1, 2))[slate]
    first = torch.sigmoid(gap[:, 0] - gap[:, 1]).double()
    data = Comparisons(
        segments, slate, torch.zeros(600, dtype=torch.long), torch.stack([first, 1 - first], 1)
    )
    more = {"imitation": 50} if method in METHODS else {}
    served = trainer(method, hidden=(16,), updates=250, rate=1e-2, **more).fit(data)
    here = np.random.default_rng(0).uniform(size=(50, 2)).astype(np.float32)
    assert float((served.policy.act(here) == 1).mean()) > 0.9


def test_seeds_files_and_padding(segments, tmp_path):
    data = answers(segments, torch.ones(4, dtype=torch.long), 20, 6)
    short = dataclasses.replace(QUICK, imitation=20, updates=20)
    one, two, other = short.fit(data, seed=1), short.fit(data, seed=1), short.fit(data, seed=2)
    place = np.zeros((3, 2), dtype=np.float32)
    assert (one.policy.act(place) == two.policy.act(place)).all()
    assert (one.policy.act(place) != other.policy.act(place)).any()
    one.save(tmp_path / "policy")
    assert (load_policy(tmp_path / "policy").policy.act(place) == one.policy.act(place)).all()
    longer = lambda x: torch.cat([x, torch.full_like(x[:, :2], 7.0)], 1)
    mask = torch.ones(400, 10, dtype=torch.bool)
    mask[:, 8:] = False
    padded = dataclasses.replace(
        segments,
        factors=longer(segments.factors),
        observation=longer(segments.observation),
        action=longer(segments.action),
        mask=mask,
    )
    same = short.fit(dataclasses.replace(data, options=padded), seed=1)
    np.testing.assert_allclose(same.policy.act(place), one.policy.act(place), atol=1e-4)


def test_bad_input(segments):
    data = answers(segments, torch.ones(2, dtype=torch.long), 5, 7)
    for field in ("observation", "action"):
        lacking = dataclasses.replace(data, options=dataclasses.replace(segments, **{field: None}))
        with pytest.raises(ValueError, match=f"{field} are missing"):
            QUICK.fit(lacking)
    with pytest.raises(ValueError, match="needs Segments"):
        QUICK.fit(dataclasses.replace(data, options=Items(torch.zeros(400, 2))))
    with pytest.raises(ValueError, match=r"`method` must be one of cpl, dpo"):
        Direct("dop")
    with pytest.raises(ValueError, match="`bias`"):
        Direct(bias=0.0)
    with pytest.raises(ValueError, match="`discount`"):
        Direct(discount=1.5)
    with pytest.raises(ValueError, match="whole numbers below 3"):
        QUICK.fit(data, actions=3)
    broken = segments.action.clone()
    broken[3, 1] = torch.nan
    with pytest.raises(ValueError, match="first segment 3, step 1"):
        QUICK.fit(dataclasses.replace(data, options=dataclasses.replace(segments, action=broken)))
    with pytest.raises(KeyError, match="no rater"):
        dataclasses.replace(QUICK, imitation=1, updates=1).fit(data).of("nobody")
