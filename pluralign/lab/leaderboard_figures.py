"""The pictures of a leaderboard, drawn from its tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pluralign.lab.report import COLOURS, GREY, INK, canvas, titled
from pluralign.lab.results import read_table
from pluralign.lab.verdict import say

_GAINS_SHOWN = 600


_PEOPLE = ("pooled", "shuffled_raters")


def colours(names: list[str]) -> dict[str, str]:
    """One colour for each population, grey for what is only there to compare with."""
    free = iter(COLOURS * (1 + len(names) // len(COLOURS)))
    return {name: GREY if name in _PEOPLE else INK if name == "oracle" else next(free) for name in names}


def answers_figure(board: pd.DataFrame, colour: dict[str, str]) -> Any:
    drawing, axes = canvas(9.6, 3.9, columns=2)
    rows = board[(board.raters == "unseen") & board.answers.str.isdigit()]
    ticks = sorted(rows.answers.astype(int).unique())
    place = {k: n for n, k in enumerate(ticks)}  # evenly spaced: the first answers matter most
    for ax, metric, title in zip(
        axes, ("log_loss", "accuracy"), ("Log loss (nats), lower is better", "Accuracy")
    ):
        for name in dict.fromkeys(rows.population):
            part = rows[(rows.metric == metric) & (rows.population == name)]
            part = part.assign(k=part.answers.astype(int)).sort_values("k")
            x = [place[k] for k in part.k]
            dashed = name in _PEOPLE
            ax.fill_between(x, part.low, part.high, color=colour[name], alpha=0.10, linewidth=0)
            ax.plot(
                x,
                part.value,
                color=colour[name],
                marker="" if dashed else "o",
                markersize=4,
                linestyle=":" if name == "shuffled_raters" else "--" if dashed else "-",
                label=say(name),
            )
        oracle = board[(board.population == "oracle") & (board.raters == "unseen") & (board.metric == metric)]
        if len(oracle):
            ax.axhline(float(oracle.iloc[0].value), color=INK, linewidth=1, linestyle="-.", label="oracle")
        titled(ax, title)
        ax.set_xticks(range(len(ticks)), [str(k) for k in ticks])
        ax.set_xlabel("answers of the new rater that were known")
    handles, labels = axes[0].get_legend_handles_labels()
    drawing.legend(
        handles, labels, loc="outside lower center", ncols=min(6, len(labels)), frameon=False, labelcolor=INK
    )
    return drawing


def gains_figure(people: pd.DataFrame, shown: str, colour: str) -> Any:
    groups = [
        (r, "all")
        for r in ("seen", "items", "unseen")
        if ((people.raters == r) & (people.answers == "all")).any()
    ]
    drawing, axes = canvas(9.6, 3.3, columns=len(groups), squeeze=False, sharey=True)
    label = {"seen": "known raters", "items": "new options", "unseen": "new raters"}
    for ax, (raters, answers) in zip(axes[0], groups):
        part = people[(people.raters == raters) & (people.answers == answers)]
        wide = part.pivot(index="rater_id", columns="population", values="log_loss")
        gain = np.sort((wide["pooled"] - wide[shown]).to_numpy())[::-1]
        kept = gain
        if len(gain) > _GAINS_SHOWN:
            kept = gain[np.linspace(0, len(gain) - 1, _GAINS_SHOWN).round().astype(int)]
        x = np.linspace(0, 100, len(kept)) if len(kept) > 1 else np.array([50.0])
        ax.axhline(0, color=INK, linewidth=0.9)
        ax.fill_between(x, 0, kept, where=kept >= 0, interpolate=True, color=colour, alpha=0.18, linewidth=0)
        ax.fill_between(
            x, 0, kept, where=kept <= 0, interpolate=True, color="#b3372a", alpha=0.18, linewidth=0
        )
        if len(kept) <= 60:
            ax.plot(x, kept, "o", color=colour, markersize=5)
        else:
            ax.plot(x, kept, color=colour, linewidth=1.6)
        titled(ax, f"{label[raters]}: {np.mean(gain > 0):.0%} gain")
        ax.set_xlabel(f"raters in order of their gain, % of {len(gain):,}")
    axes[0][0].set_ylabel("gain over pooled\n(nats per answer)")
    values = people.loc[people.population == shown, "log_loss"]
    if len(values):
        spread = [g for r, a in groups for g in _quantiles(people, shown, r, a)]
        low, high = min(spread), max(spread)
        pad = 0.08 * (high - low + 1e-9)
        axes[0][0].set_ylim(low - pad, high + pad)
    return drawing


def _quantiles(people: pd.DataFrame, shown: str, raters: str, answers: str) -> tuple[float, float]:
    part = people[(people.raters == raters) & (people.answers == answers)]
    wide = part.pivot(index="rater_id", columns="population", values="log_loss")
    gain = (wide["pooled"] - wide[shown]).to_numpy()
    cut = 0.01 if len(gain) > 100 else 0.0
    return float(np.quantile(gain, cut)), float(np.quantile(gain, 1 - cut))


def calibration_figure(folder: Path, names: list[str], shown: str | None, colour: dict[str, str]) -> Any:
    members = ["pooled", *([shown] if shown is not None else [])]
    frames = {name: read_table(folder / "stages" / name, "calibration") for name in members}
    groups = [r for r in ("seen", "items", "unseen") if (frames["pooled"].raters == r).any()]
    label = {"seen": "known raters", "items": "new options", "unseen": "new raters"}
    drawing, axes = canvas(9.6, 3.5, columns=len(groups), squeeze=False)
    for ax, raters in zip(axes[0], groups):
        ax.plot([0.3, 1], [0.3, 1], color=INK, linewidth=0.9, linestyle=":")
        for name, curve in frames.items():
            part = curve[(curve.raters == raters) & (curve.answers == "all")]
            ax.errorbar(
                part.predicted,
                part.observed,
                yerr=2 * part.noise,
                color=colour[name],
                marker="o",
                markersize=4,
                linewidth=1.2,
                elinewidth=0.8,
                label=say(name),
            )
        low = min(c[(c.raters == raters) & (c.answers == "all")].predicted.min() for c in frames.values())
        ax.set_xlim(max(0, low - 0.03), 1.02)
        ax.set_ylim(max(0, low - 0.15), 1.05)
        titled(ax, label[raters])
        ax.set_xlabel("predicted chance")
    axes[0][0].set_ylabel("share that was right")
    axes[0][0].legend(loc="upper left", frameon=False, labelcolor=INK)
    return drawing
