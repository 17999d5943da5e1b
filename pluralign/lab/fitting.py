"""Fit one population to a folder, judge it on another, and tell what a few answers say of new raters."""

import json
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from pluralign.data import Comparisons, describe
from pluralign.data.covariates import Coding
from pluralign.data.reading import Folder, read_folder
from pluralign.lab.leaderboard import fingerprint
from pluralign.lab.naming import model_named, official
from pluralign.lab.plan import plan
from pluralign.lab.report import Report, cell, folded, pairs, table
from pluralign.lab.run import Run, read_config
from pluralign.lab.tastes import taste_names, tastes
from pluralign.lab.what_ran import settings_and_versions
from pluralign.metrics.diagnostics import ALIKE, diagnose
from pluralign.metrics.evaluation import Table, evaluate
from pluralign.metrics.voice_errors import PARTS, voice_errors, width_of_interval
from pluralign.population import Atoms, Belief, Draws, Voices, load
from pluralign.population.covariates import WithCovariates
from pluralign.population.normals import Normals
from pluralign.utility import MLP, Basis, Ideal, Judged, Linear
from pluralign.utility.judged import STATISTICS, JudgedWorth, rule_confusion
from pluralign.utility.like_raters import LikeRaters
from pluralign.utility.scores import Nonlinear

Answers = Literal["auto", "comparisons", "votes"]
UTILITIES: dict[str, type[Any]] = {
    "basis": Basis,
    "ideal": Ideal,
    "judged": Judged,
    "linear": Linear,
    "mlp": MLP,
}
_TASTES = 40  # more weights than this make no table to read
_LISTED, _CAMPS = 500, 12  # more raters or camps make no list to read
_ABOVE = ("effective_camps", "shrinkage")  # told among what tells raters apart, the first in a stricter sense
_WORDS = {
    "groups": "camps",
    "panel_log_likelihood": "log-likelihood of all answers, nats",
    "log_evidence": "log-evidence of all answers, nats",
    "ridge": "ridge, 1 / variance of the prior",
    "sure": "chance of the likeliest camp, mean over raters",
}
_CONTROLLED = 50_000  # with more answers the control with shuffled raters, which is another fit, is left out


def fit(
    population: str,
    folder: str | Path,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    utility: str | None = None,
    rule: str | None = None,
    answers: Answers = "auto",
    covariates: Sequence[str] = (),
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Fit a population to the training answers of a folder (all, where it has no split) and save the belief.

    Args:
        population: a name of `pluralign list populations`: of a population or a recipe.
        folder: of answers.
        out: the run folder; the belief is in its `model`, as `pluralign.load` takes it.
        settings: fields of the population.
        utility, rule: names of `pluralign list utilities` and `rules`; by default those that the population comes
            with.
        answers: which, where a folder has comparisons and votes.
        covariates: columns of raters.csv that say something of the raters; used where they predict people not met.
        seed: of the fit.
        overwrite: put away another run.
    """
    from pluralign.choice import RULES

    population = official(population)
    chosen = dict(settings or {})
    if utility is not None:
        chosen["utility"] = _called("utility", utility, UTILITIES)()
    if rule is not None:
        chosen["rule"] = _called("rule", rule, RULES)()
    model = model_named(population, chosen)
    source = read_folder(folder, answers, covariates=covariates)
    if source.coding is not None:
        model = WithCovariates(model)
    train, held = _training(source)
    config = {
        "command": "fit",
        "population": population,
        "folder": str(Path(folder).resolve()),
        "settings": dict(settings or {}),
        "utility": utility,
        "rule": rule,
        "answers": answers,
        **({"covariates": list(covariates)} if covariates else {}),
        "seed": seed,
        "fingerprint": fingerprint(folder),
    }
    run = Run.open(out, config, overwrite)
    known = not run.done("fit")

    def work(stage: Any) -> dict[str, Any]:
        start = time.perf_counter()
        belief = model.fit(train, seed, held=held)
        seconds = time.perf_counter() - start
        shutil.rmtree(run.folder / "model", ignore_errors=True)  # of a run that was stopped between the two
        belief.save(run.folder / "model")
        names = {k: v for k, v in belief.diagnostics.items() if isinstance(v, int | float | str)}
        for name, value in names.items():
            if not isinstance(value, str):
                stage.record(name, value, group=population, seed=seed)
        told = describe(train)
        found = diagnose(belief, train, seed, control=len(train) <= _CONTROLLED)
        stage.record("effective_camps", found.effective_camps, group=population, seed=seed)
        stage.record("active_directions", found.active, group=population, seed=seed)
        for what, number in (("flip", found.flip), ("gain", found.gain), ("beyond", found.beyond)):
            if number is not None and np.isfinite(number.value):
                error = number.standard_error
                stage.record(what, number.value, standard_error=error, group=population, seed=seed)
        errors = voice_errors(model, belief, train, seed) if len(train) <= _CONTROLLED else None
        if errors is not None:
            voices, weights = belief.voices(), taste_names(belief, list(train.options.names))
            for voice, wants, unsure in zip(voices.names, voices.z.tolist(), errors.tolist(), strict=True):
                for name, z, error in zip(weights, wants, unsure, strict=True):
                    stage.record(f"weight of {name}", z, standard_error=error, group=voice, seed=seed)
        return {
            "seconds": seconds,
            "features": list(train.options.names),
            "voice_errors": None if errors is None else errors.tolist(),
            "width": train.options.rows.shape[-1],
            "coding": None if source.coding is None else source.coding.tree(),
            "answers": len(train),
            "raters": int((train.counts > 0).sum()),
            "diagnostics": names,
            "lines": told.lines(),
            "warnings": list(dict.fromkeys((*told.warnings, *found.warnings))),
            "diagnosis": {"verdict": found.verdict, "lines": found.lines(), "gauges": list(found.gauges)},
        }

    try:
        run.stage("fit", work)
    except Exception:
        run.forget()
        raise
    run.finish()
    if known or not (run.folder / "report.html").is_file():
        write_report(run.folder)
    return run.folder


def evaluate_run(
    run: str | Path, folder: str | Path, *, answers: Answers = "auto", seed: int = 0, strict: bool = False
) -> dict[str, Table]:
    """Judge a saved belief on a folder: by its split where it has one, else on all its answers.

    `strict`: raise where a rater that should be known was never met, instead of predicting from the prior.

    Returns:
        a table for each of "seen", "items", "unseen" (by number of answers) that the split has, or "all".
    """
    belief, _, source = _opened(run, folder, answers)
    if source.role is None:
        if read_config(run).get("fingerprint") == fingerprint(folder):
            warnings.warn("the model was fitted to these very answers: the numbers flatter it.", stacklevel=2)
        return {"all": evaluate(belief, source.data, seed=seed, strict=strict)}
    made = plan(source, seed)
    fold, data = made.folds[0], source.data
    tables = {
        name: evaluate(belief, data.take(rows), seed=seed, strict=strict)
        for name, rows in (("seen", fold.seen), ("items", fold.items))
        if len(rows)
    }
    if len(fold.unseen):
        people = torch.unique(data.rater[fold.unseen])
        pick = lambda rows: data.take(rows).of_raters(people)
        draws: dict[int | str, Draws] = {
            k: belief.adapt(pick(fold.pool[fold.order < k])) for k in made.counts
        }
        draws["all"] = belief.adapt(pick(fold.pool))
        tables["unseen"] = evaluate(belief, pick(fold.unseen), draws, seed=seed)
    return tables


def adapt_run(
    run: str | Path, folder: str | Path, *, answers: Answers = "auto", level: float = 0.95
) -> pd.DataFrame:
    """What the answers in a folder say of raters that the model never met.

    Returns:
        one row per rater and taste: rater_id, answers (how many were known), kind ("taste" or "camp"), name, mean,
        low, high. A taste is in utils per standard deviation of the feature; of a camp the mean is the chance to be in
        it.
    """
    belief, facts, source = _opened(run, folder, answers)
    data = source.data
    if source.role is not None and (source.role == "adapt").any():
        data = data.take(torch.from_numpy(np.flatnonzero(source.role == "adapt")))
    people = (data.counts > 0).nonzero()[:, 0]
    data = data.of_raters(people)
    return tastes(belief, belief.adapt(data), data, facts["features"], level)


def _opened(run: str | Path, folder: str | Path, answers: Answers) -> tuple[Belief, dict[str, Any], Folder]:
    """The belief and the facts of a finished fit, and a folder whose options are described as in training."""
    if read_config(run).get("command") == "fit texts":
        from pluralign.lab.text_fitting import open_texts

        belief, source = open_texts(run, folder, answers)
        return belief, {"features": []}, source
    belief, facts = open_run(run)
    source = _read_alike(folder, answers, facts)
    _same_features(facts, source.data)
    return belief, facts, source


def open_run(run: str | Path) -> tuple[Belief, dict[str, Any]]:
    """The belief and the facts of a finished fit.

    Raises:
        ValueError: the folder is another kind of run.
        FileNotFoundError: there is no run, or it is not finished.
    """
    run = Path(run)
    config = read_config(run)
    if config.get("command") != "fit":
        raise ValueError(
            f"{run} is a run of {config.get('command')!r}; give one that `pluralign fit` wrote without a backbone."
        )
    place = run / "stages" / "fit" / "result.json"
    if not place.is_file():
        raise FileNotFoundError(f"{run} is not finished; run the same `pluralign fit` again.")
    return load(run / "model"), json.loads(place.read_text("utf-8"))


def write_report(run: str | Path, paper: Path | None = None) -> Path:
    """report.html of a fit: what was found about the raters, from the saved belief."""
    run = Path(run)
    belief, facts = open_run(run)
    config = read_config(run)
    voices = belief.voices()
    report = Report(
        f"{config['population'].replace('_', ' ')} fitted to {Path(config['folder']).name}",
        f"{facts['answers']:,} answers of {facts['raters']:,} raters, {facts['seconds']:.1f} seconds.",
    )
    said = [
        "This page describes the fit; how well it predicts is told by pluralign evaluate and leaderboard."
    ]
    if len(voices) > 1 and np.isnan(belief.effective_camps):
        said.insert(0, "Tastes are continuous; the voices are centres that sum them up.")
    headline = "Everybody has one taste"
    if len(voices) > 1:
        headline = f"Raters speak with {len(voices)} voices: " + ", ".join(
            f"{float(w):.0%}" for w in voices.weight
        )
    diagnosis = facts.get("diagnosis", {})
    if diagnosis.get("verdict", "").startswith(ALIKE):
        headline = "No differences between raters beyond noise"
    said = [*([diagnosis["verdict"]] if diagnosis else []), *said]
    report.verdict(headline, said, facts.get("warnings", ()))
    names = taste_names(belief, facts["features"])
    if isinstance(belief.worth, JudgedWorth):
        share, weight = belief.draws.weight.mean(1).tolist(), belief.worth.coefficients
        rows = [
            [name, f"{part:.0%}", *(f"{float(c):+z.2f}" for c in row)]
            for name, part, row in zip(names, share, weight, strict=True)
        ]
        report.section(
            "What people judge by",
            table(
                ["", "people", *STATISTICS],
                rows,
                caption="What counts in a segment: the reward on the way, the value of its end and of its start, the sum "
                "of its advantages.",
            ),
            *_rules_told_apart(belief, names),
            table(
                ["factor", *(names if belief.worth.settings.own else ["everybody"])],
                [
                    [name, *(f"{float(w):+z.2f}" for w in row)]
                    for name, row in zip(facts["features"], belief.worth.reward.T, strict=False)
                ],
                caption="The reward that was learned beside, in utils per unit of each factor"
                + (", one for each way." if belief.worth.settings.own else ", one for all."),
            ),
        )
    elif len(names) <= _TASTES and not isinstance(
        belief.worth, Nonlinear
    ):  # numbers of a network are no weights
        head = ["weight of", *(f"{n}: {float(w):.0%}" for n, w in zip(voices.names, voices.weight))]
        about = "Utils per standard deviation of the feature; 1 util is odds of e to 1."
        if facts.get("voice_errors") is not None:
            about += (
                " Small: 95 % intervals over raters, by fits without a tenth of them each, for as many voices as were "
                "found; with few raters they are rough."
            )
        report.section("What each voice wants", table(head, _wants(voices, names, facts), caption=about))
    if (camps := _who(belief)) is not None:
        report.section("Who is in which camp", camps)
    if isinstance(belief.worth, LikeRaters):
        report.section("What people's covariates change", _shifts(belief, facts))
    if diagnosis:
        report.section(
            "How far raters are told apart",
            pairs([(k, v) for k, v in diagnosis["lines"]]),
            "A nat is a unit of likelihood: a gain of 0.1 nats per answer makes each predicted answer exp(0.1) = 1.11 times "
            "as likely. Shrinkage: the part of the differences that is noise to this belief, 0 to 1.",
            "What no fit of this kind can tell: "
            + " ".join(t[0].upper() + t[1:] for t in diagnosis["gauges"]),
        )
    told = {k: v for k, v in facts["diagnostics"].items() if k not in _ABOVE}
    notes = [
        (_WORDS.get(k, k.replace("_", " ")), f"{v:.4g}" if isinstance(v, float) else str(v))
        for k, v in told.items()
    ]
    report.section("About the fit", pairs(notes))
    report.section(
        "What was run",
        pairs([(k, v) for k, v in facts["lines"]]),
        settings_and_versions(run),
    )
    return report.write(run / "report.html", paper)


def _shifts(belief: Belief, facts: Mapping[str, Any]) -> str:
    """A table of what each covariate changes in the weight of each feature, with its standard error."""
    worth = belief.worth
    error = belief.diagnostics["shift_error"]
    names = Coding.from_tree(facts["coding"]).names
    columns = list(facts["features"])
    if worth.first.matrix is not None or len(columns) != worth.shift.shape[1]:
        columns = [f"direction {q + 1}" for q in range(worth.shift.shape[1])]
    rows = [
        [
            name,
            *(
                f"{float(s):+z.2f} ± {float(e):.2f}"
                for s, e in zip(worth.shift[:, q], error[:, q], strict=True)
            ),
        ]
        for q, name in enumerate(columns)
    ]
    about = (
        "Utils per standard deviation of the feature, for one standard deviation of the covariate, ± one standard error "
        "(raters left out by tenths). Fitted to everybody's answers together, and drawn towards nothing."
    )
    return table(["weight of", *names], rows, caption=about)


def _wants(voices: Voices, names: Sequence[str], facts: Mapping[str, Any]) -> list[list[str]]:
    """A row for each weight: what each voice gives for it, and between what bounds."""
    unsure = facts.get("voice_errors")
    wide = width_of_interval(max(2, min(PARTS, facts["raters"])))
    rows: list[list[str]] = []
    for k, name in enumerate(names):
        line = [name]
        for g, z in enumerate(voices.z[:, k].tolist()):
            error = None if unsure is None else unsure[g][k]
            small = "" if error is None else f"{z - wide * error:+z.2f} to {z + wide * error:+z.2f}"
            if error is not None and not np.isfinite(error):
                small = "not known: a voice was lost with a tenth of the raters"
            line.append(cell(f"{z:+z.2f}", small=small, sort=z))
        rows.append(line)
    return rows


def _who(belief: Belief) -> str | None:
    """The chance of every rater met to be in each camp, where there are camps, and few enough raters to read."""
    ids = belief.rater_ids
    if isinstance(belief.prior, Normals):
        chance = belief.prior.chances(belief.draws).T
    elif isinstance(belief.prior, Atoms) and belief.prior.voice is None:
        chance = belief.draws.weight.T
    else:
        return None
    if not 1 < chance.shape[1] <= _CAMPS or not 0 < len(ids) <= _LISTED:
        return None
    if isinstance(belief.worth, JudgedWorth):
        camps = list(belief.worth.names)
    elif len(belief.voices()) == chance.shape[1]:
        camps = [f"camp {g + 1} (voice {g})" for g in range(chance.shape[1])]
    else:
        camps = [f"camp {g + 1}" for g in range(chance.shape[1])]
    rows = [
        [name, *(cell(f"{p:.0%}", mark="best" if p == max(line) else "", sort=p) for p in line)]
        for name, line in zip(ids, chance.tolist(), strict=True)
    ]
    about = (
        "The chance of each, by the rater's own answers; pluralign adapt tells the same of raters never met."
    )
    return folded(f"{len(ids):,} raters", table(["rater", *camps], rows, caption=about))


def _rules_told_apart(belief: Belief, names: list[str]) -> list[str]:
    """A table of who is taken for whom, where there is more than one way to judge."""
    if len(names) < 2:
        return []
    rows = [
        [name, *(f"{float(part):.0%}" for part in row)]
        for name, row in zip(names, rule_confusion(belief)[1], strict=True)
    ]
    about = (
        "Of the people who judge by the rule of the row, how many their answers place in the camp of the column: "
        "expected from how sure the fit is of each rater."
    )
    return [table(["judges by", *names], rows, caption=about)]


def _read_alike(folder: str | Path, answers: Answers, facts: Mapping[str, Any]) -> Folder:
    """The folder, with covariates coded as in training."""
    told = facts.get("coding")
    return read_folder(folder, answers, covariates=() if told is None else Coding.from_tree(told))


def _training(source: Folder) -> tuple[Comparisons, Comparisons | None]:
    if source.role is None:
        return source.data, None
    rows = lambda name: torch.from_numpy(np.flatnonzero(source.role == name))
    train, held = source.data.take(rows("train")), source.data.take(rows("val"))
    if not len(train):
        raise ValueError(f"{source.name}: the split gives nothing to train on.")
    return train, held if bool(held.decided.any()) else None


def _same_features(facts: Mapping[str, Any], data: Comparisons) -> None:
    """Raise where options are described otherwise than in training; features without names are known by number."""
    wanted, given = list(facts["features"]), list(data.options.names)
    width, got = facts.get("width", len(wanted)), data.options.rows.shape[-1]
    lost = [name for name in wanted if name not in given] if given else []
    if width != got or lost:
        more = [name for name in given if name not in wanted] if wanted else []
        first = f"; the first that is missing is {lost[0]!r}" if lost else ""
        first += f"; {more[0]!r} is new" if more else ""
        raise ValueError(
            f"the options must have the {width} features of the training answers, got {got}{first}; give the same "
            "columns in the same order."
        )
    if wanted and given and wanted != given:
        raise ValueError(
            "the features of the options must stand in the order of the training answers, "
            f"{', '.join(wanted[:8])}; they are {', '.join(given[:8])}: order the columns alike."
        )


def _called(what: str, name: str, known: Mapping[str, type[Any]]) -> type[Any]:
    for other, kind in known.items():
        if other.lower() == name.lower():
            return kind
    raise ValueError(f"no {what} is called {name!r}; there are {', '.join(known)}.")
