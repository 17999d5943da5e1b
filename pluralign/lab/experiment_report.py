"""The report of an experiment on any world: who is left behind, what could be had, what it looks like."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pluralign.lab.experiment_stages import SUMMARIES
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
from pluralign.lab.what_ran import by_person, cautions, film, how_it_was_run
from pluralign.metrics import Estimate, over_seeds, worst_decile
from pluralign.streams import Streams

MIXTURES = 400
LOST = 0.2  # regret of a camp, served by its own taste, above which the report says what is lacking
FILM = "The same first state for all. A voice's policy is the personalised one, told to serve this voice."
PAIRS = (
    "Pairs were chosen before anybody answered: those that together tell most about any taste; predictions are judged by "
    "random pairs."
)
STYLE = {"pooled": ("-", "s"), "welfare": ("--", "D"), "personalised": (":", "*")}  # line, mark


def read(folder: str | Path, seeds: Sequence[int] | None = None) -> dict[str, Any]:
    """What a finished run holds: its config, and of every seed, or of those given, the results of its stages."""
    folder = Path(folder)
    config = read_config(folder)
    wanted = range(config["seed"], config["seed"] + config["seeds"]) if seeds is None else seeds
    at = lambda name, seed: json.loads(
        (folder / "stages" / f"{name}-{seed}" / "result.json").read_text("utf-8")
    )
    names = ("shown", "belief", "camps", "voices", "pooled", "welfare", "personal", "judged")
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return {
        "config": config,
        "seeds": list(wanted),
        **{name: [at(name, seed) for seed in wanted] for name in names},
        "rows": [json.loads(line) for line in lines],
        "versions": (folder / "versions.txt").read_text("utf-8"),
    }


def own_camps(told: dict[str, Any]) -> list[Tensor]:
    """(R,) of every seed: regret of everybody under what was trained for their own true camp alone."""
    found = []
    for seed, judged in enumerate(told["judged"]):
        group = torch.tensor(judged["group"])
        present = group.unique()  # nothing was trained for a camp with nobody in it
        each = torch.stack([regrets(told, f"camp {place}")[seed] for place in range(len(present))])
        found.append(each[torch.searchsorted(present, group), torch.arange(len(group))])
    return found


def against_own(told: dict[str, Any]) -> list[Tensor]:
    """(R,) of every seed: regret when served by the own taste, where 0 is the policy of the own true camp."""
    return [by_person(judged["against own camp"]) for judged in told["judged"]]


def shown_policies(told: dict[str, Any]) -> dict[str, str]:
    """The policies that are compared, and what to call them."""
    welfare = told["config"]["welfare"]
    return {
        "pooled": "one for the average",
        welfare: f"{welfare} lottery",
        "personalised": "everybody's own",
    }


def regrets(told: dict[str, Any], policy: str) -> list[Tensor]:
    """(R,) of every seed, NaN for people with nothing to gain."""
    return [by_person(judged["regret"][policy]) for judged in told["judged"]]


def estimate(told: dict[str, Any], policy: str, statistic: str) -> Estimate:
    """A summary of people's regrets, over seeds and people."""
    return over_people(regrets(told, policy), statistic)


def over_people(rows: list[Tensor], statistic: str) -> Estimate:
    """A summary of one number a person in every seed: the mean over seeds, seeds and people drawn again."""
    return over_seeds(rows, SUMMARIES[statistic])


def camp_mean(told: dict[str, Any], policy: str, camp: int) -> Estimate:
    """Mean regret of a camp; as above."""
    return over_seeds(of_camp(told, policy, camp))


def of_camp(told: dict[str, Any], policy: str, camp: int) -> list[Tensor]:
    """Regrets of a camp's people in every seed."""
    pairs = zip(regrets(told, policy), told["judged"], strict=True)
    return [row[torch.tensor(judged["group"]) == camp] for row, judged in pairs]


def camps(told: dict[str, Any]) -> list[int]:
    """The camps there are; none where everybody has a taste of their own."""
    return sorted(set(told["judged"][0]["group"] or []))


def screen(folder: str | Path) -> str:
    """One screen: regrets of every policy."""
    told = read(folder)
    lines = ["", f"{'regret, 0 own best, 1 random':30}{'middle half of people':>28}{'worst tenth':>24}"]
    for policy, words in shown_policies(told).items():
        cells = [estimate(told, policy, s) for s in ("interquartile mean", "worst decile")]
        text = [f"{x.value:z.3f} [{x.low:z.3f}, {x.high:z.3f}]" for x in cells]
        lines.append(f"{words:30}{text[0]:>28}{text[1]:>24}")
    return "\n".join([*lines, "", f"report: {Path(folder) / 'report.html'}", ""])


def write_report(folder: str | Path, paper: Path | None = None) -> Path:
    """Write report.html of a finished run."""
    told, folder = read(folder), Path(folder)
    config = told["config"]
    welfare = config["welfare"]
    report = Report(
        f"{config['world'].capitalize()}: {Path(config['population']).stem.replace('-', ' ')}",
        f"{config['people']} people, each of whom compared {config['asked']} pairs of pieces of trajectory; "
        f"{len(told['seeds'])} {'seed' if len(told['seeds']) == 1 else 'seeds'}.",
    )
    worst = {p: estimate(told, p, "worst decile").value for p in shown_policies(told)}
    middle = estimate(told, "personalised", "interquartile mean").value
    report.verdict(
        f"Of what they could have, the worst-off tenth loses {_part(worst['pooled'])} to the average, "
        f"{_part(worst[welfare])} to the {welfare} lottery and {_part(worst['personalised'])} when served by their own taste.",
        [
            "Regret is 0 where a person gets as much, by their true taste, as from the best policy known for them, and "
            f"1 where random actions would bring as much. Served by their own taste, the middle half of people lose {_part(middle)}."
        ],
        _cautions(told),
    )
    report.section("What it looks like", *film(folder, config["world"], FILM))
    report.section(
        "Who is left behind",
        figure(
            _sorted(told),
            "One line per policy: people from the happiest to the unhappiest under it, by their true taste; "
            "dots are coloured by true camp. First seed."
            if camps(told)
            else "One line per policy: people from the happiest to the unhappiest under it. First seed.",
        ),
        _table(told),
    )
    report.section(
        "What could be had",
        figure(
            _frontier(told),
            "Every policy by the mean over people and by its worst-off tenth, 1 for everybody's own best policy. Small "
            "dots are lotteries over the policies of single camps and voices. First seed.",
        ),
    )
    report.section("What was heard", *_heard(told))
    report.section(
        "Learning curves",
        figure(
            _curves(told),
            "What a step pays while a policy trains, in utils of whom it trains for; the personalised one counts every taste "
            "in units of its own spread. First seed.",
        ),
    )
    report.section("What was run", *_run(told))
    return report.write(folder / "report.html", paper)


def _part(x: float) -> str:
    return f"{max(x, 0):.0%}"


def _cautions(told: dict[str, Any]) -> list[str]:
    out = cautions(told["config"], len(told["seeds"]))
    none = sum(int(row.isnan().sum()) for row in regrets(told, "pooled"))
    if none:
        out.append(f"{none} people gain nothing from any policy that was found, and are left out.")
    lost = sum(judged["lost"] for judged in told["judged"])
    if lost:
        out.append(f"The simulation became unstable in {lost} judged episodes, which were ended there.")
    out += lacking(told)
    notes = [
        n
        for name in ("shown", "camps", "voices", "pooled", "welfare", "personal")
        for t in told[name]
        for n in t.get("notes", ())
    ]
    return [*out, *dict.fromkeys(notes)]


def lacking(told: dict[str, Any]) -> list[str]:
    """A sentence for each camp that loses much when served by its own taste: whether answers or training are lacking.

    The policy that was trained for the nearest voice alone tells: if it is little better, people were not understood; if
    it serves them well, the network for all tastes is at fault; if their own true camp's policy fails too, training is.
    """
    config, out = told["config"], list[str]()
    for camp in camps(told) if "own voice" in told["judged"][0]["regret"] else []:
        lost = camp_mean(told, "personalised", camp).value
        if not lost > LOST:
            continue
        heard, own = (camp_mean(told, name, camp).value for name in ("own voice", f"camp {camp}"))
        words = f"Camp {camp} loses {_part(lost)} when served by its own taste"
        if own > lost / 2:
            out.append(
                f"{words}, and {_part(own)} under a policy trained for its true taste: training is too short (--training)."
            )
        elif heard > lost / 2:
            voices = min(found["count"] for found in told["voices"])
            few = (
                f", who sound like {voices} of {len(camps(told))} camps," if voices < len(camps(told)) else ""
            )
            out.append(
                f"{words}, and {_part(own)} under a policy trained for its true taste: {config['asked']} answers of each of "
                f"{config['people']} people{few} do not tell its taste well enough; ask more (--asked, --people)."
            )
        else:
            out.append(
                f"{words}, and {_part(heard)} under a policy trained for its voice alone: the one policy for all tastes is "
                "trained too little (--training)."
            )
    return out


def _style(policy: str) -> tuple[str, str]:
    return STYLE.get(policy, STYLE["welfare"])


def _camp_colour(camp: int) -> str:
    return COLOURS[camp % len(COLOURS)]


def _sorted(told: dict[str, Any]) -> Any:
    drawing, ax = canvas(9.5, 4.0)
    group = told["judged"][0]["group"]
    for policy, words in shown_policies(told).items():
        row = regrets(told, policy)[0].numpy()
        order = np.argsort(row)
        order = order[~np.isnan(row[order])]
        ax.plot(
            range(len(order)), row[order], _style(policy)[0], color=INK, linewidth=1.2, label=words, zorder=2
        )
        dots = COLOURS[0] if group is None else [_camp_colour(group[r]) for r in order]
        ax.scatter(range(len(order)), row[order], 16, c=dots, zorder=3, edgecolors="none")
    for camp in camps(told):
        ax.scatter([], [], 20, color=_camp_colour(camp), label=_camp_name(told, camp))
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    ax.annotate("as random actions", (0, 1), va="bottom", fontsize=8, color=INK)
    ax.set_xlabel("people, each line in its own order")
    ax.set_ylabel("regret")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return drawing


def _camp_name(told: dict[str, Any], camp: int) -> str:
    judged = told["judged"][0]
    taste = np.asarray(judged["taste"])[np.asarray(judged["group"]) == camp].mean(0)
    return f"camp {camp}: {told_taste(taste, told['shown'][0]['names'])}"


def told_taste(taste: np.ndarray, names: list[str]) -> str:
    """The largest parts of a taste in words, in units of the typical difference: "speed +2.0, power -.5"."""
    order = np.argsort(-np.abs(taste))[:2]
    large = [n for n in order if np.abs(taste[n]) > 0.3 * np.abs(taste).max()]
    return ", ".join(f"{names[n]} {taste[n]:+z.1f}" for n in large) or "indifferent"


def _frontier(told: dict[str, Any]) -> Any:
    drawing, ax = canvas(7.5, 4.6)
    judged = told["judged"][0]
    rows = {name: by_person(row).numpy() for name, row in judged["regret"].items()}
    kept = ~np.isnan(rows["pooled"])
    gain = {name: torch.from_numpy(1 - row[kept]) for name, row in rows.items()}
    corners = torch.stack([g for name, g in gain.items() if name.split()[0] in ("camp", "voice", "personal")])
    generator = Streams.of(0)("mixtures")
    weight = -torch.rand(MIXTURES, len(corners), generator=generator, dtype=torch.float64).log()
    # Half of the lotteries are between two policies alone: there the edge runs.
    pair = torch.rand(MIXTURES // 2, len(corners), generator=generator).argsort(1)[:, 2:]
    weight[: MIXTURES // 2].scatter_(1, pair, 0.0)
    mixed = (weight / weight.sum(1, keepdim=True)) @ corners
    at: Callable[[Tensor], tuple[Any, Any]] = lambda x: (x.mean(-1), worst_decile(x))
    ax.scatter(*at(mixed), 7, color=GREY, alpha=0.6, linewidths=0, label="lotteries over these")
    ax.scatter(*at(corners), 30, facecolors="none", edgecolors=INK, label="for one camp or voice")
    for policy, words in shown_policies(told).items():
        ax.scatter(*at(gain[policy]), 90, marker=_style(policy)[1], color="#0b6e4f", label=words, zorder=4)
    ax.scatter([1], [1], 60, marker="+", color=INK)
    ax.annotate(
        "all have their best", (1, 1), (-9, 4), textcoords="offset points", ha="right", fontsize=8, color=INK
    )
    ax.set_xlabel("mean over people")
    ax.set_ylabel("the worst-off tenth")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return drawing


def _curves(told: dict[str, Any]) -> Any:
    drawing, axes = canvas(10.5, 3.2, columns=3)
    seed = told["seeds"][0]
    rows = [r for r in told["rows"] if r["name"] == "reward while training" and r["seed"] == seed]
    kinds = {"camp": "each camp's own", "voice": "each voice's own", "": "for all"}
    for ax, (kind, words) in zip(axes, kinds.items()):
        groups = dict.fromkeys(r["group"] for r in rows)
        mine = [g for g in groups if (g.split()[0] == kind if kind else g.split()[0] not in kinds)]
        for number, group in enumerate(mine):
            curve = np.array([(r["step"], r["value"]) for r in rows if r["group"] == group], dtype=float)
            ax.plot(curve[:, 0] / 1000, curve[:, 1], color=_camp_colour(number), linewidth=1.3, label=group)
        titled(ax, words)
        ax.set_xlabel("thousand steps")
        if mine:
            ax.legend(frameon=False, fontsize=7)
    axes[0].set_ylabel("utils per step")
    return drawing


def _table(told: dict[str, Any]) -> str:
    words = shown_policies(told)
    head = ["policy", "middle half", "worst tenth", *(f"camp {c}" for c in camps(told))]
    rows = []
    for policy, name in words.items():
        cells: list[str] = [name]
        found = [estimate(told, policy, s) for s in ("interquartile mean", "worst decile")]
        found += [camp_mean(told, policy, c) for c in camps(told)]
        cells += [
            cell(f"{x.value:z.3f}", small=f"{x.low:z.3f} to {x.high:z.3f}", sort=x.value) for x in found
        ]
        rows.append(cells)
    if camps(told):
        own = [over_people(own_camps(told), s) for s in ("interquartile mean", "worst decile")]
        cells = [cell(f"{x.value:z.3f}", small=f"{x.low:z.3f} to {x.high:z.3f}", sort=x.value) for x in own]
        rows.append(["trained for the own true camp alone", *cells, *("" for _ in camps(told))])
        mine = [over_people(against_own(told), s) for s in ("interquartile mean", "worst decile")]
        cells = [cell(f"{x.value:z.3f}", small=f"{x.low:z.3f} to {x.high:z.3f}", sort=x.value) for x in mine]
        rows.append(
            ["everybody's own, if 0 is the own true camp's policy", *cells, *("" for _ in camps(told))]
        )
    over = "over seeds and people" if len(told["seeds"]) > 1 else "over people"
    return table(head, rows, caption=f"Regret, with 95 % intervals {over}.", strong=(2,))


def _heard(told: dict[str, Any]) -> list[str]:
    names, judged = told["shown"][0]["names"], told["judged"][0]
    rows = []
    voices = np.asarray(judged["voices"])
    share = told["voices"][0]["weight"]
    for camp in camps(told):
        at = np.asarray(judged["group"]) == camp
        taste = np.asarray(judged["taste"])[at].mean(0)
        rows.append([f"true camp {camp}", f"{at.mean():.0%}", *(f"{x:+z.2f}" for x in taste)])
    for g, taste in enumerate(voices):
        rows.append([f"voice {g}", f"{share[g]:.0%}", *(f"{x:+z.2f}" for x in taste)])
    loss = {
        name: "{:z.3f} ({:z.3f} to {:z.3f})".format(*told["belief"][0][name]["log loss"])
        for name in ("pooled", "model", "truth")
    }
    return [
        table(
            ["who", "people", *names],
            rows,
            strong=range(len(camps(told))),
            caption="Utils for a typical difference between two segments in each factor. Voices were found from answers alone.",
        ),
        f"Log loss of answers not fitted, in nats, with 95 % intervals over people: {loss['pooled']} with one taste for all, "
        f"{loss['model']} with {told['config']['model']}, {loss['truth']} for whoever knows all tastes. First seed.",
    ]


def _run(told: dict[str, Any]) -> list[str]:
    return how_it_was_run(
        told,
        [
            "Two fifths of what people compared came from random behaviour, the rest from four half-trained policies.",
            *([PAIRS] if told["config"].get("questions") == "designed" else []),
            "Factors were put on one scale by how much they differ between two segments.",
            "Policies were trained by PPO and judged on fresh episodes, all from the same first states; the best policy "
            "known for a person is the best of all that were trained, by their true taste.",
            "The network that serves everybody by their taste goes on from the voices' own policies, so that it has seen "
            "more steps than a policy trained for one camp alone, and may be the best known itself.",
        ],
    )
