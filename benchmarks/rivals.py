"""The member chosen on each real set beside the best models that its notes list, paired: `python benchmarks/rivals.py`.

Those models are fitted here again (their figures are given beside what comes out), so that both answer the same questions
and the difference has an interval: per answer as in the notes, raters drawn again. The member is the one that
`core.py real` chose by held-out answers, with the covariates that were named there. Results go to
benchmarks/results/rivals.json.
"""

import dataclasses
import json
import os
import sys
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from core import BASELINES, COVARIATES, HERE, SHARED
from torch import Tensor

from pluralign import Camps, Hierarchical, LowRank, PerRater
from pluralign.data.options import Items
from pluralign.data.reading import read_folder
from pluralign.lab.naming import member_named
from pluralign.lab.plan import Fold, Plan, plan
from pluralign.lab.protocol import settled

DRAWN = 2000
MIXED_LOGIT = Hierarchical(method="laplace", temper=1.0)
# The best of each set's notes, for known raters and for new ones after ten answers; `True`: options by name alone.
RIVALS: dict[str, dict[str, tuple[Any, bool]]] = {
    "car_choice": {"seen all": (MIXED_LOGIT, False), "unseen 10": (MIXED_LOGIT, False)},
    "card_choice": {"seen all": (Camps(groups=4), False), "unseen 10": (Camps(groups=4), False)},
    "driving_pedestrian": {"seen all": (PerRater(), False), "unseen 10": (MIXED_LOGIT, False)},
    "convincing_args": {"seen all": (LowRank(rank=4), True), "unseen 10": (Camps(groups=4), True)},
    "civic_votes": {"seen all": (LowRank(rank=2), True), "unseen 10": (LowRank(rank=1), True)},
}


def losses(model: Any, data: Any, made: Plan, cell: str) -> tuple[Tensor, Tensor, Tensor]:
    """Log loss and hit of every judged answer, and its rater."""
    found = []
    for fold in made.folds:
        rows = fold.seen if cell == "seen all" else fold.unseen
        if not len(rows):
            continue
        belief = model.fit(data.take(fold.train), 0, held=data.take(fold.held))
        if fold.whole is not None:
            belief = settled(model, belief).fit(data.take(fold.whole), 0)
        found.append(_judged(belief, data, fold, rows, cell))
    return tuple(torch.cat(part) for part in zip(*found, strict=True))  # type: ignore[return-value]


def _judged(belief: Any, data: Any, fold: Fold, rows: Tensor, cell: str) -> tuple[Tensor, Tensor, Tensor]:
    asked = data.take(rows)
    blank = asked.with_labels(torch.full_like(asked.label, 1 / asked.places))
    if cell == "seen all":
        share = belief.predict(blank)
    else:
        people = torch.unique(asked.rater)
        told = data.take(fold.pool[fold.order < int(cell.split()[1])]).of_raters(people)
        share = belief.predict(blank.of_raters(people), belief.adapt(told))
    label, keep = asked.label.double(), asked.decided
    given = (share.double() * (label == label.max(1, keepdim=True).values)).sum(1)[keep]
    return -given.clamp_min(1e-12).log(), (given > 0.5).double() + 0.5 * (given == 0.5), asked.rater[keep]


def gain(mine: Tensor, other: Tensor, rater: Tensor) -> dict[str, float]:
    """Mean of other - mine per answer, raters drawn again."""
    _, place = torch.unique(rater, return_inverse=True)
    count = torch.bincount(place).double()
    total = torch.zeros(len(count)).double().index_add_(0, place, other - mine)
    luck = np.random.default_rng(0)
    drawn = torch.from_numpy(luck.integers(0, len(count), (DRAWN, len(count))))
    ratio = total[drawn].sum(1) / count[drawn].sum(1)
    low, high = np.quantile(ratio.numpy(), [0.025, 0.975])
    return {"value": float(total.sum() / count.sum()), "low": float(low), "high": float(high)}


def beside(name: str, chosen: str) -> dict[str, Any]:
    named = COVARIATES.get(name, ())
    source = read_folder(SHARED / "data" / name, covariates=named)
    made, data = plan(source, 0), source.data
    bare = dataclasses.replace(data, options=Items(torch.zeros(len(data.options), 0), data.options.ids))
    told: dict[str, Any] = {"chosen": chosen, "covariates": list(named)}
    for cell, (rival, nameless) in RIVALS[name].items():
        loss, hit, rater = losses(member_named(chosen, bool(named)), data, made, cell)
        other, other_hit, _ = losses(rival, bare if nameless else data, made, cell)
        told[cell] = {
            "rival": type(rival).__name__,
            "rival in the notes": BASELINES[name]["best"][cell],
            "rival here": (float(other_hit.mean()), float(other.mean())),
            "chosen": (float(hit.mean()), float(loss.mean())),
            "gain in log loss": gain(loss, other, rater),
            "gain in accuracy": gain(-hit, -other_hit, rater),
        }
        print(name, cell, json.dumps(told[cell]), flush=True)
    return told


def main() -> None:
    torch.set_num_threads(1)
    verdicts = json.loads((HERE / "results" / "core-real.json").read_text("utf-8"))
    path = HERE / "results" / "rivals.json"
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    for name in sys.argv[1:] or RIVALS:
        found[name] = beside(name, verdicts[name]["verdict"]["chosen"])
        path.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
