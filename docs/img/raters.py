"""Draws raters.png beside itself: what each fault does to the answers."""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from pluralign import Items
from pluralign.choice import Davidson, Luce
from pluralign.raters import (
    CampPeople,
    ChangingPeople,
    Drift,
    Fatigue,
    Faults,
    IdealPeople,
    Moods,
    RankedPeople,
)
from pluralign.raters.timing import decision

GREY, COLOURS = "#b8bfc6", ("#0072b2", "#d55e00", "#009e73")  # told apart without red and green
D = torch.linspace(-4, 4, 161, dtype=torch.float64)
PAIRS = torch.stack([torch.arange(161), torch.full((161,), 161)], 1)
OPTIONS = Items(torch.cat([D, D.new_zeros(1)])[:, None])  # every difference against an option worth nothing
PEOPLE = 2000
ROOM, SHARES = (-0.03, 1.5), (0, 0.25, 0.5, 0.75, 1)  # a legend fits above the curves


def camp(faults=None, rule=None, spread=0.0):
    return CampPeople(((1.0,),), (1.0,), spread, rule=rule or Luce(), faults=faults or Faults())


def share(people):
    return people.draw(1, 0).share(OPTIONS, PAIRS, torch.zeros(161, dtype=torch.long))[:, 0]


def later(change, number):
    """The average over people, before answer `number`."""
    people = ChangingPeople(camp(), (change,)).draw(PEOPLE, 0)
    everybody = torch.arange(PEOPLE).repeat_interleave(161)
    found = people.at(number).share(OPTIONS, PAIRS.repeat(PEOPLE, 1), everybody)
    return found[:, 0].view(PEOPLE, 161).mean(0)


def main() -> None:
    curves = {
        "rationality": {"half": share(camp(Faults(0.5))), "three": share(camp(Faults(3.0))), "endless": share(camp(Faults(math.inf)))},
        "lapse, mistake": {"lapse .4 = mistake .2": share(camp(Faults(lapse=0.4))), "mistake 1": share(camp(Faults(mistake=1.0)))},
        "order bias": {"1 util": share(camp(Faults(bias=1.0))), "and a lapse of .3": share(camp(Faults(bias=1.0, lapse=0.3)))},
        "ties (a half each)": {"threshold of 1": share(camp(Faults(equal=1.0))), "Davidson, nu = 2": share(camp(rule=Davidson(2.0)))},
        "fatigue": {f"answer {n}": later(Fatigue(math.log(2) / 50, lapse=0.3), n) for n in (0, 50, 200)},
        "drift, everybody's average": {f"answer {n}": later(Drift(0.1), n) for n in (0, 100, 400)},
        "moods, everybody's average": {f"spread {s:g}": later(Moods(10, s), 5) for s in (0.5, 1.0, 2.0)},
    }  # fmt: skip
    figure, axes = plt.subplots(2, 5, figsize=(13.5, 5.6))
    for ax, (title, lines) in zip(axes.flat, curves.items()):
        ax.plot(D, torch.sigmoid(D), color=GREY, linewidth=5)
        for (label, line), colour in zip(lines.items(), COLOURS):
            ax.plot(D, line, color=colour, label=label)
        ax.set(title=title, ylim=ROOM, yticks=SHARES, xlabel="difference of worth, utils")
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    for ax in axes[:, 0]:
        ax.set_ylabel("share who choose the first")
    quick, ideal, ranks = axes.flat[7:]

    timed = camp(Faults(pace=2.0, reaction=0.4)).draw(1, 0)
    quick.plot(
        D, timed.seconds(OPTIONS, PAIRS, torch.zeros(161, dtype=torch.long)), color=COLOURS[0], label="mean"
    )
    ends = [0.4 + 2.0 * decision(D, torch.full_like(D, level)) for level in (0.1, 0.9)]
    quick.fill_between(D, *ends, color=COLOURS[0], alpha=0.2, linewidth=0, label="8 in 10 answers")
    quick.set(title="response time", xlabel="difference of worth, utils", ylabel="seconds", ylim=(0, 6.8))
    quick.legend(frameon=False, fontsize=8, loc="upper left")

    for point, colour in zip((-1.5, 1.5), COLOURS):
        worth = IdealPeople(((point,),), (1.0,), (0.5,)).draw(1, 0).utility(OPTIONS)[0, :161]
        ideal.plot(D, worth - worth.max(), color=colour, label=f"just right: {point:g}")
    ideal.set(title="ideal points", xlabel="the factor", ylabel="worth, utils", ylim=(-8, 3.5))
    ideal.legend(frameon=False, fontsize=8, loc="upper left")

    other = torch.randn(PEOPLE, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for margin, colour in zip((0.2, 1.0, 2.0), COLOURS):
        people = RankedPeople(((0, 1),), (1.0,), (margin, 0.0), (1.0, 1.0), margin_spread=0.3).draw(PEOPLE, 0)
        lines = []
        for d in D[::4]:
            shown = Items(
                torch.cat([torch.stack([d.expand(PEOPLE), other[:, 0]], 1), torch.zeros(1, 2).double()])
            )
            slate = torch.stack([torch.arange(PEOPLE), torch.full((PEOPLE,), PEOPLE)], 1)
            lines.append(people.share(shown, slate, torch.arange(PEOPLE))[:, 0].mean())
        ranks.plot(D[::4], torch.stack(lines), color=colour, label=f"margin {margin:g}")
    ranks.set(
        title="ranks: the first factor", xlabel="difference of the first factor", ylim=ROOM, yticks=SHARES
    )
    ranks.legend(frameon=False, fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
