"""Camps that leak: every camp keeps a part that all raters share, and the fit is where its sum is flat."""

import pytest
import torch

from pluralign import MLP, Camps
from pluralign.data import Comparisons, Items
from pluralign.population.pooled import common_taste
from pluralign.population.rows import Rows
from pluralign.raters import CampPeople, questions
from pluralign.saving import same


def asked(width=3, raters=30, per_rater=20, seed=0):
    """Two camps that agree on the first feature and not on the second."""
    first = torch.zeros(2, width).double()
    first[:, 0], first[0, 1], first[1, 1] = 1.0, 2.0, -2.0
    people = CampPeople(tuple(map(tuple, first.tolist())), (0.6, 0.4)).draw(raters, seed)
    draw = torch.Generator().manual_seed(seed)
    items = Items(torch.randn(40, width, generator=draw).double())
    return people.answer(items, *questions(40, per_rater, raters, seed), seed)


def objective(belief, data: Comparisons, taste, leak, ridge):
    """What a leaky fit climbs, from its definition."""
    rows = Rows.of(data, belief.worth.basis(data.options), belief.rule)
    panel = rows.log_prob(taste)
    share = belief.prior.share
    both = torch.logsumexp(panel + share.log()[:, None], 0).sum()
    gap = taste - common_taste(data, belief.worth, belief.rule, ridge)
    return (1 - leak) * both + leak * panel.mean(0).sum() - ridge / 2 * gap.square().sum()


@pytest.mark.parametrize("leak", [0.0, 0.2, 0.6])
def test_the_fit_is_where_the_sum_is_flat(leak):
    data = asked()
    belief = Camps(2, ridge=1.0, restarts=2, sweeps=500, tolerance=0.0, leak=leak).fit(data, seed=0)
    taste = belief.prior.z.clone().requires_grad_()
    objective(belief, data, taste, leak, 1.0).backward()
    # Sums of 600 answers stop rising at a few parts in 1e8, where the slope is about the root of that.
    assert float(taste.grad.abs().max()) < 0.02
    other = belief.prior.z.clone().requires_grad_()
    objective(belief, data, other, leak + 0.2, 1.0).backward()
    assert float(other.grad.abs().max()) > 1.0


def test_what_leaks_is_shared():
    data = asked()
    fits = [Camps(2, ridge=0.1, restarts=2, leak=leak).fit(data, seed=0) for leak in (0.0, 0.1, 0.3, 0.6)]
    apart = [float((fit.prior.z[0] - fit.prior.z[1]).norm()) for fit in fits]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < apart[0] / 2
    common = [fit.prior.z[:, 0] for fit in fits]
    assert all(bool((z > 0.4).all()) for z in common)  # what both camps like stays
    assert same(fits[0], Camps(2, ridge=0.1, restarts=2).fit(data, seed=0))


def test_wide_camps_leak_too():
    data = asked(width=70)
    plain, leaky = (Camps(2, ridge=1.0, restarts=2, leak=leak).fit(data, seed=0) for leak in (0.0, 0.4))
    far = [(b.utility(data.options, b.draws)).std(0).mean() for b in (plain, leaky)]
    assert float(far[1]) < float(far[0])


def test_what_it_cannot_do_is_said_in_one_sentence():
    with pytest.raises(ValueError, match=r"`leak` must be a share in \[0, 1\), got 1"):
        Camps(leak=1.0)
    with pytest.raises(ValueError, match="`leak` is for utilities that are linear"):
        Camps(2, ridge=1.0, utility=MLP((4,)), leak=0.1).fit(asked(), seed=0)
