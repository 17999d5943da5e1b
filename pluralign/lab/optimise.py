"""A policy straight from a folder of answers about segments, judged in a world where one is given."""

import dataclasses
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pluralign.data.reading import read_folder
from pluralign.lab.beds import world_named
from pluralign.lab.fitting import _training
from pluralign.lab.leaderboard import fingerprint
from pluralign.lab.naming import model_named, official
from pluralign.lab.report import Report, code, folded, pairs, table
from pluralign.lab.run import Run, read_config
from pluralign.policies.direct import Direct, Served
from pluralign.policies.learner import Policy
from pluralign.population.pooled import Pooled

MOST = 4  # people shown, where tastes are continuous


def optimise(
    method: str,
    folder: str | Path,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    env: str | None = None,
    population: str | None = None,
    episodes: int = 64,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Learn a policy from the training answers of a folder (all, where it has no split) and save it in `out`/policy.

    Args:
        method: one of `pluralign.policies.direct.METHODS`.
        folder: of answers about segments with observations and actions, as `pluralign simulate WORLD` writes them.
        out: the run folder.
        settings: fields of `Direct`.
        env: an id or short name of a world: its range of actions is used, and policies are played and judged there by what
            answers say of its factors, beside imitation and random actions.
        population: a name of `pluralign list populations`, for a policy that is told whom it serves; None: one for all.
        episodes: to judge by.
        seed: of everything.
        overwrite: put away another run.

    Raises:
        ValueError: the options are no such segments, or a name is unknown.
    """
    learner = Direct(method, **dict(settings or {}))
    world = None if env is None else world_named(env)
    people = None if population is None else official(population)
    source = read_folder(folder)
    data, held = _training(source)
    config = {
        "command": "optimise",
        "method": method,
        "folder": str(Path(folder).resolve()),
        "settings": dict(settings or {}),
        "env": world,
        "population": people,
        "episodes": episodes,
        "seed": seed,
        "fingerprint": fingerprint(folder),
    }
    run = Run.open(out, config, overwrite)

    def work(stage: Any) -> dict[str, Any]:
        start = time.perf_counter()
        actions, low, high = (None, None, None) if world is None else actions_of(world)
        belief = None if people is None else model_named(people).fit(data, seed, held=held)
        served = learner.fit(data, belief, seed, actions=actions, low=low, high=high)
        shutil.rmtree(run.folder / "policy", ignore_errors=True)
        served.save(run.folder / "policy")
        facts: dict[str, Any] = {
            "seconds": time.perf_counter() - start,
            "answers": len(data),
            "raters": int((data.counts > 0).sum()),
            "diagnostics": dict(served.diagnostics),
        }
        for name, value in served.diagnostics.items():
            stage.record(name, value, group=method, seed=seed)
        if world is None:
            return facts
        copied = dataclasses.replace(learner, updates=0).fit(
            data, None, seed, actions=actions, low=low, high=high
        )
        judge = belief if belief is not None else Pooled().fit(data, seed, held=held)
        voices = judge.voices(seed=seed)
        facts["voices"], facts["returns"] = list(voices.names), {}
        from pluralign.policies.learners.ppo import PPO

        simulator = PPO(world, episodes=episodes)
        for name, policy in {
            **_policies(served),
            "imitation": copied.policy,
            "random": simulator.random(),
        }.items():
            found = simulator.returns(policy, voices, seed=seed)
            mean, error = found.mean(0).tolist(), (found.std(0) / len(found) ** 0.5).tolist()
            facts["returns"][name] = list(zip(mean, error, strict=True))
            for voice, value, off in zip(voices.names, mean, error, strict=True):
                stage.record(f"return to {voice}", value, group=name, seed=seed, standard_error=off)
        return facts

    try:
        run.stage("optimise", work)
    except Exception:
        run.forget()
        raise
    run.finish()
    write_report(run.folder)
    return run.folder


def actions_of(world: str) -> tuple[int, Tensor | None, Tensor | None]:
    """How many actions there are to choose from, or 0 and the range of each number of an action."""
    from pluralign.policies.learners.batch import made

    env = made(world, 1)
    try:
        space = env.single_action_space
        if hasattr(space, "n"):
            return int(space.n), None, None
        return 0, torch.as_tensor(space.low).float(), torch.as_tensor(space.high).float()
    finally:
        env.close()


def _policies(served: Served) -> dict[str, Policy]:
    if served.shared or not hasattr(served.policy, "of"):
        lottery = served.lottery()
        if len(lottery) == 1:
            return {"everybody": lottery.policies[0]}
        shares = lottery.chance.tolist()
        return {
            f"camp {g}: {share:.0%}": policy
            for g, (policy, share) in enumerate(zip(lottery.policies, shares, strict=True))
        }
    return {f"rater {name}": served.of(name) for name in served.rater_ids[:MOST]}


def write_report(run: str | Path) -> Path:
    """report.html of a direct method, from the tables of the run."""
    run = Path(run)
    config = read_config(run)
    facts = json.loads((run / "stages" / "optimise" / "result.json").read_text("utf-8"))
    served = "one policy for all" if config["population"] is None else f"told apart by {config['population']}"
    report = Report(
        f"{config['method']} on {Path(config['folder']).name}",
        f"{facts['answers']:,} answers of {facts['raters']:,} raters, {served}, {facts['seconds']:.1f} seconds.",
    )
    found = facts.get("returns", {})
    said = ["No reward was learned to train this policy; answers about segments are all it saw."]
    if found:
        mine = [name for name in found if name not in ("imitation", "random")]
        ahead = sum(
            max(found[name][g][0] for name in mine) > found["imitation"][g][0]
            for g in range(len(facts["voices"]))
        )
        said.append(
            f"It does better than imitation for {ahead} of {len(facts['voices'])} voices, by what answers say of the "
            "world's factors."
        )
    report.verdict("A policy from answers alone", said)
    if found:
        head = ["return to", *facts["voices"]]
        rows = [[name, *(f"{mean:.3g} ± {error:.2g}" for mean, error in row)] for name, row in found.items()]
        report.section(
            f"Played in {config['env']}",
            table(head, rows, caption="Discounted return in utils, mean and standard error over episodes."),
        )
    if facts["diagnostics"]:
        report.section(
            "What training did",
            pairs([(k.replace("_", " "), f"{v:.3g}") for k, v in facts["diagnostics"].items()]),
        )
    report.section(
        "What was run",
        folded(
            "Settings and versions",
            code(json.dumps(config, indent=1)),
            code((run / "versions.txt").read_text("utf-8")),
        ),
    )
    return report.write(run / "report.html")
