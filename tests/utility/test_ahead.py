"""Values of measured states, learned from steps, against those of the grid that the steps were taken on."""

import pytest
import torch

import pluralign
from pluralign import Camps, Comparisons, Pooled, Segments, starc
from pluralign.tabular import Table, best_values, uniform, values
from pluralign.utility.ahead import Ahead
from pluralign.utility.judged import Judged, statistics

CELLS, DISCOUNT = 31, 0.97


@pytest.fixture(scope="module")
def line():
    """A line of cells: left, stay, right. Factors: a step, and hills at both ends and in the middle."""
    lead = torch.zeros(CELLS, 3, CELLS, dtype=torch.float64)
    for s in range(CELLS):
        for a, move in enumerate((-1, 0, 1)):
            lead[s, a, min(max(s + move, 0), CELLS - 1)] = 1
    x = torch.linspace(-1, 1, CELLS, dtype=torch.float64)
    hills = torch.exp(-((x[:, None] - torch.tensor([-1.0, 0.0, 1.0])) ** 2) / 0.03)
    moved = torch.tensor([1.0, 0, 1]).double().expand(CELLS, 3)[..., None]
    factors = torch.cat([moved, hills[:, None].expand(CELLS, 3, 3)], -1)
    return Table(lead, torch.full((CELLS,), 1 / CELLS).double(), factors, DISCOUNT)


@pytest.fixture(scope="module")
def walks(line):
    draw = torch.Generator().manual_seed(0)
    state = [torch.randint(CELLS, (600,), generator=draw)]
    action = torch.randint(3, (600, 4), generator=draw)
    for k in range(4):
        state.append(line.transition[state[-1], action[:, k]].argmax(-1))
    seen = torch.stack(state, 1)
    where = 2 * seen[..., None].double() / (CELLS - 1) - 1  # a place on a scale, no number of a state
    return seen, Segments(
        line.factors[seen[:, :-1], action],
        observation=where[:, :-1],
        action=action[..., None].double(),
        reached=where[:, -1],
    )


TASTES = ([-0.2, 1.0, -0.6, 0.7], [-0.2, 1.0, 0.6, -0.5], [0.2, -1.0, 1.0, 0.3])


def test_values_are_nearly_those_of_the_best_policy(line, walks):
    ahead = Ahead.of(walks[1], DISCOUNT)
    place = torch.linspace(-1, 1, CELLS, dtype=torch.float64)[:, None]
    torch.testing.assert_close(ahead.shares(place).sum(1), torch.ones(CELLS).double())
    for taste in TASTES:
        w = torch.tensor(taste).double()
        reward = line.factors @ w
        best = best_values(line.transition, reward, DISCOUNT)[0]
        wander = values(line.transition, reward, uniform(line.transition), DISCOUNT)
        found = ahead.values(place, w)
        assert float(torch.corrcoef(torch.stack([found, best]))[0, 1]) > 0.95
        # Means of means of what is paid: no value is beyond what a reward can bring.
        assert float(found.max()) <= float(reward.max()) / (1 - DISCOUNT)
        assert (found - best).abs().mean() < (wander - best).abs().mean()


def test_who_judges_by_what_is_found_where_states_are_on_a_scale(line, walks):
    seen, pieces = walks
    w = torch.tensor(TASTES[1]).double()
    value = best_values(line.transition, line.factors @ w, DISCOUNT)[0]
    paid = (pieces.factors @ w).sum(1)
    worth = torch.stack([paid, paid + value[seen[:, -1]] - value[seen[:, 0]]], 1)
    worth = 2 * worth / worth.std(0)
    draw = torch.Generator().manual_seed(1)
    rater, rule = torch.arange(40).repeat_interleave(40), torch.arange(40) % 2
    slate = torch.randint(len(pieces), (len(rater), 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % len(pieces), slate[:, 1])
    gap = worth[slate[:, 0], rule[rater]] - worth[slate[:, 1], rule[rater]]
    first = (torch.rand(len(gap), generator=draw, dtype=torch.float64) < torch.sigmoid(gap)).double()
    data = Comparisons(pieces, slate, rater, torch.stack([first, 1 - first], 1))
    belief = Camps(groups=2, utility=Judged(("partial return", "regret"), discount=DISCOUNT)).fit(data)
    assert isinstance(belief.worth.moves, Ahead)
    right = (belief.draws.weight.argmax(0) == rule).double().mean()
    assert float(right) > 0.5 + 4 * (0.25 / 40) ** 0.5  # four standard errors better than a coin
    assert float(starc(line.factors @ w, line.factors @ belief.worth.reward[0], line)) < 0.15


def test_a_belief_about_states_on_a_scale_is_saved_and_loaded(walks, tmp_path):
    pieces = walks[1].take(torch.arange(60))
    slate = torch.arange(60).reshape(30, 2)
    label = torch.eye(2)[torch.arange(30) % 2]
    data = Comparisons(pieces, slate, torch.zeros(30, dtype=torch.long), label)
    belief = Pooled(utility=Judged(("regret",), discount=DISCOUNT)).fit(data)
    belief.save(tmp_path / "belief")
    torch.testing.assert_close(pluralign.load(tmp_path / "belief").predict(data), belief.predict(data))


def test_what_is_missing_is_told(walks):
    pieces = walks[1]
    with pytest.raises(ValueError, match="values of states need Segments with `observation`"):
        Ahead.of(Segments(pieces.factors), DISCOUNT)
    settings = Judged(("stochastic regret",), discount=DISCOUNT)
    needed = torch.tensor([[0.0, 0, 0, 1]]).double()
    with pytest.raises(ValueError, match="stochastic regret needs numbered states"):
        statistics(
            pieces, Ahead.of(pieces, DISCOUNT, policies=2), torch.ones(4).double(), settings, needed=needed
        )
