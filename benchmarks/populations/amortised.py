"""Amortised populations on their own prior, beside Hamiltonian Monte Carlo: accuracy, calibration, seconds.

Normal tastes over four features, 300 raters with 20 answers to learn from; 300 strangers are judged on 40 answers each
after n others.
"""

import time
from typing import Any

import torch

from pluralign.data import Comparisons, Items
from pluralign.metrics.calibration import calibration_error
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.in_context import InContext
from pluralign.population.variational import Variational

MEMBERS = {
    "nuts": Hierarchical(method="nuts", temper=1.0),
    "variational": Variational(),
    "in_context": InContext(),
    "hierarchical": Hierarchical(temper=1.0),
    "laplace": Hierarchical(method="laplace", temper=1.0),
}
ANSWERS = (0, 4, 16, 32)
JUDGED = 40


def people(raters: int, per_rater: int, seed: int, name: str) -> Comparisons:
    """Raters with normal tastes about sixty options that are the same for every name."""
    features = torch.randn(60, 4, generator=torch.Generator().manual_seed(seed)).double()
    draw = torch.Generator().manual_seed(seed + 1 + 1000 * (name == "strangers"))
    spread = torch.tensor([1.5, 1.0, 0.5, 1.0]).double()
    taste = torch.tensor([1.0, 0.0, -0.5, 0.0]).double() + spread * torch.randn(raters, 4, generator=draw)
    rater = torch.arange(raters).repeat_interleave(per_rater)
    slate = torch.randint(60, (len(rater), 2), generator=draw)
    slate[:, 1] = (slate[:, 0] + 1 + slate[:, 1] % 59) % 60
    worth = (features[slate] * taste[rater][:, None]).sum(-1)
    first = torch.rand(len(rater), generator=draw).double() < torch.sigmoid(worth[:, 0] - worth[:, 1])
    label = torch.stack([first, ~first], 1).double()
    ids = tuple(f"{name} {r}" for r in range(raters))
    return Comparisons(Items(features), slate, rater, label, rater_ids=ids)


def amortised(seeds: int) -> dict[str, Any]:
    """One row per seed, member and number of answers."""
    rows = []
    for seed in range(seeds):
        learn, strangers = (
            people(300, 20, seed, "known"),
            people(300, max(ANSWERS) + JUDGED, seed, "strangers"),
        )
        number = torch.arange(len(strangers)) % (max(ANSWERS) + JUDGED)
        judged = strangers.take(number >= max(ANSWERS))
        right = judged.label.argmax(1)
        exact: dict[int, torch.Tensor] = {}
        for name, model in MEMBERS.items():
            begun = time.process_time()
            belief = model.fit(learn, seed=seed)
            seconds = time.process_time() - begun
            for n in ANSWERS:
                share = belief.predict(judged, belief.adapt(strangers.take(number < n)))
                exact.setdefault(n, share)
                hit = (share.argmax(1) == right).double().reshape(-1, JUDGED).mean(1)
                gap = hit - (exact[n].argmax(1) == right).double().reshape(-1, JUDGED).mean(1)
                line = {
                    "seed": seed,
                    "member": name,
                    "answers": n,
                    "accuracy": float(hit.mean()),
                    "standard_error": float(hit.std() / len(hit) ** 0.5),
                    "above_nuts": [float(gap.mean()), float(gap.std() / len(gap) ** 0.5)],
                    "log_loss": float(-(share * judged.label).sum(1).log().mean()),
                    "calibration_error": calibration_error(
                        share, judged.label, rater=judged.rater, bins=10
                    ).value,
                    "from_nuts": float((share - exact[n]).abs().mean()),
                    "seconds": seconds,
                }
                rows.append(line)
                print({k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}, flush=True)
    return {"bars": {"above_nuts": -0.01, "calibration_error": 0.03}, "rows": rows}
