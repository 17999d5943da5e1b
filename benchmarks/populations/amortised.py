"""Amortised populations on their own prior, beside Hamiltonian Monte Carlo: accuracy, calibration, seconds.

    python benchmarks/populations/amortised.py [--seeds 1]

Normal tastes over four features, 300 raters with 20 answers to learn from; 300 strangers are judged on 40 answers each after
n others. Prints one JSON line per seed and member: accuracy with its standard error over raters, log loss, calibration error
over ten bins of equal mass, mean absolute difference of the predicted chance to that of NUTS, cpu-seconds of the fit.
"""

import argparse
import json
import time

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
    "laplace": Hierarchical(),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=1)
    for seed in range(parser.parse_args().seeds):
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
                loss = -(share * judged.label).sum(1).log().mean()
                line = {
                    "seed": seed,
                    "member": name,
                    "answers": n,
                    "accuracy": float(hit.mean()),
                    "standard_error": float(hit.std() / len(hit) ** 0.5),
                    "log_loss": float(loss),
                    "calibration_error": calibration_error(
                        share, judged.label, rater=judged.rater, bins=10
                    ).value,
                    "from_nuts": float((share - exact[n]).abs().mean()),
                    "seconds": seconds,
                }
                print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}))


if __name__ == "__main__":
    main()
