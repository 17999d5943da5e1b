"""Camps of people who never err: there is no end to how sure they are, and the ridge gives way."""

import torch

from pluralign import Camps
from pluralign.data import Comparisons, Items
from pluralign.population.camps import RIDGES


def asked(noise: float) -> Comparisons:
    """Two camps of opposite taste, 40 raters, 30 answers each; worths blurred by `noise`."""
    draw = torch.Generator().manual_seed(0)
    items = torch.randn(300, 3, generator=draw).double()
    slate = torch.randint(300, (1200, 2), generator=draw)
    slate = slate[slate[:, 0] != slate[:, 1]]
    rater = torch.arange(len(slate)) % 40
    taste = torch.tensor([1.0, -0.5, 0.2]).double() * torch.where(rater % 2 == 0, 1.0, -1.0)[:, None]
    gap = ((items[slate[:, 0]] - items[slate[:, 1]]) * taste).sum(1)
    first = (gap + noise * torch.randn(len(gap), generator=draw).double() > 0).double()
    return Comparisons(Items(items), slate, rater, torch.stack([first, 1 - first], 1))


def test_the_ridge_gives_way_to_people_who_never_err():
    belief = Camps(2, restarts=2).fit(asked(0.0), seed=0)
    assert belief.diagnostics["ridge"] < RIDGES[0]
    table = {name: loss for name, loss, _ in belief.diagnostics["finer_table"]}
    assert min(table.values()) < table[str(RIDGES[0])]


def test_it_stays_where_people_err():
    belief = Camps(2, restarts=2).fit(asked(2.0), seed=0)
    assert belief.diagnostics["ridge"] >= RIDGES[0]
    assert "finer_table" not in belief.diagnostics or belief.diagnostics["ridge"] == RIDGES[0]
