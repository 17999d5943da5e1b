"""The page of a language model that was tuned or steered, from the tables of its run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pluralign.lab.report import (
    COLOURS,
    GREY,
    INK,
    Report,
    canvas,
    figure,
    pairs,
    table,
    titled,
)
from pluralign.lab.run import read_config
from pluralign.lab.what_ran import settings_and_versions


def sentence(run: str | Path) -> str:
    """What was found, for the screen."""
    facts = json.loads((Path(run) / "stages" / "judge" / "result.json").read_text("utf-8"))
    worst = min(range(len(facts["wins"])), key=lambda g: facts["wins"][g]["value"])
    return f"{_headline(facts, worst)} {_distance(facts)}"


def _headline(facts: Mapping[str, Any], worst: int) -> str:
    wins = facts["wins"][worst]
    who = (
        facts["camps"][worst] if len(facts["camps"]) == 1 else f"the worst-off camp ({facts['camps'][worst]})"
    )
    return (
        f"{who[:1].upper()}{who[1:]} prefers the policy to the reference with chance {wins['value']:z.2f} "
        f"({wins['low']:z.2f} to {wins['high']:z.2f}, {wins['n']} prompts that were kept apart)."
    )


def _distance(facts: Mapping[str, Any]) -> str:
    return f"It is {facts['kl']['value']:z.2f} nats per answer from the reference."


def write_report(run: str | Path, paper: Path | None = None) -> Path:
    """report.html of such a run, from its tables."""
    run = Path(run)
    config = read_config(run)
    facts = json.loads((run / "stages" / "judge" / "result.json").read_text("utf-8"))
    spent = json.loads((run / "stages" / "policy" / "result.json").read_text("utf-8"))["seconds"]
    rows = json.loads((run / "stages" / "policy" / "curve.json").read_text("utf-8"))
    whom = (
        f"rater {config['rater']}"
        if config["rater"]
        else f"{config['welfare']} over {len(facts['camps'])} camps"
    )
    report = Report(
        f"{config['method']} on {Path(config['folder']).name}: {whom}",
        f"The reference is {Path(config['backbone']).name}; {spent:.1f} seconds.",
    )
    worst = min(range(len(facts["wins"])), key=lambda g: facts["wins"][g]["value"])
    at_most = " (an upper bound for best-of-n)" if config["method"] == "best-of-n" else ""
    careful = ["Camps are judged by the same belief that the policy was made for; people may differ from it."]
    if facts["wins"][worst]["high"] < 0.5:
        careful.append(f"{facts['camps'][worst]} is served worse than by the reference.")
    report.verdict(_headline(facts, worst), [_distance(facts)[:-1] + at_most + "."], careful)
    lines = []
    for g, camp in enumerate(facts["camps"]):
        wins, gain = facts["wins"][g], facts["gain"][g]
        lines.append(
            [
                camp,
                f"{wins['value']:z.3f}",
                f"{wins['low']:z.3f} to {wins['high']:z.3f}",
                f"{gain['value']:z.2f} ± {gain['standard_error']:z.2f}",
            ]
        )
    unit = {"deviation": "deviations of the reference's answers", "wins": "chances to win", "none": "utils"}[
        config["scale"]
    ]
    report.section(
        "Who prefers it",
        table(
            ["", "win rate", "95 % interval", "gain"],
            lines,
            strong=[worst],
            caption=f"Against the reference, on prompts kept apart; ties are half. Gain in {unit}, with its standard error.",
        ),
    )
    if rows:
        report.section(
            "How it came about",
            figure(_curves(rows, facts["camps"]), "Step by step, on prompts of training."),
        )
    names = ("prompt", "reference", "policy")
    report.section("What it says", *(pairs(list(zip(names, row, strict=True))) for row in facts["shown"]))
    report.section(
        "What was run",
        settings_and_versions(run),
    )
    return report.write(run / "report.html", paper)


def _curves(rows: Sequence[Mapping[str, Any]], camps: Sequence[str]) -> Any:
    drawing, axes = canvas(9, 2.7, 3)
    for ax, name, title in zip(
        axes, ("returns", "weight", "kl"), ("return above the reference", "weight", "nats from the reference")
    ):
        there = [row for row in rows if name in row]
        steps = [row["step"] for row in there]
        if name == "kl":
            ax.plot(steps, [row[name] for row in there], color=INK)
        else:
            for g, camp in enumerate(camps):
                if there and len(there[0][name]) == len(camps):
                    ax.plot(
                        steps, [row[name][g] for row in there], color=COLOURS[g % len(COLOURS)], label=camp
                    )
        if name == "returns":
            ax.axhline(0, color=GREY, lw=0.8)
            ax.legend(frameon=False, fontsize=8)
        titled(ax, title)
        ax.set_xlabel("step")
    return drawing
