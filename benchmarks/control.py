"""What experiments must show, measured: `python benchmarks/control.py worlds [--only cheetah,ant] [--seeds 1]`.

worlds       two even camps: regret of everybody served by their own taste (middle half and worst tenth of people, 0 own
             best policy, 1 random), and the worst camp of MaxMin beside the best worst camp of any lottery over all
             policies of the run
random       the same when people are asked about random pairs
answers      the same with 160 answers of each person, about random pairs, in place of 40
minority     two camps of ten to one: the minority's regret less that of two even camps
vpl          the maze alone: people who want one of two goals, never seen before their 16 answers; chance that the policy that
             is told what is believed of them gets them there, and the same for one that is told the truth
adversaries  one person in ten wants the opposite: regret of the honest, less that without such people
constrained  shared safety: for each of three camps the reward within a limit on the hazard that all mind, beside that of
             the exact twin's best within the same limit, and the discounted steps on hazardous ground

A part measures the worlds that `--only` names, or all, and merges what it finds by world into
benchmarks/results/control-PART.json. Runs are kept in runs/control, a seed at a time, and go on where they were stopped;
`--gather` trains nothing and reports the seeds that are there. Intervals draw seeds again, and people inside them.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from vpl_maze import vpl

from pluralign.lab.beds import BEDS, bed
from pluralign.lab.experiment import Experiment
from pluralign.lab.experiment_report import against_own, camp_mean, estimate, of_camp, over_people, read
from pluralign.lab.experiment_stages import SUMMARIES
from pluralign.lab.run import Run
from pluralign.metrics import Estimate, over_seeds
from pluralign.policies import Constrained, Tabular
from pluralign.policies.game import best_mix
from pluralign.policies.learner import discounted
from pluralign.rewards import known_voices

HERE = Path(__file__).resolve().parent
RUNS = HERE.parent / "runs" / "control"
MOST = 100  # seeds looked for by --gather


def measured(world: str, seeds: int, training: float, **more: Any) -> dict[str, Any]:
    """The tables of all seeds, which are made where they are not there, or with `seeds` 0 of those that are there.

    Raises:
        FileNotFoundError: no seed is there.
    """
    settings = Experiment(world, seeds=1, training=training, films=False, **more)
    words = [f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in more.items()]
    folder = RUNS / "-".join([world, f"{training:g}", *words])
    config = {"command": "experiment", **asdict(settings)}
    # To gather leaves alone what another process may be in the middle of.
    run = Run.open(folder, config) if seeds else Run(folder, config)
    for seed in range(seeds):
        _lend(RUNS / f"{world}-{training:g}" / "stages" / f"shown-{seed}", run.files(f"shown-{seed}"))
        settings.once(run, seed, lambda words, work: work())
    there = [seed for seed in range(seeds or MOST) if run.done(f"judged-{seed}")]
    if not there:
        raise FileNotFoundError(f"no seed of {run.folder.name} is finished; leave --gather out to train.")
    run.finish()
    return read(run.folder, there)


def _lend(kept: Path, wanted: Path) -> None:
    """What people are shown does not depend on who they are."""
    if kept.is_dir() and not wanted.exists():
        shutil.copytree(kept, wanted)


def numbers(value: Any) -> dict[str, float | None]:
    finite = lambda x: x if math.isfinite(x) else None
    return {
        "value": value.value,
        "standard_error": finite(value.standard_error),
        "low": finite(value.low),
        "high": finite(value.high),
        "n": value.n,
    }


DRAWN = 100  # times that the people of every camp are drawn again, in each seed


def worst_camp(told: dict[str, Any], welfare: str) -> dict[str, Any]:
    """What the worst camp has under the lottery and could have had, 1 its own best; mean over seeds.

    "by truth" is what it could have had from the policies in the lottery, had the camps' tastes been known when their
    chances were chosen: what is lost beyond is lost to what answers did not tell. The interval of the ratio draws seeds
    again, and in them the people of every camp.
    """
    luck = torch.Generator().manual_seed(0)
    again = lambda who: who[torch.randint(len(who), (len(who),), generator=luck)]
    tables = [_by_camp(judged, welfare) for judged in told["judged"]]
    plain = [found(lambda who: who) for found in tables]
    drawn = [[found(again) for _ in range(DRAWN)] for found in tables]
    got, truth, best = np.mean(plain, 0).tolist()
    rng, seeds = np.random.default_rng(0), len(plain)
    which, row = rng.integers(seeds, size=(2000, seeds)), rng.integers(DRAWN, size=(2000, seeds))
    means = np.array(drawn)[which, row].mean(1)  # (2000, 3)
    low, high = np.quantile(means[:, 0] / means[:, 2], [0.025, 0.975])
    ratio = {"ratio": got / best, "low": float(low), "high": float(high), "n": seeds}
    return {"got": got, "by truth": truth, "best": best, **ratio, "each seed": [g / b for g, _, b in plain]}


def _by_camp(judged: dict[str, Any], welfare: str) -> Callable[..., tuple[float, float, float]]:
    """A function of how each camp's people are drawn: what its worst camp got, could have had by truth, and at best."""
    rows = {
        name: torch.tensor([np.nan if x is None else x for x in row]).double()
        for name, row in judged["regret"].items()
        if name not in ("personalised", "own voice")
    }
    parts = [n for n, name in enumerate(rows) if name == welfare or name.startswith(f"{welfare}, part")]
    group = torch.tensor(judged["group"])
    members = [(group == g).nonzero()[:, 0] for g in group.unique()]
    gain, lottery = 1 - torch.stack(list(rows.values())), list(rows).index(welfare)

    def found(draw: Callable[[torch.Tensor], torch.Tensor]) -> tuple[float, float, float]:
        matrix = torch.stack([gain[:, draw(who)].nanmean(1) for who in members], 1)  # (P, camps)
        return float(matrix[lottery].min()), best_mix(matrix[parts]).value, best_mix(matrix).value

    return found


def worlds(world: str, seeds: int, training: float, **more: Any) -> dict[str, Any]:
    told = measured(world, seeds, training, **more)
    found: dict[str, Any] = {
        f"{policy}, {statistic}": numbers(estimate(told, policy, statistic))
        for policy in ("personalised", "maxmin", "pooled")
        for statistic in SUMMARIES
    }
    for statistic in SUMMARIES:
        # 0 is a policy trained from scratch for the own true camp; less than 0 is better than that.
        found[f"personalised against own camp, {statistic}"] = numbers(
            over_people(against_own(told), statistic)
        )
    losses = {
        name: sum(seed[name]["log loss"][0] for seed in told["belief"]) / len(told["seeds"])
        for name in ("pooled", "model", "truth")
    }
    return {
        "seeds": len(told["seeds"]),
        **found,
        "maxmin, worst camp": worst_camp(told, "maxmin"),
        "log loss": losses,
    }


def minority(world: str, seeds: int, training: float, **more: Any) -> dict[str, Any]:
    """Four people beside forty, and twenty beside twenty."""
    even = measured(world, seeds, training, **more)
    uneven = measured(world, seeds, training, people=44, share=10 / 11, **more)
    return {
        "seeds": len(uneven["seeds"]),
        **{
            policy: compared({"even": camp_mean(even, policy, 1), "ten to one": camp_mean(uneven, policy, 1)})
            for policy in ("personalised", "maxmin", "pooled")
        },
    }


def adversaries(world: str, seeds: int, training: float, **more: Any) -> dict[str, Any]:
    """By a model that expects two camps and adversaries, and by one that takes these for a third camp."""
    even = measured(world, seeds, training, **more)
    kinds: dict[str, dict[str, Any]] = {"trust": {"model": "trust", "groups": 2}, "camps": {}}
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        try:
            told = measured(world, seeds, training, population="adversaries", **kind, **more)
        except FileNotFoundError:
            continue  # this kind of seed is not there to be gathered
        found[f"seeds, {name}"] = len(told["seeds"])
        found |= {
            f"{policy}, {name}": compared({"without": honest(even, policy), "with": honest(told, policy)})
            for policy in ("personalised", "maxmin", "pooled")
        }
    return {"seeds": found.get("seeds, trust", 0), **found}


def honest(told: dict[str, Any], policy: str) -> Estimate:
    """Mean regret of two camps of one size."""
    camps = zip(of_camp(told, policy, 0), of_camp(told, policy, 1), strict=True)
    return over_seeds([torch.cat(pair) for pair in camps])


def compared(pair: dict[str, Estimate]) -> dict[str, Any]:
    """Two regrets and how much larger the second is, as if their seeds and people were different ones."""
    first, second = pair.values()
    error = math.hypot(first.standard_error, second.standard_error)
    lost = Estimate.normal(second.value - first.value, error, min(first.n, second.n))
    return {**{name: numbers(x) for name, x in pair.items()}, "lost": numbers(lost)}


LIMIT = 0.03  # discounted steps on hazardous ground; the straight ways take almost two


def constrained(
    world: str, seeds: int, training: float, goals: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """Reward and cost of every camp and seed, on episodes that the lottery was not chosen by."""
    import pluralign_envs

    learner = bed(world).learner(training)
    twin = Tabular(dataclasses.replace(pluralign_envs.twin(bed(world).world), discount=learner.discount))
    names = [factor.name for factor in pluralign_envs.make_world(bed(world).world).factors]
    taste = lambda **of: torch.tensor([[of.get(name, 0.0) for name in names]], dtype=torch.float64)
    harm = known_voices(taste(hazard=1.0), names=("hazard",))
    judge = dataclasses.replace(learner, episodes=1024)
    told: dict[str, Any] = {}
    for goal in bed(world).goals if goals is None else goals:
        camp = known_voices(taste(**{goal: 1.0, "effort": -0.01}), names=(goal,))
        exact = Constrained(harm, (LIMIT,)).optimise(twin, camp)
        # Episodes of the simulator end, so those of its twin are played out as well.
        ways = [twin.rollout(policy, 4096) for policy in exact.policies]
        oracle = sum(
            chance * float(discounted(camp, seen, learner.discount).mean())
            for chance, seen in zip(exact.chance.tolist(), ways, strict=True)
        )
        rows = []
        for seed in range(seeds or MOST):
            path = RUNS / f"constrained-{world}-{goal}-{seed}-{training:g}.json"
            if not path.is_file():
                if not seeds:
                    continue
                begun = time.process_time()
                found = Constrained(harm, (LIMIT,), rounds=8).optimise(learner, camp, seed)
                got = [float(found.returns(judge, x, seed=1000 + seed).mean()) for x in (camp, harm)]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps([got[0] / oracle, got[1], time.process_time() - begun]), "utf-8")
            rows.append(json.loads(path.read_text("utf-8")))
            print(world, goal, seed, rows[-1], flush=True)
        if not rows:
            raise FileNotFoundError(f"no seed of {goal} is finished; leave --gather out to train.")
        part, cost, seconds = torch.tensor(rows, dtype=torch.float64).T
        told[goal] = {
            "oracle": oracle,
            "reward, part of the oracle's": numbers(Estimate.mean(part)),
            "cost": numbers(Estimate.mean(cost)),
            "cpu_seconds": float(seconds.mean()),
        }
    return told


def random(world: str, seeds: int, training: float, **more: Any) -> dict[str, Any]:
    """The same as `worlds`, about random pairs."""
    return worlds(world, seeds, training, questions="uniform", **more)


def answers(world: str, seeds: int, training: float, **more: Any) -> dict[str, Any]:
    """The same as `random` with four times the answers: what is lost to what answers did not tell comes back."""
    return worlds(world, seeds, training, asked=160, questions="uniform", **more)


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "worlds": worlds,
    "random": random,
    "answers": answers,
    "minority": minority,
    "adversaries": adversaries,
    "constrained": constrained,
    "vpl": vpl,
}


def main() -> None:
    """Measure, and merge into the file of results."""
    torch.set_num_threads(1)
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("part", choices=PARTS)
    words.add_argument("--only", default=",".join(BEDS), help="worlds, with commas")
    words.add_argument("--seeds", type=int, default=5)
    words.add_argument("--goals", help="camps of `constrained`, with commas; all by default")
    words.add_argument("--training", type=float, default=1.0, help="steps, as a part of the usual ones")
    words.add_argument(
        "--episodes", type=int, help="by which a policy is judged; as experiments do by default"
    )
    words.add_argument("--gather", action="store_true", help="train nothing, report the seeds that are there")
    given = words.parse_args()
    path = HERE / "results" / f"control-{given.part}.json"
    more: dict[str, Any] = {} if given.episodes is None else {"episodes": given.episodes}
    if given.goals:
        more["goals"] = tuple(given.goals.split(","))
    for world in given.only.split(","):
        begun = time.process_time()
        found = PARTS[given.part](world, 0 if given.gather else given.seeds, given.training, **more)
        # Seconds of a sitting that gathers, or goes on, say nothing of what a seed costs.
        spent = {} if given.gather else {"cpu_seconds": time.process_time() - begun}
        told = {"seeds": given.seeds, "training": given.training, **more, **spent}
        results = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        results[world] = {**told, "python": platform.python_version(), **found}
        path.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n", "utf-8")
        print(world, json.dumps(results[world], indent=1), flush=True)


if __name__ == "__main__":
    main()
