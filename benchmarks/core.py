"""What the core must show, measured: `python benchmarks/core.py` (all), or one of speed, scale, imports, real, maze;
`core.py real SET ...` takes some of the real sets, and keeps what is known of the others.

Each part writes benchmarks/results/core-<part>.json and prints what it measured beside the bar. The planted
populations and the real sets are looked for in $PLURALIGN_SHARED, by default ../shared beside the checkout.
Everything runs on one thread; seconds are of the processor, not of the wall.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("PLURALIGN_SHARED", HERE.parent.parent / "shared"))


def planted(name: str) -> tuple[Any, Any]:
    """Train answers of a planted population, and the arrays it came from."""
    import torch

    from pluralign.data import Comparisons, Items

    sys.path.insert(0, str(SHARED / "bench"))
    import planted as source

    made = source.make(name, seed=0)
    data = Comparisons(
        Items(torch.tensor(made["items"])),
        torch.tensor(made["slate"]).long(),
        torch.tensor(made["rater"]).long(),
        torch.tensor(made["label"]),
    )
    return data.take(torch.tensor(made["role"] == "train")), made


def seconds(work: Callable[[], Any], runs: int = 5) -> tuple[Any, float, float, float]:
    """The result and minimum, median and maximum of processor seconds; one run before is not counted."""
    work()
    spent = []
    for _ in range(runs):
        begun = time.process_time()
        result = work()
        spent.append(time.process_time() - begun)
    spent.sort()
    return result, spent[0], spent[len(spent) // 2], spent[-1]


def speed() -> dict[str, Any]:
    """Bradley-Terry and camps at their anchors."""
    import numpy as np
    import scipy.optimize
    import torch

    from pluralign import Camps, Pooled

    torch.set_num_threads(1)
    data, _ = planted("bt_1000x100k")
    belief, low, mid, high = seconds(lambda: Pooled(ridge=1e-6).fit(data))
    share = belief.predict(data)
    found = {
        "bradley_terry": {
            "log_likelihood": float((data.label * share.log()).sum()),
            "bar": -53973.77,
            "seconds": [low, mid, high],
            "seconds_bar": 0.15,
        }
    }
    first, second, label = (x.numpy() for x in data.as_pairs())

    def peer(theta: Any) -> tuple[float, Any]:
        gap = theta[first] - theta[second]
        value = np.logaddexp(0, gap) - label * gap
        slope = 1 / (1 + np.exp(-gap)) - label
        back = np.bincount(first, slope, 1000) - np.bincount(second, slope, 1000)
        return float(value.sum()), back

    plain = lambda: scipy.optimize.minimize(peer, np.zeros(1000), jac=True, method="L-BFGS-B")
    _, _, peer_mid, _ = seconds(plain)
    found["bradley_terry"]["ratio_to_plain_lbfgs"] = mid / peer_mid
    data, _ = planted("latent_class_2000x20_d16_k3")
    starts = 8
    belief, low, mid, high = seconds(lambda: Camps(groups=3, ridge=1e-6, restarts=starts).fit(data), runs=3)
    found["camps"] = {
        "panel_log_likelihood": belief.diagnostics["panel_log_likelihood"],
        "bar": -18494.83,
        "seconds_per_start": [x / starts for x in (low, mid, high)],
        "seconds_bar": 0.25,
    }
    return found


def scale() -> dict[str, Any]:
    """A million answers from 50,000 raters: read, validated, fitted; in a process of its own, for its memory."""
    script = Path(__file__).resolve()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, str(script), "_million", folder], check=True)
        out = subprocess.run(
            [sys.executable, str(script), "_fit", folder], check=True, capture_output=True, text=True
        )
    return dict(json.loads(out.stdout))


def _million(folder: str) -> None:
    import torch

    from pluralign.data import Comparisons, Items, write

    draw = torch.Generator().manual_seed(0)
    items = Items(torch.randn(2000, 16, generator=draw))
    taste = torch.randn(3, 16, generator=draw) * 0.5
    rater = torch.arange(1_000_000) % 50_000
    slate = torch.randint(2000, (1_000_000, 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % 2000, slate[:, 1])
    worth = items.features @ taste.T
    gap = worth[slate[:, 0], rater % 3] - worth[slate[:, 1], rater % 3]
    share = (torch.rand(len(gap), generator=draw) < torch.sigmoid(gap)).float()
    write(Comparisons.pairs(items, slate[:, 0], slate[:, 1], rater, share), Path(folder) / "data")


def _fit(folder: str) -> None:
    import torch

    from pluralign import Camps, Pooled, read

    torch.set_num_threads(1)
    begun = time.monotonic()
    data = read(Path(folder) / "data")
    spent = {"read": time.monotonic() - begun}
    for name, model in (("pooled", Pooled()), ("camps", Camps(groups=3, ridge=1.0, restarts=2))):
        start = time.monotonic()
        model.fit(data)
        spent[name] = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        json.dumps(
            {"seconds": spent, "total": sum(spent.values()), "bar": 60, "peak_gib": peak, "peak_bar": 4}
        )
    )


def imports() -> dict[str, Any]:
    """`import pluralign` and `pluralign --help`, five times each; and what they load."""
    heavy = ("torch", "pyro", "transformers", "mujoco", "stable_baselines3")
    found: dict[str, Any] = {"bar": 0.5}
    for name, words in {
        "import": ["-c", "import pluralign, sys; print(*sys.modules)"],
        "help": ["-m", "pluralign", "--help"],
    }.items():
        spent = []
        for _ in range(6):
            begun = time.monotonic()
            out = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
            spent.append(time.monotonic() - begun)
        found[name] = sorted(spent[1:])
        if name == "import":
            found["heavy_loaded"] = [m for m in heavy if m in out.stdout.split()]
    return found


# Per answer, accuracy and log loss, as the sets' own notes give them: for pooled, the number of camps nearest to
# what is chosen here, and normal tastes (low rank on texts); then the best of any model there.
BASELINES = {
    "car_choice": {
        "pooled": {"seen all": (0.706, 0.579), "unseen 10": (0.694, 0.580)},
        "camps": {"seen all": (0.729, 0.543), "unseen 10": (0.731, 0.546)},
        "hierarchical": {"seen all": (0.753, 0.507), "unseen 5": (0.731, 0.540), "unseen 10": (0.750, 0.514)},
        "best": {"seen all": (0.753, 0.507), "unseen 10": (0.750, 0.514)},
    },
    "card_choice": {
        "pooled": {"seen all": (0.732, 0.556), "unseen 10": (0.747, 0.533)},
        "camps": {"seen all": (0.777, 0.490), "unseen 10": (0.793, 0.465)},
        "hierarchical": {"seen all": (0.775, 0.508), "unseen 5": (0.771, 0.506), "unseen 10": (0.790, 0.483)},
        "best": {"seen all": (0.777, 0.490), "unseen 10": (0.793, 0.465)},
    },
    "driving_pedestrian": {
        "pooled": {"seen all": (0.560, 0.686), "unseen 0": (0.416, 0.779)},
        "camps": {"seen all": (0.885, 0.381), "unseen 10": (0.894, 0.390)},
        "hierarchical": {"seen all": (0.853, 0.342), "unseen 5": (0.844, 0.415), "unseen 10": (0.869, 0.358)},
        "best": {"seen all": (0.885, 0.316), "unseen 10": (0.894, 0.358)},
    },
    "convincing_args": {
        "pooled": {"seen all": (0.807, 0.425), "unseen 10": (0.791, 0.448)},
        "camps": {"seen all": (0.815, 0.422), "unseen 10": (0.790, 0.448)},
        "hierarchical": {"seen all": (0.818, 0.407), "unseen 10": (0.791, 0.450)},
        "best": {"seen all": (0.821, 0.400), "unseen 10": (0.793, 0.448)},
    },
    "civic_votes": {
        "pooled": {"seen all": (0.741, 0.516), "unseen 10": (0.737, 0.530)},
        "camps": {"seen all": (0.784, 0.448), "unseen 10": (0.769, 0.489)},
        "hierarchical": {"seen all": (0.803, 0.430), "unseen 5": (0.759, 0.505), "unseen 10": (0.762, 0.494)},
        "best": {"seen all": (0.803, 0.430), "unseen 10": (0.770, 0.486)},
    },
}


# What is known of raters there and not made from their answers; one name per column of raters.csv.
COVARIATES = {"car_choice": ("country",), "card_choice": ("age", "income_k", "female")}


def beside(name: str, table: Any, chosen: str) -> list[dict[str, Any]]:
    """Figures of a leaderboard beside the set's own; `errors` is the difference in standard errors, + is better."""
    rows = []
    for member, cells in BASELINES.get(name, {}).items():
        for cell, figures in cells.items():
            raters, answers = cell.split()
            for metric, figure, sign in zip(("accuracy", "log_loss"), figures, (1, -1), strict=True):
                mine = table[
                    (table.population == (chosen if member == "best" else member))
                    & (table.raters == raters)
                    & (table.answers.astype(str) == answers)
                    & (table.metric == f"{metric}_per_answer")
                ]
                if len(mine) != 1:
                    continue
                value, low, high = (float(mine[c].iloc[0]) for c in ("value", "low", "high"))
                error = (high - low) / 3.92
                rows.append(
                    {
                        "set": name,
                        "member": f"chosen ({chosen}) against the best" if member == "best" else member,
                        "cell": cell,
                        "metric": metric,
                        "value": value,
                        "standard_error": error,
                        "baseline": figure,
                        "errors": sign * (value - figure) / error,
                    }
                )
    return rows


def real(*wanted: str) -> dict[str, Any]:
    """The leaderboard on the five real sets; figures beside those of the sets' own baselines are in docs."""
    from pluralign import leaderboard

    found: dict[str, Any] = {}
    path = HERE / "results" / "core-real.json"
    if wanted and path.is_file():
        found = json.loads(path.read_text())
    for folder in sorted(p for p in (SHARED / "data").iterdir() if p.is_dir()):
        if wanted and folder.name not in wanted:
            continue
        out = HERE / "results" / "runs" / folder.name
        begun = time.monotonic()
        board = leaderboard(folder, out, covariates=COVARIATES.get(folder.name, ()))
        print(folder.name)
        print(board, flush=True)
        rows = board.table[board.table.metric.isin(["accuracy", "log_loss", "calibration_error"])]
        found[folder.name] = {
            "seconds": time.monotonic() - begun,
            "beside": beside(folder.name, board.table, board.verdict["chosen"]),
            "verdict": board.verdict,
            "rows": rows[["population", "raters", "answers", "metric", "value", "low", "high"]].to_dict(
                "records"
            ),
        }
    return found


def maze() -> dict[str, Any]:
    """The main job over five seeds."""
    from pluralign.lab.maze import Maze
    from pluralign.lab.maze_report import interval, read

    run = Maze(seeds=5).run(HERE / "results" / "runs" / "maze")
    told = read(run.folder)
    returns = {
        what: [interval(told, what, camp) for camp in range(2)]
        for what in ("random", "pooled", "MaxMin", "personalised")
    }
    at = told["judged"][0]["serving"]["information"]["known"].index(5)
    best = told["twin"]["value"]
    return {
        "returns": returns,
        "each_seed": {w: [j["returns"][w]["mean"] for j in told["judged"]] for w in returns},
        "exact_maxmin": best,
        "tabular_maxmin": [j["tabular"] for j in told["judged"]],
        "maxmin_share_of_exact": [min(j["returns"]["MaxMin"]["mean"]) / best for j in told["judged"]],
        "ari": [b["members"]["camps"]["ari"] for b in told["beliefs"]],
        "newcomer_after_5": [j["serving"]["information"]["curve"][at] for j in told["judged"]],
        "chosen": [b["chosen"] for b in told["beliefs"]],
    }


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "speed": speed,
    "scale": scale,
    "imports": imports,
    "real": real,
    "maze": maze,
}


def main() -> None:
    """Run the parts that are named, or all."""
    words = sys.argv[1:]
    if words[:1] == ["_million"]:
        return _million(words[1])
    if words[:1] == ["_fit"]:
        return _fit(words[1])
    some = words[1:] if words[:1] == ["real"] else []
    for name in words[:1] if some else words or PARTS:
        if name not in PARTS:
            raise SystemExit(f"there is no part {name!r}; there are {', '.join(PARTS)}")
        found = {**PARTS[name](*some), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
        path = HERE / "results" / f"core-{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps({k: v for k, v in found.items() if name != "real"}, indent=1))
    return None


if __name__ == "__main__":
    main()
