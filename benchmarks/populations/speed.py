"""Seconds of the processor beside the anchors of the planted bench (TARGETS.md), on one thread."""

import resource
import time
from collections.abc import Callable
from typing import Any

import torch
from planted import world

from pluralign.data import Comparisons, Items
from pluralign.lab.protocol import judge
from pluralign.population.camps import Camps
from pluralign.population.low_rank import LowRank
from pluralign.population.pooled import Pooled
from pluralign.population.variational import Variational
from pluralign.utility import MLP

OFFICIAL = {
    "maze_two_goals": (0.946, 500 * 1.3),
    "maze_four_tastes": (0.814, 160 * 1.3),
}  # accuracy, cpu-seconds
LORE = (
    28.0 + 9.5,
    0.923,
)  # joint fit and few-shot fits of the published code, and its unseen accuracy after 9


def speed() -> dict[str, Any]:
    """Every row; each prints when it is done."""
    found = {}
    for name, work in {"variational": variational, "low_rank": low_rank, "linear_cost": linear_cost}.items():
        found[name] = work()
        print(name, found[name], flush=True)
    return found


def variational() -> dict[str, Any]:
    """Training until the official accuracy, with a network on the raw coordinates, as the peer had them."""
    out = {}
    for name, width, steps in (("maze_two_goals", 2, 300), ("maze_four_tastes", 4, 400)):
        data, plan = world(name, 0, raw=True)
        model = Variational(
            utility=MLP((64, 64)), width=width, components=0, temper=1.0, steps=steps, rate=1e-2, draws=32
        )
        begun = time.process_time()
        model.fit(data.take(plan.folds[0].whole), seed=0)
        seconds = time.process_time() - begun
        people = judge("variational", model, data, plan, 0, samples=50).people
        rows = people[(people.raters == "unseen") & (people.answers == "16")]
        bar, official = OFFICIAL[name]
        out[name] = {
            "accuracy": float(rows.accuracy.mean()),
            "standard_error": float(rows.accuracy.std(ddof=1) / len(rows) ** 0.5),
            "official_accuracy": bar,
            "seconds": seconds,
            "times_faster": official / seconds,
        }
    return out


def low_rank() -> dict[str, Any]:
    """The joint fit of reward factorisation on the population that LoRe was measured on."""
    data, plan = world("low_rank", 0)
    begun = time.process_time()
    LowRank().fit(data.take(plan.folds[0].whole), seed=0)
    seconds = time.process_time() - begun
    people = judge("low_rank", LowRank(), data, plan, 0, samples=50).people
    rows = people[(people.raters == "unseen") & (people.answers == "9")]
    return {
        "accuracy": float(rows.accuracy.mean()),
        "official_accuracy": LORE[1],
        "seconds": seconds,
        "times_faster": LORE[0] / seconds,
    }


def linear_cost() -> dict[str, Any]:
    """Seconds and memory by number of answers, up to ten million: a slope of one in log-log is linear."""
    rows = []
    for count in (100_000, 1_000_000, 10_000_000):
        data = many(count)
        line: dict[str, Any] = {"answers": count}
        models: dict[str, Any] = {
            "pooled": Pooled(ridge=1.0),
            "camps": Camps(groups=3, ridge=1.0, restarts=1, sweeps=20),
        }
        for name, model in models.items():
            line[name] = _seconds(lambda model=model, data=data: model.fit(data))
        line["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows.append(line)
        print(line, flush=True)
    return {"rows": rows}


def many(count: int, raters: int = 50_000, width: int = 8) -> Comparisons:
    """Answers of three camps about 2,000 options."""
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(2000, width, generator=draw)
    taste = torch.randn(3, width, generator=draw)
    rater = torch.arange(count) % raters
    first = torch.randint(2000, (count,), generator=draw)
    second = (first + torch.randint(1, 2000, (count,), generator=draw)) % 2000
    worth = features @ taste.T
    gap = worth[first, rater % 3] - worth[second, rater % 3]
    label = (torch.rand(count, generator=draw) < torch.sigmoid(gap)).float()
    return Comparisons.pairs(Items(features), first, second, rater, label)


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun
