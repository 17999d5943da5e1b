"""Reward distances against values worked out elsewhere, and against what they promise."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import DISCOUNT, MOVED, ONE, OTHER, POTENTIAL, TRANSITION, shaped

import pluralign
from pluralign.metrics.canonical import CANONICAL, STARC, canonical
from pluralign.metrics.distances import dard, epic, length, pearson_distance, reward_distance, srrd, starc
from pluralign.tabular import random_world

WORLD = {"transition": TRANSITION, "discount": DISCOUNT}
NORMS = {
    "1/1": (1, 1, False),
    "2/2": (2, 2, False),
    "inf/inf": (math.inf, math.inf, False),
    "weighted 1/1": (1, 1, True),
    "weighted 2/2": (2, 2, True),
    "1, 2": (1, 2, False),
    "2, 1": (2, 1, False),
}
TABLE = {
    "none": (1.581818181818, 1.351374023043, 1.5, 1.250733137830, 1.009210116215, 0.437404062681, 4.890569552750),
    "epic": (1.437613588310, 1.398190767838, 1.841878147526, 1.088913297636, 0.981598876762, 0.432562941401, 4.647461887643),
    "dard": (1.275864532204, 1.435303651712, 1.974824294556, 0.880674008875, 0.881022255700, 0.447664547120, 4.094686126182),
    "val-potential": (1.054691252442, 1.277816304593, 1.694159250854, 0.677806411358, 0.673969510267, 0.395810589532, 3.387697858869),
    "val": (1.076285851245, 0.736977203953, 0.708687810482, 1.076285851245, 0.736977203953, 0.258847855316, 2.972655865783),
    "minimal-potential": (1.448506023551, 1.415976255180, 1.747526076491, 1.179767178635, 1.069387536787, 0.421577841147, 4.868401857602),
    "minimal": (1.095844398106, 0.856423541872, 0.563372608420, 0.994749857149, 0.755165808170, 0.343092451456, 2.807580895207),
    "minimal-weighted": (0.949336156214, 0.756608104276, 0.704376121482, 0.949336156214, 0.756608104276, 0.233353514317, 2.986948908610),
}  # fmt: skip
LENGTHS = {
    "none": 4.337337893224,
    "epic": 4.120907060345,
    "dard": 4.446061322255,
    "val-potential": 4.522212297418,
    "minimal-potential": 4.019011278593,
    "minimal": 1.047185769966,
    "val": 1.372534261093,
}


def level(name, reward):
    return canonical(name, reward, TRANSITION, DISCOUNT)


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("column", NORMS)
def test_distances_of_the_worked_example(name, column):
    norm, metric, weighted = NORMS[column]
    found = reward_distance(ONE, OTHER, **WORLD, canonical=name, norm=norm, metric=metric, weighted=weighted)
    assert float(found) == pytest.approx(TABLE[name][list(NORMS).index(column)], abs=1e-9)


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_of_canonical_rewards(name):
    assert float(length(level(name, ONE), 2)) == pytest.approx(LENGTHS[name], abs=1e-9)


def test_canonical_rewards_of_the_worked_example():
    weight = TRANSITION / 6
    assert float(length(level("val", ONE), 2, weight)) == pytest.approx(0.323509427810, abs=1e-9)
    assert float(length(level("minimal-weighted", ONE), 2, weight)) == pytest.approx(0.314928682090, abs=1e-9)
    gap = torch.tensor([0.207350955656, 0.293549850217, 0.429894308257], dtype=torch.float64)
    torch.testing.assert_close(level("val", ONE)[:, 1, 0].abs(), gap, atol=1e-9, rtol=0)
    torch.testing.assert_close(level("val", ONE)[:, 0, 2], -level("val", ONE)[:, 1, 0])
    for name, row in (
        ("epic", (-0.279166666667, 0.608333333333, -1.579166666667)),
        ("dard", (-0.15, 0.52375, -1.50775)),
        ("val-potential", (-0.239701911312, 0.428603223493, -1.252802624362)),
    ):
        torch.testing.assert_close(
            level(name, ONE)[0, 0], torch.tensor(row, dtype=torch.float64), atol=1e-9, rtol=0
        )


@pytest.mark.parametrize(
    ("found", "coverage", "value"),
    [
        (epic, "uniform", 0.699095383919),
        (dard, "uniform", 0.715852315242),
        (epic, "transition", 0.475824750047),
        (dard, "transition", 0.436052481012),
    ],
)
def test_pearson_distances_of_the_worked_example(found, coverage, value):
    assert float(found(ONE, OTHER, **WORLD, coverage=coverage)) == pytest.approx(value, abs=1e-9)


def test_raw_rewards_are_correlated_and_epic_is_half_of_the_distance_of_lengths():
    raw = lambda coverage: float(pearson_distance("none", ONE, OTHER, **WORLD, coverage=coverage))
    assert raw("uniform") == pytest.approx(0.708994234621, abs=1e-9)
    assert raw("transition") == pytest.approx(0.540570224726, abs=1e-9)
    # EPIC's canonical rewards have the mean zero where all steps count alike; DARD's have not.
    half = lambda name: float(reward_distance(ONE, OTHER, **WORLD, canonical=name)) / 2
    assert float(epic(ONE, OTHER, **WORLD)) == pytest.approx(half("epic"), abs=1e-12)
    assert abs(float(dard(ONE, OTHER, **WORLD)) - half("dard")) > 1e-3


# R + Z and 2.5 (shaped) + Z, norm 2, as the sheet of the worked example has them.
INVARIANCE = {
    "none": (1.3912025450, 1.0701620315),
    "epic": (1.4191971007, 0.9294469041),
    "dard": (1.3715982873, 0.8774633264),
    "val-potential": (1.4080068966, 0.9687255257),
    "minimal-potential": (1.4245194138, 0.9435776859),
    "val": (0, 0),
    "minimal": (0, 0),
    "minimal-weighted": (0, 0),
}


@pytest.mark.parametrize("name", INVARIANCE)
def test_who_ignores_redistribution(name):
    distance = lambda other: float(reward_distance(ONE, other, **WORLD, canonical=name))
    copy = 2.5 * shaped(ONE, POTENTIAL)
    for other, value in zip((ONE + MOVED, copy + MOVED), INVARIANCE[name]):
        assert distance(other) == pytest.approx(value, abs=1e-9)
    assert distance(copy) == pytest.approx(0.8625022659 if name == "none" else 0, abs=1e-9)
    assert distance(ONE + 1.7) == pytest.approx(0.8189287185 if name == "none" else 0, abs=1e-9)
    assert distance(-ONE) == pytest.approx(2)
    assert distance(0 * ONE) == pytest.approx(1, abs=1e-9)
    assert float(reward_distance(0 * ONE, 0 * ONE, **WORLD, canonical=name)) == 0


def test_pure_shaping_ranks_nothing():
    nothing = shaped(0 * ONE, POTENTIAL)
    for name in STARC:
        assert float(starc(ONE, 1e6 * nothing, **WORLD, canonical=name)) == pytest.approx(1, abs=1e-9)
        assert float(starc(1e-9 * nothing, nothing, **WORLD, canonical=name)) == 0


# Eighths: a reward of 1e-8 next to a potential of 10 is rounding noise, and rightly counts as none.
eighths = lambda most: st.integers(-8 * most, 8 * most).map(lambda k: k / 8)


def arrays(*shape, most=8):
    count = math.prod(shape)
    return st.lists(eighths(most), min_size=count, max_size=count).map(
        lambda x: torch.tensor(x, dtype=torch.float64).reshape(shape)
    )


@st.composite
def equal_rewards(draw):
    """A world, a reward, and another that orders all policies alike: shaped, redistributed, scaled."""
    states, actions = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    world = random_world(states, actions, sparse=False, seed=draw(st.integers(0, 999)))
    reward, noise = draw(arrays(states, actions, states)), draw(arrays(states, actions, states))
    # The mean over next states is taken off: what is left is redistribution.
    noise = noise - (world.transition * noise).sum(-1, keepdim=True)
    copy = draw(st.floats(0.1, 10)) * shaped(reward, draw(arrays(states, most=20)), world.discount) + noise
    return world, reward, copy


@settings(max_examples=40)
@given(equal_rewards(), st.sampled_from(STARC), st.sampled_from([1, 2, 3.5, math.inf]), st.booleans())
def test_starc_sees_no_difference_between_equal_rewards(made, name, norm, weighted):
    world, reward, copy = made
    found = starc(reward, copy, world, canonical=name, norm=norm, weighted=weighted)
    assert float(found) == pytest.approx(0, abs=1e-7)


@settings(max_examples=30)
@given(equal_rewards(), st.integers(0, 99), st.sampled_from([epic, dard, srrd]))
def test_pearson_distances_ignore_shaping_and_scale(made, seed, found):
    world, reward, _ = made
    draw = torch.Generator().manual_seed(seed)
    other = torch.randn(reward.shape, generator=draw, dtype=torch.float64)
    potential = torch.randn(len(reward), generator=draw, dtype=torch.float64)
    copy = 3.5 * shaped(other, potential, world.discount)
    assert float(found(reward, copy, world)) == pytest.approx(float(found(reward, other, world)), abs=1e-7)


@settings(max_examples=30)
@given(st.integers(0, 999), st.sampled_from(list(CANONICAL)))
def test_canonical_rewards_are_linear_and_settled(seed, name):
    world = random_world(4, 2, sparse=False, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 4, 2, 4, generator=draw, dtype=torch.float64)
    told = lambda r: canonical(name, r, world.transition, world.discount)
    torch.testing.assert_close(told(2 * a - b), 2 * told(a) - told(b), atol=1e-9, rtol=0)
    torch.testing.assert_close(told(torch.stack([a, b]))[1], told(b), atol=1e-12, rtol=0)
    if name not in ("dard", "srrd"):  # whose means are over other steps than those that they change
        torch.testing.assert_close(told(told(a)), told(a), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["minimal", "minimal-weighted", "minimal-potential"])
def test_minimal_rewards_are_minimal(name, rng):
    """No shaping (and redistribution) of a reward is shorter than the canonical one."""
    weight = TRANSITION if name == "minimal-weighted" else None
    least = length(level(name, ONE), 2, weight)
    for _ in range(50):
        phi = 0.1 * torch.randn(3, generator=rng, dtype=torch.float64)
        moved = 0.1 * torch.randn(3, 2, 3, generator=rng, dtype=torch.float64)
        moved = moved - (TRANSITION * moved).sum(-1, keepdim=True)
        other = shaped(level(name, ONE), phi) + (0 if name == "minimal-potential" else moved)
        assert length(other, 2, weight) >= least - 1e-12


def test_names_at_the_top():
    for name in ("starc", "epic", "dard", "srrd"):
        found = getattr(pluralign, name)(ONE, OTHER, **WORLD)
        assert found.standard_error == 0
        assert found.low == found.value == found.high


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"discount": 1.0}, r"`discount` must be in \[0, 1\), got 1.0"),
        ({"discount": -0.1}, r"`discount` must be in \[0, 1\)"),
        ({"transition": 0.9 * TRANSITION}, r"rows must be chances that sum to one; 6 do not, first state 0, action 0: 0\.9"),
        ({"transition": TRANSITION[0]}, r"must be \(S, A, S\), got \(2, 3\)"),
        ({"canonical": "val-potential"}, r"'val-potential' is none of them \(it keeps redistribution"),
        ({"canonical": "vale"}, "'vale' is none of them"),
        ({"norm": 0.5}, r"a norm needs p in \[1, inf\], got 0.5"),
        ({"policy": torch.ones(3, 2)}, "`policy` must be .* whose rows sum to one"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_sentence(more, told):
    with pytest.raises(ValueError, match=told):
        starc(ONE, OTHER, **(WORLD | more))


def test_bad_rewards_and_worlds_are_told():
    with pytest.raises(ValueError, match=r"`reward_b` must be \(3, 2, 3\) or \(3, 2\), got \(3,\)"):
        starc(ONE, torch.ones(3), **WORLD)
    with pytest.raises(
        ValueError, match=r"`reward_a` must be finite; 1 numbers are not, first at \(0, 0, 0\)"
    ):
        starc(ONE.clone().index_put((torch.tensor(0), torch.tensor(0), torch.tensor(0)), torch.tensor(math.nan).double()), OTHER, **WORLD)  # fmt: skip
    with pytest.raises(ValueError, match="needs a world, or `transition` and `discount`"):
        starc(ONE, OTHER)
    apart = torch.eye(3).double()[:, None].expand(3, 2, 3).clone()
    from pluralign.tabular import Table

    world = Table(apart, torch.tensor([0.5, 0.5, 0]).double(), torch.zeros(3, 2, 1).double(), 0.9)
    with pytest.raises(ValueError, match="1 of 3 are not, first state 2"):
        starc(ONE, OTHER, world)
    with pytest.raises(ValueError, match="no canonical reward is called 'vale'"):
        reward_distance(ONE, OTHER, **WORLD, canonical="vale")
    with pytest.raises(ValueError, match="`coverage` must be"):
        epic(ONE, OTHER, **WORLD, coverage="all")
