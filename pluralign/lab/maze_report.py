"""The maze experiment's report: pictures and tables from the run folder alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from pluralign.lab.report import (
    COLOURS,
    GREY,
    INK,
    Report,
    canvas,
    cell,
    figure,
    table,
    titled,
)
from pluralign.lab.run import read_config
from pluralign.lab.what_ran import how_it_was_run

RED, BLUE = "#c8453b", "#2c6fbb"
CAMPS = {"red": RED, "blue": BLUE}
NAMES = {
    "pooled": "pooled",
    "per_rater": "per rater",
    "camps": "camps (EM)",
    "hierarchical": "hierarchical (Bayes)",
}
SHOWN = ("random", "pooled", "MaxMin", "personalised")


def read(folder: str | Path) -> dict[str, Any]:
    """All results of a run: config, twin, and per seed what was fitted and how policies were judged."""
    folder = Path(folder)
    config = read_config(folder)
    result = lambda name: json.loads((folder / "stages" / name / "result.json").read_text("utf-8"))
    seeds = list(range(config["seed"], config["seed"] + config["seeds"]))
    try:
        told = {
            "config": config,
            "seeds": seeds,
            "twin": result("twin"),
            "beliefs": [result(f"beliefs-{seed}") for seed in seeds],
            "judged": [result(f"judged-{seed}") for seed in seeds],
            "trained": {
                name: [result(f"{name}-{seed}") for seed in seeds]
                for name in ("red", "blue", "pooled", "maxmin", "personal")
            },
        }
    except FileNotFoundError as missing:
        raise FileNotFoundError(
            f"{folder} is not finished ({Path(missing.filename).parent.name} is missing); run the same command again."
        ) from None
    told["versions"] = (folder / "versions.txt").read_text("utf-8")
    return told


def interval(told: dict[str, Any], what: str, camp: int) -> tuple[float, float, float]:
    """Normalised return with a 95 % interval: over seeds if there are three or more, else over episodes."""
    mean = np.array([j["returns"][what]["mean"][camp] for j in told["judged"]])
    error = np.array([j["returns"][what]["standard_error"][camp] for j in told["judged"]])
    value = float(mean.mean())
    if len(mean) >= 3:
        from scipy.stats import t

        half = float(t.ppf(0.975, len(mean) - 1) * mean.std(ddof=1) / len(mean) ** 0.5)
    else:
        half = 1.96 * float(np.sqrt((error**2).sum())) / len(mean)
    return value, value - half, value + half


def screen(folder: str | Path) -> str:
    """The results on one screen."""
    told = read(folder)
    first = told["beliefs"][0]
    lines = ["", "Returns by the people's true tastes; 0 random actions, 1 the camp's own best policy", ""]
    share = told["config"]["share"]
    heads = [f"red camp ({share:.0%})", f"blue camp ({1 - share:.0%})"]
    lines.append(f"{'':24}{heads[0]:>26}{heads[1]:>26}")
    for what in SHOWN:
        cells = []
        for camp in range(2):
            value, low, high = interval(told, what, camp)
            cells.append(f"{value:z.2f} [{low:z.2f}, {high:z.2f}]")
        lines.append(f"{what:24}{cells[0]:>26}{cells[1]:>26}")
    lines.append(
        f"{'best possible worst camp':24}{told['twin']['value']:>z26.3f}{'(exact, tabular twin)':>26}"
    )
    lines += ["", f"{'':24}{'seen, accuracy':>16}{'log loss':>10}   never seen, after 0, 1, 5, 20 answers"]
    at = [first["known"].index(k) for k in (0, 1, 5, 20)]
    mark = {b["chosen"] for b in told["beliefs"]}
    for name, words in NAMES.items():
        mean = lambda pick, name=name: float(np.mean([pick(b["members"][name]) for b in told["beliefs"]]))
        curve = "  ".join(f"{mean(lambda m, k=k: m['curve'][k][0]):.3f}" for k in at)
        star = "* " if name in mark else "  "
        lines.append(
            f"{star + words:24}{mean(lambda m: m['accuracy'][0]):>z16.3f}{mean(lambda m: m['log loss'][0]):>z10.3f}   {curve}"
        )
    truth = float(np.mean([b["truth"] for b in told["beliefs"]]))
    ari = float(np.mean([b["members"]["camps"]["ari"] for b in told["beliefs"]]))
    serving = told["judged"][0]["serving"]["information"]
    served = float(
        np.mean([j["serving"]["information"]["curve"][serving["known"].index(5)][0] for j in told["judged"]])
    )
    lines += [
        f"  {'knowing all tastes':22}{truth:>z16.3f}",
        "",
        f"camps found: adjusted Rand index {ari:z.2f}    a person never seen, after 5 well-chosen questions: {served:z.2f}",
        "* chosen by held-out likelihood",
        f"report: {Path(folder) / 'report.html'}",
        "",
    ]
    return "\n".join(lines)


def write_report(folder: str | Path, paper: Path | None = None) -> Path:
    """Write report.html and the figures of a finished run."""
    told = read(folder)
    config, first = told["config"], told["beliefs"][0]
    pooled = interval(told, "pooled", 1)
    worst = min(interval(told, "MaxMin", camp)[0] for camp in range(2))
    mine = [interval(told, "personalised", camp)[0] for camp in range(2)]
    report = Report(
        "One maze, two camps",
        f"{config['people']} people, {config['share']:.0%} of whom want the red goal and the rest the blue one, "
        f"each compared {config['asked']} pairs of trajectory pieces.",
    )
    seeds = len(told["seeds"])
    report.verdict(
        f"The average leaves the minority {pooled[0]:z.2f}; one policy per taste gives both camps at least {min(mine):z.2f}.",
        [
            f"A policy for the pooled reward pays the blue camp {pooled[0]:z.2f} of what its own best policy would "
            f"(0 is random). The MaxMin lottery pays the worse-off camp {worst:z.2f}; "
            f"{told['twin']['value']:.3f} is the most that any policy could, by exact linear programming on the "
            f"maze's tabular twin. A policy told whom it serves pays {mine[0]:z.2f} and {mine[1]:z.2f}.",
            f"Of the populations, {NAMES[first['chosen']]} predicts held-out answers best and is what policies were made from.",
        ],
        _cautions(told),
    )
    report.section(
        "Where the policies go",
        figure(
            _paths(told),
            "Each line is one episode; open circles are starts, filled dots ends. The goals are the rings.",
        ),
    )
    report.section("Who gets what", figure(_returns(told), _caption(seeds)), _return_table(told))
    report.section(
        "Who was put in which camp, and how surely",
        figure(
            _camps(told),
            "One bar per person, from their answers alone: the share of red is the probability of the camp that most "
            "red people are in. The strip below the bars is the truth, which no model saw.",
        ),
        f"{first['members']['camps']['matched']:.0%} of people were put where they belong (first seed); adjusted Rand "
        f"index {first['members']['camps']['ari']:z.2f}, which is 1 when all were and 0 by chance.",
    )
    report.section(
        "People never seen",
        figure(
            _newcomers(told),
            f"{config['newcomers']} people whom no model met. Left: predicted answers, after so many answers to random "
            "questions. Right: what the personalised policy earns them, when questions are chosen by expected "
            "information, or at random. Bands and bars are 95 % intervals over people.",
        ),
    )
    report.section(
        "Are probabilities what they say?",
        figure(
            _calibration(told),
            "Predicted chance of the likelier option against the share that chose it, in bins of equal size.",
        ),
        _population_table(told),
    )
    report.section("What was run", *_run(told, Path(folder)))
    path = report.write(Path(folder) / "report.html", paper)
    _figures(told, Path(folder) / "figures")
    return path


def _cautions(told: dict[str, Any]) -> list[str]:
    out = []
    if len(told["seeds"]) < 3:
        out.append("Few seeds: intervals are over episodes and people of these runs, not over repetitions.")
    if told["config"]["quick"]:
        out.append("A quick run: policies were trained for half the usual steps or less.")
    ari = min(b["members"]["camps"]["ari"] for b in told["beliefs"])
    if ari < 0.95:
        out.append(f"Camps were not found cleanly in every seed (adjusted Rand index down to {ari:.2f}).")
    return out


def _over(seeds: int) -> str:
    return "over seeds" if seeds >= 3 else "over episodes and people"


def _caption(seeds: int) -> str:
    return (
        "True returns, 0 for random actions, 1 for the camp's own best policy; 95 % intervals "
        f"{_over(seeds)}. The dashed line is the best possible return of the worse-off camp, exact on the tabular twin."
    )


def _draw_maze(ax: Any) -> None:
    import pluralign_envs
    from matplotlib.patches import Circle, Rectangle

    from pluralign.lab.maze_people import WORLD

    plan = pluralign_envs.layout(WORLD)
    left, low, wide, tall = np.asarray(plan.bounds, dtype=float)
    for x, y, width, height in np.asarray(plan.walls):
        ax.add_patch(Rectangle((x, y), width, height, facecolor=GREY, edgecolor="none", alpha=0.45))
    x, y, width, height = np.asarray(plan.start, dtype=float)
    ax.add_patch(
        Rectangle((x, y), width, height, facecolor="none", edgecolor=INK, linestyle=":", linewidth=1)
    )
    for name, (x, y) in plan.goals.items():
        ax.add_patch(Circle((x, y), 0.45, facecolor="none", edgecolor=CAMPS[name], linewidth=2.5))
    ax.set_xlim(left, left + wide)
    ax.set_ylim(low, low + tall)
    ax.set_aspect("equal")
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ax.spines.values():
        side.set_visible(False)


def _paths(told: dict[str, Any]) -> Any:
    paths = told["judged"][0]["paths"]
    shown = [
        ("random actions", ["random"], [GREY]),
        ("one for the average", ["pooled"], ["#5b4b8a"]),
        ("MaxMin lottery", ["MaxMin"], ["#0b6e4f"]),
        ("everybody's own", ["personalised, red", "personalised, blue"], [RED, BLUE]),
    ]
    drawing, axes = canvas(9.5, 6.4, columns=2, rows=2)
    for ax, (title, names, colours) in zip(axes.flat, shown):
        _draw_maze(ax)
        for name, colour in zip(names, colours):
            for path in np.asarray(paths[name]):
                ax.plot(path[:, 0], path[:, 1], color=colour, alpha=0.35, linewidth=1)
                ax.plot(*path[0], "o", markersize=2.5, markerfacecolor="none", markeredgecolor=INK, alpha=0.6)
                ax.plot(*path[-1], "o", markersize=3, color=colour, alpha=0.8)
        titled(ax, title)
    return drawing


def _returns(told: dict[str, Any]) -> Any:
    drawing, ax = canvas(8.5, 3.6)
    best = told["twin"]["value"]
    for camp, (name, colour) in enumerate(CAMPS.items()):
        for at, what in enumerate(SHOWN):
            value, low, high = interval(told, what, camp)
            x = at + (camp - 0.5) * 0.34
            ax.bar(x, value, 0.3, color=colour, alpha=0.85, label=f"{name} camp" if at == 0 else None)
            ax.plot([x, x], [low, high], color=INK, linewidth=1.6)
            above = max(high, 0.02)
            if best - 0.08 < above <= best:  # not through the line
                above = best
            ax.annotate(f"{value:z.2f}", (x, above), ha="center", va="bottom", fontsize=8.5, color=INK)
    ax.axhline(best, color=INK, linestyle="--", linewidth=1)
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set_xticks(range(len(SHOWN)), SHOWN)
    ax.set_ylabel("normalised true return")
    ax.set_ylim(min(-0.08, ax.get_ylim()[0]), 1.18)
    ax.legend(frameon=False, loc="upper left")
    ax.grid(axis="x", visible=False)
    return drawing


def _camps(told: dict[str, Any]) -> Any:
    belief = told["beliefs"][0]
    weight = np.asarray(belief["members"]["camps"]["responsibility"])
    group = np.asarray(belief["group"])
    red = weight[group == 0].mean(0) - weight[group == 1].mean(0)
    chance = weight[:, red > 0].sum(1)
    order = np.lexsort((-chance, group))
    drawing, ax = canvas(9, 2.6)
    x = np.arange(len(order))
    ax.bar(x, chance[order], 0.9, color=RED)
    ax.bar(x, 1 - chance[order], 0.9, bottom=chance[order], color=BLUE)
    ax.bar(x, -0.08, 0.9, bottom=-0.05, color=[(RED, BLUE)[g] for g in group[order]])
    ax.set_xlim(-0.7, len(x) - 0.3)
    ax.set_ylim(-0.15, 1.02)
    ax.set_yticks([0, 0.5, 1])
    ax.set_xticks([])
    ax.set_xlabel("people, ordered by true camp")
    ax.set_ylabel("probability of camp")
    ax.grid(False)
    return drawing


def _newcomers(told: dict[str, Any]) -> Any:
    drawing, (left, right) = canvas(10.5, 3.6, columns=2)
    known = told["beliefs"][0]["known"]
    for (name, words), colour in zip(NAMES.items(), COLOURS):
        curves = np.array([b["members"][name]["curve"] for b in told["beliefs"]]).mean(0)
        left.plot(known, curves[:, 0], "-o", markersize=3.5, color=colour, label=words)
        left.fill_between(known, curves[:, 1], curves[:, 2], color=colour, alpha=0.12, linewidth=0)
    truth = float(np.mean([b["truth"] for b in told["beliefs"]]))
    left.axhline(truth, color=INK, linestyle="--", linewidth=1)
    left.annotate("knowing all tastes", (known[-1], truth), ha="right", va="bottom", fontsize=8, color=INK)
    left.set_xticks([k for k in known if k not in (1, 2)], minor=False)  # they would touch 0 and 3
    left.set_xlabel("answers to random questions")
    titled(left, "accuracy of predicted answers")
    left.legend(frameon=False, fontsize=8)
    for pick, colour, words in (
        ("information", "#0b6e4f", "most telling question first"),
        ("random", GREY, "random questions"),
    ):
        at = told["judged"][0]["serving"][pick]["known"]
        curve = np.array([j["serving"][pick]["curve"] for j in told["judged"]])
        mean, error = curve[..., 0].mean(0), np.sqrt((curve[..., 1] ** 2).sum(0)) / len(curve)
        right.errorbar(at, mean, 1.96 * error, fmt="-o", markersize=4, color=colour, label=words, capsize=0)
    right.axhline(1, color=INK, linestyle="--", linewidth=1)
    right.set_xlabel("questions answered")
    right.set_ylabel("0 random, 1 the camp's own best")
    right.set_ylim(None, 1.08)
    titled(right, "true return when served by their own taste")
    right.legend(frameon=False, fontsize=8, loc="lower right")
    return drawing


def _calibration(told: dict[str, Any]) -> Any:
    drawing, axes = canvas(10.5, 3.4, columns=4, sharey=True)
    for ax, (name, words), colour in zip(axes, NAMES.items(), COLOURS):
        ax.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        for belief in told["beliefs"]:
            curve = belief["members"][name]["reliability"]
            size = np.asarray(curve["count"], dtype=float)
            ax.scatter(
                curve["predicted"],
                curve["observed"],
                12 + 40 * size / max(size.max(), 1),
                color=colour,
                alpha=0.75,
            )
        ax.set_xlim(-0.03, 1.03)
        ax.set_ylim(-0.03, 1.03)
        ax.set_xticks([0, 0.5, 1])
        ax.set_yticks([0, 0.5, 1])
        ax.set_aspect("equal")
        titled(ax, words)
        ax.set_xlabel("predicted")
    axes[0].set_ylabel("observed")
    return drawing


def _return_table(told: dict[str, Any]) -> str:
    rows = []
    for what in (*SHOWN, "red's own", "blue's own"):
        cells: list[str] = [what]
        for camp in range(2):
            value, low, high = interval(told, what, camp)
            cells.append(cell(f"{value:z.3f}", small=f"{low:z.3f} to {high:z.3f}", sort=value))
        cells.append(f"{min(interval(told, what, camp)[0] for camp in range(2)):z.3f}")
        rows.append(cells)
    caption = f"Normalised returns, with 95 % intervals {_over(len(told['seeds']))}."
    return table(["policy", "red camp", "blue camp", "worse-off camp"], rows, strong=(2, 3), caption=caption)


def _population_table(told: dict[str, Any]) -> str:
    rows = []
    for name, words in NAMES.items():
        member = told["beliefs"][0]["members"][name]
        cells: list[str] = [words]
        for metric in ("accuracy", "log loss", "calibration"):
            value, low, high = member[metric]
            cells.append(cell(f"{value:z.3f}", small=f"{max(low, 0):z.3f} to {high:z.3f}", sort=value))
        cells += [f"{told['beliefs'][0]['held_out'][name]:z.3f}", f"{member['seconds']:z.2f}"]
        rows.append(cells)
    strong = [list(NAMES).index(told["beliefs"][0]["chosen"])]
    return table(
        [
            "population",
            "accuracy, seen",
            "log loss, seen",
            "calibration error",
            "log loss, held out",
            "seconds",
        ],
        rows,
        strong=strong,
        caption="First seed; log loss in nats per answer; 95 % intervals over people. The choice is by the log loss on held-out training answers, the column before the last.",
    )


def _run(told: dict[str, Any], folder: Path) -> list[str]:
    config = told["config"]
    seconds = {name: sum(t["seconds"] for t in each) for name, each in told["trained"].items()}
    camps = told["beliefs"][0]["members"]["camps"]["notes"].get("groups")
    return how_it_was_run(
        told,
        [
            "People judge a piece of trajectory by the sum over its steps of closeness to their goal less a little "
            f"for effort, times {config['rationality']:g}; they choose by Luce's rule, and {config['lapse']:.0%} of "
            "answers are guesses.",
            f"Camps by EM found {camps} camps by held-out likelihood (first seed); policies were trained by PPO "
            "and judged on fresh episodes, all on the same starts.",
            "The lottery of MaxMin draws one policy for a whole episode.",
        ],
        more=[(f"seconds, {name}", f"{s:.0f}") for name, s in seconds.items()],
    )


def _figures(told: dict[str, Any], folder: Path) -> None:
    """The figures as PNG too, for slides and papers."""
    folder.mkdir(exist_ok=True)
    for name, draw in (("paths", _paths), ("returns", _returns), ("camps", _camps), ("newcomers", _newcomers), ("calibration", _calibration)):  # fmt: skip
        draw(told).savefig(folder / f"{name}.png", dpi=150, facecolor="white")
