"""Real people's judgements of real texts: arguments and statements, seen ones and new ones.

Seen: the sets' own split, fitted to its training answers, settings chosen by `val`, judged once on `test_seen`.
New: cross-validated over held-out debates (arguments) or random fifths of the statements (civic): every judged text is
shown in no training answer. Beside each head the set's own baselines, and where they can be refitted (length; ridge over
embedding and length, its ridge chosen by held-out debates or statements) the same folds and paired differences.

Intervals are of 1,000 bootstraps over raters for seen texts, and over texts for new ones (an answer counts as often as both of
its texts were drawn: Owen 2007), as new texts are the sample there.
"""

import dataclasses
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("PLURALIGN_SHARED", HERE.parent.parent / "shared")) / "data"
SAMPLES = 1000
RIDGES = (0.1, 1.0, 10.0, 100.0)
SEEN = {"convincing_args": (0.807, 0.425), "civic_votes": (0.741, 0.516)}
NEW = {
    ("convincing_args", "comparisons"): {"length": (0.687, None), "embedding": (0.690, None), "both": (0.714, 0.560)},
    ("civic_votes", "comparisons"): {"embedding": (0.628, 0.648)},
    ("civic_votes", "votes"): {"constant": (0.746, 0.567), "embedding": (0.746, 0.552)},
}  # fmt: skip


def texts() -> dict[str, Any]:
    """All of it; about eight minutes of one core. Rows are written as they come."""
    rows: list[dict[str, Any]] = []
    args, civic = "convincing_args", "civic_votes"
    work: tuple[Callable[[], list[dict[str, Any]]], ...] = (
        lambda: new(args, "comparisons", ("length", "ridge", "pooled")),
        lambda: [seen(args, "pooled"), seen(civic, "pooled")],
        lambda: new(civic, "comparisons", ("length", "ridge", "pooled", "hierarchical")),
        lambda: [seen(civic, "hierarchical"), seen(args, "hierarchical")],
        lambda: new(civic, "votes", ("constant", "ridge", "pooled", "hierarchical")),
    )
    for one in work:
        rows += one()
        found = {"bootstraps": SAMPLES, "rows": rows}
        (HERE / "results" / "language-texts.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


def seen(name: str, member: str) -> dict[str, Any]:
    """One head on texts that were shown in training."""
    source = read(name, "comparisons")
    at = lambda role: torch.from_numpy(np.flatnonzero(source.role == role))
    test = source.data.take(at("test_seen"))
    test = test.take(test.decided)
    belief = model(member).fit(source.data.take(at("train")), 0, held=source.data.take(at("val")))
    right, loss = judged(belief.predict(test)[:, 0], test)
    found = interval(right, loss, test.rater[:, None])
    return told({"set": name, "texts": "seen", "head": member, "answers": len(test), **found}, *SEEN[name])


def new(name: str, answers: str, members: tuple[str, ...]) -> list[dict[str, Any]]:
    """Heads on texts of no training answer, fold by fold."""
    source = read(name, answers)
    data, fold = source.data, folds(source, name)
    shown = fold[data.slate]
    known = (
        torch.ones(len(data), dtype=torch.bool)
        if name == "convincing_args"
        else torch.from_numpy(np.isin(source.role, ["train", "val", "test_seen"]))
    )
    found: dict[str, list[Any]] = {member: [] for member in members}
    judged_on = []
    for k in range(int(fold.max()) + 1):
        here = shown == k
        train = data.take(known & ~here.any(1))
        test = data.take(known & (here | (shown < 0)).all(1))
        test = test.take(test.decided)
        judged_on.append(test.slate)
        for member in members:
            share = predicted(member, train, test, fold)
            found[member].append(judged(share, test))
            print(
                name, answers, k, member, *(round(float(x.mean()), 4) for x in found[member][-1]), flush=True
            )
    slate = torch.cat(judged_on)
    units = torch.where(fold[slate] < 0, -1, slate)
    bars = NEW[name, answers]
    best = max(bar[0] for bar in bars.values()), min(bar[1] for bar in bars.values() if bar[1])
    rows = []
    base = None
    for member, parts in found.items():
        right, loss = (torch.cat(x) for x in zip(*parts))
        row = {"set": name, "texts": "new", "answers_kind": answers, "head": member, "answers": len(right)}
        row |= interval(right, loss, units)
        if base is not None:
            row["against_ridge"] = interval(right - base[0], base[1] - loss, units)
        if member == "ridge":
            base = right, loss
        rows.append(told(row, *best) if member not in ("length", "ridge", "constant") else row)
    return rows


def predicted(member: str, train: Any, test: Any, fold: torch.Tensor) -> torch.Tensor:
    """(M,) share of the first place of each question of `test`."""
    import pluralign
    from pluralign.data import Items
    from pluralign.utility import Linear

    if member == "constant":
        return torch.full((len(test),), float(train.label[:, 0].mean()), dtype=torch.float64)
    if member in ("length", "ridge"):
        rows = train.options.rows
        plain = Items(
            rows[:, :1] if member == "length" else rows,
            train.options.ids,
            (),
            rows.shape[1] - 1 if member == "ridge" else 0,
        )
        train, test = (dataclasses.replace(part, options=plain) for part in (train, test))
        fit = lambda data, ridge: pluralign.Pooled(Linear(identity=False), ridge=ridge).fit(data)
        ridge = 1.0 if member == "length" else held_out_ridge(fit, train, fold)
        return fit(train, ridge).predict(test)[:, 0]
    return model(member).fit(train, 0).predict(test)[:, 0]


def held_out_ridge(fit: Any, train: Any, fold: torch.Tensor) -> float:
    """The ridge that predicts the other folds' texts best, two of them held out in turn."""
    shown = fold[train.slate]
    parts = [k for k in torch.unique(shown).tolist() if k >= 0][:2]
    loss = dict.fromkeys(RIDGES, 0.0)
    for k in parts:
        here = shown == k
        kept, out = train.take(~here.any(1)), train.take((here | (shown < 0)).all(1) & train.decided)
        for ridge in RIDGES:
            loss[ridge] += float(judged(fit(kept, ridge).predict(out)[:, 0], out)[1].sum())
    return min(loss, key=loss.__getitem__)


def folds(source: Any, name: str) -> torch.Tensor:
    """(N,) the fold of each text; -1 for the outside option of votes."""
    if name == "convincing_args":
        debate = source.item_attributes["debate"].to_numpy()
        return torch.from_numpy(np.unique(debate, return_inverse=True)[1]).long()
    count = len(source.item_attributes) - (source.data.options.texts[-1] == "(disagree)")
    out = torch.full((len(source.data.options),), -1)
    order = torch.rand(count, generator=torch.Generator().manual_seed(0)).argsort()
    out[order] = torch.arange(count) % 5
    return out


def judged(share: torch.Tensor, test: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(M,) whether the likelier place was chosen, and the log loss in nats."""
    share, first = share.double().clamp(1e-9, 1 - 1e-9), test.label[:, 0].double()
    right = ((share > 0.5) == (first > 0.5)).double()
    return right, -(first * share.log() + (1 - first) * (1 - share).log())


def interval(right: torch.Tensor, loss: torch.Tensor, units: torch.Tensor) -> dict[str, list[float]]:
    """Means with 95 % intervals and standard errors; an answer belongs to several units (M, U), -1 for none."""
    count = int(units.max()) + 1
    noise = torch.Generator().manual_seed(0)
    draws = []
    for _ in range(SAMPLES):
        drawn = torch.bincount(torch.randint(count, (count,), generator=noise), minlength=count).double()
        weight = torch.where(units >= 0, drawn[units.clamp_min(0)], 1.0).prod(1)
        draws.append(torch.stack([(weight * right).sum(), (weight * loss).sum()]) / weight.sum())
    table = torch.stack(draws)
    out = {}
    for name, value, draw in zip(("accuracy", "log_loss"), (right, loss), table.T):
        low, high = draw.quantile(torch.tensor([0.025, 0.975]).double()).tolist()
        out[name] = [round(x, 4) for x in (float(value.mean()), low, high, float(draw.std()))]
    return out


def told(row: dict[str, Any], accuracy: float, log_loss: float) -> dict[str, Any]:
    """With the best listed baseline, and whether it is reached: by the value itself, the interval is beside it."""
    reached = row["accuracy"][0] >= accuracy and row["log_loss"][0] <= log_loss
    return row | {"baseline": [accuracy, log_loss], "reached": reached}


def model(member: str) -> Any:
    """A population at its defaults."""
    from pluralign.lab.naming import model_named

    return model_named(member)


def read(name: str, answers: str) -> Any:
    """A set as it lies there."""
    from pluralign.data.reading import read_folder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return read_folder(SHARED / name, answers)  # type: ignore[arg-type]
