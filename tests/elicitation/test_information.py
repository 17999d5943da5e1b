"""What a question is worth asking: against enumeration, by its bounds, and by what it saves in an interview."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pluralign.choice import Davidson, Luce, Skip
from pluralign.data import Comparisons, Items
from pluralign.elicitation import Answering, information_gain, interview, next_question
from pluralign.population import Atoms, Belief, Draws, Gaussian
from pluralign.raters import SimulatedRaters
from pluralign.utility import Linear


def toy(z, share, rule=None, options=5, seed=0):
    """A belief of atoms over items whose features are as they are."""
    features = torch.randn(options, len(z[0]), generator=torch.Generator().manual_seed(seed)).double()
    data = ask(features, [(0, 1)])
    worth = Linear().start(data, width=None, generator=torch.Generator())
    worth = dataclasses.replace(
        worth, centre=torch.zeros(len(z[0])).double(), scale=torch.ones(len(z[0])).double()
    )
    prior = Atoms(torch.tensor(z, dtype=torch.float64), torch.tensor(share, dtype=torch.float64))
    draws = Draws.atoms(prior.z, prior.share[:, None])
    return Belief(worth, rule or Luce(), prior, draws, ("0",), None), features


def ask(features, slates, rater=None, raters=None):
    slate = torch.tensor(slates)
    label = torch.zeros(slate.shape)
    label[:, 0] = 1.0
    rater = torch.zeros(len(slate), dtype=torch.long) if rater is None else torch.tensor(rater)
    names = tuple(str(r) for r in range(raters or int(rater.max()) + 1))
    return Comparisons(Items(features), slate, rater, label, rater_ids=names)


def entropy(p):
    return -sum(x * math.log(x) for x in p if x > 0)


def by_hand(belief, draws, data, m):
    """Mutual information of the table of tastes and answers, with plain loops."""
    r = int(data.rater[m])
    basis = belief.worth.basis(data.options)
    table = []
    for s in range(len(draws.z)):
        worth = [float(basis[k] @ draws.z[s, r]) if k >= 0 else -math.inf for k in data.slate[m].tolist()]
        table.append(belief.rule.log_outcomes(torch.tensor(worth, dtype=torch.float64)).exp().tolist())
    weight = draws.weight[:, r].tolist()
    mean = [sum(w * row[o] for w, row in zip(weight, table)) for o in range(len(table[0]))]
    total = 0.0
    for w, row in zip(weight, table):
        for o, p in enumerate(row):
            if w > 0 and p > 0:
                total += w * p * math.log(p / mean[o])
    return total


@pytest.mark.parametrize("rule", [Luce(), Luce(0.3), Davidson(2.0)])
def test_gain_equals_the_mutual_information_counted_out(rule):
    belief, features = toy([(2.0, 0.0), (-1.0, 1.0), (0.0, -2.0)], (0.5, 0.3, 0.2), rule)
    data = ask(features, list(itertools.permutations(range(5), 2)))
    gain = information_gain(belief, belief.draws, data)
    expected = [by_hand(belief, belief.draws, data, m) for m in range(len(data))]
    torch.testing.assert_close(gain, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0)


def test_gain_of_draws_that_differ_by_rater_and_of_short_slates(rng):
    belief, features = toy([(2.0, 0.0), (-1.0, 1.0)], (0.5, 0.5))
    z = torch.randn(6, 3, 2, generator=rng).double()
    weight = torch.rand(6, 3, generator=rng).double()
    draws = Draws(z, weight / weight.sum(0))
    data = ask(features, [(0, 1, 2), (3, 4, -1), (1, 3, -1), (4, 2, 0)], [0, 1, 2, 2])
    gain = information_gain(belief, draws, data)
    expected = [by_hand(belief, draws, data, m) for m in range(len(data))]
    torch.testing.assert_close(gain, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0)


def test_a_question_that_settles_a_fair_coin_is_worth_one_bit():
    """Two camps who always disagree and never err."""
    belief, features = toy([(500.0,), (-500.0,)], (0.5, 0.5))
    gain = information_gain(belief, belief.draws, ask(features, [(0, 1)]))
    assert float(gain) == pytest.approx(math.log(2), abs=1e-12)


def test_a_tie_is_an_answer_of_its_own():
    """With ties one camp always ties and the other always chooses: their shares may agree, their answers do not."""
    belief, _ = toy([(0.0,), (40.0,)], (0.5, 0.5), Davidson(nu=1e6))
    features = torch.tensor([[1.0], [-1.0]]).double()
    data = ask(features, [(0, 1)])
    assert float(information_gain(belief, belief.draws, data)) == pytest.approx(math.log(2), abs=1e-3)


@given(st.lists(st.tuples(st.floats(-30, 30), st.floats(-30, 30)), min_size=1, max_size=5), st.integers(0, 9))
def test_gain_lies_between_nothing_and_the_number_of_answers(z, seed):
    share = [1 / len(z)] * len(z)
    belief, features = toy(z, share, seed=seed)
    for places in (2, 3):
        gain = information_gain(
            belief, belief.draws, ask(features, list(itertools.combinations(range(5), places)))
        )
        assert bool((gain >= 0).all())
        assert bool((gain <= math.log(min(places, len(z))) + 1e-12).all())


def test_a_point_belief_has_nothing_to_learn():
    belief, features = toy([(2.0, 1.0)], (1.0,))
    data = ask(features, [(0, 1), (2, 3)])
    assert information_gain(belief, belief.draws, data).tolist() == [0.0, 0.0]
    twice, _ = toy([(2.0, 1.0), (2.0, 1.0)], (0.3, 0.7))
    assert float(information_gain(twice, twice.draws, data).max()) < 1e-15
    # An option compared with itself teaches nobody anything.
    many, features = toy([(2.0, 0.0), (-1.0, 1.0)], (0.5, 0.5))
    assert float(information_gain(many, many.draws, ask(features, [(3, 3)]))) < 1e-15
    assert len(information_gain(many, many.draws, data.take(torch.arange(0)))) == 0


def test_pieces_change_nothing(monkeypatch):
    import pluralign.elicitation.information as information

    belief, features = toy([(2.0, 0.0), (-1.0, 1.0)], (0.5, 0.5))
    data = ask(features, list(itertools.permutations(range(5), 2)))
    whole = information_gain(belief, belief.draws, data)
    chosen = information.best(belief, belief.draws, data, count=3)
    monkeypatch.setattr(information, "AT_ONCE", 1)
    torch.testing.assert_close(information_gain(belief, belief.draws, data), whole, atol=1e-15, rtol=0)
    assert torch.equal(information.best(belief, belief.draws, data, count=3), chosen)


def test_the_next_question_is_the_most_telling_of_each_rater_and_the_first_among_equals(rng):
    belief, features = toy([(2.0, 0.0), (-1.0, 1.0), (1.0, 1.0)], (0.4, 0.3, 0.3))
    weight = torch.tensor([[0.4, 1.0, 0.1], [0.3, 0.0, 0.8], [0.3, 0.0, 0.1]]).double()
    draws = Draws.atoms(belief.prior.z, weight)
    pairs = list(itertools.permutations(range(5), 2))
    slates, who = pairs + pairs[::-1], [0] * 20 + [2] * 20
    data = ask(features, slates, who, raters=3)
    gain = information_gain(belief, draws, data)
    chosen = next_question(belief, draws, data)
    assert chosen.rater.tolist() == [0, 2]  # rater 1 has no candidates
    assert chosen.rater_ids == data.rater_ids
    for m in range(2):
        mine = (data.rater == chosen.rater[m]).nonzero()[:, 0]
        # (a, b) and (b, a) tell the same up to rounding.
        first = next(int(i) for i in mine if gain[i] > gain[mine].max() - 1e-12)
        assert chosen.slate[m].tolist() == data.slate[first].tolist()
    one = ask(features, [(3, 4), (4, 3)], [1, 1], raters=3)
    assert next_question(belief, draws, one).slate.tolist() == [[3, 4]]  # nothing to learn from rater 1


def test_several_questions_at_once_are_chosen_together():
    """Against enumeration of all answers to both questions; the second best alone is the first turned round."""
    belief, features = toy([(2.0, 0.0), (-1.0, 1.0), (0.0, -2.0)], (0.4, 0.3, 0.3), Luce(0.2))
    pairs = list(itertools.permutations(range(5), 2))
    data = ask(features, pairs)
    draws = belief.draws
    first, second = (tuple(s) for s in next_question(belief, draws, data, count=2).slate.tolist())
    assert set(first) != set(second)
    basis = belief.worth.basis(data.options)

    def together(a, b):
        chances = []
        for z in belief.prior.z:
            p = [float(torch.sigmoid((basis[i] - basis[j]) @ z / 0.2)) for i, j in (a, b)]
            chances.append([x * y for x in (p[0], 1 - p[0]) for y in (p[1], 1 - p[1])])
        weight = belief.prior.share.tolist()
        mean = [sum(w * c[o] for w, c in zip(weight, chances)) for o in range(4)]
        return entropy(mean) - sum(w * entropy(c) for w, c in zip(weight, chances))

    most = max(together(first, other) for other in pairs if other != first)
    assert together(first, second) == pytest.approx(most, abs=1e-12)


def test_errors_say_what_to_do():
    belief, features = toy([(2.0, 0.0), (-1.0, 1.0)], (0.5, 0.5))
    data = ask(features, list(itertools.permutations(range(5), 2)))
    with pytest.raises(ValueError, match="`draws` must be for the 1 raters asked, got 2"):
        information_gain(belief, Draws.atoms(belief.prior.z, torch.full((2, 2), 0.5).double()), data)
    with pytest.raises(ValueError, match="`count` must be 1 or more"):
        next_question(belief, belief.draws, data, count=0)
    with pytest.raises(ValueError, match="ask fewer at once, and adapt in between"):
        next_question(belief, belief.draws, data, count=20)
    few = data.take(torch.arange(3))
    assert sorted(map(tuple, next_question(belief, belief.draws, few, count=5).slate.tolist())) == sorted(
        map(tuple, few.slate.tolist())
    )
    assert len(next_question(belief, belief.draws, data.take(torch.arange(0)))) == 0
    people = SimulatedRaters(belief.worth, belief.prior.z[:1])
    with pytest.raises(ValueError, match="`pick` must be one of information, random, got 'best'"):
        interview(belief, people, data, 3, 0, pick="best")
    with pytest.raises(ValueError, match="`rounds` must be 0 or more"):
        interview(belief, people, data, -1, 0)


def pool(features, raters):
    pairs = list(itertools.combinations(range(len(features)), 2))
    return ask(features, pairs * raters, [r for r in range(raters) for _ in pairs])


def crowd(seed=0, raters=60, options=12):
    belief, features = toy([(0.0, 0.0)], (1.0,), options=options, seed=seed)
    prior = Gaussian(torch.zeros(2).double(), 4 * torch.eye(2).double(), 64)
    belief = dataclasses.replace(belief, prior=prior)
    return belief, SimulatedRaters(belief.worth, belief.sample(raters, seed=1)), pool(features, raters)


def test_an_interview_asks_every_rater_once_a_round_and_nothing_twice():
    belief, people, candidates = crowd(raters=7)
    assert isinstance(people, Answering)
    found = interview(belief, people, candidates, 5, seed=3)
    assert len(found.answers) == 35
    assert found.round.tolist() == [t for t in range(5) for _ in range(7)]
    assert torch.equal(torch.bincount(found.answers.rater), torch.full((7,), 5))
    key = [(int(r), *sorted(s)) for r, s in zip(found.answers.rater, found.answers.slate.tolist())]
    assert len(set(key)) == 35
    assert found.draws.raters == 7
    assert bool((found.expected > 0).all())
    assert len(found.until(2)) == 14
    again = interview(belief, people, candidates, 5, seed=3)
    assert torch.equal(again.answers.slate, found.answers.slate)
    assert torch.equal(again.answers.label, found.answers.label)
    # The interview of a rater does not depend on who else is asked, but for rounding in what ties.
    alone = interview(
        belief, people.take(torch.tensor([0, 1])), pool(candidates.options.features, 2), 5, seed=3
    )
    mine = found.answers.rater < 2
    assert torch.equal(alone.answers.slate, found.answers.slate[mine])
    assert torch.equal(alone.answers.label, found.answers.label[mine])


def test_an_interview_ends_when_questions_do():
    belief, people, candidates = crowd(raters=2, options=3)
    found = interview(belief, people, candidates, 50, seed=0)
    assert len(found.answers) == 6
    empty = interview(belief, people, candidates, 0, seed=0)
    assert len(empty.answers) == 0
    torch.testing.assert_close(empty.draws.mean, torch.zeros(2, 2).double(), atol=1e-9, rtol=0)


def test_skipped_questions_are_asked_and_teach_nothing():
    belief, people, candidates = crowd(raters=6)
    shy = dataclasses.replace(people, rule=Skip(Luce(), 0.5, "close"))
    found = interview(belief, shy, candidates, 4, seed=0)
    assert 0 < len(found.answers) < 24
    assert len(found.round) == len(found.expected) == len(found.answers)
    mute = dataclasses.replace(people, rule=Skip(Luce(), 1e6, "close"))
    silent = interview(belief, mute, candidates, 2, seed=0)
    assert len(silent.answers) == 0
    torch.testing.assert_close(silent.draws.mean, torch.zeros(6, 2).double(), atol=1e-9, rtol=0)


def test_chosen_questions_teach_more_than_random_ones():
    """Squared error of the taste after eight answers, paired over raters: better by three standard errors."""
    belief, people, candidates = crowd(raters=60)
    error = {}
    for pick in ("information", "random"):
        found = interview(belief, people, candidates, 8, seed=0, pick=pick)
        error[pick] = (found.draws.mean - people.taste).square().sum(1)
    gap = error["random"] - error["information"]
    assert float(gap.mean()) > 3 * float(gap.std() / len(gap) ** 0.5)
    first = interview(belief, people, candidates, 1, seed=0)
    by_chance = interview(belief, people, candidates, 1, seed=0, pick="random")
    assert float(first.expected.mean()) > float(by_chance.expected.mean())
