"""Options that nobody was shown are not scored; names still mean what they meant."""

import torch

from pluralign import Pooled
from pluralign.data import Comparisons, Items
from pluralign.utility import Linear
from pluralign.utility.conditional import laid_out, only_shown
from pluralign.utility.linear import _singular


def some(rng, ids=None, width=5):
    items = torch.randn(200, width, generator=rng).double()
    slate = torch.rand(12, 200, generator=rng).argsort(1)[:, :3]
    slate[3, 2] = -1
    label = torch.nn.functional.one_hot(torch.randint(2, (12,), generator=rng), 3).double()
    return Comparisons(Items(items, ids=ids), slate, torch.arange(12) % 3, label)


def test_worths_of_what_was_shown_stay(rng):
    data = some(rng)
    worth = Linear(identity=False).start(data, width=1, generator=rng)
    fewer, basis = laid_out(data, worth)
    assert len(fewer.options) <= 36 < len(data.options)
    whole = worth.basis(data.options)
    hole = data.slate < 0
    assert torch.equal(fewer.slate < 0, hole)
    torch.testing.assert_close(basis[fewer.slate.clamp_min(0)][~hole], whole[data.slate.clamp_min(0)][~hole])


def test_options_known_by_number_keep_their_numbers(rng):
    data = some(rng, width=0)
    worth = Linear().start(data, width=1, generator=rng)
    assert only_shown(data, worth) is data
    named = some(rng, ids=tuple(f"i{k}" for k in range(200)), width=0)
    belief = Pooled(ridge=1.0).fit(named)
    share = belief.predict(named)
    alone = torch.cat([belief.predict(named.take(torch.tensor([m]))) for m in range(12)])
    torch.testing.assert_close(share, alone)


def test_a_tall_design_has_the_singular_values_of_its_gram_matrix(rng):
    design = torch.randn(60, 6, generator=rng).double() @ torch.randn(6, 6, generator=rng).double()
    size, side = _singular(design)
    exact = torch.linalg.svd(design, full_matrices=False)
    torch.testing.assert_close(size, exact.S, atol=1e-10, rtol=1e-8)
    torch.testing.assert_close((side.T @ exact.Vh.T).abs(), torch.eye(6).double(), atol=1e-6, rtol=0)
