"""The one protocol by which population models are compared: for tests, benchmarks and users alike.

Every member meets the same answers in the same order: it is fitted on the training answers, its settings are
chosen by held-out answers, and it is judged on answers of known raters (with what training says of them), on
options of no training answer, and on new raters after k of their answers.
"""

import dataclasses
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.lab.memory import Peak
from pluralign.lab.plan import Fold, Plan
from pluralign.metrics.diagnostics import shuffled
from pluralign.metrics.evaluation import curve, rater_scores, score
from pluralign.population import Belief, held_out
from pluralign.population.covariates import WithCovariates
from pluralign.population.normals import Normals
from pluralign.population.prior import Gaussian
from pluralign.streams import Seed, Streams

SAMPLES = 1000


@runtime_checkable
class Fits(Protocol):
    """A population model: settings with `fit`."""

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Any: ...


@dataclass(frozen=True)
class Shuffled:
    """A control: the same model with the rater of every training answer drawn from a hat.

    Nothing is left to learn of a rater, so it should predict as the pooled model does; where it predicts better,
    something leaks.
    """

    model: Any

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Any:
        """Fit the model to answers whose raters were permuted."""
        streams = Streams.of(seed)
        mixed = shuffled(data, streams("permute"))
        return self.model.fit(
            mixed, seed, held=None if held is None else shuffled(held, streams("permute held"))
        )


@dataclass(frozen=True)
class Result:
    """What one member earned; all tables are plain and can be written.

    Attributes:
        name: of the member.
        scores: raters, answers, metric, value, low, high, standard_error, n.
        people: raters, answers, rater_id, n, accuracy, log_loss, brier: one row per rater and group.
        calibration: raters, answers, predicted, observed, count, noise: the reliability curves.
        held: rater_id, log_loss: on the held-out answers that members are chosen by.
        facts: fit_seconds, predict_seconds per "raters answers", memory_mib, parameters, settings, notes, fallback (why it was
            fitted as a simpler member, if it was).
    """

    name: str
    scores: pd.DataFrame
    people: pd.DataFrame
    calibration: pd.DataFrame
    held: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)


def judge(
    name: str,
    model: Fits,
    data: Comparisons,
    plan: Plan,
    seed: int = 0,
    *,
    samples: int = SAMPLES,
    tick: Callable[[], Any] = lambda: None,
) -> Result:
    """Fit `model` on every fold of the plan and judge it.

    The model is given training and held-out answers, nothing else; answers of new raters reach its belief by
    `adapt` alone.
    """
    found = _Pieces()
    seconds, parameters, notes = 0.0, 0, []
    settings: list[str] = []
    fallback = ""
    peak = Peak()
    for fold in plan.folds:
        train, held = data.take(fold.train), data.take(fold.held)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always", UserWarning)
            start = time.perf_counter()
            belief = model.fit(train, seed, held=held)
            share = belief.predict(held)
            if fold.whole is not None:
                belief = settled(model, belief).fit(data.take(fold.whole), seed)
            seconds += time.perf_counter() - start
        notes += [str(w.message) for w in heard if issubclass(w.category, UserWarning)]
        found.add("held", "all", fold.held, share, 0.0)
        _predict(belief, data, fold, plan, found)
        parameters = max(parameters, _parameters(belief))
        settings.append(_told(model, belief))
        fallback = fallback or str(getattr(belief, "diagnostics", {}).get("fallback", ""))
        tick()
    memory = peak.mebibytes()
    facts = {
        "fit_seconds": seconds,
        "predict_seconds": {f"{raters} {k}": s for (raters, k), s in found.seconds.items()},
        "memory_mib": round(memory, 1),
        "parameters": parameters,
        "settings": list(dict.fromkeys(settings)),
        "notes": list(dict.fromkeys(notes)),
        "fallback": fallback,
    }
    return _result(name, found, data, seed, samples, facts)


def judge_truth(
    share: Float[Tensor, "M K"], data: Comparisons, plan: Plan, seed: int = 0, *, samples: int = SAMPLES
) -> Result:
    """The oracle: the true chance of every answer, where people were simulated. No model can do better for long."""
    found = _Pieces()
    for fold in plan.folds:
        for raters in ("seen", "items", "unseen"):
            rows = getattr(fold, raters)
            if len(rows):
                found.add(raters, "all", rows, share[rows], 0.0)
        found.add("held", "all", fold.held, share[fold.held], 0.0)
    facts = {"fit_seconds": 0.0, "parameters": 0, "memory_mib": 0.0, "settings": [], "notes": []}
    return _result("oracle", found, data, seed, samples, facts)


class _Pieces:
    """Predictions fold by fold, for each group of raters and number of answers."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], list[Tensor]] = {}
        self.shares: dict[tuple[str, str], list[Tensor]] = {}
        self.seconds: dict[tuple[str, str], float] = {}

    def add(self, raters: str, answers: str, rows: Tensor, share: Tensor, seconds: float) -> None:
        key = (raters, answers)
        self.rows.setdefault(key, []).append(rows)
        self.shares.setdefault(key, []).append(share.double())
        self.seconds[key] = self.seconds.get(key, 0.0) + seconds

    def whole(self, key: tuple[str, str]) -> tuple[Tensor, Tensor]:
        return torch.cat(self.rows[key]), torch.cat(self.shares[key])


def _predict(belief: Any, data: Comparisons, fold: Fold, plan: Plan, found: _Pieces) -> None:
    for raters in ("seen", "items"):
        rows = getattr(fold, raters)
        if len(rows):
            start = time.perf_counter()
            share = belief.predict(_unlabelled(data.take(rows)))
            found.add(raters, "all", rows, share, time.perf_counter() - start)
    if not len(fold.unseen):
        return
    people = torch.unique(data.rater[fold.unseen])
    judged = _unlabelled(data.take(fold.unseen)).of_raters(people)
    last: tuple[int, Tensor] | None = None
    for k in (*plan.counts, None):
        rows = fold.pool if k is None else fold.pool[fold.order < k]
        start = time.perf_counter()
        if last is None or last[0] != len(rows):
            draws = belief.adapt(data.take(rows).of_raters(people))
            last = (len(rows), belief.predict(judged, draws))
        answers = "all" if k is None else str(k)
        found.add("unseen", answers, fold.unseen, last[1], time.perf_counter() - start)


def _unlabelled(data: Comparisons) -> Comparisons:
    """The questions with every answer blotted out, so that no model can peek at what it is judged by."""
    shown = (data.slate >= 0).to(data.label)
    return data.with_labels(shown / shown.sum(1, keepdim=True))


def _result(
    name: str, found: _Pieces, data: Comparisons, seed: int, samples: int, facts: dict[str, Any]
) -> Result:
    scores, people, curves = [], [], []
    held = pd.DataFrame()
    assert data.rater_ids is not None
    ids = np.array(data.rater_ids, dtype=object)
    for key in found.rows:
        rows, share = found.whole(key)
        test = data.take(rows)
        if not bool(test.decided.any()):
            continue
        by = rater_scores(share, test)
        known = by["answers"] > 0
        frame = pd.DataFrame({"rater_id": ids[known.numpy()], "n": by["answers"][known].long().numpy()})
        for metric in ("accuracy", "log_loss", "brier"):
            frame[metric] = by[metric][known].numpy()
        if key[0] == "held":
            held = frame[["rater_id", "n", "log_loss"]]
            continue
        table = score(share, test, seed, answers=key[1], samples=samples).frame()
        scores.append(table.assign(raters=key[0]))
        people.append(frame.assign(raters=key[0], answers=key[1]))
        line = curve(share, test)
        columns = {c: getattr(line, c).numpy() for c in ("predicted", "observed", "count", "noise")}
        curves.append(pd.DataFrame(columns).assign(raters=key[0], answers=key[1]))
    order = ["raters", "answers", "metric", "value", "low", "high", "standard_error", "n"]
    return Result(
        name,
        pd.concat(scores, ignore_index=True)[order],
        pd.concat(people, ignore_index=True),
        pd.concat(curves, ignore_index=True),
        held,
        facts,
    )


def settled(model: Any, belief: Any) -> Any:
    """The model, or the model under a control, with its "auto" settings as they were chosen in `belief`."""
    if isinstance(model, Shuffled):
        return Shuffled(settled(model.model, belief))
    return held_out.settled(model, belief)


def _told(model: Any, belief: Any) -> str:
    """The settings that were left to the data, in words."""
    model = model.model if isinstance(model, Shuffled) else model
    notes = getattr(belief, "diagnostics", {})
    if isinstance(model, WithCovariates):
        within = _told(model.population, belief)
        return ", ".join([*([within] if within else []), f"covariates {notes['covariates']}"])
    if not dataclasses.is_dataclass(model) or isinstance(model, type):
        return ""
    names = [
        f.name for f in dataclasses.fields(model) if getattr(model, f.name) == "auto" and f.name in notes
    ]
    told = [f"{name} {notes[name]:g}" for name in names if isinstance(notes[name], int | float)]
    return ", ".join([*told, *([notes["words"]] if "words" in notes else [])])


def _parameters(belief: Any) -> int:
    """Numbers that were fitted: of the worth, the population, and of the raters where these stand alone."""
    if not isinstance(belief, Belief):
        return 0
    worth: Any = belief.worth
    count = 0
    for name in ("matrix", "layers"):
        value = getattr(worth, name, None)
        tensors = (
            []
            if value is None
            else [value]
            if isinstance(value, Tensor)
            else [t for pair in value for t in pair]
        )
        count += sum(t.numel() for t in tensors)
    prior = belief.prior
    alone = isinstance(prior, Gaussian) and prior.draws == 1  # a taste for everybody, no population
    if alone:
        return count + belief.draws.z[0].numel()
    if isinstance(prior, Gaussian):
        width = len(prior.mean)
        return count + width + width * (width + 1) // 2
    if isinstance(prior, Normals):
        kinds, width = prior.mean.shape
        return count + kinds * (width + 1) - 1 + width * (width + 1) // 2
    z = getattr(prior, "z", None)
    if isinstance(z, Tensor):
        return count + z.numel() + len(z) - 1
    return count + sum(t.numel() for t in vars(prior).values() if isinstance(t, Tensor))
