"""Walks are found where tastes turn, not where they stand; the time of a question matters."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from pluralign.data import Comparisons, Items
from pluralign.population import load
from pluralign.population.drifting import Drifting, last_answers
from pluralign.population.held_out import log_loss
from pluralign.population.saving import same
from pluralign.utility.over_time import OverTime

QUICK = {"temper": 1.0, "draws": 16, "rounds": 30}


def answers(turn, raters=60, per_rater=30, seed=0):
    """Tastes in the plane that turn by `turn` over the time from 10 to 20."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(50, 2, generator=draw).double()
    rater = torch.arange(raters).repeat_interleave(per_rater)
    first = torch.randint(50, (len(rater),), generator=draw)
    second = (first + torch.randint(1, 50, (len(rater),), generator=draw)) % 50
    time = torch.rand(len(rater), generator=draw).double()
    phase = (0.5 * torch.randn(raters, generator=draw).double())[rater] + turn * time
    taste = 2.5 * torch.stack([phase.cos(), phase.sin()], 1)
    chance = torch.sigmoid(((features[first] - features[second]) * taste).sum(1))
    said = (torch.rand(len(rater), generator=draw) < chance).float()
    return Comparisons.pairs(Items(features), first, second, rater, said, time=10 + 10 * time)


def test_the_future_is_told_better_by_a_walk(tmp_path):
    data = answers(math.pi)
    kept, held = last_answers(data)
    belief = Drifting(**QUICK).fit(kept, seed=0)
    assert belief.diagnostics["modes"] > 0
    assert belief.diagnostics["walk"] > 0.3
    gap = log_loss(belief, held) - log_loss(Drifting(modes=0, kinds=0, **QUICK).fit(kept, seed=0), held)
    assert float(gap.mean()) < -3 * float(gap.std()) / len(gap) ** 0.5
    # The same questions at another time are answered otherwise; tastes have turned by half a circle.
    early, late = (dataclasses.replace(held, time=torch.full_like(held.time, t)) for t in (10.0, 20.0))
    assert (
        float(torch.corrcoef(torch.stack([belief.predict(early)[:, 0], belief.predict(late)[:, 0]]))[0, 1])
        < 0
    )
    # What an option is worth, and voices, are those at the end.
    whole = Drifting(modes=2, kinds=0, **QUICK).fit(data, seed=0)
    now = whole.utility(data.options, whole.draws)
    facing_end = torch.tensor([-1.0, 0.0]).double()  # the average phase is then pi
    assert float(torch.corrcoef(torch.stack([now.mean(0), data.options.features @ facing_end]))[0, 1]) > 0.9
    belief.save(tmp_path / "belief")
    again = load(tmp_path / "belief")
    assert same(again, belief)
    assert torch.equal(again.predict(held), belief.predict(held))


def test_tastes_that_stand_still_are_not_moved():
    data = answers(0.0)
    kept, held = last_answers(data)
    gap = log_loss(Drifting(**QUICK).fit(kept, seed=0), held) - log_loss(
        Drifting(modes=0, kinds=0, **QUICK).fit(kept, seed=0), held
    )
    assert float(gap.mean()) <= 2 * float(gap.std()) / len(gap) ** 0.5


def test_without_time_it_says_so():
    data = dataclasses.replace(answers(0.0, 10, 8), time=None)
    told = Drifting(**QUICK).fit(data, seed=0).diagnostics["fallback"]
    assert told == "the answers have no time column: fitted as Hierarchical, tastes stand still."
    same_time = dataclasses.replace(data, time=torch.ones(len(data)))
    assert "the same time" in Drifting(**QUICK).fit(same_time, seed=0).diagnostics["fallback"]


def test_questions_without_a_time_are_refused():
    data = answers(0.0, 10, 8)
    belief = Drifting(modes=1, kinds=0, **QUICK).fit(data, seed=0)
    with pytest.raises(ValueError, match="the questions have no `time`; say when"):
        belief.predict(dataclasses.replace(data, time=None))


def test_the_functions_of_time_have_the_spread_of_brownian_motion():
    """Orthogonal, with mean squares 1 and 1 / (k pi)^2; integrals by Gauss and Legendre are exact to degree 19."""
    node, weight = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(10))
    walk = OverTime(None, 10.0, 20.0, 3)
    f = walk.functions(15 + 5 * node)
    square = torch.tensor([1.0] + [1 / (k * math.pi) ** 2 for k in (1, 2, 3)], dtype=torch.float64)
    torch.testing.assert_close(f.T @ (weight[:, None] / 2 * f), torch.diag(square))
    # Outside the time of training the walk stays where it is.
    outside = walk.functions(torch.tensor([5.0, 10.0, 20.0, 99.0]).double())
    assert torch.equal(outside[0], outside[1])
    assert torch.equal(outside[2], outside[3])


def test_the_last_answers_are_the_last():
    data = answers(0.0, 6, 10)
    kept, held = last_answers(data)
    assert held.counts.tolist() == [2] * 6
    for r in range(6):
        assert float(kept.time[kept.rater == r].max()) <= float(held.time[held.rater == r].min())
