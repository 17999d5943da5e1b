"""The main job: people who disagree about where a robot should go, from their answers to policies.

    simulate raters -> fit populations -> optimise policies -> judge by the people's true returns -> report

Every stage is kept in the run folder; a stopped run goes on where it was.
"""

import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pluralign.elicitation import interview
from pluralign.lab.maze_people import TASTES, WORLD, Answers, ask
from pluralign.lab.progress import Bar
from pluralign.lab.run import Run, Stage
from pluralign.lab.serving import EACH, Serving
from pluralign.metrics import adjusted_rand, calibration_error, log_loss, macro, matched_accuracy, per_rater
from pluralign.metrics.scores import accuracy
from pluralign.policies import (
    Lottery,
    MaxMin,
    Personalised,
    Single,
    Tabular,
    load_policy,
    maxmin_value,
)
from pluralign.policies.learners.ppo import PPO
from pluralign.population import Belief, load
from pluralign.population.camps import Camps
from pluralign.population.held_out import held_out_losses
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.per_rater import PerRater
from pluralign.population.pooled import Pooled
from pluralign.population.voices import Voices
from pluralign.rewards import known_voices
from pluralign.rewards.transforms import Scale, relative_gain
from pluralign.streams import Streams

POPULATIONS: dict[str, Any] = {
    "pooled": Pooled(),
    "per_rater": PerRater(),
    "camps": Camps(),
    "hierarchical": Hierarchical(),
}
KNOWN = (0, 1, 2, 3, 5, 10, 20)  # answers of a person never seen
SERVED = (0, 1, 2, 3, 5, 10)  # the same, where policies are judged


@dataclass(frozen=True)
class Maze:
    """A point mass in a maze with two goals; people in two camps say which pieces of trajectory they prefer.

    Attributes:
        people: raters whose answers are fitted.
        asked: pairs that each of them compares.
        newcomers: people never seen in training.
        share: of the people who want the red goal; the others want the blue one.
        rationality: factor on the utils of a segment before Luce's rule; larger means fewer mistakes.
        lapse: chance that an answer is a guess.
        segments: pieces of trajectory to choose pairs from. steps: of 0.15 s, per piece.
        seeds: independent repetitions, 3 by default and 1 in a quick run; from 3 on, intervals are over seeds.
        seed: the first one.
        quick: train policies for half the steps or less: in about a minute, a little worse.
    """

    people: int = 40
    asked: int = 20
    newcomers: int = 40
    share: float = 0.7
    rationality: float = 1.0
    lapse: float = 0.05
    segments: int = 400
    steps: int = 25
    seeds: int | None = None
    seed: int = 0
    quick: bool = False

    def __post_init__(self) -> None:
        if self.seeds is None:
            object.__setattr__(self, "seeds", 1 if self.quick else 3)
        for name in ("people", "asked", "newcomers", "segments", "steps", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.people < 2:
            raise ValueError("`people` must be at least 2, so that both camps have somebody.")

    def run(self, out: Path, overwrite: bool = False) -> Run:
        """Do it all, into the run folder `out`; print one screen, write report.html."""
        from pluralign.lab.maze_report import screen, write_report

        begun = time.monotonic()
        run = Run.open(out, {"command": "experiment maze", **asdict(self)}, overwrite)
        seeds = range(self.seed, self.seed + (self.seeds or 1))
        bar = Bar(total=len(seeds) * 7 + 1)
        try:
            bar.stage("the exact answer on the tabular twin", lambda: run.stage("twin", _twin))
            for seed in seeds:
                self._once(run, seed, f"seed {seed}: " if len(seeds) > 1 else "", bar)
        finally:
            bar.close()
        run.record("seconds", time.monotonic() - begun, group="this sitting")
        run.finish()
        write_report(run.folder)
        print(screen(run.folder))
        return run

    def learner(self) -> PPO:
        """PPO, as long as this run may take."""
        if self.quick:
            return PPO(WORLD, steps=80_000, again=20_000, personal=60_000, episodes=128)
        return PPO(WORLD)

    def answers(self, seed: int) -> Answers:
        """Who was asked what, and what they said; the same for the same settings."""
        return ask(
            people=self.people,
            newcomers=self.newcomers,
            share=self.share,
            asked=self.asked,
            segments=self.segments,
            steps=self.steps,
            rationality=self.rationality,
            lapse=self.lapse,
            streams=Streams(seed).below("people"),
        )

    def _once(self, run: Run, seed: int, at: str, bar: Bar) -> None:
        answers = self.answers(seed)
        learner = self.learner()
        streams = Streams(seed)
        run.stage(f"answers-{seed}", lambda stage: _write_answers(stage, answers))
        told = bar.stage(
            at + "fitting four populations",
            lambda: run.stage(f"beliefs-{seed}", lambda s: _fit(s, answers, seed)),
        )
        folder = run.files(f"beliefs-{seed}")
        beliefs = {name: load(folder / name) for name in POPULATIONS}
        chosen = beliefs[told["chosen"]]
        jobs = {
            "red": lambda tell: learner.improve(
                truth(), torch.tensor([1.0, 0.0]), seed=streams.number("red"), progress=tell
            ),
            "blue": lambda tell: learner.improve(
                truth(), torch.tensor([0.0, 1.0]), seed=streams.number("blue"), progress=tell
            ),
            "pooled": lambda tell: Single().optimise(
                learner, beliefs["pooled"].voices(), streams.number("pooled"), progress=tell
            ),
            "maxmin": lambda tell: MaxMin(rounds=3, tolerance=0.02).optimise(
                learner, chosen.voices(), streams.number("maxmin")
            ),
            # MaxMin found good policies for each voice: the personalised one begins with what they do.
            "personal": lambda tell: Personalised().optimise(
                learner,
                chosen,
                streams.number("personal"),
                start=load_policy(run.files(f"maxmin-{seed}") / "policy").policies,
            ),
        }
        words = {
            "red": "the red camp's own best policy",
            "blue": "the blue camp's own best policy",
            "pooled": "one policy for the average",
            "maxmin": "MaxMin over voices",
            "personal": "one policy for everybody's own taste",
        }
        for name, job in jobs.items():
            work = lambda stage, job=job: _trained(stage, job, bar.tell)
            bar.stage(at + words[name], lambda n=name, w=work: run.stage(f"{n}-{seed}", w))
        policies = {name: load_policy(run.files(f"{name}-{seed}") / "policy") for name in jobs}
        bar.stage(
            at + "judging by true returns",
            lambda: run.stage(
                f"judged-{seed}",
                lambda s: _judge(s, learner, policies, answers, chosen, told["chosen"], seed),
            ),
        )


def truth() -> Voices:
    """The two camps as voices, by their true tastes."""
    return known_voices(list(TASTES.values()), names=tuple(TASTES))


def _twin(stage: Stage) -> dict[str, Any]:
    """What MaxMin could reach at most, by linear programming on the world's exact twin."""
    import pluralign_envs

    twin = pluralign_envs.twin(WORLD)
    learner = Tabular(twin)
    voices = truth()
    own = [learner.improve(voices, one) for one in torch.eye(2, dtype=torch.float64)]
    best = torch.stack([learner.returns(p, voices)[0] for p in own])
    random = learner.returns(learner.random(), voices)[0]
    scale = relative_gain(random, best.diagonal(), names=voices.names)
    found = maxmin_value(twin, learner.rewards(voices), shift=scale.shift, factor=scale.factor)
    stage.record("maxmin value", found.value, group="twin, exact")
    return {
        "value": found.value,
        "returns": scale(found.returns).tolist(),
        "weight": found.weight.tolist(),
        "random": random.tolist(),
        "best": best.diagonal().tolist(),
        "cross": scale(best).tolist(),
    }


def _write_answers(stage: Stage, answers: Answers) -> dict[str, Any]:
    from pluralign.data import write

    write(answers.train, stage.folder / "train")
    return {
        "people": len(answers.met),
        "camps": torch.bincount(answers.camps).tolist(),
        "answers": len(answers.train),
        "newcomers": len(answers.new),
    }


def _fit(stage: Stage, answers: Answers, seed: int) -> dict[str, Any]:
    """Fit all populations; how well they predict, whom they put where; which one predicts best."""
    group, count = answers.camps, len(answers.met)
    told: dict[str, Any] = {"members": {}, "known": list(KNOWN), "group": group.tolist()}
    held: dict[str, Tensor] = {}
    place = torch.arange(len(answers.pool)) % (len(answers.pool) // len(answers.new))
    for name, model in POPULATIONS.items():
        begun = time.perf_counter()
        belief = model.fit(answers.train, seed=seed)
        seconds = time.perf_counter() - begun
        belief.save(stage.folder / name)
        share = belief.predict(answers.test)
        held[name] = per_rater(log_loss(share, answers.test.label), answers.test.rater, count)
        found: dict[str, Any] = {"seconds": seconds, "notes": _plain(belief.diagnostics)}
        for metric, score in (("accuracy", accuracy), ("log loss", log_loss)):
            value = macro(score(share, answers.test.label), answers.test.rater, count)
            found[metric] = [value.value, value.low, value.high]
            stage.record(
                metric, value.value, group=f"{name}, seen", seed=seed, standard_error=value.standard_error
            )
        curve = []
        for known in KNOWN:
            draws = belief.adapt(answers.pool.take(place < known))
            guess = belief.predict(answers.fresh, draws)
            value = macro(accuracy(guess, answers.fresh.label), answers.fresh.rater, len(answers.new))
            curve.append([value.value, value.low, value.high])
            stage.record(
                "accuracy", value.value, group=f"{name}, never seen", seed=seed, step=known,
                standard_error=value.standard_error,
            )  # fmt: skip
        found["curve"] = curve
        error = calibration_error(share, answers.test.label, rater=answers.test.rater, bins=10)
        found["calibration"] = [error.value, error.low, error.high]
        found["reliability"] = _reliability(share, answers.test.label)
        camp = belief.draws.weight.T if name == "camps" else None
        if camp is not None:
            put = camp.argmax(1)
            found["responsibility"] = camp.tolist()
            found["ari"] = float(adjusted_rand(put, group))
            found["matched"] = float(matched_accuracy(put, group))
            stage.record("adjusted Rand index", found["ari"], group=name, seed=seed)
        told["members"][name] = found
    losses = {name: float(loss.nanmean()) for name, loss in _held_out(answers, seed).items()}
    told["held_out"] = losses
    told["chosen"] = min(losses, key=lambda name: losses[name])
    truth_share = answers.met.share(answers.test.options, answers.test.slate, answers.test.rater)
    told["truth"] = float(macro(accuracy(truth_share, answers.test.label), answers.test.rater, count).value)
    return told


def _held_out(answers: Answers, seed: int) -> dict[str, Tensor]:
    """Log loss of each population on held-out training answers, fitted to the rest: the choice is made here."""
    fits = {name: partial(model.fit, seed=seed) for name, model in POPULATIONS.items()}
    losses = held_out_losses(fits, answers.train, Streams(seed).below("choice"))
    return dict(zip(POPULATIONS, losses))


def _reliability(share: Tensor, label: Tensor) -> dict[str, list[float]]:
    from pluralign.metrics import reliability

    curve = reliability(share, label, bins=10)
    return {name: getattr(curve, name).tolist() for name in ("predicted", "observed", "count")}


def _plain(notes: Any) -> dict[str, Any]:
    return {k: v for k, v in notes.items() if isinstance(v, int | float | str)}


def _trained(stage: Stage, job: Any, tell: Any) -> dict[str, Any]:
    begun = time.perf_counter()
    policy = job(tell)
    policy.save(stage.folder / "policy")
    told: dict[str, Any] = {"seconds": time.perf_counter() - begun}
    if isinstance(policy, Lottery):
        told |= {"chance": policy.chance.tolist(), "policies": len(policy)}
    return told


def _judge(
    stage: Stage,
    learner: PPO,
    policies: dict[str, Any],
    answers: Answers,
    belief: Belief,
    name: str,
    seed: int,
) -> dict[str, Any]:
    """Everybody's true return, 0 for random actions and 1 for the own camp's best policy; and paths to look at."""
    voices, number = truth(), Streams(seed).number("judge")
    back = lambda policy: learner.returns(policy, voices, seed=number).double()
    random = back(learner.random()).mean(0)
    own = torch.stack([back(policies[camp]).mean(0) for camp in TASTES])
    scale = relative_gain(random, own.diagonal(), names=voices.names)
    told: dict[str, Any] = {"belief": name, "camps": list(TASTES), "returns": {}, "paths": {}, "serving": {}}
    together = {
        "random": learner.random(),
        "red's own": policies["red"],
        "blue's own": policies["blue"],
        "pooled": policies["pooled"],
        "MaxMin": policies["maxmin"],
    }
    for what, policy in together.items():
        if isinstance(policy, Lottery):
            gained = scale(policy.returns(learner, voices, seed=number).double())
        else:
            gained = scale(back(policy))
        _note(stage, told, what, gained, seed)
        told["paths"][what] = _paths(learner, policy, number)
    met = _served(learner, policies["personal"], belief.known(answers.train).mean, answers.met, scale, number)
    group = answers.camps
    columns = [met[group == camp].reshape(-1) for camp in range(2)]
    size = max(len(c) for c in columns)
    padded = torch.stack([torch.cat([c, torch.full((size - len(c),), torch.nan)]) for c in columns], 1)
    _note(stage, told, "personalised", padded, seed)
    told["people"] = met.mean(1).tolist()
    for camp, taste in enumerate(TASTES):
        mean = belief.known(answers.train).mean[group == camp].mean(0)
        told["paths"][f"personalised, {taste}"] = _paths(learner, policies["personal"].of(mean), number, 24)
    _serve_new(stage, told, learner, policies["personal"], belief, answers, scale, seed)
    told["tabular"] = _tabular(belief)
    stage.record("maxmin on the twin, worst camp", min(told["tabular"]), seed=seed)
    return told


def _tabular(belief: Belief) -> list[float]:
    """What MaxMin over the learned voices pays each camp on the tabular twin, where best responses are exact."""
    import pluralign_envs

    learner, voices = Tabular(pluralign_envs.twin(WORLD)), truth()
    lottery = MaxMin().optimise(learner, belief.voices())
    own = [learner.returns(learner.improve(voices, one), voices)[0] for one in torch.eye(2).double()]
    random = learner.returns(learner.random(), voices)[0]
    scale = relative_gain(random, torch.stack(own).diagonal(), names=voices.names)
    return scale(lottery.returns(learner, voices)[0]).tolist()


def _note(stage: Stage, told: dict[str, Any], what: str, gained: Tensor, seed: int) -> None:
    """Keep the mean per camp with its standard error over episodes."""
    count = (~gained.isnan()).sum(0)
    mean = gained.nanmean(0)
    spread = ((gained - mean).square().nansum(0) / (count - 1).clamp_min(1)).sqrt() / count.double().sqrt()
    told["returns"][what] = {"mean": mean.tolist(), "standard_error": spread.tolist()}
    for camp, value, error in zip(TASTES, mean.tolist(), spread.tolist()):
        stage.record("normalised return", value, group=f"{what}, {camp}", seed=seed, standard_error=error)


def _served(learner: PPO, personal: Any, z: Tensor, people: Any, scale: Scale, seed: int) -> Tensor:
    """(R, episodes) the true normalised return of every person when served by what is believed of them."""
    assert people.group is not None
    copies = Serving(personal, z.repeat_interleave(EACH, 0))
    seen = learner.rollout(copies, len(z) * EACH, seed=seed)
    reward = seen.pool(truth().reward(seen.factors), learner.discount)
    mine = scale(reward.double()).gather(1, people.group.repeat_interleave(EACH)[:, None])
    return mine.reshape(len(z), EACH)


def _serve_new(
    stage: Stage,
    told: dict[str, Any],
    learner: PPO,
    personal: Any,
    belief: Belief,
    answers: Answers,
    scale: Scale,
    seed: int,
) -> None:
    """People never seen: asked one question after the other, the most telling one or any, and served after each."""
    for pick in ("information", "random"):
        talk = interview(belief, answers.new, answers.pool, max(SERVED), seed, pick=pick)
        curve = []
        for known in SERVED:
            draws = belief.adapt(talk.until(known))
            got = _served(learner, personal, draws.mean, answers.new, scale, Streams(seed).number("new"))
            person = got.mean(1)
            error = float(person.std() / len(person) ** 0.5) if len(person) > 1 else 0.0
            curve.append([float(person.mean()), error])
            stage.record(
                "normalised return, never seen", float(person.mean()), group=f"questions by {pick}", seed=seed,
                step=known, standard_error=error,
            )  # fmt: skip
        told["serving"][pick] = {"known": list(SERVED), "curve": curve}


def _paths(learner: PPO, policy: Any, seed: int, episodes: int = 32) -> list[list[list[float]]]:
    """Positions of some episodes, to draw; of a lottery each policy gets its share of them."""
    if isinstance(policy, Lottery):
        parts = [(p, round(float(c) * episodes)) for p, c in zip(policy.policies, policy.chance)]
        return [path for p, n in parts if n for path in _paths(learner, p, seed, n)]
    seen = learner.rollout(policy, episodes, seed=seed)
    assert seen.observation is not None
    return seen.observation[:, :, :2].double().mul(1000).round().div(1000).tolist()
