"""Every population model on anybody's answers, under one protocol, with a verdict in plain words."""

import hashlib
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from pluralign.data.describe import describe
from pluralign.data.reading import Folder, read_folder
from pluralign.lab.choosing import Chosen, choose_member
from pluralign.lab.naming import COVARIATES, member_named, official
from pluralign.lab.plan import Plan, plan
from pluralign.lab.protocol import SAMPLES, Result, Shuffled, judge, judge_truth
from pluralign.lab.results import board, keep, read_result
from pluralign.lab.run import Run, write_json, write_text
from pluralign.lab.screen import screen, summary
from pluralign.lab.verdict import verdict
from pluralign.population import registry

_LOOKS = 1_000_000  # answers that are described; more add seconds and no insight


@dataclass(frozen=True)
class Leaderboard:
    """What came out.

    Attributes:
        folder: the run folder, with leaderboard.csv, verdict.json and report.html.
        table: leaderboard.csv.
        verdict: verdict.json.
    """

    folder: Path
    table: pd.DataFrame
    verdict: dict[str, Any]

    def summary(self, metric: str = "log_loss") -> pd.DataFrame:
        """One row per population, one column per group of raters and number of answers."""
        return summary(self.table, metric)

    def __str__(self) -> str:
        return screen(self.table, self.verdict)

    def _repr_html_(self) -> str:
        return "".join(f"<p>{s}</p>" for s in self.verdict["words"]) + self.summary().to_html(
            float_format=lambda x: f"{x:.3f}"
        )


def leaderboard(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    answers: Literal["auto", "comparisons", "votes"] = "auto",
    populations: Sequence[str] = (),
    covariates: Sequence[str] = (),
    seed: int = 0,
    samples: int = SAMPLES,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Leaderboard:
    """Judge every population model on the answers in `folder`; a stopped leaderboard goes on where it was.

    Args:
        folder: of answers, as `pluralign.read` takes it; its split is honoured where it has one.
        out: the run folder, by default runs/leaderboard-<name of folder>.
        answers: which answers, where a folder has comparisons and votes.
        populations: names, of recipes too; by default every population. Pooled is always among them.
        covariates: columns of raters.csv that say something of the raters (country, age); every population but pooled and
            per_rater is told them, and uses them where they predict people it has not met. Never name a column that was
            made from the answers.
        seed: of fits, splits and the bootstrap.
        samples: of the bootstrap over raters.
        overwrite: put away a run of another config.
        progress: show a bar; by default where somebody is watching.

    Raises:
        DataError: the folder cannot be read, or has too few answers to judge by.
        FileExistsError: `out` holds something else.
    """
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        source = read_folder(folder, answers, covariates=covariates)
    made = plan(source, seed)
    names = [*_names(populations), *((COVARIATES,) if covariates else ())]
    out = Path("runs") / f"leaderboard-{source.name}" if out is None else Path(out)
    config = {
        "command": "leaderboard",
        "folder": str(Path(folder).resolve()),
        "answers": answers,
        "populations": names,
        **({"covariates": list(covariates)} if covariates else {}),
        "seed": seed,
        "samples": samples,
        "fingerprint": fingerprint(folder),
    }
    run = Run.open(out, config, overwrite)
    read_notes = [str(w.message) for w in heard if issubclass(w.category, UserWarning)]
    run.stage("data", lambda stage: _described(source, made, read_notes))
    results, failures = _members(run, source, made, names, seed, samples, progress)
    chosen = choose_member(results)
    controls = _controls(run, source, made, chosen, seed, samples, failures, Path(folder))
    table = board(results | controls, results["pooled"], seed, samples)
    write_text(run.folder / "leaderboard.csv", table.to_csv(index=False, float_format="%.6g"))
    about = run.stage("data", lambda stage: None)
    write_json(run.folder / "verdict.json", verdict(table, chosen, results | controls, about, failures))
    run.finish()
    from pluralign.lab.leaderboard_report import write_report

    write_report(run.folder)
    return load_leaderboard(run.folder)


def load_leaderboard(folder: str | Path) -> Leaderboard:
    """A finished leaderboard from its run folder.

    Raises:
        FileNotFoundError: it is not finished.
    """
    import json

    folder = Path(folder)
    if not (folder / "verdict.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no finished leaderboard; run the same command again to finish it."
        )
    table = pd.read_csv(folder / "leaderboard.csv", dtype={"answers": str})
    return Leaderboard(folder, table, json.loads((folder / "verdict.json").read_text("utf-8")))


def fingerprint(folder: str | Path) -> str:
    """A hash of what lies in a folder of answers: other answers are another run."""
    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(Path(folder).iterdir()):
        if path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in (".md", ".txt"):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
    return digest.hexdigest()


def _names(populations: Sequence[str]) -> list[str]:
    if not populations:
        return sorted(registry.MODELS, key=lambda name: name != "pooled")
    wanted = [official(name) for name in populations]
    return ["pooled", *(name for name in dict.fromkeys(wanted) if name != "pooled")]


def _described(source: Folder, made: Plan, heard: list[str]) -> dict[str, Any]:
    data = source.data
    told = describe(data if len(data) <= _LOOKS else data.take(torch.arange(_LOOKS)))
    notes = [*heard, *told.warnings, *made.warnings]
    counts = data.counts[data.counts > 0]
    if len(counts) < 20:
        notes.append(
            f"{len(counts)} raters are few: intervals over raters are rough, and a camp may be one person."
        )
    size = sum(len(fold.unseen) for fold in made.folds)
    if not size:
        notes.append(
            "nobody was kept apart as a new rater: what a few answers of a stranger are worth is not measured."
        )
    return {
        "name": source.name,
        "lines": told.lines(),
        "plan": made.words,
        "folds": len(made.folds),
        "counts": list(made.counts),
        "most": made.most,
        "raters": told.raters,
        "session": source.session is not None,
        "warnings": list(dict.fromkeys(notes)),
    }


def _members(
    run: Run, source: Folder, made: Plan, names: list[str], seed: int, samples: int, progress: bool | None
) -> tuple[dict[str, Result], list[str]]:
    from tqdm import tqdm

    results: dict[str, Result] = {}
    failures: list[str] = []
    watched = sys.stderr.isatty() if progress is None else progress
    bar = tqdm(
        total=len(names) * len(made.folds), disable=not watched, desc="populations", unit="fit", leave=False
    )
    with bar:
        for name in names:
            bar.set_postfix_str(name)
            work = lambda stage, name=name: keep(
                stage,
                judge(
                    name,
                    member_named(name, source.coding is not None),
                    source.data,
                    made,
                    seed,
                    samples=samples,
                    tick=bar.update,
                ),
                seed,
            )
            before = bar.n
            try:
                run.stage(name, work)
                results[name] = read_result(run.files(name), name)
            except (
                ValueError,
                ArithmeticError,
                RuntimeError,
                LookupError,
                TypeError,
                MemoryError,
            ) as problem:
                if name == "pooled":
                    run.forget()
                    raise ValueError(
                        f"even the pooled model cannot be fitted: {_one_line(problem)}"
                    ) from problem
                failures.append(f"{name.replace('_', ' ')} could not be fitted: {_one_line(problem)}")
            bar.update(before + len(made.folds) - bar.n)
    return results, failures


def _controls(
    run: Run,
    source: Folder,
    made: Plan,
    chosen: Chosen,
    seed: int,
    samples: int,
    failures: list[str],
    folder: Path,
) -> dict[str, Result]:
    controls: dict[str, Result] = {}
    if chosen.best is not None:
        model = Shuffled(member_named(chosen.best, source.coding is not None))
        work = lambda stage: keep(
            stage, judge("shuffled_raters", model, source.data, made, seed, samples=samples), seed
        )
        try:
            run.stage("shuffled_raters", work)
            controls["shuffled_raters"] = read_result(run.files("shuffled_raters"), "shuffled_raters")
        except (ValueError, ArithmeticError, RuntimeError, MemoryError) as problem:
            failures.append(f"the shuffled control could not be fitted: {_one_line(problem)}")
    truth = folder / "truth_share.npy"
    if truth.is_file():
        share = torch.from_numpy(np.load(truth)).double()
        if len(share) != len(source.data):
            failures.append(
                f"truth_share.npy has {len(share)} rows for {len(source.data)} answers, so there is no oracle."
            )
        else:
            share = torch.stack([share, 1 - share], 1) if share.dim() == 1 else share
            work = lambda stage: keep(
                stage, judge_truth(share, source.data, made, seed, samples=samples), seed
            )
            run.stage("oracle", work)
            controls["oracle"] = read_result(run.files("oracle"), "oracle")
    return controls


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__
