"""People, their answers, and every population at settings that a test can afford."""

import dataclasses

import pytest
import torch

from pluralign.data import Items
from pluralign.population.camps import Camps
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.pooled import Pooled
from pluralign.population.registry import MODELS
from pluralign.raters import CampPeople, questions

# Fixed settings, so that a test of a promise does not also run a search; a member without an entry runs as it comes.
FIXED = {
    "pooled": {"ridge": 1.0},
    "per_rater": {"ridge": 1.0},
    "camps": {"groups": 2, "ridge": 1.0, "restarts": 3},
    "prototypes": {"prototypes": 2, "ridge": 1.0, "concentration": 1.0, "draws": 64},
    "low_rank": {"rank": 2, "method": "normal", "rounds": 2, "ridge": 1.0, "temper": 1.0, "draws": 16},
    "hierarchical": {"method": "normal", "draws": 16, "rounds": 30, "rank": 2, "ridge": 3.0, "temper": 1.0},
    "normal_mixture": {"groups": 2, "draws": 32, "rounds": 20, "rank": 2, "temper": 1.0, "volume": 1.0},
    "trust": {"ridge": 1.0},
    "drifting": {"draws": 16, "rounds": 30, "temper": 1.0, "modes": 1},
    "routed": {"heads": 2, "restarts": 3},
    "ensemble": {
        "member": Hierarchical(method="normal", draws=8, rounds=12, rank=2, temper=1.0),
        "members": 2,
    },
    "stacked": {
        "members": (
            Hierarchical(method="normal", draws=8, rounds=12, rank=2, temper=1.0),
            Hierarchical(method="laplace", draws=8, rounds=12, rank=2, temper=0.5),
        ),
        "weights": (0.4, 0.6),
    },
    "distributional": {"members": 2, "restarts": 2},
    "variational": {"temper": 1.0, "steps": 20, "components": 0, "prior": "normal"},
    "in_context": {"temper": 1.0, "steps": 10, "simulated": 10, "components": 0},
}
ROUNDING = 1e-6  # another order of the same sums, in float64, through an optimum with curvature about one
members = pytest.mark.parametrize("name", list(MODELS))


def model(name, **more):
    kind = MODELS[name]
    fields = {f.name for f in dataclasses.fields(kind)}
    return kind(**{k: v for k, v in {**FIXED.get(name, {}), **more}.items() if k in fields})


def asked(raters=12, per_rater=14, options=10, places=2, seed=0, camps=((2.0, 0.0, -1.0), (-2.0, 1.0, 0.0))):
    """Answers of two camps about items with three features and names."""
    share = (0.6, 0.4) if len(camps) == 2 else (1.0,)
    people = CampPeople(camps, share).draw(raters, seed)
    features = torch.randn(options, len(camps[0]), generator=torch.Generator().manual_seed(seed))
    items = Items(features.double(), tuple(f"i{n}" for n in range(options)))
    return people.answer(items, *questions(options, per_rater, raters, seed, places=places), seed)


def quick(name):
    """Settings that search, where a member can."""
    settings = {
        "camps": {"restarts": 2},
        "prototypes": {"ridge": 1.0, "concentration": 1.0, "rounds": 3, "draws": 16},
        "low_rank": {"rank": 1, "ridge": 1.0, "rounds": 1, "draws": 8},
        "hierarchical": {"draws": 8},
        "normal_mixture": {"draws": 16, "rounds": 10},
        "drifting": {"draws": 8},
        "routed": {"restarts": 2},
        "ensemble": {"member": Camps(restarts=2), "members": 2},
        "stacked": {"members": (Pooled(ridge=1.0), Camps(restarts=2))},
        "distributional": {"restarts": 1},
        "variational": {"steps": 10, "draws": 16},
        "in_context": {"simulated": 10, "steps": 10, "draws": 16},
    }
    return settings.get(name, {})


def ragged(data, seed=0):
    """The same answers where some slates of three lose their last option."""
    short = torch.rand(len(data), generator=torch.Generator().manual_seed(seed)) < 0.4
    short &= data.label[:, 2] == 0
    slate = data.slate.clone()
    slate[short, 2] = -1
    assert short.any()
    return dataclasses.replace(data, slate=slate)


def check_predicts(belief, data):
    share = belief.predict(data)
    assert share.shape == data.slate.shape
    assert bool(torch.isfinite(share).all())
    assert bool(((share >= 0) & (share <= 1 + 1e-12)).all())
    torch.testing.assert_close(share.sum(1), torch.ones(len(data)).to(share), atol=1e-9, rtol=0)
    assert bool((share[data.slate == -1] == 0).all())
    return share


def strangers(data, prefix="stranger"):
    return dataclasses.replace(data, rater_ids=tuple(f"{prefix} {r}" for r in range(data.raters)))
