"""True against believed return: closed forms by hand, training that ends at the optimum, and the picture itself."""

import math

import pluralign_envs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.lab.overoptimisation import (
    Curve,
    FewAnswers,
    RareOptions,
    best_of,
    compare,
    picture,
    places,
    tilted,
    trained,
)
from pluralign.policies import Tabular
from pluralign.rewards import WorstOff, known_voices
from pluralign.rewards.doubt import Doubts


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_best_of_n_by_hand():
    # Of two draws from three equal options the best is option k with chance (k^2 - (k - 1)^2) / 9: 1, 3, 5 ninths.
    proxy, true = double([0, 1, 2]), double([3, 6, 0])
    curve = best_of(proxy, true, counts=(1, 2))
    assert curve.proxy.tolist() == pytest.approx([1, 13 / 9])
    assert curve.true.tolist() == pytest.approx([3, 21 / 9])
    nats = sum(p * math.log(3 * p) for p in (1 / 9, 3 / 9, 5 / 9))
    assert curve.pressure.tolist() == pytest.approx([0, nats])
    assert nats < math.log(2) - 1 / 2  # the bound, for options without number
    assert curve.fall == pytest.approx(6 / 9)


def test_options_of_equal_proxy_keep_their_proportions():
    base = double([0.5, 0.3, 0.2])
    curve = best_of(double([1, 1, 0]), double([1, 0, 0]), base, counts=(1, 1000))
    assert curve.true.tolist() == pytest.approx([0.5, 0.5 / 0.8])


@settings(max_examples=20)
@given(st.integers(0, 2**20), st.integers(2, 30))
def test_tilting_keeps_its_limit_and_beats_best_of_n(seed, options):
    draw = lambda: torch.randn(
        options, generator=torch.Generator().manual_seed(seed + len(taken)), dtype=torch.float64
    )
    taken: list = []
    proxy = draw()
    taken.append(1)
    true = draw()
    base = torch.softmax(draw(), 0)
    found = best_of(proxy, true, base, counts=(2, 4))
    same = tilted(proxy, true, base, nats=tuple(found.pressure.tolist()))
    # Nothing within the same number of nats has a larger proxy than the tilted reference.
    assert bool((same.pressure <= found.pressure + 1e-9).all())
    assert bool((same.proxy >= found.proxy - 1e-6).all())


def test_training_for_the_truth_ends_at_the_best_policy():
    learner = Tabular(pluralign_envs.twin("pluralign/PointMaze-v0"))
    truth = known_voices([[1.0, 0.0, -0.02]])
    sure = Doubts(truth.worth, truth.z[:, None], truth.weight)
    curve = trained(learner, sure, truth, steps=150)
    best = float(learner.returns(learner.improve(truth, torch.ones(1)), truth))
    assert bool((curve.true.diff() > -1e-9).all())  # each step of the natural gradient helps
    assert float(curve.true[-1]) == pytest.approx(best, rel=0.01)  # the gap shrinks as one over the steps
    torch.testing.assert_close(curve.true, curve.proxy)
    assert curve.fall == pytest.approx(0, abs=1e-9)


def test_training_for_what_all_guesses_share():
    # Two guesses that agree about red and are opposite about blue: sure is only what red brings.
    learner = Tabular(pluralign_envs.twin("pluralign/PointMaze-v0"))
    guesses = double([[[0.5, 1.0, 0.0], [0.5, -1.0, 0.0]]])
    truth = known_voices([[1.0, 0.0, 0.0]])
    curve = trained(learner, Doubts(truth.worth, guesses, truth.weight), truth, WorstOff(), steps=200)
    best = float(learner.returns(learner.improve(truth, torch.ones(1)), truth))
    assert float(curve.true[-1]) > 0.8 * best
    blue = Doubts(truth.worth, guesses[:, :1], truth.weight)
    assert float(trained(learner, blue, truth, steps=200).true[-1]) < 0.3 * best


def test_a_single_reward_falls_and_a_careful_one_does_not():
    table, curves = compare(RareOptions(), runs=6)
    rows = table.set_index("trained for")
    single, worst = rows.loc["single reward"], rows.loc["worst case"]
    assert single["lost"] > 2.5 * single["lost error"]
    assert worst["lost"] < 2.5 * worst["lost error"] + 0.02
    assert worst["ahead"] > 2.5 * worst["ahead error"]
    # The single reward believes all the while that it gets better.
    believed = torch.stack([c.proxy for c in curves["single reward"]]).mean(0)
    assert bool((believed.diff() > 0).all())
    drawing = picture(curves)
    assert drawing.axes[0].get_xlabel() == "nats from the reference"
    assert len(drawing.axes[0].lines) == 4


def test_with_many_answers_nobody_falls():
    plenty = RareOptions(options=20, people=400, asked=20, members=3)
    table, _ = compare(plenty, runs=3)
    assert float(table["lost"].max()) < 0.05
    assert float(table["ahead"].abs().max()) < 0.3


def test_few_answers_in_a_maze():
    curves = FewAnswers(people=8, asked=3, segments=12, members=2, steps=5).run(0)
    assert set(curves) == {"single reward", "mean of the ensemble", "worst case", "uncertainty-weighted"}
    for curve in curves.values():
        assert isinstance(curve, Curve)
        assert curve.unit == "steps of training"
        assert float(curve.true[0]) == pytest.approx(0, abs=1e-9)
        assert float(curve.true.max()) <= 1 + 1e-9
    learner, taste = places()
    assert learner.table.factors.shape[2] == len(taste) == len(learner.table.start)


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="must give every option a chance"):
        best_of(double([0, 1]), double([0, 1]), double([0, 1]))
    with pytest.raises(ValueError, match="`runs` must be at least 2"):
        compare(RareOptions(), runs=1)
