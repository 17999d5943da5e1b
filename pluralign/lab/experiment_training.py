"""What an experiment shows people, fits to their answers, and trains for those it heard."""

import dataclasses
import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from pluralign.data.writing import write
from pluralign.lab.beds import bed
from pluralign.lab.experiment import Experiment, answers_of, people_of, shown_of, wanted
from pluralign.lab.run import Run, Stage
from pluralign.lab.serving import Taught
from pluralign.lab.shown import Shown, collect
from pluralign.metrics import log_loss, macro
from pluralign.policies import Personalised, Policy, Single, load_policy
from pluralign.policies.learners.ppo import PPO
from pluralign.policies.registry import optimiser
from pluralign.population import load
from pluralign.population.pooled import Pooled
from pluralign.population.voices import Voices, cluster
from pluralign.rewards import known_voices
from pluralign.saving import write as save
from pluralign.streams import Streams

BRIEF = 0.25  # of the usual training, for what people are shown
FEW = 4  # policies that stand for people without camps


def show(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    here, notes = bed(settings.world), list[str]()
    learner = settings.learner(BRIEF)
    with _watched(learner, stage, "shown", seed, notes):  # its learning curves say nothing
        shown = collect(here, learner, settings.segments, Streams(seed).below("shown"))
    save(shown.segments, stage.folder / "segments", "segments")
    return {"scale": shown.scale.tolist(), "names": list(shown.segments.names), "notes": notes}


def ask_and_fit(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    people, train, test = answers_of(settings, shown_of(run, seed), seed)
    write(train, stage.folder / "answers", form="csv.gz")
    told: dict[str, Any] = {}
    for name, model in (("pooled", Pooled()), ("model", settings.explains())):
        begun = time.perf_counter()
        belief = model.fit(train, seed=seed)
        belief.save(stage.folder / name)
        loss = macro(log_loss(belief.predict(test), test.label), test.rater, len(people))
        told[name] = {"log loss": [loss.value, loss.low, loss.high], "seconds": time.perf_counter() - begun}
        stage.record("log loss", loss.value, group=name, seed=seed, standard_error=loss.standard_error)
    truth = macro(
        log_loss(people.share(test.options, test.slate, test.rater), test.label), test.rater, len(people)
    )
    told["truth"] = {"log loss": [truth.value, truth.low, truth.high]}
    return told


def _camps(settings: Experiment, people: Any, shown: Shown, seed: int) -> Voices:
    """The true camps, or a few centres of people without camps."""
    taste = wanted(settings, people)
    if people.group is not None:
        each = [taste[people.group == g] for g in range(int(people.group.max()) + 1)]
        each = [rows for rows in each if len(rows)]
        share = torch.tensor([len(rows) / len(taste) for rows in each], dtype=torch.float64)
        return known_voices(torch.stack([rows.mean(0) for rows in each]), share)
    mass = torch.full((len(taste),), 1 / len(taste), dtype=torch.float64)
    centre, share = cluster(
        taste, mass, torch.diag(shown.scale.square()), FEW, generator=Streams.of(seed)("centres")
    )
    return known_voices(centre, share)


def train_camps(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    """What each true camp would have trained for itself."""
    shown = shown_of(run, seed)
    camps = _camps(settings, people_of(settings, shown, seed), shown, seed)
    return _each(settings, stage, camps, "camp", seed)


def train_voices(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    """The best policy found for each voice of the belief."""
    belief = load(run.files(f"belief-{seed}") / "model")
    voices = belief.voices(seed=seed)
    return {**_each(settings, stage, voices, "voice", seed), "weight": voices.weight.tolist()}


def _each(settings: Experiment, stage: Stage, voices: Voices, word: str, seed: int) -> dict[str, Any]:
    """Train a policy for each voice alone; who likes another's better than its own goes on from both.

    A training may fail where one for nearly the same taste did not. Only what the voices pay is looked at, on episodes
    that nobody is judged by.
    """
    notes, found, streams = list[str](), list[Policy](), Streams(seed)
    for g, one in enumerate(torch.eye(len(voices), dtype=torch.float64)):
        with _watched(settings.learner(), stage, f"{word} {g}", seed, notes) as learner:
            found.append(learner.improve(voices, one, seed=streams.number("own", word, g)))
    several = len(found) > 1
    liked = envied(settings.learner(), voices, found, streams.number("compared", word)) if several else [0]
    for g, other in enumerate(liked):
        policy, one = found[g], torch.eye(len(voices), dtype=torch.float64)[g]
        if other != g:
            with _watched(settings.learner(), stage, f"{word} {g}, again", seed, notes) as learner:
                known, number = (policy, found[other]), streams.number("again", word, g)
                policy = learner.improve(voices, one, seed=number, start=known)
        policy.save(stage.folder / f"{g}")
    return {"count": len(voices), "notes": notes, "z": voices.z.tolist(), "liked": liked}


def envied(learner: Any, voices: Voices, policies: Sequence[Any], seed: int) -> list[int]:
    """For each voice the place of the policy that brings it most, its own unless another is clearly better.

    Clearly: by two standard errors of the difference on the same first states.
    """
    returns = torch.stack([learner.returns(p, voices, seed=seed).double() for p in policies])  # (G, E, G)
    own = returns.diagonal(dim1=0, dim2=2).T  # (G, E): voice g under its own policy
    liked = []
    for g, mine in enumerate(own):
        gap = returns[:, :, g] - mine
        clear = gap.mean(1) - 2 * gap.std(1) / gap.shape[1] ** 0.5
        best = int(clear.argmax())
        liked.append(best if float(clear[best]) > 0 else g)
    return liked


def train_pooled(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    voices = load(run.files(f"belief-{seed}") / "pooled").voices()
    notes: list[str] = []
    with _watched(settings.learner(), stage, "pooled", seed, notes) as learner:
        Single().optimise(learner, voices, Streams(seed).number("pooled")).save(stage.folder / "policy")
    return {"notes": notes}


def train_lottery(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    """The lottery; each voice's own best policy is known by now: the one trained for it, or the personal one."""
    voices = load(run.files(f"belief-{seed}") / "model").voices(seed=seed)
    notes: list[str] = []
    best = optimiser(settings.welfare)
    # Rounds cost a training each: few, and none for what cannot be told from chance.
    changes = {"rounds": 2, "tolerance": 0.02}
    fields = {f.name for f in dataclasses.fields(best)}  # type: ignore[arg-type]
    best = dataclasses.replace(best, **{k: v for k, v in changes.items() if k in fields})  # type: ignore[type-var]
    with _watched(settings.learner(), stage, settings.welfare, seed, notes) as learner:
        personal = load_policy(run.files(f"personal-{seed}") / "policy")
        alone, told = kept_policies(run, "voices", seed), tuple(personal.of(z) for z in voices.z)
        own = _better(learner, voices, alone, told)
        pooled = load_policy(run.files(f"pooled-{seed}") / "policy")
        known = tuple(p for p in (*alone, *told, *pooled.policies) if not any(p is q for q in own))
        voices, own, silent = _gaining(learner, voices, own)
        taught = Taught(learner, voices, own, known, personal)
        lottery = best.optimise(taught, voices, Streams(seed).number("welfare"))
    lottery.save(stage.folder / "policy")
    notes += [
        f"{name} gains nothing from any policy that was found, and has no say in the lottery"
        for name in silent
    ]
    return {"notes": notes, "chance": lottery.chance.tolist()}


def _better(
    learner: Any, voices: Voices, one: tuple[Policy, ...], other: tuple[Policy, ...]
) -> tuple[Policy, ...]:
    """For each voice the one of two policies that brings it more."""
    mean = lambda policy, g: float(learner.returns(policy, voices, seed=0).double().mean(0)[g])
    return tuple(b if mean(b, g) > mean(a, g) else a for g, (a, b) in enumerate(zip(one, other, strict=True)))


def _gaining(
    learner: Any, voices: Voices, own: tuple[Policy, ...]
) -> tuple[Voices, tuple[Policy, ...], list[str]]:
    """The voices to which some policy brings more than random actions, their own policies, and the others' names.

    All of them where nobody gains: the optimiser then says so.
    """
    mean = lambda policy: learner.returns(policy, voices, seed=0).double().mean(0)
    gains = torch.stack([mean(policy) for policy in own]).amax(0) > mean(learner.random())
    if bool(gains.all()) or not bool(gains.any()):
        return voices, own, []
    kept = gains.nonzero()[:, 0].tolist()
    weight = voices.weight[kept] / voices.weight[kept].sum()
    names = tuple(voices.names[g] for g in kept)
    silent = [name for name in voices.names if name not in names]
    return Voices(voices.worth, voices.z[kept], weight, names), tuple(own[g] for g in kept), silent


def train_personal(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    """One policy that is told whom it serves; it begins with what the voices' own policies do."""
    belief = load(run.files(f"belief-{seed}") / "model")
    notes: list[str] = []
    with _watched(settings.learner(), stage, "personalised", seed, notes) as learner:
        start = kept_policies(run, "voices", seed)
        policy = Personalised().optimise(learner, belief, Streams(seed).number("personal"), start=start)
    policy.save(stage.folder / "policy")  # type: ignore[attr-defined]
    return {"notes": notes}


class _watched:
    """A learner whose training rewards are recorded, and whose warnings are kept instead of shown."""

    def __init__(self, learner: PPO, stage: Stage, group: str, seed: int, notes: list[str]) -> None:
        self.learner, self.stage, self.group, self.seed, self.notes = learner, stage, group, seed, notes

    def __enter__(self) -> PPO:
        self._caught = warnings.catch_warnings(record=True)
        self._list = self._caught.__enter__()
        warnings.simplefilter("always")
        steps = 0

        def watch(done: int, paid: float) -> None:
            nonlocal steps
            steps += done
            self.stage.record("reward while training", paid, group=self.group, seed=self.seed, step=steps)

        return dataclasses.replace(self.learner, watch=watch)

    def __exit__(self, *problem: Any) -> None:
        self._caught.__exit__(*problem)
        self.notes += [
            f"{self.group}: {w.message}" for w in self._list if issubclass(w.category, UserWarning)
        ]


def kept_policies(run: Run, name: str, seed: int) -> tuple[Policy, ...]:
    folder = run.files(f"{name}-{seed}")
    return tuple(
        load_policy(folder / str(g)) for g in range(run.stage(f"{name}-{seed}", lambda s: {})["count"])
    )


def policies_of(settings: Experiment, run: Run, seed: int) -> dict[str, Any]:
    """Everything that was trained: a policy, a lottery or a personal policy under each name."""
    at = lambda name: load_policy(run.files(f"{name}-{seed}") / "policy")
    found: dict[str, Any] = {f"camp {g}": p for g, p in enumerate(kept_policies(run, "camps", seed))}
    found |= {f"voice {g}": p for g, p in enumerate(kept_policies(run, "voices", seed))}
    return {**found, "pooled": at("pooled"), settings.welfare: at("welfare"), "personalised": at("personal")}
