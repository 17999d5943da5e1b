"""What experiments must show, measured: `python benchmarks/control.py worlds [--only cheetah,ant] [--seeds 1]`.

worlds       two even camps: regret of everybody served by their own taste (middle half and worst tenth of people, 0 own
             best policy, 1 random), and the worst camp of MaxMin beside the best worst camp of any lottery over all
             policies of the run
answers      the same with 160 answers of each person in place of 40
minority     two camps of ten to one: the minority's regret less that of two even camps
vpl          the maze alone: people who want one of two goals, never seen before their 16 answers; chance that the policy that
             is told what is believed of them gets them there, and the same for one that is told the truth
adversaries  one person in ten wants the opposite: regret of the honest, less that without such people
constrained  shared safety: for each of three camps the reward within a limit on the hazard that all mind, beside that of
             the exact twin's best within the same limit, and the discounted steps on hazardous ground

A part measures the worlds that `--only` names, or all, and merges what it finds by world into
benchmarks/results/control-PART.json. Runs are kept in runs/control, and go on where they were stopped.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from vpl_maze import vpl

from pluralign.lab.beds import BEDS, bed
from pluralign.lab.experiment import Experiment
from pluralign.lab.experiment_report import against_own, camp_mean, estimate, over_people, read
from pluralign.metrics import Estimate
from pluralign.policies import Constrained, Tabular
from pluralign.policies.game import best_mix
from pluralign.policies.learner import discounted
from pluralign.rewards import known_voices

HERE = Path(__file__).resolve().parent
RUNS = HERE.parent / "runs" / "control"


def measured(world: str, seeds: int, training: float, **more: Any) -> dict[str, Any]:
    """The tables of a run, which is made where it is not there."""
    settings = Experiment(world, seeds=seeds, training=training, films=False, **more)
    name = "-".join([world, *(str(v) for v in more.values()), f"{seeds}x{training:g}"])
    return read(settings.run(RUNS / name).folder)


def numbers(value: Any) -> dict[str, float | None]:
    error = value.standard_error
    return {"value": value.value, "standard_error": error if math.isfinite(error) else None, "n": value.n}


DRAWN = 400  # times that the people of every camp and seed are drawn again


def worst_camp(told: dict[str, Any], welfare: str) -> dict[str, Any]:
    """What the worst camp has under the lottery and could have had, 1 its own best; mean over seeds.

    "by truth" is what it could have had from the policies in the lottery, had the camps' tastes been known when their
    chances were chosen: what is lost beyond is lost to what answers did not tell. The interval of the ratio draws the
    people of every camp and seed again.
    """
    seeds = []
    for judged in told["judged"]:
        rows = {
            name: torch.tensor([np.nan if x is None else x for x in row]).double()
            for name, row in judged["regret"].items()
            if name not in ("personalised", "own voice")
        }
        parts = [n for n, name in enumerate(rows) if name == welfare or name.startswith(f"{welfare}, part")]
        group = torch.tensor(judged["group"])
        members = [(group == g).nonzero()[:, 0] for g in group.unique()]
        seeds.append((1 - torch.stack(list(rows.values())), list(rows).index(welfare), parts, members))

    def found(draw: Callable[[torch.Tensor], torch.Tensor]) -> tuple[float, float, float]:
        got, truth, best = [], [], []
        for gain, lottery, parts, members in seeds:
            matrix = torch.stack([gain[:, draw(who)].nanmean(1) for who in members], 1)  # (P, camps)
            got.append(float(matrix[lottery].min()))
            truth.append(best_mix(matrix[parts]).value)
            best.append(best_mix(matrix).value)
        return float(np.mean(got)), float(np.mean(truth)), float(np.mean(best))

    got, truth, best = found(lambda who: who)
    luck = torch.Generator().manual_seed(0)
    again = lambda who: who[torch.randint(len(who), (len(who),), generator=luck)]
    drawn = [found(again) for _ in range(DRAWN)]
    low, high = np.quantile([g / b for g, _, b in drawn], [0.025, 0.975])
    ratio = {"ratio": got / best, "low": float(low), "high": float(high)}
    return {"got": got, "by truth": truth, "best": best, **ratio}


def worlds(world: str, seeds: int, training: float, **more: Any) -> dict[str, Any]:
    told = measured(world, seeds, training, **more)
    found: dict[str, Any] = {
        f"{policy}, {statistic}": numbers(estimate(told, policy, statistic))
        for policy in ("personalised", "maxmin", "pooled")
        for statistic in ("interquartile mean", "worst decile")
    }
    for statistic in ("interquartile mean", "worst decile"):
        # 0 is a policy trained from scratch for the own true camp; less than 0 is better than that.
        found[f"personalised against own camp, {statistic}"] = numbers(
            over_people(against_own(told), statistic)
        )
    loss = {name: told["belief"][0][name]["log loss"][0] for name in ("pooled", "model", "truth")}
    return {**found, "maxmin, worst camp": worst_camp(told, "maxmin"), "log loss": loss}


def minority(world: str, seeds: int, training: float) -> dict[str, Any]:
    even, uneven = (measured(world, seeds, training, people=44, share=share) for share in (0.5, 10 / 11))
    return {
        policy: compared(
            {"even": camp_mean(even, policy, 1), "ten to one": camp_mean(uneven, policy, 1)},
        )
        for policy in ("personalised", "maxmin", "pooled")
    }


def adversaries(world: str, seeds: int, training: float) -> dict[str, Any]:
    """By a model that expects two camps and adversaries, and by one that takes these for a third camp."""
    even = measured(world, seeds, training)
    kinds: dict[str, dict[str, Any]] = {"trust": {"model": "trust", "groups": 2}, "camps": {}}
    mixed = {
        name: measured(world, seeds, training, population="adversaries", **more)
        for name, more in kinds.items()
    }
    return {
        f"{policy}, {name}": compared({"without": honest(even, policy), "with": honest(told, policy)})
        for name, told in mixed.items()
        for policy in ("personalised", "maxmin", "pooled")
    }


def honest(told: dict[str, Any], policy: str) -> Estimate:
    """Mean regret of two camps that count alike."""
    each = [camp_mean(told, policy, camp) for camp in (0, 1)]
    error = math.hypot(*(x.standard_error for x in each)) / 2
    return Estimate.normal(sum(x.value for x in each) / 2, error, sum(x.n for x in each))


def compared(pair: dict[str, Estimate]) -> dict[str, Any]:
    """Two regrets and how much larger the second is, as if their people were different ones."""
    first, second = pair.values()
    error = math.hypot(first.standard_error, second.standard_error)
    lost = Estimate.normal(second.value - first.value, error, first.n + second.n)
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
        for seed in range(seeds):
            path = RUNS / f"constrained-{world}-{goal}-{seed}-{training:g}.json"
            if not path.is_file():
                begun = time.process_time()
                found = Constrained(harm, (LIMIT,), rounds=8).optimise(learner, camp, seed)
                got = [float(found.returns(judge, x, seed=1000 + seed).mean()) for x in (camp, harm)]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps([got[0] / oracle, got[1], time.process_time() - begun]), "utf-8")
            rows.append(json.loads(path.read_text("utf-8")))
            print(world, goal, seed, rows[-1], flush=True)
        part, cost, seconds = torch.tensor(rows, dtype=torch.float64).T
        told[goal] = {
            "oracle": oracle,
            "reward, part of the oracle's": numbers(Estimate.mean(part)),
            "cost": numbers(Estimate.mean(cost)),
            "cpu_seconds": float(seconds.mean()),
        }
    return told


def answers(world: str, seeds: int, training: float) -> dict[str, Any]:
    """The same as `worlds` with four times the answers: what is lost to what answers did not tell comes back."""
    return worlds(world, seeds, training, asked=160)


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "worlds": worlds,
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
    given = words.parse_args()
    path = HERE / "results" / f"control-{given.part}.json"
    for world in given.only.split(","):
        begun = time.process_time()
        more = {"goals": tuple(given.goals.split(","))} if given.goals else {}
        found = PARTS[given.part](world, given.seeds, given.training, **more)
        told = {"seeds": given.seeds, "training": given.training, "cpu_seconds": time.process_time() - begun}
        results = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        results[world] = {**told, "python": platform.python_version(), **found}
        path.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n", "utf-8")
        print(world, json.dumps(results[world], indent=1), flush=True)


if __name__ == "__main__":
    main()
