"""Rankings, distances, implied rewards and hindsight: each recovers what it should where that is known."""

import dataclasses

import numpy as np
import pytest
import torch
from strolls import QUICK, answers, strolls, success

from pluralign.data import Comparisons, Segments
from pluralign.data.answers import rankings
from pluralign.policies.direct import Direct, Hindsight, Implied, losses, trainer
from pluralign.policies.direct.actor import Shown, divergence
from pluralign.policies.direct.lists import lists_of
from pluralign.population.camps import Camps
from pluralign.population.per_rater import PerRater
from pluralign.population.variational import Variational

WORTH = torch.tensor([0.0, 1.0, -0.7, 0.4])


def bandit():
    """Four arms, each pulled in one segment of one step."""
    arm = torch.arange(4.0)[:, None, None]
    return Segments(WORTH[:, None, None], observation=torch.zeros(4, 1, 1), action=arm)


def ranked(count, seed, scale=1.0):
    """Rankings of all four arms by Plackett and Luce: worths plus Gumbel noise, sorted."""
    draw = torch.Generator().manual_seed(seed)
    noise = -torch.log(-torch.log(torch.rand(count, 4, generator=draw).clamp(1e-9, 1 - 1e-7)))
    order = (scale * WORTH + noise).argsort(1, descending=True)
    return rankings(bandit(), order, torch.zeros(count, dtype=torch.long))


def logits(policy):
    """What a network of one state says of the arms, relative to the first."""
    state = policy.state
    x = torch.tanh(state["mlp_extractor.policy_net.0.bias"])
    out = state["action_net.weight"] @ x + state["action_net.bias"]
    return (out - out[0]).double()


@pytest.mark.parametrize(("scale", "right"), [(1.0, True), (1.5, False)])
def test_pro_recovers_the_worths_that_rankings_were_made_of(scale, right):
    data = ranked(1500, 0, scale)
    served = Direct("pro", scale=1.0, hidden=(8,), imitation=0, updates=600, batch=512, rate=2e-2).fit(data)
    u = WORTH.double().requires_grad_()

    def loss(u):
        score = u[data.slate.clamp_min(0)].masked_fill(data.slate < 0, -torch.inf)
        return losses.picked(score, data.label.double()).sum()

    information = torch.autograd.functional.hessian(loss, u.detach())[1:, 1:]
    off = (logits(served.policy) - WORTH.double())[1:]
    # Chi-squared with three degrees of freedom, one false alarm in ten thousand.
    assert (float(off @ information @ off) < 21.1) == right


def test_lipo_puts_arms_in_the_order_of_rankings():
    served = Direct("lipo", scale=1.0, hidden=(8,), imitation=0, updates=150, batch=128, rate=2e-2).fit(
        ranked(600, 1)
    )
    assert logits(served.policy).argsort().tolist() == WORTH.argsort().tolist()


def test_rankings_are_put_together_again():
    order = torch.tensor([[2, 0, 3, 1], [1, 3, 0, -1], [0, 1, -1, -1], [3, 2, 1, 0]])
    who = torch.tensor([0, 0, 1, 1])
    slate, grade, rater = lists_of(rankings(bandit(), order, who))
    assert rater.tolist() == who.tolist()
    for row, shown, value in zip(order.tolist(), slate.tolist(), grade.tolist(), strict=True):
        size = sum(place >= 0 for place in shown)
        best = sorted(range(size), key=lambda k: -value[k])
        assert [shown[k] for k in best] == row[:size]
        assert sorted(value[:size]) == pytest.approx([k / (size - 1) for k in range(size)])
    slate, grade, _ = lists_of(rankings(bandit(), order[:1], who[:1], top=1))
    assert grade[0, slate[0] == 2].tolist() == [1.0]
    torch.testing.assert_close(grade[0, slate[0] != 2], torch.full((3,), 1 / 3))
    one = Comparisons(bandit(), torch.tensor([[0, 1]]), torch.tensor([0]), torch.tensor([[0.3, 0.7]]))
    torch.testing.assert_close(lists_of(one)[1], torch.tensor([[0.3, 0.7]]))


def test_a_ranking_is_its_stages_and_absent_places_say_nothing():
    score = torch.tensor([0.2, -1.0, 0.7, 0.1], dtype=torch.float64)
    order = torch.tensor([2, 0, 3, 1])
    stages = [score[order[k:]] for k in range(3)]
    first = lambda s: torch.nn.functional.one_hot(torch.tensor(0), len(s)).double()
    total = sum(float(losses.picked(s, first(s), scale=0.7)) for s in stages)
    assert total == pytest.approx(float(losses.pro(score, order, scale=0.7)), abs=1e-12)
    grade, there = torch.tensor([0.3, 1.0, 0.0, 0.9]).double(), torch.tensor([True, True, True, False])
    assert float(losses.lipo(score, grade, there=there)) == pytest.approx(
        float(losses.lipo(score[:3], grade[:3])), abs=1e-12
    )


def test_tdpo_is_dpo_until_the_policy_strays():
    score, y = torch.tensor([[0.4, -0.3]]).double(), torch.tensor([0.8]).double()
    none = torch.zeros(1, 2).double()
    assert float(losses.tdpo(score, none, y, scale=0.5)) == pytest.approx(
        float(losses.logistic(score, y, scale=0.5)), abs=1e-12
    )
    far = torch.tensor([[0.2, 1.0]], dtype=torch.float64, requires_grad=True)
    losses.tdpo(score, far, torch.ones(1).double(), scale=0.5).backward()
    # Only what is refused is held back: (s - 1) * -scale * weight, s the chance of the answer.
    s = torch.sigmoid(0.5 * (torch.tensor(0.7) - 0.5 * (1.0 - 0.2)))
    torch.testing.assert_close(far.grad, torch.tensor([[0.0, 0.25 * (1 - float(s))]]).double())


def test_straying_is_measured_in_closed_form():
    draw = torch.Generator().manual_seed(0)
    normal = lambda *size: torch.randn(*size, generator=draw)
    shown = Shown(Segments(normal(3, 2, 1), observation=normal(3, 2, 1), action=normal(3, 2, 2)))
    one, two = ({"log_std": shown.spread.log() + x} for x in (torch.tensor([0.2, -0.5]), torch.tensor(0.1)))
    out, then = normal(3, 2, 2), normal(3, 2, 2)
    law = lambda mean, state: torch.distributions.Normal(mean, state["log_std"].exp())
    torch.testing.assert_close(
        divergence(shown, one, out, two, then),
        torch.distributions.kl_divergence(law(then, two), law(out, one)).sum(-1),
    )
    shown.counted = 2
    law = lambda out: torch.distributions.Categorical(logits=out)
    torch.testing.assert_close(
        divergence(shown, {}, out, {}, then), torch.distributions.kl_divergence(law(then), law(out))
    )


def test_dppo_settles_where_preferred_actions_are():
    draw = torch.Generator().manual_seed(0)
    action = torch.rand(300, 1, 1, generator=draw) * 2 - 1
    shown = Segments(action, observation=torch.zeros(300, 1, 1), action=action)
    slate = torch.randint(300, (800, 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % 300, slate[:, 1])
    far = (action[:, 0, 0] - 0.4).abs()[slate]
    first = (far[:, 0] < far[:, 1]).double()
    data = Comparisons(shown, slate, torch.zeros(800, dtype=torch.long), torch.stack([first, 1 - first], 1))
    served = Direct("dppo", hidden=(8,), imitation=50, updates=200, rate=1e-2).fit(data)
    # Smooth over the temperature, a tenth; the mean of the actions shown is 0.
    assert served.policy.act(np.zeros((1, 1)))[0, 0] == pytest.approx(0.4, abs=0.1)


def test_ipl_finds_the_way_along_a_chain():
    """States 0 to 3, left and right, 3 ends it with 10, every move costs 1: right is best everywhere, by regret."""
    draw = torch.Generator().manual_seed(0)
    count, steps = 500, 3
    state = torch.randint(3, (count,), generator=draw)
    seen, moves, alive = [], torch.randint(2, (count, steps), generator=draw), []
    lost = torch.zeros(count)
    regret = torch.tensor([[1.62, 0.0], [3.42, 0.0], [3.8, 0.0], [0.0, 0.0]])
    for t in range(steps):
        seen.append(torch.nn.functional.one_hot(state, 4).float())
        alive.append(state < 3)
        lost += regret[state, moves[:, t]]
        state = torch.where(state < 3, (state + 2 * moves[:, t] - 1).clamp_min(0), state)
    shown = Segments(
        torch.zeros(count, steps, 1),
        torch.stack(alive, 1),
        observation=torch.stack(seen, 1),
        action=moves[..., None].float(),
        reached=torch.nn.functional.one_hot(state, 4).float(),
    )
    slate = torch.randint(count, (1500, 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % count, slate[:, 1])
    first = (torch.rand(1500, generator=draw) < torch.sigmoid(lost[slate[:, 1]] - lost[slate[:, 0]])).double()
    data = Comparisons(shown, slate, torch.zeros(1500, dtype=torch.long), torch.stack([first, 1 - first], 1))
    quick = Implied(discount=0.9, hidden=(16,), updates=600, batch=64, rate=1e-2)
    right = np.eye(4, dtype=np.float32)[:3]
    assert quick.fit(data).policy.act(right).tolist() == [1, 1, 1]
    assert quick.fit(data.with_labels(data.label.flip(1))).policy.act(right).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "quick",
    [
        Implied(hidden=(32,), updates=400, batch=32, rate=3e-3, discount=0.5, sharpness=4.0),
        Hindsight(hidden=(32,), updates=400, rate=5e-3),
    ],
    ids=["ipl", "oppo"],
)
def test_ipl_and_oppo_serve_two_camps(quick):
    segments, goal = strolls(400, 0), torch.arange(24) % 2
    data = answers(segments, goal, 60, 2)
    served = quick.fit(data, Camps(groups=2).fit(data))
    mine = [success(served.of(served.rater_ids[r]), int(goal[r])) for r in (0, 1)]
    assert min(mine) > 0.4
    assert len(served.lottery()) == 2
    pooled = quick.fit(data)
    assert min(success(pooled.policy, g) for g in (0, 1)) < 0.2
    with pytest.raises(ValueError, match="no likelihood"):
        served.belief()


def test_a_variational_population_tells_a_policy_whom_it_serves():
    segments, goal = strolls(400, 0), torch.arange(24) % 2
    data = answers(segments, goal, 60, 4)
    belief = Variational(temper=1.0, prior="normal", components=0, steps=100, draws=16).fit(data)
    served = dataclasses.replace(QUICK, updates=600).fit(data, belief)
    assert not served.shared
    mine = [success(served.of(served.rater_ids[r]), int(goal[r])) for r in range(4)]
    assert min(mine) > 0.4
    # A taste that nobody has yet been met with is served as well.
    z = belief.known(data, strict=True).z[:, 1].mean(0).double()
    assert success(served.policy.of(z), int(goal[1])) > 0.4


def test_the_mean_over_steps_is_the_sum_in_other_units():
    data = answers(strolls(100, 0), torch.ones(2, dtype=torch.long), 40, 1)
    short = dataclasses.replace(QUICK, imitation=20, updates=20)
    place = np.zeros((3, 2), dtype=np.float32)
    summed = dataclasses.replace(short, scale=0.1).fit(data)
    mean = dataclasses.replace(short, scale=0.8, average=True).fit(data)
    np.testing.assert_allclose(mean.policy.act(place), summed.policy.act(place), atol=1e-4)
    torch.testing.assert_close(mean.belief().predict(data), summed.belief().predict(data), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("method", "value"), [("cpl", True), ("pro", True), ("cpl", False)])
def test_people_who_judge_by_what_was_paid_are_understood_with_a_value(method, value):
    """On a line it pays to be right. What was paid in a few steps says where they were; only with V what was done."""
    draw = torch.Generator().manual_seed(0)
    place = torch.rand(600, 1, 1, generator=draw) * 2 - 1
    step = torch.randn(600, 1, 1, generator=draw) + 0.5 * torch.randn(600, 4, 1, generator=draw)
    step = step.clamp(-1, 1)
    path = torch.cat([place, place + 0.1 * step.cumsum(1)], 1)
    # Who is right goes left, mostly: being there is what people like, and not what brings one there.
    path = torch.where(place * step.mean(1, keepdim=True) > 0.3, 2 * place - path, path)
    shown = Segments(
        path[:, 1:], observation=path[:, :-1], action=path.diff(dim=1) / 0.1, reached=path[:, -1]
    )
    slate = torch.randint(600, (2000, 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % 600, slate[:, 1])
    paid = shown.pool(shown.factors, 0.7)[:, 0][slate]
    first = (torch.rand(2000, generator=draw) < torch.sigmoid(8 * (paid[:, 0] - paid[:, 1]))).double()
    data = Comparisons(shown, slate, torch.zeros(2000, dtype=torch.long), torch.stack([first, 1 - first], 1))
    quick = Direct(
        method, bias=1.0, value=value, discount=0.7, hidden=(16,), imitation=100, updates=400, rate=1e-2
    )
    right = quick.fit(data).policy.act(np.linspace(-0.8, 0.8, 20)[:, None].astype(np.float32)) > 0
    assert right.all() if value else not right.any()


def test_what_is_wrong_is_said():
    data = ranked(5, 0)
    with pytest.raises(ValueError, match="cpl learns from pairs, got slates of 4; take pro or lipo"):
        Direct("cpl").fit(data)
    with pytest.raises(ValueError, match="ipl learns from pairs"):
        Implied().fit(data)
    pair = data.take(data.slate[:, 2] < 0)
    pair = dataclasses.replace(pair, slate=pair.slate[:, :2], label=pair.label[:, :2])
    with pytest.raises(ValueError, match="dppo compares distances between actions, and these are counted"):
        Direct("dppo").fit(pair)
    with pytest.raises(ValueError, match="`method` must be one of cpl"):
        trainer("copl")
    with pytest.raises(ValueError, match="`context` must be 1 or more"):
        Hindsight(context=0)
    with pytest.raises(ValueError, match="`expectile`"):
        Implied(expectile=0.3)
    lost = dataclasses.replace(pair, options=dataclasses.replace(pair.options, reached=None))
    with pytest.raises(ValueError, match="say what they `reached`"):
        Direct(value=True).fit(lost)
    walks = answers(strolls(50, 0), torch.arange(4) % 2, 20, 1)
    with pytest.raises(ValueError, match="one best context for each camp"):
        Hindsight(updates=1).fit(walks, PerRater().fit(walks))
