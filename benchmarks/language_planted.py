"""Planted texts: strangers after 8 answers, where an official language head of one latent per person reaches .77.

The populations are those of the planted bench (`populations/planted.py`): embeddings of width 768 and people of four kinds, or
each a mix of four tastes; 1,600 strangers in each of five seeds. Fits are kept in results/runs/language_planted.
"""

import dataclasses
import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RUNS = HERE / "results" / "runs" / "language_planted"
ANSWERS = 8
BARS = {"text_four_types": ("camps", 0.95, 0.77), "text_continuous": ("prototypes", 0.89, 0.77)}


def strangers(name: str, member: str, seed: int) -> dict[str, Any]:
    """Accuracy of each stranger after 8 answers, and what a perfect reasoner reaches."""
    path = RUNS / f"{name}-{seed}.json"
    if path.is_file():
        return json.loads(path.read_text())
    from populations.planted import source, world

    from pluralign.lab.protocol import judge
    from pluralign.population.registry import MODELS

    begun = time.process_time()
    data, plan = world(name, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        people = judge(
            member, MODELS[member](), data, dataclasses.replace(plan, counts=(ANSWERS,)), seed, samples=10
        ).people
    rows = people[(people.raters == "unseen") & (people.answers == str(ANSWERS))]
    found = {"accuracy": rows.accuracy.tolist(), "seconds": time.process_time() - begun}
    found["bayes"] = source().ceiling(name, seed, ks=(ANSWERS,))[f"Bayes, k {ANSWERS}"]["accuracy"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    return found


def planted(seeds: int = 5) -> dict[str, Any]:
    """Both populations, `seeds` seeds each; Student's 95 % intervals over seeds."""
    import torch

    from pluralign.metrics.estimate import Estimate

    rows = []
    for name, (member, bar, official) in BARS.items():
        runs = [strangers(name, member, seed) for seed in range(seeds)]
        every = [statistics.fmean(run["accuracy"]) for run in runs]
        mean = Estimate.mean(torch.tensor(every))
        rows.append(
            {
                "population": name,
                "head": member,
                "answers": ANSWERS,
                "accuracy": [mean.value, mean.low, mean.high],
                "by_seed": every,
                "strangers": sum(len(run["accuracy"]) for run in runs),
                "bayes": statistics.fmean(run["bayes"] for run in runs),
                "official_head": official,
                "bar": bar,
                "met": statistics.fmean(every) >= bar,
                "seconds": statistics.fmean(run["seconds"] for run in runs),
            }
        )
    return {"seeds": seeds, "rows": rows}
