"""Ways to judge a segment: published numbers, exact values, and what answers can and cannot tell."""

import dataclasses

import pytest
import torch

from pluralign.choice import Luce
from pluralign.data import Comparisons, Items, Segments
from pluralign.population.camps import Camps
from pluralign.population.pooled import Pooled
from pluralign.utility.judged import RULES, Judged, judged_items, rule_confusion, rule_table, statistics
from pluralign.utility.moves import Moves, Walks, best_of_policies, optimal_values, successor_features

LEFT, RIGHT = 0, 1


def chain():
    """States 0 to 3, left and right, -1 a move, +10 for reaching 3, which is the end."""
    lead, paid = torch.zeros(4, 2, 4), torch.full((4, 2, 1), -1.0)
    for s in range(3):
        lead[s, LEFT, max(s - 1, 0)] = 1
        lead[s, RIGHT, s + 1] = 1
    paid[2, RIGHT] = 10
    paid[3] = 0
    lead[3, :, 3] = 1
    return Moves.of(lead, paid)


def walks():
    """A: right three times from 0; B: left, right, right from 1; C: right, left, right from 0."""
    state = torch.tensor([[0, 1, 2, 3], [1, 0, 1, 2], [0, 1, 0, 1]])
    action = torch.tensor([[RIGHT, RIGHT, RIGHT], [LEFT, RIGHT, RIGHT], [RIGHT, LEFT, RIGHT]])
    paid = torch.tensor([[-1.0, -1, 10], [-1, -1, -1], [-1, -1, -1]])
    return Segments(
        paid[..., None],
        observation=state[:, :3, None].double(),
        action=action[..., None].double(),
        reached=state[:, 3:].double(),
    )


def score(rule, fade, segments=None):
    found = statistics(segments or walks(), chain(), torch.ones(1).double(), Judged(discount=0.9, fade=fade))
    return found @ torch.tensor(RULES[rule]).double()


def close(found, expected, tolerance=1e-9):
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=tolerance, rtol=0)


def test_values_and_advantages_of_the_chain():
    value, q = optimal_values(chain(), chain().factors[..., 0], 0.9)
    close(value, [6.2, 8.0, 10.0, 0.0])
    close((q - value[:, None])[:3], [[-1.62, 0.0], [-3.42, 0.0], [-3.8, 0.0]])


@pytest.mark.parametrize(
    ("rule", "fade", "expected"),
    [
        ("partial return", 1.0, [8.0, -3.0, -3.0]),
        ("partial return", 0.9, [6.2, -2.71, -2.71]),
        ("stochastic regret", 1.0, [0.0, -3.42, -3.42]),
        ("stochastic regret", 0.9, [0.0, -3.42, -3.078]),
        ("regret", 0.9, [0.0, -3.42, -3.078]),
        ("regret", 1.0, [1.8, -1.0, -1.2]),
    ],
)
def test_scores_of_the_chain(rule, fade, expected):
    close(score(rule, fade), expected)


@pytest.mark.parametrize(
    ("rule", "fade", "expected"),
    [
        ("partial return", 1.0, [0.9999832986, 0.9999832986, 0.5]),
        ("partial return", 0.9, [0.9998649864, 0.9998649864, 0.5]),
        ("stochastic regret", 1.0, [0.9683237716, 0.9683237716, 0.5]),
        ("stochastic regret", 0.9, [0.9683237716, 0.9559760897, 0.5846762649]),
    ],
)
def test_chances_of_the_chain(rule, fade, expected):
    u = score(rule, fade)
    pair = torch.stack([u[[0, 1]], u[[0, 2]], u[[2, 1]]])
    close(Luce().share(pair)[:, 0], expected, 1e-10)


def test_padding_and_an_early_end_change_nothing():
    plain = walks()
    wide = lambda x: torch.cat([x, torch.full_like(x[:, :1], 9)], 1)
    mask = torch.tensor([[True, True, True, False]] * 3)
    padded = dataclasses.replace(
        plain,
        factors=wide(plain.factors),
        observation=wide(plain.observation) * 0 + torch.nn.functional.pad(plain.observation, (0, 0, 0, 1)),
        action=wide(plain.action),
        mask=mask,
    )
    for rule in RULES:
        torch.testing.assert_close(score(rule, 0.9, padded), score(rule, 0.9), atol=1e-12, rtol=0)


def world(seed, states=6, actions=3, wide=4):
    draw = torch.Generator().manual_seed(seed)
    lead = torch.softmax(2 * torch.randn(states, actions, states, generator=draw, dtype=torch.float64), -1)
    return Moves.of(lead, torch.randn(states, actions, wide, generator=draw, dtype=torch.float64)), draw


@pytest.mark.parametrize("softness", [0.0, 0.3])
def test_values_solve_bellmans_equation_and_know_their_derivatives(softness):
    moves, draw = world(1)
    w = torch.randn(4, generator=draw, dtype=torch.float64).requires_grad_()
    value, q = optimal_values(moves, moves.factors @ w, 0.95, softness)
    best = q.amax(1) if not softness else softness * torch.logsumexp(q / softness, 1)
    torch.testing.assert_close(value, best, atol=1e-10, rtol=0)
    solve = lambda x: optimal_values(moves, moves.factors @ x, 0.95, softness)[0]
    assert torch.autograd.gradcheck(solve, (w,), eps=1e-6, atol=1e-6)


def test_the_best_of_some_policies_comes_from_below_and_is_right_for_their_own_rewards():
    moves, draw = world(2)
    several = torch.randn(30, 4, generator=draw, dtype=torch.float64)
    around = successor_features(moves, several, 0.9)
    assert 1 < len(around) <= 30
    for w in several[:3]:
        exact, _ = optimal_values(moves, moves.factors @ w, 0.9)
        torch.testing.assert_close(best_of_policies(around, w), exact, atol=1e-3, rtol=0)
    other = torch.randn(4, generator=draw, dtype=torch.float64)
    exact, _ = optimal_values(moves, moves.factors @ other, 0.9)
    assert bool((best_of_policies(around, other) <= exact + 1e-9).all())


def paths(moves, count, steps, draw):
    """Random walks, with the expected factors of their moves."""
    state = torch.randint(len(moves.real), (count,), generator=draw)
    seen, done = [state], []
    for _ in range(steps):
        action = torch.randint(moves.real.shape[1], (count,), generator=draw)
        done.append(action)
        state = torch.multinomial(moves.transition[state, action], 1, generator=draw)[:, 0]
        seen.append(state)
    s, a = torch.stack(seen, 1), torch.stack(done, 1)
    return Segments(
        moves.factors[s[:, :-1], a],
        observation=s[:, :-1, None].double(),
        action=a[..., None].double(),
        reached=s[:, -1:].double(),
    )


def test_regret_ignores_shaping_that_partial_return_counts():
    moves, draw = world(3, wide=1)
    potential = torch.randn(6, generator=draw, dtype=torch.float64)
    sure = moves.transition.argmax(-1)  # made certain, so that a step's own shaping is known
    moves = Moves.of(torch.nn.functional.one_hot(sure, 6).double(), moves.factors)
    shaping = 0.9 * potential[sure] - potential[:, None]
    other = Moves.of(moves.transition, moves.factors + shaping[..., None])
    mine = paths(moves, 40, 5, draw)
    s, a = mine.observation[..., 0].long(), mine.action[..., 0].long()
    shaped = dataclasses.replace(mine, factors=mine.factors + shaping[s, a][..., None])
    one, settings = torch.ones(1).double(), Judged(discount=0.9, fade=0.9)
    before = statistics(mine, moves, one, settings)
    after = statistics(shaped, other, one, settings)
    for rule in ("regret", "stochastic regret"):
        c = torch.tensor(RULES[rule]).double()
        torch.testing.assert_close(after @ c, before @ c, atol=1e-10, rtol=0)
    assert float((after - before)[:, 0].abs().max()) > 0.1
    # On certain moves the two regrets are one.
    torch.testing.assert_close(before @ c, before @ torch.tensor(RULES["regret"]).double())


def test_a_constant_reward_per_step_is_told_by_regret_alone():
    """With segments of one length, r and r + 2 give equal partial returns up to a constant, and other best policies."""
    moves = chain()
    both = Moves(
        moves.transition, torch.cat([moves.factors, torch.ones(4, 2, 1)], -1), moves.real, moves.action
    )
    both.factors[3] = 0
    state = walks()
    two = dataclasses.replace(state, factors=torch.cat([state.factors, torch.ones(3, 3, 1)], -1))
    settings = Judged(discount=0.9, fade=0.9)
    plain, more = torch.tensor([1.0, 0.0]).double(), torch.tensor([1.0, 20.0]).double()
    gaps = {}
    for rule in ("partial return", "stochastic regret"):
        c = torch.tensor(RULES[rule]).double()
        a, b = (statistics(two, both, w, settings) @ c for w in (plain, more))
        gaps[rule] = float(((a - a[0]) - (b - b[0])).abs().max())
    assert gaps["partial return"] < 1e-12  # every answer has the same chance
    assert gaps["stochastic regret"] > 1  # looping has become better than arriving
    assert optimal_values(both, both.factors @ more, 0.9)[1][2].argmax() == LEFT


def asked(segments, utility, answers, raters, draw, strength=1.0):
    """`utility` is (N, raters) or (N,)."""
    count = len(segments)
    slate = torch.randint(count, (answers * raters, 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % count, slate[:, 1])
    rater = torch.arange(raters).repeat_interleave(answers)
    u = utility[:, None].expand(-1, raters) if utility.dim() == 1 else utility
    gap = strength * (u[slate[:, 0], rater] - u[slate[:, 1], rater])
    first = (torch.rand(len(slate), generator=draw, dtype=torch.float64) < torch.sigmoid(gap)).double()
    return Comparisons(segments, slate, rater, torch.stack([first, 1 - first], 1))


def canonical(moves, reward, discount):
    """(S A,) the reward levelled by the values of the uniform policy, at length one: a STARC vector."""
    chance = moves.real.double() / moves.real.sum(1, keepdim=True)
    step = torch.einsum("sa,saz->sz", chance, moves.transition)
    value = torch.linalg.solve(torch.eye(len(step)).double() - discount * step, (chance * reward).sum(1))
    level = (reward - value[:, None] + discount * moves.transition @ value).reshape(-1)
    return level / level.norm()


def test_regret_recovers_the_reward_from_regret_made_answers_and_partial_return_does_not():
    moves, draw = world(4, states=8, actions=3, wide=5)
    segments = paths(moves, 300, 4, draw)
    truth = torch.tensor([1.5, -1.0, 0.5, 1.0, -0.5]).double()
    settings = Judged(("stochastic regret",), moves=moves, discount=0.9, fade=0.9)
    made = statistics(segments, moves, truth, settings)[:, 3]
    data = asked(segments, made, 30, 200, draw)
    target = canonical(moves, moves.factors @ truth, 0.9)
    far = {}
    for rule in ("stochastic regret", "partial return"):
        belief = Pooled(utility=dataclasses.replace(settings, rules=(rule,))).fit(data)
        found = canonical(moves, moves.factors @ belief.worth.reward[0], 0.9)
        far[rule] = float((found - target).norm()) / 2
    assert far["stochastic regret"] < 0.05
    assert far["partial return"] > 2 * far["stochastic regret"]
    assert far["partial return"] > 0.08


def mixed(draw, raters=60, answers=32):
    moves, _ = world(5, states=8, actions=3, wide=5)
    lead = torch.nn.functional.one_hot(moves.transition.argmax(-1), 8).double()
    moves = Moves.of(lead, moves.factors)
    segments = paths(moves, 400, 5, draw)
    truth = torch.tensor([0.8, -0.6, 0.4, 0.5, -0.3]).double()
    found = statistics(segments, moves, truth, Judged(moves=moves, discount=0.9))
    names = ("partial return", "regret", "end value")
    u = found @ torch.tensor([RULES[n] for n in names]).double().T
    u = 2 * u / u.std(0)
    kind = torch.arange(raters) % 3
    return moves, asked(segments, u[:, kind], answers, raters, draw), kind, names


@pytest.mark.parametrize("told", [True, False])
def test_camps_over_rules_find_who_judges_by_what(told):
    moves, data, kind, names = mixed(torch.Generator().manual_seed(6))
    utility = Judged(names if told else (), moves=moves, discount=0.9)
    belief = Camps(groups=3, utility=utility).fit(data)
    assert set(belief.worth.names) == set(names)
    place = torch.tensor([belief.worth.names.index(n) for n in names])
    right = (belief.draws.weight.argmax(0) == place[kind]).double().mean()
    assert float(right) > 0.85
    shares = rule_table(belief)
    assert all(abs(shares[n] - 1 / 3) < 0.1 for n in names)
    # What the fit expects of its own mistakes is what they are, within three standard errors of 60 coins.
    _, confusion = rule_confusion(belief)
    torch.testing.assert_close(confusion.sum(1), torch.ones(3).double())
    expected = float((confusion.diagonal() * belief.draws.weight.mean(1)).sum())
    assert abs(expected - float(right)) < 3 * (0.1 * 0.9 / len(kind)) ** 0.5
    one = Pooled(utility=Judged(("regret",), moves=moves, discount=0.9)).fit(data)
    assert one.diagnostics.get("panel_log_likelihood", -1e9) < belief.diagnostics["panel_log_likelihood"]
    # People want the reward, however they look at segments: all voices pay in proportion to one.
    paid = belief.voices().reward(data.options.factors[:3])
    torch.testing.assert_close(paid[..., 0], paid[..., 1])


def test_a_belief_over_rules_is_saved_and_loaded(tmp_path):
    import pluralign

    _, data, _, _ = mixed(torch.Generator().manual_seed(8), raters=12, answers=12)
    belief = Camps(groups=2, utility=Judged(discount=0.9)).fit(data)  # moves as the segments show them
    belief.save(tmp_path / "belief")
    again = pluralign.load(tmp_path / "belief")
    torch.testing.assert_close(again.predict(data), belief.predict(data))


def test_with_a_known_reward_statistics_are_items_for_any_population():
    moves, data, kind, _ = mixed(torch.Generator().manual_seed(9), answers=40)
    truth = torch.tensor([0.8, -0.6, 0.4, 0.5, -0.3])
    items = judged_items(data.options, truth, Judged(discount=0.9), moves)
    assert isinstance(items, Items)
    assert items.names == ("reward", "end", "start", "advantage")
    belief = Camps(groups=3).fit(dataclasses.replace(data, options=items))
    mine = belief.draws.weight.argmax(0)
    pairs = torch.stack([torch.bincount(mine[kind == k], minlength=3).max() for k in range(3)])
    assert int(pairs.sum()) > 0.9 * len(kind)


def test_moves_are_counted_from_segments():
    moves, draw = world(10, states=4, actions=2, wide=2)
    segments = paths(moves, 4000, 5, draw)
    found = Moves.counted(segments)
    count = 4000 * 5 / 8
    assert float((found.transition - moves.transition).abs().max()) < 4 * (0.25 / count) ** 0.5 * 1.5
    torch.testing.assert_close(found.factors, moves.factors)
    nameless = Moves.counted(dataclasses.replace(segments, action=None))
    assert nameless.real.shape[1] == 4  # a move is where it leads
    assert bool((nameless.place(Walks.of(dataclasses.replace(segments, action=None))) < 4).all())


def test_bad_input():
    moves, w = chain(), torch.ones(1).double()
    for discount in (1.0, -0.1):
        with pytest.raises(ValueError, match=r"`discount` must be in \[0, 1\)"):
            Judged(discount=discount)
        with pytest.raises(ValueError, match=r"`discount` must be in \[0, 1\)"):
            optimal_values(moves, moves.factors @ w, discount)
    with pytest.raises(ValueError, match="`rules` must be of partial return"):
        Judged(("regrets",))
    with pytest.raises(ValueError, match="rows must be chances"):
        Moves.of(moves.transition * 2, moves.factors)
    with pytest.raises(ValueError, match="`factors` must be finite"):
        Moves.of(moves.transition, moves.factors * torch.nan)
    with pytest.raises(ValueError, match="`reached`"):
        statistics(dataclasses.replace(walks(), reached=None), moves, w, Judged())
    with pytest.raises(ValueError, match="whole number each"):
        statistics(dataclasses.replace(walks(), reached=torch.full((3, 1), 0.5).double()), moves, w, Judged())
    with pytest.raises(ValueError, match="actions must be one whole number"):
        statistics(
            dataclasses.replace(walks(), action=torch.full((3, 3, 1), 0.5).double()), moves, w, Judged()
        )
    with pytest.raises(ValueError, match="states must be numbers below 4"):
        statistics(dataclasses.replace(walks(), reached=torch.full((3, 1), 9.0).double()), moves, w, Judged())
    with pytest.raises(ValueError, match="must be a move of its state"):
        statistics(
            dataclasses.replace(walks(), action=torch.full((3, 3, 1), 7.0).double()), moves, w, Judged()
        )
