"""What the populations must show, measured: `python benchmarks/populations [part ...]`.

planted      every planted population, every member, beside the Bayes ceiling of the same seed
amortised    variational and in-context predictions beside Hamiltonian Monte Carlo on normal raters
calibration  simulation-based calibration of the hierarchical model
limit        what could be known at best of people who never err, told more than answers say
speed        camps, Bradley-Terry, low rank and variational training beside their anchors; cost by number of answers

Each part writes benchmarks/results/populations-<part>.json. The planted bench is looked for in $PLURALIGN_SHARED, by
default ../shared beside the checkout. Everything runs on one thread; seconds are of the processor.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))


def main() -> None:
    """Run the parts that are named, or all."""
    import shutil

    import torch
    from amortised import amortised
    from calibration import calibration
    from limit import limit
    from planted import HERE, RUNS, planted
    from speed import speed

    torch.set_num_threads(1)
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("parts", nargs="*", help="by default all")
    words.add_argument("--seeds", type=int, default=5)
    words.add_argument("--only", default="", help="planted populations, with commas")
    words.add_argument("--members", default="", help="members, with commas; pooled is always among them")
    words.add_argument("--fresh", action="store_true", help="forget the fits that are kept")
    given = words.parse_args()
    if given.fresh:
        shutil.rmtree(RUNS, ignore_errors=True)
    pick = lambda text: [x for x in text.split(",") if x]
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "planted": lambda: planted(given.seeds, pick(given.only), pick(given.members)),
        "amortised": lambda: amortised(given.seeds),
        "calibration": lambda: calibration(given.seeds),
        "limit": lambda: limit(given.seeds, pick(given.only)),
        "speed": speed,
    }
    for name in given.parts or parts:
        if name not in parts:
            raise SystemExit(f"there is no part {name!r}; there are {', '.join(parts)}")
        found = parts[name]()
        path = HERE / "results" / f"populations-{name}.json"
        if name == "planted" and path.is_file():  # rows measured now replace their like, others stay
            new = {(row["population"], row["raters"]) for row in found["rows"]}
            kept = [
                r for r in json.loads(path.read_text())["rows"] if (r["population"], r["raters"]) not in new
            ]
            found["rows"] = kept + found["rows"]
        if name == "limit" and path.is_file():
            found = json.loads(path.read_text()) | found
        path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
