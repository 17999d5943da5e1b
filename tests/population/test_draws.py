"""Draws, priors, voices: what is written once for every population."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.population import Atoms, Draws, Gaussian, Voices
from pluralign.population.draws import joined
from pluralign.population.prior import inverse, normal_grid, root
from pluralign.population.saving import same
from pluralign.population.voices import cluster
from pluralign.utility import Linear

sizes = st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))


def some(size):
    s, r, z, seed = size
    draw = torch.Generator().manual_seed(seed)
    weight = torch.rand(s, r, generator=draw).double() + 1e-3
    return Draws(torch.randn(s, r, z, generator=draw).double(), weight / weight.sum(0))


@given(sizes)
def test_moments_are_those_of_a_naive_loop(size):
    draws = some(size)
    s, r, _ = draws.z.shape
    for n in range(r):
        mean = sum(draws.weight[k, n] * draws.z[k, n] for k in range(s))
        spread = sum(
            draws.weight[k, n] * torch.outer(draws.z[k, n] - mean, draws.z[k, n] - mean) for k in range(s)
        )
        torch.testing.assert_close(draws.mean[n], mean)
        torch.testing.assert_close(draws.covariance[n], spread, atol=1e-12, rtol=1e-9)
    assert bool((draws.effective >= 1 - 1e-9).all())
    assert bool((draws.effective <= s + 1e-9).all())
    assert draws.raters == r


@given(sizes, st.floats(0.05, 0.99))
def test_an_interval_holds_its_share(size, level):
    draws = some(size)
    low, high = draws.interval(level)
    assert bool((low <= high).all())
    inside = ((draws.z >= low) & (draws.z <= high)).double()
    mass = (inside * draws.weight[..., None]).sum(0)
    assert bool((mass >= level - 1e-9).all())
    wider = draws.interval(min(0.999, level + 0.3))
    assert bool((wider[0] <= low).all())
    assert bool((wider[1] >= high).all())


@given(sizes)
def test_taking_and_joining(size):
    draws = some(size)
    twice = joined(draws, draws)
    assert twice.raters == 2 * draws.raters
    back = twice.take(torch.arange(draws.raters) + draws.raters)
    assert torch.equal(back.z, draws.z)
    assert torch.equal(back.weight, draws.weight)


def test_shared_atoms_cost_no_memory_and_stay_shared():
    z = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).double()
    weight = torch.full((3, 1000), 1 / 3).double()
    draws = Draws.atoms(z, weight)
    assert draws.shared
    assert draws.z.untyped_storage().nbytes() == z.numel() * 8
    assert draws.take(torch.tensor([5, 7, 7])).shared
    assert joined(draws, draws).shared
    other = Draws.atoms(z + 1, weight)
    assert not joined(draws, other).shared
    assert not some((3, 2, 2, 0)).shared


def test_what_draws_refuse():
    z, weight = torch.zeros(2, 3, 1), torch.full((2, 3), 0.5)
    with pytest.raises((ValueError, TypeCheckError), match=r"`z` must be \(draws, raters, Z\)|weight"):
        Draws(z, weight[:, :2])
    weight[0, 1] = 0.7
    with pytest.raises(ValueError, match=r"sum to one over the draws of each rater; rater 1 has 1\.2"):
        Draws(z, weight)
    weight[0, 1] = torch.nan
    with pytest.raises(ValueError, match="rater 1 has nan"):
        Draws(z, weight)


@given(st.integers(1, 5), st.integers(0, 50))
def test_root_and_inverse_also_of_singular_covariances(width, seed):
    draw = torch.Generator().manual_seed(seed)
    half = torch.randn(width, width, generator=draw).double()
    full = half @ half.T + 0.1 * torch.eye(width).double()
    torch.testing.assert_close(root(full) @ root(full).T, full)
    torch.testing.assert_close(inverse(full) @ full, torch.eye(width).double(), atol=1e-6, rtol=0)
    thin = half[:, :1] @ half[:, :1].T
    torch.testing.assert_close(root(thin) @ root(thin).T, thin, atol=1e-9, rtol=1e-9)
    assert torch.isfinite(inverse(thin)).all()
    assert torch.isfinite(inverse(torch.zeros(width, width).double())).all()


@pytest.mark.parametrize("width", [1, 2, 9])
def test_the_normal_grid_has_the_moments_of_a_normal(width):
    grid = normal_grid(256, width)
    torch.testing.assert_close(
        grid.mean(0), torch.zeros(width).double(), atol=1e-12, rtol=0
    )  # antithetic pairs
    spread = grid.T @ grid / 256
    # Independent draws would be off by sqrt(2 / 256) = .09.
    torch.testing.assert_close(spread, torch.eye(width).double(), atol=0.15, rtol=0)
    assert torch.equal(grid, normal_grid(256, width))
    assert len(normal_grid(5, width)) == 5


def told(z, answers=4000, seed=0):
    """Answers of one rater whose taste is z, about items with a feature for each coordinate."""
    draw = torch.Generator().manual_seed(seed)
    items = Items(torch.randn(30, len(z), generator=draw).double())
    slate = torch.stack([torch.randperm(30, generator=draw)[:2] for _ in range(answers)])
    worth = Linear().start(
        Comparisons(items, slate, torch.zeros(answers).long(), torch.tensor([[1.0, 0.0]]).expand(answers, 2)),
        width=None,
        generator=draw,
    )
    basis = worth.basis(items)
    gap = (basis[slate[:, 0]] - basis[slate[:, 1]]) @ torch.tensor(z).double()
    first = (torch.rand(answers, generator=draw) < torch.sigmoid(gap)).float()
    return Comparisons(items, slate, torch.zeros(answers).long(), torch.stack([first, 1 - first], 1)), basis


def test_many_answers_overcome_any_prior():
    data, basis = told([1.0, -0.5])
    prior = Gaussian(torch.tensor([-1.0, 1.0]).double(), 0.5 * torch.eye(2).double(), 128)
    draws = prior.posterior(data, basis, Luce())
    deviation = draws.covariance[0].diagonal().sqrt()
    assert bool(((draws.mean[0] - torch.tensor([1.0, -0.5]).double()).abs() < 4 * deviation).all())
    assert float(deviation.max()) < 0.1
    atoms = Atoms(torch.tensor([[1.0, -0.5], [-1.0, 0.5]]).double(), torch.tensor([0.01, 0.99]).double())
    assert float(atoms.posterior(data, basis, Luce()).weight[0, 0]) > 1 - 1e-12


def test_one_draw_is_the_most_probable_taste():
    data, basis = told([1.0, -0.5], answers=20)
    one = Gaussian(torch.zeros(2).double(), torch.eye(2).double(), 1).posterior(data, basis, Luce())
    assert one.z.shape == (1, 1, 2)
    assert float(one.weight[0, 0]) == 1
    assert float(one.covariance.abs().max()) == 0


def test_samples_of_a_prior_have_its_moments():
    covariance = torch.tensor([[2.0, 0.6], [0.6, 0.5]]).double()
    prior = Gaussian(torch.tensor([1.0, -2.0]).double(), covariance)
    z = prior.sample(20_000, generator=torch.Generator().manual_seed(0))
    error = (covariance.diagonal() / 20_000).sqrt()
    assert bool(((z.mean(0) - prior.mean).abs() < 4 * error).all())
    torch.testing.assert_close(torch.cov(z.T), covariance, atol=4 * 2 * 2**0.5 / 20_000**0.5, rtol=0)
    atoms = Atoms(torch.tensor([[0.0], [1.0]]).double(), torch.tensor([0.3, 0.7]).double())
    share = float(atoms.sample(20_000, generator=torch.Generator().manual_seed(0)).mean())
    assert abs(share - 0.7) < 4 * (0.21 / 20_000) ** 0.5


def clouds(rng, centres=((0.0, 0.0), (10.0, 0.0), (0.0, 10.0)), share=(0.5, 0.3, 0.2), count=100):
    parts = [
        torch.tensor(c).double() + 0.1 * torch.randn(round(s * count), 2, generator=rng).double()
        for c, s in zip(centres, share)
    ]
    return torch.cat(parts)


def test_cluster_finds_clouds_that_lie_apart(rng):
    z = clouds(rng)
    weight = torch.full((100,), 0.01).double()
    centre, share = cluster(z, weight, torch.eye(2).double(), 3, generator=rng)
    order = share.argsort(descending=True)
    torch.testing.assert_close(share[order], torch.tensor([0.5, 0.3, 0.2]).double())
    expected = torch.stack([z[:50].mean(0), z[50:80].mean(0), z[80:].mean(0)])
    torch.testing.assert_close(centre[order], expected)


def test_cluster_measures_in_worth_and_keeps_the_mean(rng):
    z = clouds(rng)
    weight = torch.rand(100, generator=rng).double()
    weight = weight / weight.sum()
    blind = torch.diag(torch.tensor([1.0, 0.0]).double())  # the second coordinate is worth nothing
    centre, share = cluster(z, weight, blind, 2, generator=rng)
    assert float(share.max()) == pytest.approx(float(weight[:50].sum() + weight[80:].sum()))
    torch.testing.assert_close(share @ centre, weight @ z)
    one, all_of_it = cluster(z, weight, torch.eye(2).double(), 1, generator=rng)
    torch.testing.assert_close(one[0], weight @ z)
    torch.testing.assert_close(all_of_it, torch.ones(1).double())


def test_cluster_makes_no_more_centres_than_there_are_tastes(rng):
    z = torch.tensor([[1.0], [1.0], [3.0]]).double()
    weight = torch.tensor([0.25, 0.25, 0.5]).double()
    centre, share = cluster(z, weight, torch.eye(1).double(), 5, generator=rng)
    assert sorted(centre[:, 0].tolist()) == [1.0, 3.0]
    torch.testing.assert_close(share, torch.tensor([0.5, 0.5]).double())


def test_voices_are_checked_and_linear():
    data, _ = told([1.0, -0.5], answers=5)
    worth = Linear().start(data, width=None, generator=torch.Generator())
    z = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double()
    voices = Voices(worth, z, torch.tensor([0.25, 0.75]).double())
    assert voices.names == ("voice 0", "voice 1")
    torch.testing.assert_close(voices.mixed(voices.weight), torch.tensor([0.25, 1.5]).double())
    twice = voices.scaled(torch.tensor([2.0, 1.0]).double())
    torch.testing.assert_close(twice.returns(data.options)[:, 0], 2 * voices.returns(data.options)[:, 0])
    torch.testing.assert_close(voices.reward(data.options.rows), voices.returns(data.options))
    assert same(voices, Voices(worth, z, voices.weight))
    with pytest.raises((ValueError, TypeCheckError), match=r"one share per voice: 2, got 3|weight"):
        Voices(worth, z, torch.full((3,), 1 / 3).double())
    for bad in ([0.5, 0.4], [1.5, -0.5]):
        with pytest.raises(ValueError, match="shares that sum to one"):
            Voices(worth, z, torch.tensor(bad).double())
