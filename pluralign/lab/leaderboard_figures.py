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
_NAMED = 6  # lines that can be told apart
_FAINT = "#c3c9ce"
_MARKERS = "osD^vP"


def named(names: list[str], held_out: list[str], shown: str | None) -> list[str]:
    """The few populations that get a colour of their own: the one that is shown, and the best on held-out answers."""
    order = [*([shown] if shown is not None else []), *(name for name in held_out if name in names)]
    return [name for name in dict.fromkeys(order) if name not in (*_PEOPLE, "oracle")][:_NAMED]


def colours(names: list[str], few: list[str]) -> dict[str, str]:
    """A colour for each of the `few`, grey for what is only there to compare with, faint for the rest."""
    own = dict(zip(few, COLOURS))
    return {
        name: GREY if name in _PEOPLE else INK if name == "oracle" else own.get(name, _FAINT)
        for name in names
    }


def answers_figure(board: pd.DataFrame, few: list[str]) -> Any:
    """Two pictures over the answers of a new rater: the first of the `few` stands out and has a band."""
    drawing, axes = canvas(9.6, 3.9, columns=2)
    rows = board[(board.raters == "unseen") & board.answers.str.isdigit()]
    ticks = sorted(rows.answers.astype(int).unique())
    place = {k: n for n, k in enumerate(ticks)}  # evenly spaced: the first answers matter most
    for ax, metric, title in zip(
        axes, ("log_loss", "accuracy"), ("Log loss (nats), lower is better", "Accuracy")
    ):
        names = list(dict.fromkeys(rows.population))
        colour = colours(names, few)
        last = {name: n for n, name in enumerate([*_PEOPLE, *reversed(few)])}
        faint = 0
        for name in sorted(names, key=lambda name: last.get(name, -1)):
            part = rows[(rows.metric == metric) & (rows.population == name)]
            part = part.assign(k=part.answers.astype(int)).sort_values("k")
            x = [place[k] for k in part.k]
            if name == "oracle":
                continue
            control = name in _PEOPLE
            first = name == few[0] if few else False
            other = not control and name not in few
            if first or name == "pooled":
                ax.fill_between(x, part.low, part.high, color=colour[name], alpha=0.13, linewidth=0)
            faint += other
            label = "others" if other else say(name)
            ax.plot(
                x,
                part.value,
                color=colour[name],
                marker="" if control or other else _MARKERS[few.index(name)],
                markersize=6 if first else 4.5,
                linewidth=2.6 if first else 1.4,
                linestyle=":" if name == "shuffled_raters" else "--" if control else "-",
                label="_" + label
                if faint > 1 and other
                else label,  # one entry in the legend for all of them
            )
        oracle = board[(board.population == "oracle") & (board.raters == "unseen") & (board.metric == metric)]
        if len(oracle):
            ax.axhline(float(oracle.iloc[0].value), color=INK, linewidth=1, linestyle="-.", label="oracle")
        titled(ax, title)
        ax.set_xticks(range(len(ticks)), [str(k) for k in ticks])
        ax.set_xlabel("answers of the new rater that were known")
    handle = dict(zip(*reversed(axes[0].get_legend_handles_labels())))
    order = [say(name) for name in (*few, *_PEOPLE)] + ["oracle", "others"]
    labels = [label for label in order if label in handle]
    drawing.legend(
        [handle[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=(len(labels) + 1) // 2 if len(labels) > 5 else len(labels),
        frameon=False,
        labelcolor=INK,
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
        here = pd.concat([c[(c.raters == raters) & (c.answers == "all")] for c in frames.values()])
        low = here.predicted.min()
        ax.set_xlim(max(0, low - 0.03), 1.02)
        ax.set_ylim(max(0, min(low - 0.15, here.observed.min() - 0.05)), 1.05)
        titled(ax, label[raters])
        ax.set_xlabel("predicted chance")
    axes[0][0].set_ylabel("share that was right")
    axes[0][0].legend(loc="best", frameon=False, labelcolor=INK)
    return drawing
