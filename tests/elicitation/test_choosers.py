"""Which questions are taken for each rater."""

import pytest
import torch

import pluralign
from pluralign.data.comparisons import Comparisons
from pluralign.elicitation import next_question
from pluralign.elicitation.choosers import CHOOSERS, choose, highest
from pluralign.population.ensemble import Ensemble, disagreement
from pluralign.raters import CampPeople, questions


@pytest.fixture(scope="module")
def study():
    people = CampPeople(((2.0, -1.0), (-1.0, 2.0)), (0.5, 0.5)).draw(8, 0)
    items = pluralign.Items(torch.randn(15, 2, generator=torch.Generator().manual_seed(0)))
    data = people.answer(items, *questions(15, 6, 8, 0), 0)
    slate, rater = questions(15, 20, 8, 1)
    candidates = Comparisons(items, slate, rater, torch.full(slate.shape, 0.5), rater_ids=data.rater_ids)
    member = pluralign.Camps(groups=2, ridge=1.0, restarts=2)
    return Ensemble(member, members=3).fit(data, seed=0), candidates


def test_highest_of_each_rater(rng):
    score = torch.randint(0, 5, (60,), generator=rng).double()
    rater = torch.randint(0, 6, (60,), generator=rng)
    found = highest(score, rater, 3)
    for r in range(6):
        mine = (rater == r).nonzero()[:, 0].tolist()
        expected = sorted(mine, key=lambda m: (-float(score[m]), m))[:3]
        assert [m for m in found.tolist() if int(rater[m]) == r] == expected


@pytest.mark.parametrize("pick", CHOOSERS)
def test_everybody_is_asked_as_often(study, pick):
    belief, candidates = study
    asked = choose(pick, belief, candidates, 3, seed=0)
    assert asked.counts.tolist() == [3] * 8
    again = choose(pick, belief, candidates, 3, seed=0)
    assert torch.equal(asked.slate, again.slate)


def test_each_takes_the_largest_of_its_own(study):
    belief, candidates = study
    doubt = disagreement(belief, candidates)
    asked = choose("disagreement", belief, candidates, 2)
    for r in range(8):
        top = doubt[candidates.rater == r].topk(2).values
        torch.testing.assert_close(disagreement(belief, asked)[asked.rater == r], top)
    told = next_question(belief, belief.known(candidates), candidates, count=2)
    assert torch.equal(choose("information", belief, candidates, 2).slate, told.slate)


def test_without_a_belief_the_lot_decides(study):
    _, candidates = study
    assert torch.equal(
        choose("information", None, candidates, 2, seed=3).slate,
        choose("random", None, candidates, 2, seed=3).slate,
    )


def test_what_is_wrong_is_said(study):
    belief, candidates = study
    with pytest.raises(ValueError, match="no way to choose is called 'most'; there are random, information"):
        choose("most", belief, candidates, 1)
    with pytest.raises(ValueError, match="`count` must be 1 or more"):
        choose("random", belief, candidates, 0)
