"""The leaderboard as a page, from the tables in its run folder alone."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pluralign.lab.leaderboard_figures import answers_figure, calibration_figure, colours, gains_figure, named
from pluralign.lab.report import (
    Report,
    cell,
    code,
    figure,
    folded,
    pairs,
    table,
)
from pluralign.lab.results import read_table
from pluralign.lab.run import read_config
from pluralign.lab.verdict import CONTROLS, say
from pluralign.lab.what_ran import settings_and_versions

_SEEN = 0.0005  # a difference that three digits do not show is none worth a mark
_MARKS = {
    "best": "Bold: best of the models",
    "better": "▲ better than pooled",
    "worse": "▼ worse than pooled",
}


def write_report(folder: str | Path, paper: Path | None = None) -> Path:
    """Build report.html again from leaderboard.csv, verdict.json and the stages' tables.

    Raises:
        FileNotFoundError: the leaderboard is not finished.
    """
    folder = Path(folder)
    if not (folder / "verdict.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no finished leaderboard; run the same command again to finish it."
        )
    told = json.loads((folder / "verdict.json").read_text("utf-8"))
    board = pd.read_csv(folder / "leaderboard.csv", dtype={"answers": str})
    about = json.loads((folder / "stages" / "data" / "result.json").read_text("utf-8"))
    config = read_config(folder)
    names = list(dict.fromkeys(board.population))
    shown = told["chosen"] if told["chosen"] != "pooled" else (told["best_personal"] or {}).get("population")
    few = named(names, [row["population"] for row in told["held_out"]], shown)
    colour = colours(names, few)
    known = dict(about["lines"])
    first = lambda name: known[name].split(" ")[0]
    report = Report(
        f"Leaderboard: {about['name']}",
        f"{first('answers')} answers of {first('raters')} raters about {first('options')} options.",
    )
    report.verdict(told["words"][0], told["words"][1:], told["warnings"])
    report.section(
        "How well each model predicts",
        "Each rater counts once, however many answers there are. New raters are people the models never met: "
        "the number is how many of their answers were known before they were judged on others.",
        _scores(board, told, "log_loss", "Log loss in nats, lower is better (0.693 is a coin)."),
        _scores(board, told, "accuracy", "Accuracy: share of answers predicted right (0.5 is a coin)."),
    )
    if (board.raters == "unseen").any():
        report.section(
            "How fast a new rater becomes known", figure(answers_figure(board, few), _BY_ANSWERS.strip())
        )
    if shown is not None:
        people = pd.concat(
            [
                read_table(folder / "stages" / name, "people").assign(population=name)
                for name in ("pooled", shown)
            ]
        )
        report.section(
            "Who gains and who loses",
            figure(gains_figure(people, shown, colour[shown]), _GAINS.format(name=say(shown)).strip()),
        )
    report.section(
        "Do the predicted chances hold?",
        figure(calibration_figure(folder, names, shown, colour), _CALIBRATION.strip()),
        _other(board, told),
    )
    report.section(
        "How the model was chosen",
        "By held-out answers of known raters alone; the test answers above had no say. Pooled is kept unless another "
        "model is better by more than one standard error.",
        _chosen(told),
    )
    report.section("What it cost", _costs(folder, board))
    report.section(
        "What was run",
        pairs([(k, v) for k, v in about["lines"]] + [("protocol", about["plan"])]),
        code(command(config)),
        settings_and_versions(folder),
    )
    return report.write(folder / "report.html", paper)


_BY_ANSWERS = """
New raters after k of their own answers; the same answers in the same order for every model. Named are the models that
predict held-out answers best. Bands, of the thick line and of pooled, are 95 % intervals over raters; they are wide because people differ in how predictable they are. Differences between models are much surer than the
bands suggest: see the marks in the table, which compare the same raters.
"""
_GAINS = """
Raters in order: nats per answer by which {name} predicts a person better than pooled does (above zero) or worse (below). A single
rater's number is noisy, so some lose by bad luck alone.
"""
_CALIBRATION = """
Answers grouped by how sure the model was: on the diagonal, what it calls 80 % happens in 80 % of cases. Bars are two standard
errors of the answers in a group.
"""


def command(config: dict[str, Any]) -> str:
    """What to type to get the same numbers again."""
    words = ["pluralign", "leaderboard", config["folder"]]
    if config["answers"] != "auto":
        words += ["--answers", config["answers"]]
    if config["seed"]:
        words += ["--seed", str(config["seed"])]
    words += ["--populations", *config["populations"]]
    return shlex.join(words)


def _columns(board: pd.DataFrame) -> list[tuple[str, str, str]]:
    groups = list(board[["raters", "answers"]].drop_duplicates().itertuples(index=False, name=None))
    label = {"seen": "known raters", "items": "new options"}
    out = [(r, k, label[r]) for r, k in groups if r in label]
    new = [k for r, k in groups if r == "unseen"]
    counts = [k for k in new if k != "all"]
    shown = [k for k in counts if k in ("0", "1", "2", "5", "10", "32") or k == counts[-1]]
    if not counts:
        shown = new
    return out + [("unseen", k, "new, all" if k == "all" else f"new, {k}") for k in shown]


def _scores(board: pd.DataFrame, told: dict[str, Any], metric: str, caption: str) -> str:
    rows: Any = board[board.metric == metric].set_index(["population", "raters", "answers"])
    columns = _columns(board)
    names = list(dict.fromkeys(board.population))
    sign = 1 if metric == "accuracy" else -1
    best = {}
    for r, k, _ in columns:
        values = {
            n: rows.loc[(n, r, k)].value for n in names if n not in CONTROLS and (n, r, k) in rows.index
        }
        best[r, k] = max(values, key=lambda n: sign * values[n])
    out = []
    for name in names:
        line: list[str] = [say(name) + (" (control)" if name in CONTROLS else "")]
        for r, k, _ in columns:
            if (name, r, k) not in rows.index:
                line.append("")
                continue
            row = rows.loc[(name, r, k)]
            marks = ["best"] if best[r, k] == name else []
            told_apart = abs(row.difference) >= _SEEN
            if told_apart and row.difference_low > 0:
                marks.append("better")
            if told_apart and row.difference_high < 0:
                marks.append("worse")
            small = "" if np.isnan(row.low) else f"{row.low:z.3f} – {row.high:z.3f}"
            line.append(cell(f"{row.value:z.3f}", small=small, mark=" ".join(marks), sort=row.value))
        out.append(line)
    strong = [n for n, name in enumerate(names) if name == told["chosen"]]
    note = "; ".join(_MARKS.values())
    return table(
        ["population", *(label for *_, label in columns)],
        out,
        strong=strong,
        caption=f"{caption} Small: 95 % interval over raters. {note} (same raters, 95 %). Shaded: the chosen one. All numbers of answers are in leaderboard.csv.",
    )


def _other(board: pd.DataFrame, told: dict[str, Any]) -> str:
    label = {
        "brier": "Brier",
        "calibration_error": "calibration error",
        "vote_share_error": "vote-share error",
        "accuracy_worst_decile": "accuracy, worst tenth",
        "log_loss_worst_decile": "log loss, worst tenth",
        "accuracy_worst_rater": "accuracy, worst rater",
        "accuracy_per_answer": "accuracy per answer",
        "log_loss_per_answer": "log loss per answer",
    }
    metrics = [m for m in label if (board.metric == m).any()]
    whole: Any = board[board.answers == "all"].set_index(["population", "raters", "metric"])
    blocks = []
    for raters, words in (
        ("seen", "known raters"),
        ("items", "new options"),
        ("unseen", "new raters, all their answers"),
    ):
        names = [n for n in dict.fromkeys(board.population) if (n, raters, "brier") in whole.index]
        if not names:
            continue
        rows: list[list[str]] = []
        for name in names:
            line: list[str] = [say(name)]
            for m in metrics:
                if (name, raters, m) not in whole.index:
                    line.append("")
                    continue
                row = whole.loc[(name, raters, m)]
                small = "" if np.isnan(row.low) else f"{row.low:z.3f} – {row.high:z.3f}"
                line.append(cell(f"{row.value:z.3f}", small=small, sort=row.value))
            rows.append(line)
        strong = [n for n, name in enumerate(names) if name == told["chosen"]]
        blocks.append(table(["population", *(label[m] for m in metrics)], rows, strong=strong, caption=words))
    return folded("More scores: Brier, calibration, worst raters", *blocks)


def _chosen(told: dict[str, Any]) -> str:
    rows = [
        [
            say(row["population"]),
            cell(f"{row['log_loss']:z.4f}", sort=row["log_loss"]),
            cell(f"{row['gain']:+z.4f}", sort=row["gain"]),
            "" if row["error"] is None else cell(f"{row['error']:z.4f}", sort=row["error"]),
        ]
        for row in told["held_out"]
    ]
    strong = [n for n, row in enumerate(told["held_out"]) if row["population"] == told["chosen"]]
    head = ["population", "held-out log loss", "gain over pooled", "standard error of the gain"]
    return table(head, rows, strong=strong, caption="Nats per answer, averaged over known raters.")


def _costs(folder: Path, board: pd.DataFrame) -> str:
    rows: list[list[str]] = []
    for name in dict.fromkeys(board.population):
        if name == "oracle":
            continue
        facts = json.loads((folder / "stages" / name / "result.json").read_text("utf-8"))["facts"]
        part = board[board.population == name].drop_duplicates(["raters", "answers"])
        predict = float(part.predict_seconds.sum())
        rows.append(
            [
                say(name),
                cell(f"{facts['fit_seconds']:z.1f}", sort=facts["fit_seconds"]),
                cell(f"{predict:z.1f}", sort=predict),
                cell(f"{facts['memory_mib']:,.0f}", sort=facts["memory_mib"]),
                cell(f"{facts['parameters']:,}", sort=facts["parameters"]),
                "; ".join(facts["settings"][:3]) + (" ..." if len(facts["settings"]) > 3 else ""),
            ]
        )
    head = ["population", "seconds to fit", "seconds to predict", "peak MiB", "parameters", "settings chosen"]
    return table(
        head,
        rows,
        caption="Seconds include choosing the settings, on the machine where this ran; MiB are above what was in memory "
        "before.",
    )
