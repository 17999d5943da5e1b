"""Ideal points: the basis is the squared distance, and the point can be read back."""

import pytest
import torch

from pluralign import Ideal
from pluralign.data import Comparisons, Items, Segments

METRICS = {
    "round": torch.eye(3) * 0.7,
    "scaled": torch.diag(torch.tensor([0.5, 1.0, 2.0])),
    "full": torch.tensor([[1.0, 0.3, 0.0], [0.3, 2.0, -0.4], [0.0, -0.4, 0.8]]),
}


def some_items(rng, count=40, width=3):
    features = torch.randn(count, width, generator=rng).double() * torch.tensor([1.0, 5.0, 0.2])[:width] + 3
    return Items(features)


def data_of(options):
    slate = torch.arange(len(options)).reshape(-1, 2)
    label = torch.tensor([[1.0, 0.0]]).double().expand(len(slate), -1)
    return Comparisons(options, slate, torch.zeros(len(slate), dtype=torch.long), label)


@pytest.mark.parametrize("metric", list(METRICS))
def test_the_basis_holds_every_squared_distance(metric, rng):
    """-(x - z)' A (x - z) in standardised features is linear in the basis, up to a constant for everybody."""
    items = some_items(rng)
    worth = Ideal(metric).start(data_of(items), width=None, generator=rng)
    bend = METRICS[metric].double()
    x = (items.features - worth.centre) * worth.scale
    centre = torch.tensor([0.4, -1.0, 0.2]).double()
    truth = -torch.einsum("nd,de,ne->n", x - centre, bend, x - centre)
    basis = torch.cat([worth.basis(items), torch.ones(len(items), 1).double()], 1)
    taste = torch.linalg.lstsq(basis, truth[:, None]).solution[:, 0]
    torch.testing.assert_close(basis @ taste, truth, atol=1e-9, rtol=0)
    point = Ideal(metric).point(worth, taste[:-1])
    torch.testing.assert_close(point, centre / worth.scale + worth.centre, atol=1e-8, rtol=0)
    # Who likes extremes has no ideal point.
    assert bool(Ideal(metric).point(worth, -taste[:-1]).isnan().all())


def test_wide_features_are_rotated_and_keep_their_distances(rng):
    items = Items(torch.randn(50, 80, generator=rng).double())
    worth = Ideal().start(data_of(items), width=None, generator=rng)
    basis = worth.basis(items)
    x = (items.features - worth.centre) * worth.scale
    square = x.square().sum(1)
    assert float(torch.corrcoef(torch.stack([square, basis[:, -1]]))[0, 1]) == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(
        torch.cdist(basis[:, :-1], basis[:, :-1]), torch.cdist(x, x), atol=1e-6, rtol=0
    )


def test_steps_add_up_to_segments(rng):
    factors = torch.randn(8, 3, 2, generator=rng).double()
    mask = torch.ones(8, 3, dtype=torch.bool)
    mask[0, 2] = False
    options = Segments(factors, mask)
    worth = Ideal().start(data_of(options), width=None, generator=rng)
    total = (worth.steps(factors) * mask[..., None]).sum(1)
    torch.testing.assert_close(worth.basis(options), total)


def test_what_it_cannot_do_is_said_in_one_sentence(rng):
    with pytest.raises(ValueError, match=r"`metric` must be one of round, scaled, full, got 'cosine'"):
        Ideal("cosine")
    nameless = Items(torch.zeros(4, 0), ("a", "b", "c", "d"))
    with pytest.raises(ValueError, match="an ideal point needs features"):
        Ideal().start(data_of(nameless), width=None, generator=rng)
    with pytest.raises(ValueError, match=r'needs 3,240 squares of 80 features.*give metric="round"'):
        Ideal("full").start(data_of(Items(torch.ones(4, 80))), width=None, generator=rng)
