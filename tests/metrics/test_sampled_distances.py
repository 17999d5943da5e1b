"""Reward distances from sampled steps, against the exact ones of the world that was sampled."""

import math

import numpy as np
import pytest
import torch
from oracle import MOVED, ONE, OTHER, POTENTIAL, TRANSITION, shaped

from pluralign.metrics.distances import dard, epic, srrd, starc
from pluralign.metrics.sampled import Transitions, Waves, distances, paid, waves
from pluralign.rewards import known_voices
from pluralign.streams import Streams


def eye(state):
    return torch.nn.functional.one_hot(state[:, 0].long(), 3).double()


def sample(count, branches=2, seed=0, rollouts=0):
    """Steps of the world of three states; states and actions are numbers."""
    draw = Streams.of(seed)
    state = torch.randint(3, (count,), generator=draw("state"))
    action = torch.randint(2, (count,), generator=draw("action"))
    after = torch.multinomial(TRANSITION[state, action], branches, replacement=True, generator=draw("after"))
    return Transitions(
        state[:, None].double(),
        action[:, None].double(),
        after[..., None].double(),
        0.9,
        rollout=torch.arange(count) % rollouts if rollouts else None,
        features=eye,
    )


def reads(table):
    return lambda state, action, after: table[state[:, 0].long(), action[:, 0].long(), after[:, 0].long()]


exact = float(
    starc(ONE, OTHER, transition=TRANSITION, discount=0.9, canonical="minimal-weighted", weighted=True)
)


def test_standard_error_covers_repeated_runs():
    found = [starc(reads(ONE), reads(OTHER), sample(1500, seed=seed)) for seed in range(200)]
    value = np.array([e.value for e in found])
    error = np.array([e.standard_error for e in found])
    bound = 3 * value.std() / math.sqrt(len(found))
    assert abs(value.mean() - exact) < bound + 0.25 * value.std()  # the square root bends by less than that
    # The spread of 200 normal numbers is known to 5 %: four of these.
    assert error.mean() / value.std() == pytest.approx(1, abs=0.2)
    covered = sum(e.low <= exact <= e.high for e in found)
    assert 180 <= covered <= 198  # 190 +- 2.7 standard errors of a count


def test_steps_that_hang_together_count_once():
    """Each step five times: the standard error of one copy, with rollouts told; a smaller one without."""
    once = sample(2000)
    many = torch.arange(2000).repeat(5)
    pick = lambda **more: Transitions(
        once.state[many], once.action[many], once.after[many], 0.9, features=eye, **more
    )
    told = starc(reads(ONE), reads(OTHER), pick(rollout=many))
    alone = starc(reads(ONE), reads(OTHER), once)
    blind = starc(reads(ONE), reads(OTHER), pick())
    assert told.value == pytest.approx(alone.value, abs=1e-9)
    assert told.standard_error == pytest.approx(alone.standard_error, rel=1e-6)
    assert told.n == 2000
    assert blind.standard_error == pytest.approx(alone.standard_error / math.sqrt(5), rel=0.01)


def test_redistribution_needs_two_next_states():
    copy = reads(2.5 * shaped(ONE, POTENTIAL) + MOVED)
    two, one = sample(40_000), sample(40_000, branches=1)
    assert starc(reads(ONE), copy, two).value < 0.1
    assert starc(reads(ONE), copy, one).value > 1
    assert starc(reads(ONE), reads(2.5 * shaped(ONE, POTENTIAL)), one).value < 1e-6


def test_scale_negation_and_nothing():
    steps = sample(3000)
    assert starc(reads(ONE), reads(1e-9 * ONE), steps).value == pytest.approx(0, abs=1e-6)
    assert starc(reads(ONE), reads(-3 * ONE), steps).value == pytest.approx(2, abs=1e-6)
    assert starc(reads(ONE), reads(0 * ONE), steps).value == 1
    assert starc(reads(0 * ONE), reads(0 * ONE), steps).value == 0
    pure = reads(shaped(0 * ONE, POTENTIAL))
    one = sample(3000, branches=1)
    assert starc(reads(ONE), pure, one).value == 1


def test_an_end_pays_nothing_more():
    """A walk along a line that ends at 1: shaping is ignored where the potential of the end is zero."""
    draw = torch.Generator().manual_seed(0)
    state = torch.rand(4000, 1, generator=draw, dtype=torch.float64)
    action = 0.2 * torch.rand(4000, 1, generator=draw, dtype=torch.float64)
    after = (state + action)[:, None]
    steps = Transitions(state, action, after, 0.9, ended=after[..., 0] > 1)
    height = lambda x: 1 + x[:, 0]
    reward = lambda s, a, z: torch.sin(9 * a[:, 0])
    copy = lambda s, a, z: reward(s, a, z) + 0.9 * height(z) * (z[:, 0] <= 1) - height(s)
    wrong = lambda s, a, z: reward(s, a, z) + 0.9 * height(z) - height(s)
    # Directions below 1e-12 of the largest square are left out, which is 1e-6 of a length.
    assert starc(reward, copy, steps).value < 1e-5
    assert starc(reward, wrong, steps).value > 0.1


def test_rewards_come_in_four_ways(rng):
    steps = sample(500, branches=1)
    factors = torch.rand(500, 1, 2, generator=rng, dtype=torch.float64)
    steps = Transitions(steps.state, steps.action, steps.after, 0.9, factors)
    weight = torch.tensor([1.0, -2.0], dtype=torch.float64)
    want = (factors @ weight)[..., 0:1] if factors.dim() == 2 else factors @ weight
    for way in (weight, [1.0, -2.0], known_voices(weight[None]), want, want[:, 0]):
        torch.testing.assert_close(paid(way, steps), want)
    with pytest.raises(
        ValueError, match=r"a number for each of the 500 transitions \(500, 1\), a weight for each of the 2"
    ):
        paid(torch.ones(3), steps)
    with pytest.raises(
        ValueError, match=r"must be finite; on 500 of 500 transitions it is not, first step 0: nan"
    ):
        starc(lambda s, a, z: s[:, 0] * math.nan, weight, steps)
    with pytest.raises(ValueError, match=r"must be one voice, .* got 2 voices"):
        paid(known_voices([[1.0, 0], [0, 1.0]]), steps)  # fmt: skip


def test_all_pairs_are_those_of_two():
    steps = sample(2000)
    every = [reads(ONE), reads(OTHER), reads(ONE + OTHER)]
    found = distances(torch.stack([paid(r, steps) for r in every], -1), steps)
    torch.testing.assert_close(found.value, found.value.T)
    for a, b in ((0, 1), (0, 2), (2, 1)):
        pair = starc(every[a], every[b], steps)
        assert pair.value == pytest.approx(float(found.value[a, b]), abs=1e-9)
        assert pair.standard_error == pytest.approx(float(found.standard_error[a, b]), rel=1e-6)


def leads(seed=0):
    """The world of three states, asked where an action leads."""
    draw = torch.Generator().manual_seed(seed)
    row = lambda state, action: TRANSITION[state[:, 0].long(), action[:, 0].long()]
    return lambda state, action: torch.multinomial(row(state, action), 1, generator=draw).double()


@pytest.mark.parametrize("measure", [epic, dard, srrd])
def test_pearson_distances_from_samples(measure):
    """Standard errors against the spread of repeated runs, values against the exact ones."""
    ask = lambda seed: {} if measure is epic else {"lead": leads(seed)}
    sampled = lambda other, seed, **more: measure(
        reads(ONE), reads(other), sample(1500, 1, seed=seed), seed=seed, draws=8, **ask(seed), **more
    )
    assert sampled(shaped(3 * ONE, POTENTIAL), 1).value < 1e-6
    found = [sampled(OTHER, seed) for seed in range(60)]
    value, error = np.array([e.value for e in found]), np.array([e.standard_error for e in found])
    if measure is epic:
        true = _epic(TRANSITION.mean((0, 1)))
    else:
        true = float(measure(ONE, OTHER, transition=TRANSITION, discount=0.9, coverage="transition"))
    assert abs(value.mean() - true) < 4 * value.std() / math.sqrt(60) + 0.1 * value.std()
    # The spread of 60 normal numbers is known to 9 %: three of these.
    assert error.mean() / value.std() == pytest.approx(1, abs=0.28)
    assert sum(e.low <= true <= e.high for e in found) >= 51  # 57 less 3.5 standard errors of a count


def test_what_pearson_distances_ask_for_is_told():
    steps = sample(400, branches=1)
    with pytest.raises(ValueError, match=r"EPIC asks .* `reward_b` must be a function of"):
        epic(reads(ONE), torch.ones(400), steps)
    for measure in (dard, srrd):
        with pytest.raises(ValueError, match=r"asks where actions would lead .* give `lead`"):
            measure(reads(ONE), reads(OTHER), steps)
    with pytest.raises(ValueError, match="must be finite for every state"):
        dard(reads(ONE), reads(OTHER * math.nan), steps, lead=leads())
    assert epic(reads(ONE), reads(0 * ONE), steps).value == pytest.approx(math.sqrt(0.5))


def _epic(share):
    """EPIC where next states are drawn by `share`, states and actions alike."""
    weight = torch.full((3, 2, 3), 1 / 6, dtype=torch.float64) * share
    levels = []
    for reward in (ONE, OTHER):
        mean = (reward * share).sum(-1).mean(1)
        level = reward + 0.9 * mean - mean[:, None, None]
        levels.append(level - (level * weight).sum())
    one, other = levels
    size = ((one**2 * weight).sum() * (other**2 * weight).sum()).sqrt()
    return math.sqrt((1 - float((one * other * weight).sum() / size)) / 2)


def test_waves_come_near_smooth_functions(rng):
    state = torch.randn(4000, 2, generator=rng, dtype=torch.float64) * torch.tensor([3.0, 0.1])
    psi = waves(state, 300)
    assert isinstance(psi, Waves)
    hill = torch.exp(-(state[:, 0] ** 2) / 4) * torch.cos(20 * state[:, 1])
    left = hill - psi(state) @ torch.linalg.lstsq(psi(state), hill, driver="gelsd").solution
    assert left.norm() / hill.norm() < 0.01
    assert torch.equal(psi.frequency, waves(state, 300).frequency)
    still = waves(torch.cat([state, torch.ones(4000, 1)], 1), 20)
    assert bool(torch.isfinite(still(torch.cat([state, torch.ones(4000, 1)], 1))).all())


def test_bad_samples_are_told():
    good = sample(10)
    make = lambda **more: Transitions(**({"state": good.state, "action": good.action, "after": good.after, "discount": 0.9} | more))  # fmt: skip
    with pytest.raises(ValueError, match=r"`discount` must be in \[0, 1\), got 1.0"):
        make(discount=1.0)
    with pytest.raises(ValueError, match="`state` must be finite"):
        make(state=good.state * math.nan)
    with pytest.raises(ValueError, match="two sampled steps at least, got 1"):
        make(state=good.state[:1], action=good.action[:1], after=good.after[:1])
    with pytest.raises(ValueError, match="on sampled transitions the norm is 2"):
        starc(reads(ONE), reads(OTHER), good, norm=1)
