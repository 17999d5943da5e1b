"""Fit one population together with a language model, in a run folder: `pluralign fit POPULATION FOLDER --backbone PATH`."""

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from pluralign.data.options import Texts
from pluralign.data.reading import Folder, read_folder
from pluralign.lab.leaderboard import fingerprint
from pluralign.lab.naming import model_named, official
from pluralign.lab.report import Report, code, folded, pairs
from pluralign.lab.run import Run, read_config
from pluralign.language.backbone import load_backbone
from pluralign.language.cache import texts_of
from pluralign.language.joint import Joint, Tune
from pluralign.language.processes import Processes, sharding
from pluralign.language.text_belief import load_text_belief
from pluralign.population.belief import Belief


def fit_texts(
    population: str,
    folder: str | Path,
    out: str | Path,
    backbone: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    tune: Tune = "lora",
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
) -> str:
    """Train a backbone and a population on the training answers of a folder of texts; the model is in `out`/model.

    Args:
        population: a name of `pluralign list populations`.
        folder: of answers, as `pluralign import` writes.
        out: the run folder.
        backbone: a folder that transformers reads, or a hub id.
        settings: fields of the population.
        tune: "lora", "full" or "none".
        seed: of the fit.
        overwrite: put away another run.
        progress: show a bar.

    Under `accelerate launch` or `torchrun` processes share the work, and the first of them writes.

    Returns:
        what was found, in a sentence; "" for a process that does not write.

    Raises:
        ValueError: the folder has no texts, or there is no such backbone.
    """
    model = model_named(official(population), dict(settings or {}))
    source = read_folder(folder)
    if not isinstance(source.data.options, Texts):
        raise ValueError(f"{folder} has no texts for a backbone to read; leave --backbone out.")
    prompts, answers = _read(folder, source.data.options)
    # Slices go where they belong as the model is cut up; whole it might have no room there.
    body = load_backbone(backbone, device="cpu" if sharding() else None)
    config = {
        "command": "fit texts",
        "population": official(population),
        "folder": str(Path(folder).resolve()),
        "backbone": str(backbone),
        "fingerprint": fingerprint(folder),
        "weights": body.facts()["fingerprint"],
        "settings": dict(settings or {}),
        "tune": tune,
        "seed": seed,
    }
    group = Processes.here()
    run = Run.open(out, config, overwrite) if group.first else None
    train, held = source.data, None
    if source.role is not None:
        rows = lambda name: torch.from_numpy(np.flatnonzero(source.role == name))
        train, held = source.data.take(rows("train")), source.data.take(rows("val"))
        held = held if len(held) else None

    def work(stage: Any) -> dict[str, Any]:
        start = time.perf_counter()
        found = Joint(tune).fit(model, body, train, prompts, answers, seed, held=held, progress=progress)
        found.save(stage.folder / "model")
        for step, loss in enumerate(found.notes["held_out"]):
            stage.record("held_out_loss", loss, group=population, seed=seed, step=step)
        stage.record("tokens", found.notes["tokens"], group=population, seed=seed)
        return {"seconds": time.perf_counter() - start, "answers": len(train), **found.notes}

    if run is None:  # a helper of the process that writes
        if not group.agreed(None):
            Joint(tune).fit(model, body, train, prompts, answers, seed, held=held)
        return ""
    group.agreed(run.done("fit"))
    try:
        facts = run.stage("fit", work)
    except Exception:
        run.forget()
        raise
    run.finish()
    write_report(run.folder)
    return f"{_sentence(facts)}\nthe model is in {run.folder}/stages/fit/model, the report is {run.folder / 'report.html'}"


def open_texts(
    run: str | Path, folder: str | Path, answers: Literal["auto", "comparisons", "votes"] = "auto"
) -> tuple[Belief, Folder]:
    """The belief of a finished run, and a folder of answers whose texts the run's backbone has read.

    Raises:
        FileNotFoundError: the run is not finished.
        ValueError: the folder has no texts.
    """
    place = Path(run) / "stages" / "fit" / "model"
    if not place.is_dir():
        raise FileNotFoundError(f"{run} is not finished; run the same `pluralign fit` again.")
    source = read_folder(folder, answers)
    if not isinstance(source.data.options, Texts):
        raise ValueError(f"{folder} has no texts for the backbone of {run} to read; give a folder of texts.")
    found = load_text_belief(place)
    data = found.seen(source.data, *_read(folder, source.data.options))
    return found.belief, dataclasses.replace(source, data=data)


def _read(folder: str | Path, options: Texts) -> tuple[list[str], list[str]]:
    """Prompt and answer of each option, the outside option of votes among them."""
    prompts, answers = texts_of(Path(folder))
    gap = len(options) - len(prompts)
    return [*prompts, *[""] * gap], [*answers, *options.texts[len(options) - gap :]]


def write_report(run: str | Path, paper: Path | None = None) -> Path:
    """report.html of such a fit, from the numbers in its folder."""
    run = Path(run)
    config = read_config(run)
    facts = json.loads((run / "stages" / "fit" / "result.json").read_text("utf-8"))
    report = Report(
        f"{config['population'].replace('_', ' ')} over {Path(config['backbone']).name}",
        f"{facts['answers']:,} answers, {facts['seconds']:.1f} seconds.",
    )
    report.verdict(_sentence(facts), ["Round 0 is the backbone as it came."], ())
    rows = [(f"held-out loss, round {k}", f"{loss:.4f}") for k, loss in enumerate(facts["held_out"])]
    rows += [
        ("tokens computed", f"{facts['tokens']:,}"),
        ("by a padded pairwise trainer", f"{facts['pairwise_tokens']:,}"),
    ]
    report.section("Training", pairs(rows))
    report.section("What was run", folded("Settings", code(json.dumps(config, indent=1))))
    return report.write(run / "report.html", paper)


def _sentence(facts: Mapping[str, Any]) -> str:
    loss, kept = facts["held_out"], facts["kept_round"]
    if not kept:
        return f"The backbone is used as it came: held-out loss {loss[0]:.4f} nats per answer, and training did not lower it."
    return f"Training the backbone lowered the held-out loss from {loss[0]:.4f} to {loss[kept]:.4f} nats per answer."
