"""A policy from a folder of answers about segments, directly or by offline learners; judged in a world if one is given."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.data.reading import read_folder
from pluralign.lab.beds import world_named
from pluralign.lab.episodes import read_minari
from pluralign.lab.fitting import _training
from pluralign.lab.leaderboard import fingerprint
from pluralign.lab.naming import model_named, official
from pluralign.lab.report import Report, pairs, table
from pluralign.lab.run import Run, Stage, read_config
from pluralign.lab.what_ran import settings_and_versions
from pluralign.policies.direct import TRAINERS, Direct, Served, trainer
from pluralign.policies.learner import Learner, Policy
from pluralign.policies.learners.cloning import BC
from pluralign.policies.learners.episodes import RandomPolicy
from pluralign.policies.learners.iql import IQL
from pluralign.policies.lottery import Lottery
from pluralign.policies.personalised import Personalised
from pluralign.policies.registry import optimiser
from pluralign.population.belief import Belief
from pluralign.population.pooled import Pooled
from pluralign.population.voices import Voices

OFFLINE: dict[str, type[IQL] | type[BC]] = {"iql": IQL, "bc": BC}
MOST = 4  # people shown, where tastes are continuous


def optimise(
    method: str,
    folder: str | Path,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    env: str | None = None,
    population: str | None = None,
    welfare: str | None = None,
    episodes: int = 64,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Learn a policy from the training answers of a folder (all, where it has no split) and save it in `out`/policy.

    Direct methods learn no reward. The offline learners first fit a population, save it in `out`/model, and learn from
    the folder's whole episodes where it has them (`episodes/`), else from its segments.

    Args:
        method: one of `pluralign.policies.direct.TRAINERS`, or of OFFLINE.
        folder: of answers about segments with observations and actions, as `pluralign simulate WORLD` writes them.
        out: the run folder.
        settings: fields of `Direct`, `Implied`, `Hindsight`, `IQL` or `BC`.
        env: an id or short name of a world: its range of actions is used, and policies are played and judged there by what
            answers say of its factors, beside imitation and random actions.
        population: a name of `pluralign list populations`, for a policy that is told whom it serves; None: one for all.
        welfare: a name of `pluralign list welfare`: one lottery for the voices of `population` (camps by default), by an
            offline learner; the world tells what its policies bring.
        episodes: to judge by.
        seed: of everything.
        overwrite: put away another run.

    Raises:
        ValueError: the options are no such segments, or a name is unknown.
    """
    settings = dict(settings or {})
    if method not in TRAINERS and method not in OFFLINE:
        raise ValueError(f"`method` must be one of {', '.join((*TRAINERS, *OFFLINE))}, got {method!r}.")
    world = None if env is None else world_named(env)
    if welfare is not None:
        optimiser(welfare)
        if method not in OFFLINE or world is None:
            raise ValueError("`welfare` needs returns: take iql or bc, and name a world with `--env`.")
        population = population or "camps"
    people = None if population is None else official(population)
    learner = None if method in OFFLINE else trainer(method, **settings)
    source = read_folder(folder)
    data, held = _training(source)
    shown = data.options
    if learner is None:
        if (Path(folder) / "episodes").is_dir():
            shown = read_minari(Path(folder) / "episodes").segments()
        if not isinstance(shown, Segments) or shown.observation is None or shown.action is None:
            raise ValueError(
                f"{method} needs Segments with observations and actions; `pluralign simulate WORLD` makes them."
            )
        OFFLINE[method](shown, **settings)  # says what is wrong with settings before a run begins
    config = {
        "command": "optimise",
        "method": method,
        "folder": str(Path(folder).resolve()),
        "settings": settings,
        "env": world,
        "population": people,
        "welfare": welfare,
        "episodes": episodes,
        "seed": seed,
        "fingerprint": fingerprint(folder),
    }
    run = Run.open(out, config, overwrite)

    def work(stage: Stage) -> dict[str, Any]:
        start = time.perf_counter()
        limits: dict[str, Any] = {}
        if world is not None:
            limits = dict(zip(("actions", "low", "high"), actions_of(world), strict=True))
        belief = None if people is None else model_named(people).fit(data, seed, held=held)
        diagnostics: Mapping[str, Any] = {}
        if learner is not None:
            served = learner.fit(data, belief, seed, **limits)
            _keep(served, run.folder / "policy")
            policies, diagnostics = _policies(served), served.diagnostics
        else:
            belief = Pooled().fit(data, seed, held=held) if belief is None else belief
            _keep(belief, run.folder / "model")
            simulator = None if world is None else _simulator(world, episodes)
            assert isinstance(shown, Segments)
            known = OFFLINE[method](shown, simulator, actions=limits.get("actions", 0), **settings)
            made, policies = _offline(known, belief, people is not None, welfare, seed)
            _keep(made, run.folder / "policy")
        facts: dict[str, Any] = {
            "seconds": time.perf_counter() - start,
            "answers": len(data),
            "raters": int((data.counts > 0).sum()),
            "diagnostics": dict(diagnostics),
        }
        for name, value in diagnostics.items():
            stage.record(name, value, group=method, seed=seed)
        if world is not None:
            judge = Pooled().fit(data, seed, held=held) if belief is None else belief
            copying = replace(learner, updates=0) if isinstance(learner, Direct) else Direct("pro", updates=0)
            policies |= {"imitation": copying.fit(data, None, seed, **limits).policy}
            judging = _simulator(world, episodes)
            facts |= _judged(
                stage, {**policies, "random": judging.random()}, judging, judge.voices(seed=seed), seed
            )
        return facts

    try:
        run.stage("optimise", work)
    except Exception:
        run.forget()
        raise
    run.finish()
    write_report(run.folder)
    return run.folder


def _keep(made: Any, folder: Path) -> None:
    """Save it in place of what a run that was stopped had left there."""
    shutil.rmtree(folder, ignore_errors=True)
    made.save(folder)


def _simulator(world: str, episodes: int) -> Any:
    from pluralign.policies.learners.ppo import PPO

    return PPO(world, episodes=episodes)


def _judged(
    stage: Stage, policies: Mapping[str, Any], judging: Learner, voices: Voices, seed: int
) -> dict[str, Any]:
    """What each policy brings every voice, with a standard error over episodes."""
    returns = {}
    for name, policy in policies.items():
        lottery = policy if isinstance(policy, Lottery) else Lottery((policy,), torch.ones(1))
        found = lottery.returns(judging, voices, seed=seed)
        mean, error = found.mean(0).tolist(), (found.std(0) / len(found) ** 0.5).tolist()
        returns[name] = list(zip(mean, error, strict=True))
        for voice, value, off in zip(voices.names, mean, error, strict=True):
            stage.record(f"return to {voice}", value, group=name, seed=seed, standard_error=off)
    return {"voices": list(voices.names), "returns": returns}


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


def _offline(
    learner: IQL | BC, belief: Belief, told: bool, welfare: str | None, seed: int
) -> tuple[Any, dict[str, Any]]:
    """What was asked for, trained, and the policies in it that are to be judged, by name."""
    voices = belief.voices(seed=seed)
    if welfare is not None:
        lottery = optimiser(welfare).optimise(learner, voices, seed=seed)
        return lottery, {welfare: lottery}
    if not told:
        policy = learner.improve(voices, voices.weight, seed=seed)
        return policy, {"everybody": policy}
    # These learners have no use for a policy to begin with, so none is trained for that.
    nobody = RandomPolicy(torch.zeros(1), torch.zeros(1))
    personal = Personalised().optimise(learner, belief, seed=seed, start=nobody)
    served = zip(voices.z, voices.weight.tolist(), strict=True)
    return personal, {f"camp {g}: {share:.0%}": personal.of(z) for g, (z, share) in enumerate(served)}


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


def write_report(run: str | Path, paper: Path | None = None) -> Path:
    """report.html of a method, from the tables of the run."""
    run = Path(run)
    config = read_config(run)
    facts = json.loads((run / "stages" / "optimise" / "result.json").read_text("utf-8"))
    served = "one policy for all" if config["population"] is None else f"told apart by {config['population']}"
    if config.get("welfare") is not None:
        served = f"one lottery for all, {config['welfare']} over the voices of {config['population']}"
    report = Report(
        f"{config['method']} on {Path(config['folder']).name}",
        f"{facts['answers']:,} answers of {facts['raters']:,} raters, {served}, {facts['seconds']:.1f} seconds.",
    )
    found = facts.get("returns", {})
    said = [
        "A reward was learned from the answers, and a policy from recorded steps alone; no simulator was used to train."
        if config["method"] in OFFLINE and config.get("welfare") is None
        else "A reward was learned from the answers, and policies from recorded steps; the world told what these bring."
        if config["method"] in OFFLINE
        else "No reward was learned to train this policy; answers about segments are all it saw."
    ]
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
        settings_and_versions(run),
    )
    return report.write(run / "report.html", paper)
