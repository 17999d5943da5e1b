"""The report of an experiment in rounds: what people lose, round by round, and what was understood of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pluralign.lab.experiment_report import over_people
from pluralign.lab.report import (
    COLOURS,
    INK,
    Report,
    canvas,
    cell,
    figure,
    table,
    titled,
)
from pluralign.lab.run import read_config
from pluralign.lab.what_ran import by_person, cautions, film, how_it_was_run
from pluralign.metrics import Estimate

FILM = "The policies found for the voices heard in the last round, from one first state. First seed."
STATISTICS = {"interquartile mean": "middle half of people", "worst decile": "worst tenth"}


def read(folder: str | Path) -> dict[str, Any]:
    """What a finished run holds: its config, and of every seed what came out of its rounds."""
    folder = Path(folder)
    config = read_config(folder)
    seeds = range(config["seed"], config["seed"] + config["seeds"])
    at = lambda seed: json.loads((folder / "stages" / f"loop-{seed}" / "result.json").read_text("utf-8"))
    return {
        "config": config,
        "loops": [at(seed) for seed in seeds],
        "versions": (folder / "versions.txt").read_text("utf-8"),
    }


def served(told: dict[str, Any]) -> dict[str, str]:
    """How people are served, and what to call it."""
    return {"lottery": f"{told['config']['welfare']} lottery", "own": "each by what they seem to like best"}


def regrets(told: dict[str, Any], way: str, number: int) -> list[Tensor]:
    """(R,) of every seed in a round, NaN for people with nothing to gain."""
    every = [loop["regret"][way][number] for loop in told["loops"]]
    return [by_person(row) for row in every]


def estimates(told: dict[str, Any], way: str, statistic: str) -> list[Estimate]:
    """A summary of people's regrets in each round: over seeds and people."""
    return [over_people(regrets(told, way, n), statistic) for n in range(told["config"]["rounds"])]


def understood(told: dict[str, Any], column: str) -> list[Estimate]:
    """A column of the loops' tables in each round, over seeds."""
    rows = torch.tensor([loop["table"][column] for loop in told["loops"]], dtype=torch.float64)
    return [Estimate.mean(row) for row in rows.T]


def screen(folder: str | Path) -> str:
    """One screen: regret in each round."""
    told = read(folder)
    lines = [
        "",
        f"{'regret, 0 best known, 1 random':40}{'round':>6}{'middle half of people':>26}{'worst tenth':>24}",
    ]
    for way, words in served(told).items():
        columns = [estimates(told, way, statistic) for statistic in STATISTICS]
        for number, found in enumerate(zip(*columns, strict=True)):
            text = [f"{x.value:z.3f} [{x.low:z.3f}, {x.high:z.3f}]" for x in found]
            lines.append(f"{'' if number else words:40}{number + 1:>6}{text[0]:>26}{text[1]:>24}")
    return "\n".join([*lines, "", f"report: {Path(folder) / 'report.html'}", ""])


def write_report(folder: str | Path, paper: Path | None = None) -> Path:
    """Write report.html of a finished run."""
    told, folder = read(folder), Path(folder)
    config = told["config"]
    report = Report(
        f"{config['world'].capitalize()}, in rounds: {Path(config['population']).stem.replace('-', ' ')}",
        f"{config['people']} people, each of whom compared {config['asked'] // config['rounds']} pairs of pieces of "
        f"trajectory in each of {config['rounds']} rounds; {len(told['loops'])} "
        f"{'seed' if len(told['loops']) == 1 else 'seeds'}.",
    )
    own = estimates(told, "own", "interquartile mean")
    worst = estimates(told, "own", "worst decile")
    report.verdict(
        f"Served by what they seem to like best, the middle half of people lose {_part(own[0])} of what they could have "
        f"after the first round and {_part(own[-1])} after the last, the worst-off tenth {_part(worst[0])} and "
        f"{_part(worst[-1])}.",
        [
            "Regret is 0 where a person gets as much, by their true taste, as from the best policy that the whole run found "
            "for them, and 1 where random actions would bring as much."
        ],
        _cautions(told),
    )
    report.section(
        "Regret by round",
        figure(_curves(told), "With 95 % intervals " + _over(told) + "."),
        _table(told),
    )
    report.section("What was understood", *_understood(told))
    report.section("What it looks like", *film(folder, config["world"], FILM))
    report.section("What was run", *_run(told))
    return report.write(folder / "report.html", paper)


def _part(x: Estimate) -> str:
    return f"{max(x.value, 0):.0%}"


def _over(told: dict[str, Any]) -> str:
    return "over seeds and people" if len(told["loops"]) > 1 else "over people"


def _cautions(told: dict[str, Any]) -> list[str]:
    out = cautions(told["config"], len(told["loops"]))
    silent = sorted({name for loop in told["loops"] for name in loop["notes"]})
    if silent:
        out.append(
            f"Gained nothing from any policy, and had no say in the last lottery: {', '.join(silent)}."
        )
    return out


def _band(ax: Any, x: Sequence[int], found: Sequence[Estimate], colour: str, words: str) -> None:
    ax.plot(x, [e.value for e in found], "o-", markersize=4, color=colour, label=words)
    ax.fill_between(x, [e.low for e in found], [e.high for e in found], color=colour, alpha=0.18, linewidth=0)


def _rounds(told: dict[str, Any], ax: Any) -> range:
    x = range(1, told["config"]["rounds"] + 1)
    ax.set_xticks(list(x))
    ax.set_xlabel("round")
    return x


def _curves(told: dict[str, Any]) -> Any:
    drawing, axes = canvas(9.5, 3.6, columns=2, sharey=True)
    for ax, (statistic, words) in zip(axes, STATISTICS.items()):
        x = _rounds(told, ax)
        for colour, (way, name) in zip(COLOURS, served(told).items()):
            _band(ax, list(x), estimates(told, way, statistic), colour, name)
        ax.axhline(0, color=INK, linewidth=0.8)
        titled(ax, words)
    axes[0].set_ylabel("regret")
    axes[0].legend(frameon=False, fontsize=8)
    return drawing


def _table(told: dict[str, Any]) -> str:
    rows = []
    columns = [(way, statistic) for way in served(told) for statistic in STATISTICS]
    found = [estimates(told, *column) for column in columns]
    for number, cells in enumerate(zip(*found, strict=True)):
        shown = [cell(f"{x.value:z.3f}", small=f"{x.low:z.3f} to {x.high:z.3f}", sort=x.value) for x in cells]
        rows.append([str(number + 1), *shown])
    short = {"lottery": "lottery", "own": "by own taste"}
    head = [f"{short[way]}: {STATISTICS[statistic].removesuffix(' of people')}" for way, statistic in columns]
    return table(["round", *head], rows, caption=f"Regret, with 95 % intervals {_over(told)}.")


def _understood(told: dict[str, Any]) -> list[str]:
    rows = []
    columns = {"accuracy": "answers predicted", "log_loss": "log loss", "changed": "favourites that changed"}
    found = [understood(told, name) for name in ("questions", *columns)]
    for number, (questions, *others) in enumerate(zip(*found, strict=True)):
        rows.append([str(number + 1), f"{questions.value:z.0f}", *(f"{x.value:z.3f}" for x in others)])
    words = "By questions of everybody about random behaviour, which were not fitted."
    return [table(["round", "answers so far", *columns.values()], rows, caption=words)]


def _run(told: dict[str, Any]) -> list[str]:
    return how_it_was_run(
        told,
        [
            "In the first round people compare pieces of random behaviour; later, half of the questions to choose from show "
            "what the policies of the round before do.",
            "All that was ever shown is priced anew by each round's belief; policies go on from those of the round before.",
            "The best known for a person is the best, by their true taste, of what the true camps would have trained for "
            "themselves and of all that was found in any round.",
        ],
        without=("films", "questions"),
    )
