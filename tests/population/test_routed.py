"""Gates are recovered, people without one are not given one, and Hedge is what it is by hand."""

import dataclasses
import math

import pytest
import torch

from pluralign.data import Comparisons, Items
from pluralign.elicitation import next_question
from pluralign.population import load
from pluralign.population.camps import Camps
from pluralign.population.held_out import log_loss
from pluralign.population.routed import Gates, Routed, hedge
from pluralign.population.saving import same

HEADS = torch.tensor([[2.0, 0.0, -1.0], [-1.0, 2.0, 0.5]], dtype=torch.float64)


def answers(threshold, per_rater=40, seed=0):
    """Rater r judges by the first head up to threshold[r], by the second above."""
    draw = torch.Generator().manual_seed(seed)
    raters = len(threshold)
    features = torch.randn(50, 3, generator=draw).double()
    rater = torch.arange(raters).repeat_interleave(per_rater)
    first = torch.randint(50, (len(rater),), generator=draw)
    second = (first + torch.randint(1, 50, (len(rater),), generator=draw)) % 50
    context = torch.rand(len(rater), generator=draw).double() * 2 - 1
    taste = HEADS[(context > threshold[rater]).long()]
    chance = torch.sigmoid(((features[first] - features[second]) * taste).sum(1))
    said = (torch.rand(len(rater), generator=draw) < chance).float()
    return Comparisons.pairs(Items(features), first, second, rater, said, context=context)


@pytest.fixture(scope="module")
def routed():
    threshold = torch.tensor([-0.5, 0.5]).repeat(25).double()
    data = answers(threshold)
    return data, threshold, Routed(heads=2).fit(data, seed=0)


def test_thresholds_and_heads_are_recovered(routed):
    _, threshold, belief = routed
    ways = belief.worth
    assert belief.diagnostics["switching"] > 0.95
    middle = ways.threshold @ belief.draws.weight  # (R,) expected threshold
    # 40 answers a rater lie 1/20 apart on average; a gate is told by answers near it that differ, about one in three.
    assert float((middle - threshold).abs().median()) < 0.15
    near = torch.cdist(torch.nn.functional.normalize(ways.heads), torch.nn.functional.normalize(HEADS))
    assert sorted(near.argmin(1).tolist()) == [0, 1]
    assert float(near.amin(1).max()) < 0.25


def test_context_tells_more_than_camps_can_know():
    data = answers(torch.tensor([-0.5, 0.5]).repeat(25).double())
    kept, held = data.split(by="answer", share=0.7, seed=0)
    gap = log_loss(Routed(heads=2).fit(kept, seed=0), held) - log_loss(
        Camps(2, ridge=1.0).fit(kept, seed=0), held
    )
    assert float(gap.mean()) < -3 * float(gap.std()) / len(gap) ** 0.5
    # A context that has nothing to do with the answers gains nothing.
    noise = torch.rand(len(kept), generator=torch.Generator().manual_seed(1)).double()
    blind = Routed(heads=2).fit(dataclasses.replace(kept, context=noise), seed=0)
    shuffled = torch.rand(len(held), generator=torch.Generator().manual_seed(2)).double()
    lost = log_loss(blind, dataclasses.replace(held, context=shuffled))
    assert float(lost.mean()) > float(log_loss(Routed(heads=2).fit(kept, seed=0), held).mean()) + 0.02


def test_people_who_do_not_switch_are_camps():
    data = answers(torch.tensor([-2.0, 2.0]).repeat(25).double())
    belief = Routed(heads=2).fit(data, seed=0)
    assert belief.diagnostics["switching"] < 0.1


def test_without_context_it_says_so():
    data = dataclasses.replace(answers(torch.zeros(12).double(), 10), context=None)
    belief = Routed(heads=2, restarts=2).fit(data, seed=0)
    assert belief.diagnostics["fallback"] == "the answers have no context: fitted as Camps, nobody is routed."
    flat = dataclasses.replace(data, context=torch.zeros(len(data)))
    assert "never changes" in Routed(heads=1, restarts=2).fit(flat, seed=0).diagnostics["fallback"]


def test_questions_without_a_context_are_refused(routed):
    data, _, belief = routed
    with pytest.raises(ValueError, match="depend on the `context`, and the questions have none"):
        belief.predict(dataclasses.replace(data, context=None))


def test_questions_are_chosen_and_beliefs_are_kept(routed, tmp_path):
    data, _, belief = routed
    few = data.of_raters([0, 1])
    assert len(next_question(belief, belief.known(few), few)) == 2
    belief.save(tmp_path / "belief")
    again = load(tmp_path / "belief")
    assert same(again, belief)
    assert torch.equal(again.predict(data), belief.predict(data))


def test_panels_and_dues_are_those_of_every_way_spelled_out():
    draw = torch.Generator().manual_seed(0)
    context = torch.rand(30, 2, generator=draw).double()
    rater = torch.arange(5).repeat_interleave(6)
    told = torch.randn(3, 30, generator=draw).double()
    gates = Gates.of(context, 4, 3)
    place = gates.bins(context)
    over = context[:, gates.column] > gates.threshold  # (M, W)
    head = torch.where(over, gates.above, gates.below)
    each = told.T.gather(1, head)  # (M, W)
    panel = torch.zeros(5, each.shape[1]).double().index_add_(0, rater, each).T
    torch.testing.assert_close(gates.panel(told, rater, 5, place), panel)
    weight = torch.rand(len(panel), 5, generator=draw).double()
    owed = torch.zeros(30, 3).double().scatter_add_(1, head, weight[:, rater].T)
    torch.testing.assert_close(gates.owed(weight, rater, place, 3), owed.T)


def test_hedge_by_hand():
    """Weights (1/2, 1/2), losses log 2 and 0: at pace 1 they become 1/3 and 2/3, at pace 2 1/5 and 4/5."""
    share, loss = torch.tensor([0.5, 0.5]), torch.tensor([math.log(2), 0.0])
    torch.testing.assert_close(hedge(share, loss), torch.tensor([1 / 3, 2 / 3]))
    torch.testing.assert_close(hedge(share, loss, 2.0), torch.tensor([0.2, 0.8]))
    # Online or at once: losses add up.
    both = hedge(hedge(share, loss), torch.tensor([0.3, 0.1]))
    torch.testing.assert_close(both, hedge(share, loss + torch.tensor([0.3, 0.1])))


def test_adapting_is_hedge_over_the_ways(routed):
    data, _, belief = routed
    one = data.take(torch.tensor([0])).of_raters([0])
    for pace in (1.0, 3.0):
        prior = dataclasses.replace(belief.prior, pace=pace)
        draws = dataclasses.replace(belief, prior=prior).adapt(one)
        every = belief.shares(one, belief.draws.take(torch.tensor([0])))  # (S, 1, 2)
        loss = -(every[:, 0] * one.label[0]).sum(1).log()
        torch.testing.assert_close(draws.weight[:, 0], hedge(prior.share, loss, pace))
