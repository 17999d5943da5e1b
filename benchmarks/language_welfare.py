"""MaxMin against pooled where tastes are planted in texts: `python benchmarks/language.py welfare [--seeds 5]`.

Seven of ten people like long and formal answers, three short and warm ones: about length they want the opposite. A small
writer is taught the texts of the world, a wider model with random weights reads them for the beliefs, and then

grpo       follows the reward of one pooled head, or of two learnt camps by multiplicative weights on their returns
dpo        learns from the answers themselves, all alike, or by camps with the same weights
best-of-n  picks one of 16 answers by the pooled head, or by the lottery of MaxMin over the camps

Judged on prompts that nobody learnt from, by the true tastes: how often somebody of a camp prefers the answer to one of the
untuned writer. "mean" is over people (.7 and .3); over camps as parties it is given, too.
"""

import time
from typing import Any

import torch

import pluralign
from pluralign.language.backbone import wrapped
from pluralign.language.belonging import belonging, heard
from pluralign.language.candidates import Candidates, best_of_n_kl
from pluralign.language.imitation import tiny_writer
from pluralign.language.joint import Joint
from pluralign.language.online import Online
from pluralign.language.robust import GroupRobust
from pluralign.language.steering import steered
from pluralign.language.tiny import measured, tiny_model, tiny_world
from pluralign.language.yardstick import judged, served, worths, yardstick
from pluralign.metrics.estimate import Estimate
from pluralign.policies import MaxMin, Single

CENTRES = ((1.5, 1.5, 0.0, 0.0), (-1.5, 0.0, 1.5, 0.0))
SHARE = (0.7, 0.3)
PROMPTS, APART, N = 240, 40, 16


def one(seed: int) -> dict[str, Any]:
    """Everything for one seed: win rate of each camp, nats and seconds, by method."""
    begun = time.process_time()
    world = tiny_world(
        prompts=PROMPTS, answers=8, raters=100, per_rater=60, centres=CENTRES, share=SHARE, seed=seed
    )
    writer = tiny_writer(world.prompt, world.answer, width=32, layers=1, updates=200, seed=seed)
    about = world.data.slate[:, 0] // 8
    train = world.data.take(about < PROMPTS - APART)
    learn, apart = world.prompts[: PROMPTS - APART], world.prompts[PROMPTS - APART :]
    blank = tiny_model(len(writer.tokenizer), width=128, layers=1, seed=seed)
    body = wrapped(blank, writer.tokenizer, "reader", pooling="mean")
    beliefs = {
        name: Joint("none").fit(model, body, train, world.prompt, world.answer, seed)
        for name, model in (("pooled", pluralign.Pooled()), ("maxmin", pluralign.Camps(groups=2, restarts=2)))
    }
    taste = torch.tensor(CENTRES, dtype=torch.float64)
    truth = lambda prompts, answers: measured(answers, world.answer) @ taste.T
    judge = yardstick(writer, apart, truth, N, seed=seed + 1000)
    found: dict[str, Any] = {"seed": seed, "setting_up": time.process_time() - begun, "rows": []}

    def row(method: str, way: str, wins: Any, kl: float, length: float, start: float, **more: Any) -> None:
        wins = [float(x) for x in wins]
        found["rows"].append(
            {"method": method, "way": way, "wins": wins, "worst": min(wins), "kl": kl, "length": length,
             "mean": sum(s * w for s, w in zip(SHARE, wins)), "mean_of_camps": sum(wins) / 2,
             "seconds": time.process_time() - start, **more}
        )  # fmt: skip

    for way, belief in beliefs.items():
        voices = belief.belief.voices()
        reward = heard(belief, voices)
        measure = yardstick(writer, learn, reward, N, seed=seed + 2000)
        seen = belief.seen(train, world.prompt, world.answer)
        member = belonging(belief.belief, voices, seen)
        for method in ("grpo", "dpo"):
            start = time.process_time()
            if method == "grpo":
                tuned = Online("maxmin", tune="full", rate=2e-3, updates=40, scale=0.2).fit(
                    writer, measure, reward, voices.weight, seed
                )
            else:
                tuned = GroupRobust("dpo", "maxmin", tune="full", rate=2e-3, updates=150, scale=0.1).fit(
                    writer, train, world.prompt, world.answer, member, seed, measure=measure, reward=reward
                )
            done = served(tuned.writer, writer, judge, truth, N, seed=seed)
            row(method, way, done.wins, done.kl.value, done.length, start, weight=tuned.weight.tolist(), voices=voices.weight.tolist())  # fmt: skip
        start = time.process_time()
        drawn = writer.write(learn, N, seed=seed + 3000)
        options = Candidates(belief.texts(drawn.prompts, drawn.answers), N)
        ways = Single() if way == "pooled" else MaxMin()
        policy = steered(writer, belief, voices, ways.optimise(options, voices, seed=seed), options)
        said = policy.write(apart, 4, seed=seed)
        done = judged(worths(said, truth, 4), judge, torch.full((APART,), best_of_n_kl(N)), said.length)
        row("best-of-n", way, done.wins, done.kl.value, done.length, start)
    print(f"seed {seed}: " + "; ".join(f"{r['method']} {r['way']} {r['wins'][0]:.2f} {r['wins'][1]:.2f} kl {r['kl']:.1f}" for r in found["rows"]), flush=True)  # fmt: skip
    return found


def table(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By method: win rates of both ways, and MaxMin's relative to pooled, with 95 % intervals over seeds."""
    out = []
    told = lambda e: {"value": e.value, "standard_error": e.standard_error, "low": e.low, "high": e.high}
    for method in ("grpo", "dpo", "best-of-n"):
        rows = [r for run in runs for r in run["rows"] if r["method"] == method]
        pick = lambda way, name, rows=rows: torch.tensor([r[name] for r in rows if r["way"] == way])
        entry: dict[str, Any] = {"method": method, "seeds": len(runs)}
        for name in ("worst", "mean", "mean_of_camps", "kl"):
            for way in ("pooled", "maxmin"):
                entry[f"{name} {way}"] = told(Estimate.mean(pick(way, name)))
        for name in ("worst", "mean", "mean_of_camps"):
            entry[f"{name} gain"] = told(Estimate.mean(pick("maxmin", name) / pick("pooled", name) - 1))
        entry["met"] = entry["worst gain"]["value"] >= 0.3 and entry["mean gain"]["value"] >= -0.05
        out.append(entry)
    return out


def welfare(seeds: int = 5) -> dict[str, Any]:
    """The bar: worst camp's win rate at least 30 % better relative to pooled, mean within 5 %."""
    runs = [one(seed) for seed in range(seeds)]
    return {"table": table(runs), "runs": runs}
