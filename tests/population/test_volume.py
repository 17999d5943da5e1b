"""Few answers about wide features agree with some direction by chance: worths are made quieter until they predict."""

from functools import partial

import pytest
import torch

from pluralign import Hierarchical, LowRank, Pooled
from pluralign.choice import Luce
from pluralign.data import Comparisons, Items

MODELS = pytest.mark.parametrize(
    "model", [partial(Hierarchical, rank=1, method="laplace"), partial(LowRank, rank=2, rounds=0)]
)


def answered(rng, loud, raters=30, each=8, judged=20, width=80):
    """Coins for `loud` 0, else people who agree about one direction of eighty; answers to fit on, and to judge by."""
    items = torch.randn(400, width, generator=rng).double()
    many = each + judged
    slate = torch.randint(400, (raters * many, 2), generator=rng)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % 400, slate[:, 1])
    worth = loud * items[slate][..., 0]
    rater = torch.arange(raters).repeat_interleave(many)
    data = Comparisons(Items(items), slate, rater, Luce().sample(worth, generator=rng).double())
    told = torch.arange(len(data)) % many < each
    return data.take(told), data.take(~told)


def loss(belief, data):
    return float(-(data.label * belief.predict(data).clamp_min(1e-12).log()).sum(1).mean())


@MODELS
def test_coins_are_not_taken_for_tastes(model, rng):
    data, judged = answered(rng, 0.0)
    quiet, loud = model().fit(data), model(volume=1.0).fit(data)
    assert quiet.diagnostics["volume"] < 1.0
    assert loss(quiet, judged) < min(loss(loud, judged) - 0.02, 0.73)


@MODELS
def test_a_volume_may_be_given_and_many_answers_need_none(model, rng):
    data, judged = answered(rng, 2.0)
    half, whole = (model(volume=v, temper=1.0).fit(data) for v in (0.5, 1.0))
    assert torch.allclose(half.prior.mean, whole.prior.mean / 2)
    assert torch.allclose(half.prior.covariance, whole.prior.covariance / 4)
    assert model(temper=1.0).fit(data).diagnostics["volume"] == 1.0
    assert loss(model().fit(data), judged) < loss(Pooled(ridge=1e6).fit(data), judged)


@pytest.mark.parametrize("model", [Hierarchical, LowRank])
@pytest.mark.parametrize("volume", [0.0, -1.0, "loud", float("inf")])
def test_a_volume_is_a_positive_number(model, volume):
    with pytest.raises(ValueError, match="`volume` must be a finite positive number"):
        model(volume=volume)
