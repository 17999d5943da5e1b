"""VPL's maze protocol for control (Poddar et al. 2024): people want one of two goals, never err, and are unseen until served.

Each newcomer compares `ANSWERS` pairs of pieces of trajectory; what is then believed of them is told to one policy, which
must take them to their goal. Beside it the same policy that is told their true taste, trained alike on the true camps.
"""

import math
from pathlib import Path
from typing import Any

import torch

from pluralign.lab.beds import bed
from pluralign.lab.maze_people import POOL, TASTES, ask
from pluralign.lab.naming import model_named
from pluralign.lab.run import Run
from pluralign.lab.serving import EACH, served
from pluralign.metrics import Estimate, accuracy, macro
from pluralign.policies import Personalised
from pluralign.rewards import known_voices
from pluralign.streams import Streams

RUNS = Path(__file__).resolve().parents[1] / "runs" / "control"
ANSWERS = (0, 4, 16)
NEAR = math.exp(-((0.25 / 0.75) ** 4))  # closeness to a goal at half a cell


def once(seed: int, training: float, model: str) -> dict[str, float]:
    """Numbers of one seed."""
    streams = Streams(seed)
    said = ask(
        people=200, newcomers=100, share=0.5, asked=16, segments=400, steps=25, rationality=math.inf, lapse=0.0,
        streams=streams.below("people"),
    )  # fmt: skip
    assert said.new.group is not None
    belief = model_named(model).fit(said.train, seed=seed)
    learner = bed("maze").learner(training)
    policy = Personalised().optimise(learner, belief, streams.number("personal"))
    truth = known_voices(list(TASTES.values()), names=tuple(TASTES))
    ideal = Personalised().optimise(learner, truth, streams.number("ideal"))
    place, group = torch.arange(len(said.pool)) % POOL, said.new.group
    told: dict[str, torch.Tensor] = {}
    found: dict[str, float] = {}
    for known in ANSWERS:
        draws = belief.adapt(said.pool.take(place < known))
        right = accuracy(belief.predict(said.fresh, draws), said.fresh.label)
        found[f"fresh pairs, {known} answers"] = macro(right, said.fresh.rater, len(said.new)).value
        told[f"{known} answers"] = draws.mean
    number = streams.number("judge")
    ways = {name: (policy, z) for name, z in told.items()} | {"ideal": (ideal, truth.z[group])}
    for name, (personal, z) in ways.items():
        seen = served(learner, personal, z, number)
        mine = group.repeat_interleave(EACH)
        last = seen.factors[:, -1, :2].double().gather(1, mine[:, None])[:, 0]
        paid = seen.pool(truth.reward(seen.factors), learner.discount).double().gather(1, mine[:, None])[:, 0]
        for g, goal in enumerate(TASTES):
            found[f"success, {goal}, {name}"] = float((last[mine == g] >= NEAR).double().mean())
        found[f"success, {name}"] = float((last >= NEAR).double().mean())
        found[f"return, {name}"] = float(paid.mean())
    few = f"{ANSWERS[-1]} answers"
    found["worse goal"] = min(found[f"success, {goal}, {few}"] for goal in TASTES)
    for what in ("success", "return"):
        found[f"{what}, of the ideal's"] = found[f"{what}, {few}"] / found[f"{what}, ideal"]
    return found


def vpl(world: str, seeds: int, training: float, model: str = "camps") -> dict[str, Any]:
    """Means over seeds, which are kept in runs/control; only the maze has this protocol."""
    if world != "maze":
        raise ValueError(f"VPL's protocol is of the maze, not of {world}; give --only maze.")
    name = f"vpl-{model}-{training:g}"
    run = Run.open(RUNS / name, {"command": name, "training": training, "model": model})
    # No seeds asked for: those that are there.
    which = range(seeds) if seeds else [s for s in range(100) if run.done(f"seed-{s}")]
    rows = [run.stage(f"seed-{s}", lambda stage, seed=s: once(seed, training, model)) for s in which]
    seeds = len(rows)
    if not rows:
        raise FileNotFoundError(f"no seed of {run.folder.name} is finished; leave --gather out to train.")
    found: dict[str, Any] = {"seeds": seeds, "model": model}
    for name in rows[0]:
        value = Estimate.mean(torch.tensor([row[name] for row in rows], dtype=torch.float64))
        found[name] = {
            "value": value.value,
            "standard_error": value.standard_error if seeds > 1 else None,
            "n": seeds,
        }
    return found
