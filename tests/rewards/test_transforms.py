import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign.data import Segments
from pluralign.rewards import Gauge, known_voices, per_step_min, relative_gain, unit_spread

few = settings(max_examples=25, deadline=None)


def near(a, b):
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype), atol=1e-10, rtol=1e-10)


def test_relative_gain_is_zero_for_chance_and_one_for_the_best():
    scale = relative_gain(torch.tensor([-1.0, 2.0]), torch.tensor([3.0, 2.5]), names=("a", "b"))
    near(
        scale(torch.tensor([[-1.0, 2.0], [3.0, 2.5], [1.0, 2.25]]).double()),
        [[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]],
    )
    with pytest.raises(ValueError, match="b gains nothing"):
        relative_gain(torch.tensor([-1.0, 2.0]), torch.tensor([3.0, 2.0]), names=("a", "b"))
    with pytest.raises(ValueError, match="voice 0 gains nothing"):
        relative_gain(torch.tensor([1.0]), torch.tensor([0.5]))
    with pytest.raises(ValueError, match="gains nothing"):
        relative_gain(torch.tensor([1.0]), torch.tensor([float("nan")]))


def test_unit_spread():
    near(unit_spread(torch.tensor([2.0, 4.0]))(torch.tensor([[2.0, 2.0]]).double()), [[1.0, 0.5]])
    with pytest.raises(ValueError, match="positive for every voice"):
        unit_spread(torch.tensor([1.0, 0.0]))


def test_scaled_voices_order_alike():
    voices = known_voices([[1.0, 0.0], [0.0, 3.0]])
    scale = relative_gain(torch.zeros(2), torch.tensor([2.0, 4.0]))
    rows = torch.rand(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    near(scale.voices(voices).reward(rows), voices.reward(rows) / torch.tensor([2.0, 4.0]))


@few
@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_a_gauge_forgets_the_size_of_a_taste(seed, unit):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(50, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 10.0, 0.1])
    z = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    voices = known_voices(z.tolist())
    gauge = Gauge.of(voices.worth, rows)
    paid = rows @ gauge.unit(z).T
    near(paid.std(0, correction=0), torch.ones(4))
    near(gauge.unit(z * unit), gauge.unit(z))
    near(gauge.direction(z * unit), gauge.direction(z))
    near(gauge.direction(z).norm(dim=1), torch.ones(4))
    # How alike two directions are is how rewards correlate.
    near(gauge.direction(z) @ gauge.direction(z).T, torch.corrcoef(paid.T))


def test_a_gauge_needs_something_to_measure():
    voices = known_voices([[1.0, 0.0]])
    with pytest.raises(ValueError, match="no factor varies"):
        Gauge.of(voices.worth, torch.ones(5, 2))
    gauge = Gauge.of(voices.worth, torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="1 tastes pay the same"):
        gauge.unit(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match=r"must have 2 numbers, .* got 3; it may come from another world"):
        gauge.direction(torch.ones(3))


def test_the_minimum_at_each_step_sees_nobody_served():
    """Two camps take turns: each has a return of 1, but somebody is left out at every step."""
    voices = known_voices([[1.0, 0.0], [0.0, 1.0]])
    turns = Segments(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    near(voices.returns(turns), [[1.0, 1.0]])
    near(per_step_min(voices).returns(turns), [[0.0]])


def test_known_voices_keep_their_names_and_shares():
    voices = known_voices([[1.0, 2.0], [3.0, 4.0]], [0.7, 0.3], names=("red", "blue"))
    near(voices.reward(torch.tensor([[1.0, 10.0]])), [[21.0, 43.0]])
    assert voices.names == ("red", "blue")
    near(voices.weight, [0.7, 0.3])
