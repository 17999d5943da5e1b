import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import bandit, voices, worlds

from pluralign.policies import Single, Tabular
from pluralign.policies.self_play import SelfPlay, Votes
from pluralign.policies.voting import MaximalLottery
from pluralign.policies.winner import minimax_winner, mirror_descent, self_play
from pluralign.rewards import known_voices

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
few = settings(max_examples=5, deadline=None)
# Each option beats exactly one other, and scores by which the answers are most likely prefer the second.
CIRCLE = torch.tensor([[0.5, 0.7, 0.2], [0.3, 0.5, 0.9], [0.8, 0.1, 0.5]], dtype=torch.float64)
WINNER = torch.tensor([4.0, 3.0, 2.0], dtype=torch.float64) / 9


def near(a, b, atol):
    torch.testing.assert_close(a.double(), torch.as_tensor(b, dtype=torch.float64), atol=atol, rtol=0)


def test_the_minimax_winner_of_a_circle():
    near(minimax_winner(CIRCLE), WINNER, 1e-9)
    # By hand: all three options win half the time against it.
    near(CIRCLE @ WINNER, [0.5] * 3, 1e-12)


def test_self_play_takes_the_known_path():
    start = torch.tensor([0.6, 0.3, 0.1]).double()
    near(self_play(CIRCLE, 20_000, start), [0.4468, 0.3210, 0.2321], 5e-5)


@pytest.mark.parametrize("rounds", [100, 3000])
def test_self_play_is_within_the_bound_of_the_theorem(rounds):
    average = self_play(CIRCLE, rounds)
    # Regret of multiplicative weights with step sqrt(ln P / n) and gains in [0, 1]: at most (1 + 1/8) sqrt(ln P / n).
    assert float((CIRCLE @ average).max()) <= 0.5 + 1.125 * math.sqrt(math.log(3) / rounds)


def test_mirror_descent_reaches_its_equilibrium_and_comes_near_the_winner():
    last = mirror_descent(CIRCLE, 10_000)
    near(last, WINNER, 1e-2)
    near(last, torch.softmax(CIRCLE @ last / 0.01, 0), 0.1)  # steep: an error of .001 in chances is .1 here
    warm = mirror_descent(CIRCLE, 2000, temperature=0.5)
    near(warm, torch.softmax(CIRCLE @ warm / 0.5, 0), 1e-3)
    home = torch.tensor([0.2, 0.2, 0.6]).double()
    kept = mirror_descent(CIRCLE, 2000, temperature=0.5, reference=home)
    near(kept, torch.softmax(home.log() + CIRCLE @ kept / 0.5, 0), 1e-3)


@few
@given(size=st.integers(2, 6), seed=st.integers(0, 1000))
def test_a_winner_wins_at_least_half_against_everything(size, seed):
    raw = torch.rand(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    wins = (raw + 1 - raw.T) / 2
    assert float((minimax_winner(wins) @ wins).min()) >= 0.5 - 1e-9
    near(minimax_winner(wins), MaximalLottery().on(wins), 1e-6)  # shares drawn at random have one winner


def test_of_several_winners_policies_are_few_and_votes_are_even():
    even = torch.full((4, 4), 0.5)
    assert sorted(minimax_winner(even).tolist()) == [0, 0, 0, 1]
    near(MaximalLottery().on(even), [0.25] * 4, 1e-9)


ROTATED = torch.tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [2.0, 1.0, 3.0]])  # a > b > c, b > c > a, c > a > b


def test_three_camps_whose_orders_rotate():
    learner, people = Tabular(bandit(ROTATED)), voices(3)
    solver = SelfPlay(Votes(0.05))
    lottery = solver.optimise(learner, people)
    near(lottery.chance, [1 / 3] * 3, 1e-9)
    assert lottery.diagnostics["worst"] >= 0.5 - 1e-9
    # Whatever a scalar reward, that is a weighing of the camps, picks: two camps in three prefer another policy.
    for weight in torch.rand(20, 3, generator=torch.Generator().manual_seed(0)).tolist():
        alone = Single(tuple(weight)).optimise(learner, people).returns(learner, people)
        each = torch.stack([learner.returns(p, people) for p in lottery.policies])
        assert float(solver.preference(alone[None], each, people.weight).min()) < 0.34


@pytest.mark.parametrize("play", ["self-play", "mirror"])
def test_learning_plays_come_near_the_exact_one(play):
    share = [0.5, 0.3, 0.2]
    learner, people = Tabular(bandit(ROTATED)), voices(3, share)
    exact = SelfPlay(Votes(0.3)).optimise(learner, people).diagnostics
    found = SelfPlay(Votes(0.3), play=play, rounds=3, plays=4000).optimise(learner, people).diagnostics
    assert found["worst"] >= exact["worst"] - 0.02
    assert exact["worst"] >= 0.5 - 1e-9


def test_any_preference_will_do():
    """The circle itself: returns are the chances of three options, and the preference is bilinear in them."""
    learner, people = Tabular(bandit(torch.eye(3))), voices(3)
    taken = lambda ours, theirs, share: torch.einsum("...i,ij,...j->...", ours, CIRCLE, theirs)
    lottery = SelfPlay(taken).optimise(learner, people)
    mine = torch.einsum("p,pa->a", lottery.chance, torch.stack([p.chance[0] for p in lottery.policies]))
    near(mine, WINNER, 1e-8)
    by_play = SelfPlay(taken, play="self-play", plays=20_000).optimise(learner, people)
    mine = torch.einsum("p,pa->a", by_play.chance, torch.stack([p.chance[0] for p in by_play.policies]))
    near(mine, WINNER, 1e-2)
    best = (
        Single((0.3, 0.4, 0.3)).optimise(learner, people).policies[0]
    )  # what scores fitted to CIRCLE prefer
    assert best.chance[0].argmax() == 1
    assert float(CIRCLE[1].min()) < 0.5


@few
@given(world=worlds())
def test_wins_against_every_weighing_of_the_voices(world):
    learner, people = Tabular(world), voices(world.factors.shape[-1])
    solver = SelfPlay(Votes(0.5))
    lottery = solver.optimise(learner, people)
    mine = torch.stack([learner.returns(p, people) for p in lottery.policies])
    generator = torch.Generator().manual_seed(0)
    for weight in torch.rand(8, len(people), generator=generator):
        other = learner.returns(learner.improve(people, weight), people)
        won = lottery.chance @ solver.preference(mine, other[None], people.weight)[:, 0]
        assert float(won) >= 0.5 - 0.01


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match=r"for options 0 and 0; count a tie"):
        minimax_winner(torch.ones(2, 2))
    with pytest.raises((ValueError, TypeError), match=r"one row and one column|P=2"):
        minimax_winner(torch.ones(2, 3))
    with pytest.raises(ValueError, match="positive"):
        Votes(0.0)
    with pytest.raises(ValueError, match="at least 1"):
        SelfPlay(rounds=0)
    with pytest.raises((ValueError, TypeError), match="mirror"):
        SelfPlay(play="chess")


def test_camps_whose_orders_rotate_in_a_maze():
    """Three goals, one cannot be at two: whatever a scalar reward asks for loses two votes in three to another policy."""
    pluralign_envs = pytest.importorskip("pluralign_envs")
    learner = Tabular(pluralign_envs.twin("pluralign/SharedSafety-v0"))
    people = known_voices([[*goals, -0.1, -0.02] for goals in ROTATED.tolist()])
    solver = SelfPlay()
    lottery = solver.optimise(learner, people)
    mine = torch.stack([learner.returns(p, people) for p in lottery.policies])
    weights = torch.rand(12, 3, generator=torch.Generator().manual_seed(5))
    others = torch.stack([learner.returns(learner.improve(people, one), people) for one in weights])
    won = torch.einsum("p,po->o", lottery.chance, solver.preference(mine, others[:, 0], people.weight))
    assert float(won.min()) >= 0.5 - 1e-6
    # Among these few alone, each loses to some other by two votes in three.
    alone = solver.preference(others, others[:, 0], people.weight)
    assert float(alone.min(1).values.max()) < 0.34
