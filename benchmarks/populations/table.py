"""The rows of docs/background/planted.md from the results: `python benchmarks/populations/table.py`."""

import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[1] / "results"
LIMITS = {("ideal_points_onehot", "unseen 16"): "unseen, camp known"}  # where the limit has a name of its own


def main() -> None:
    """Print one line for each planted population and kind of raters; what misses its bar is bold."""
    rows = json.loads((RESULTS / "populations-planted.json").read_text())["rows"]
    limits = json.loads((RESULTS / "populations-limit.json").read_text())
    print("| population | raters, answers | seeds | chosen | accuracy | bar | Bayes | limit |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in sorted(rows, key=lambda r: (r["population"], r["raters"])):
        value, low, high = row["accuracy"]
        told = f"{value:.4f}" if row["met"] else f"**{value:.4f}**"
        found = limits.get(row["population"], {})
        found = found.get(LIMITS.get((row["population"], row["raters"]), row["raters"]))
        limit = f"{found['accuracy']:.4f} ± {found['standard_error']:.4f}" if found else ""
        chosen = ", ".join(sorted(set(row["chosen"])))
        print(
            f"| {row['population'].replace('_', ' ')} | {row['raters']} | {row['seeds']} | {chosen} "
            f"| {told} [{low:.4f}, {high:.4f}] | {row['bar']:.4f} | {row['bayes'][0]:.4f} | {limit} |"
        )


if __name__ == "__main__":
    main()
