"""The control results as tables for the documentation, and the picture docs/img/control.png: `python benchmarks/control_tables.py`."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
IMAGE = HERE.parent / "docs" / "img" / "control.png"
MIDDLE, WORST = "interquartile mean", "worst decile"
BARS = {MIDDLE: 0.1, WORST: 0.2, "maxmin": 0.85, "lost": 0.03}
INK, GREY, GREEN, BLUE = "#22313f", "#b8bfc6", "#0b6e4f", "#2c6fbb"


def results(part: str) -> dict[str, Any]:
    path = HERE / "results" / f"control-{part}.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def number(x: float) -> str:
    return f"{x:z.3f}".replace("0.", ".", 1)


def cell(x: dict[str, Any], bar: float | None = None) -> str:
    """A value with its interval, bold where it misses its bar."""
    text = number(x["value"])
    if bar is not None and x["value"] > bar:
        text = f"**{text}**"
    return text if x.get("low") is None else f"{text} [{number(x['low'])}, {number(x['high'])}]"


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def worlds(part: str) -> list[str]:
    head = [
        "world",
        "seeds",
        "middle half",
        "worst tenth",
        "middle half, best of run",
        "worst tenth, best of run",
    ]
    lines = [row([*head, "MaxMin's worst camp, of the best achievable"]), row(["---"] * (len(head) + 1))]
    for name, found in results(part).items():
        cells = [name, str(found["seeds"])]
        for whom in ("personalised against own camp", "personalised"):
            cells += [cell(found[f"{whom}, {what}"], BARS[what]) for what in (MIDDLE, WORST)]
        worst = found["maxmin, worst camp"]
        text = number(worst["ratio"])
        text = text if worst["ratio"] >= BARS["maxmin"] else f"**{text}**"
        cells.append(f"{text} [{number(worst['low'])}, {number(worst['high'])}]")
        lines.append(row(cells))
    return lines


def losses(part: str) -> list[str]:
    lines = [row(["world", "served by", "seeds", "regret without", "regret with", "lost"]), row(["---"] * 6)]
    for name, found in results(part).items():
        for way, pair in found.items():
            if isinstance(pair, dict) and way.split(",")[0] in ("personalised", "maxmin"):
                first, second, lost = pair.values()
                seeds = str(min(first["n"], second["n"]))
                lines.append(row([name, way, seeds, cell(first), cell(second), cell(lost, BARS["lost"])]))
    return lines


def picture() -> None:
    import matplotlib.pyplot as plt

    told = results("worlds")
    drawing, axes = plt.subplots(
        1, 3, figsize=(11, 0.42 * len(told) + 1.3), sharey=True, layout="constrained"
    )
    place = range(len(told))
    panels = ((MIDDLE, "middle half of people"), (WORST, "worst-off tenth"))
    for ax, (what, words) in zip(axes, panels):
        kinds = {
            "personalised against own camp": ("0 is the own camp's policy", GREEN, 0.12),
            "personalised": ("0 is the best of all in the run", BLUE, -0.12),
        }
        for whom, (label, colour, shift) in kinds.items():
            found = [x[f"{whom}, {what}"] for x in told.values()]
            at = [p + shift for p in place]
            ax.hlines(at, [x["low"] for x in found], [x["high"] for x in found], color=colour, linewidth=1.4)
            ax.plot([x["value"] for x in found], at, "o", color=colour, markersize=4, label=label)
        ax.axvline(BARS[what], color=INK, linewidth=0.8, linestyle=":")
        ax.set_xlim(-2.4, 1.3)
        ax.set_xlabel(f"regret, {words}", fontsize=9)
    ratio = [x["maxmin, worst camp"] for x in told.values()]
    axes[2].hlines(place, [x["low"] for x in ratio], [x["high"] for x in ratio], color=GREEN, linewidth=1.4)
    axes[2].plot([x["ratio"] for x in ratio], place, "o", color=GREEN, markersize=4)
    axes[2].axvline(BARS["maxmin"], color=INK, linewidth=0.8, linestyle=":")
    axes[2].set_xlim(0, 1.05)
    axes[2].set_xlabel("MaxMin's worst camp, of the best", fontsize=9)
    axes[0].set_yticks(place, [f"{name} ({x['seeds']})" for name, x in told.items()], fontsize=9)
    axes[0].invert_yaxis()
    drawing.legend(
        *axes[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside upper left", ncols=2
    )
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", color=GREY, linewidth=0.4)
        ax.tick_params(labelsize=8)
    drawing.savefig(IMAGE, dpi=110)


def main() -> None:
    for part, lines in (
        ("worlds", worlds("worlds")),
        ("random", worlds("random")),
        ("minority", losses("minority")),
        ("adversaries", losses("adversaries")),
    ):
        print(f"\n{part}\n", *lines, sep="\n")
    picture()


if __name__ == "__main__":
    main()
