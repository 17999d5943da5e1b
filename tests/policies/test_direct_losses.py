"""Losses of direct methods beside published numbers and the policies that they have on a bandit, in closed form."""

import itertools

import pytest
import torch
from torch import Tensor

from pluralign.policies.direct import losses, signs

PAIRS = list(itertools.combinations(range(4), 2))
REWARD = torch.tensor([0.3, -0.8, 1.1, 0.0], dtype=torch.float64)
REFERENCE = torch.tensor([0.1, 0.4, 0.2, 0.3], dtype=torch.float64).log()
FIRST, SECOND = (torch.tensor(side) for side in zip(*PAIRS))
CHANCE = torch.sigmoid(REWARD[FIRST] - REWARD[SECOND])


def optimum(loss) -> Tensor:
    """Log-probabilities of the softmax policy that minimises the loss over all pairs, (4,)."""
    logit = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    climb = torch.optim.LBFGS(
        [logit], max_iter=2000, tolerance_grad=1e-13, tolerance_change=1e-18, line_search_fn="strong_wolfe"
    )

    def closure():
        climb.zero_grad()
        log = torch.log_softmax(logit, 0)
        value = loss(log).sum() + 1e-12 * logit.sum().square()
        value.backward()
        return value

    for _ in range(3):
        climb.step(closure)
    return torch.log_softmax(logit.detach(), 0)


def pairs(value):
    return torch.stack([value[FIRST], value[SECOND]], 1)


def ratio(log):
    return pairs(log - REFERENCE)


def expected(found, wanted, tolerance=1e-6):
    torch.testing.assert_close(found, torch.log_softmax(wanted, 0), atol=tolerance, rtol=0)


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_dpo_and_its_soft_kin_tilt_the_reference_by_the_reward(scale):
    best = REFERENCE + REWARD / scale
    expected(optimum(lambda log: losses.logistic(ratio(log), CHANCE, scale=scale)), best)
    expected(optimum(lambda log: losses.difference(ratio(log), CHANCE, scale=scale)), best)
    noisy = 0.9 * CHANCE + 0.1 * (1 - CHANCE)
    expected(optimum(lambda log: losses.flipped(ratio(log), noisy, scale=scale, flip=0.1)), best)
    wrong = optimum(lambda log: losses.logistic(ratio(log), noisy, scale=scale))
    assert float((wrong - torch.log_softmax(best, 0)).abs().max()) > 0.1


def test_cpl_without_bias_is_the_softmax_of_the_advantage():
    expected(optimum(lambda log: losses.cpl(pairs(log), CHANCE, scale=0.5, bias=1.0)), REWARD / 0.5)


def test_the_bias_of_cpl_keeps_mass_on_what_was_shown():
    two = torch.tensor([[0.0, -1.0]], dtype=torch.float64)
    shift = lambda by, bias: float(losses.cpl(two + by, torch.ones(1).double(), scale=1.0, bias=bias) - losses.cpl(two, torch.ones(1).double(), scale=1.0, bias=bias))  # fmt: skip
    assert shift(-3.0, 1.0) == pytest.approx(0, abs=1e-12)
    assert shift(-3.0, 0.5) > 0.5


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_ipo_tilts_by_the_chance_to_win(scale):
    win = torch.zeros(4, dtype=torch.float64)
    win.index_add_(0, FIRST, CHANCE).index_add_(0, SECOND, 1 - CHANCE)
    wins = (win + 0.5) / 4  # against an opponent drawn evenly from all four
    expected(optimum(lambda log: losses.ipo(ratio(log), CHANCE, scale=scale)), REFERENCE + wins / scale)


def test_slic_stops_at_its_margin():
    for y in (0.6, 0.9):
        gap = torch.linspace(-3, 3, 601, dtype=torch.float64)
        value = losses.slic(torch.stack([gap, torch.zeros_like(gap)], 1), torch.full_like(gap, y), margin=1.0)
        assert float(gap[value.argmin()]) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("link", list(losses.LINKS))
def test_f_dpo_meets_the_optimum_under_its_divergence(link):
    found = optimum(lambda log: losses.f_dpo(ratio(log), CHANCE, scale=0.7, link=link))
    tilt = 0.7 * losses.LINKS[link](found - REFERENCE)
    torch.testing.assert_close(tilt - tilt[0], REWARD - REWARD[0], atol=1e-6, rtol=0)
    assert float(found.exp().sum()) == pytest.approx(1)


def test_links_are_derivatives_of_their_divergences():
    u = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64, requires_grad=True)
    f = {
        "reverse kl": u * u.log() - u,
        "forward kl": -u.log(),
        "jensen-shannon": u * u.log() - (1 + u) * (1 + u).log(),
        "alpha": 2 * u - 4 * u.sqrt(),
    }
    for name, value in f.items():
        (slope,) = torch.autograd.grad(value.sum(), u, retain_graph=True)
        torch.testing.assert_close(losses.LINKS[name](u.log()), slope)


def test_rpo_lies_between_dpo_and_imitation():
    p = torch.tensor([0.8], dtype=torch.float64)

    def two(weight, scale):
        x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        climb = torch.optim.LBFGS([x], max_iter=500, tolerance_grad=1e-14, tolerance_change=1e-18)

        def closure():
            climb.zero_grad()
            log = torch.stack([-torch.nn.functional.softplus(-x), -torch.nn.functional.softplus(x)], 1)
            value = losses.rpo(log, log, p, scale=scale, weight=weight).sum()
            value.backward()
            return value

        climb.step(closure)
        return x.item()

    odds = float(torch.logit(p))
    assert two(0.0, 0.5) == pytest.approx(odds / 0.5, abs=1e-6)
    assert two(0.7, 1.0) == pytest.approx(odds, abs=1e-6)  # at scale one, both want the same
    x = two(0.7, 0.5)
    s = lambda v: 1 / (1 + 2.718281828459045 ** (-v))
    assert 0.5 * (s(0.5 * x) - 0.8) + 0.7 * (s(x) - 0.8) == pytest.approx(0, abs=1e-6)


def test_what_rso_keeps_is_drawn_from_the_best_policy():
    draw = torch.Generator().manual_seed(0)
    action = torch.multinomial(REFERENCE.exp(), 200_000, replacement=True, generator=draw)
    # The largest reward must be among those drawn for the chances to be those of the paper.
    kept = losses.accepted(REWARD[action], scale=0.7, generator=draw) > 0
    share = torch.bincount(action[kept], minlength=4).double() / int(kept.sum())
    best = torch.softmax(REFERENCE + REWARD / 0.7, 0)
    error = (best * (1 - best) / int(kept.sum())).sqrt()
    assert bool(((share - best).abs() < 4 * error).all())


def test_rankings_recover_the_reward_and_two_places_are_a_pair():
    orders = torch.tensor(list(itertools.permutations(range(4))))
    u = REWARD[orders]
    weight = (u - torch.logcumsumexp(u.flip(1), 1).flip(1)).sum(1).exp()
    assert float(weight.sum()) == pytest.approx(1)
    ranked = lambda log: weight * losses.pro((log - REFERENCE).expand(24, 4), orders, scale=0.5)
    expected(optimum(ranked), REFERENCE + REWARD / 0.5)
    two = torch.tensor([[0.4, -0.3]], dtype=torch.float64)
    torch.testing.assert_close(
        losses.pro(two, torch.tensor([[1, 0]])), losses.logistic(two, torch.zeros(1).double())
    )
    u = torch.tensor([0.5, -0.2, 1.0, 0.0], dtype=torch.float64)
    assert float(losses.pro(u, torch.tensor([2, 0, 3, 1]))) == pytest.approx(2.1638045557, abs=1e-10)


def test_lipo_weighs_a_pair_by_what_swapping_it_costs():
    score, grade = torch.tensor([0.2, 0.9]).double(), torch.tensor([3.0, 1.0]).double()
    cost = (2**3 - 2**1) * (1 - 1 / torch.log2(torch.tensor(3.0, dtype=torch.float64)))
    wanted = cost * torch.nn.functional.softplus(torch.tensor(0.7, dtype=torch.float64))
    torch.testing.assert_close(losses.lipo(score, grade), wanted)
    assert float(losses.lipo(score, torch.ones(2).double())) == 0


@pytest.mark.parametrize(
    ("scale", "bias", "discount", "wanted"),
    [
        (0.1, 1.0, 1.0, (0.6443966601, 0.7443966601, 0.6943966601)),
        (0.1, 0.5, 1.0, (0.7108002977, 0.7899192187, 0.7503597582)),
        (0.1, 0.5, 0.99, (0.7106464126, 0.7886160672, 0.7496312399)),
        (0.2, 0.75, 0.9, (0.6659037024, 0.8255178567, 0.7457107795)),
    ],
)
def test_published_numbers_of_cpl(scale, bias, discount, wanted):
    steps = torch.tensor([[-0.2, -1.0, -0.5], [-0.8, -0.4, -1.5]], dtype=torch.float64)
    score = steps @ discount ** torch.arange(3, dtype=torch.float64)
    for first, value in zip((1.0, 0.0, 0.5), wanted):
        y = torch.tensor(first, dtype=torch.float64)
        assert float(losses.cpl(score, y, scale=scale, bias=bias)) == pytest.approx(value, abs=1e-10)


def test_published_numbers_of_dppo():
    distance, y = torch.tensor([0.6, 1.1], dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    assert float(losses.dppo(distance, y, scale=0.1)) == pytest.approx(0.0067153485, abs=1e-10)
    assert float(losses.dppo(distance, y, scale=0.1, bias=0.5)) == pytest.approx(0.9740769842, abs=1e-10)


def test_ipl_is_cpl_where_values_telescope():
    """Q(s, a) - V(s) and Q(s, a) - V(s') have equal sums on segments that share both ends."""
    q, v = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5, -0.2, 0.9, 0.5]).double()  # fmt: skip
    y = torch.tensor(1.0, dtype=torch.float64)
    after, before = q - v[1:], q - v[:3]
    assert float(losses.ipl(after, y, weight=0.0)) == pytest.approx(
        float(losses.logistic(before.sum(-1), y)), abs=1e-12
    )
    assert float(losses.ipl(after, y, weight=1.0)) > float(losses.ipl(after, y, weight=0.0))


def test_oppo_pulls_the_best_context_towards_what_is_preferred():
    context = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]], dtype=torch.float64)
    best = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    losses.oppo(context, best, torch.ones(1).double()).sum().backward()
    assert best.grad is not None
    assert float(best.grad[0]) < 0
    assert float(best.grad[1]) == 0


def test_a_reference_sure_of_the_wrong_answer_is_not_overturned():
    reference = torch.tensor([[0.01, 0.99], [0.5, 0.5]], dtype=torch.float64).log()
    chance = torch.tensor([0.8, 0.8], dtype=torch.float64)
    assert signs.ideal_ranking_accuracy(reference, chance, 1.0) == 0.5
    assert signs.ideal_ranking_accuracy(reference, chance, 0.1) == 1.0
    assert signs.ranking_accuracy(reference, torch.ones(2).double()) == 0.25  # wrong, and a tie


def test_shared_features_entangle_and_displace():
    """Two answers with nearly the same features: raising the margin lowers both, as the inner products foretell."""
    feature = torch.tensor([[1.0, 0.0], [1.3, 0.0], [0.0, 1.0]], dtype=torch.float64)
    weight = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    both = lambda: torch.log_softmax(feature @ weight, 0)[:2]
    up, across, down = signs.entanglement(both, (weight,))
    assert up < across < down
    before = both().detach()[None]
    losses.logistic(both()[None], torch.ones(1).double()).sum().backward()
    with torch.no_grad():
        weight -= 0.1 * weight.grad
    good, bad = signs.displacement(before, both().detach()[None], torch.ones(1).double())
    assert bad < good < 0


def test_gold_falls_when_a_wrong_reward_is_chased_too_far():
    reference = torch.softmax(REFERENCE, 0)[None]
    proxy = torch.tensor([[0.0, 0.5, 1.0, 2.0]], dtype=torch.float64)
    gold = torch.tensor([[0.0, 0.5, 2.0, -1.0]], dtype=torch.float64)
    scales = torch.tensor([1e9, 2.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    chance = torch.softmax(reference.log() + proxy / scales[:, None, None], -1)
    curve = signs.overoptimisation(chance, reference, gold)
    assert bool((curve[:, 0].diff() > 0).all())
    assert curve[0, 0] == pytest.approx(0, abs=1e-12)
    assert float(curve[-1, 1]) < float(curve[0, 1])


def test_an_unknown_link_lists_those_there_are():
    with pytest.raises(ValueError, match="reverse kl, forward kl"):
        losses.f_dpo(ratio(REFERENCE), CHANCE, link="kl")
