"""The main job on any world: simulate people -> fit -> optimise -> judge everybody by their true taste -> report.

Every stage is kept in the run folder; a stopped run goes on where it was. Seeds may run side by side.
"""

import dataclasses
import hashlib
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Segments
from pluralign.data.writing import write
from pluralign.lab.beds import bed
from pluralign.lab.naming import model_named
from pluralign.lab.progress import Bar
from pluralign.lab.run import Run, Stage, write_text
from pluralign.lab.serving import EACH, Taught, episodes_lost, factor_returns, regret, served
from pluralign.lab.shown import Shown, collect, signed
from pluralign.lab.simulate_world import QUESTIONS
from pluralign.metrics import Estimate, bootstrap, log_loss, macro, worst_decile
from pluralign.metrics.social import middle
from pluralign.policies import Lottery, Personalised, Policy, Single, load_policy
from pluralign.policies.learners.ppo import PPO
from pluralign.policies.registry import optimiser
from pluralign.population import load
from pluralign.population.pooled import Pooled
from pluralign.population.voices import Voices, cluster
from pluralign.raters import PRESETS, Asking, Uniform, population, questions
from pluralign.rewards import known_voices
from pluralign.saving import read
from pluralign.saving import write as save
from pluralign.streams import Streams

ASKED: Mapping[str, Asking] = {**QUESTIONS, "uniform": Uniform()}  # nobody meets a pair twice
JUDGED = 20  # answers of everybody, to judge predictions by
BRIEF = 0.25  # of the usual training, for what people are shown
FILES = (".toml", ".json", ".csv", ".csv.gz", ".parquet")  # that a population may be in
FEW = 4  # policies that stand for people without camps
SUMMARIES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "interquartile mean": middle,
    "worst decile": partial(worst_decile, worst="high"),
}


@dataclass(frozen=True)
class Experiment:
    """People who disagree about a world, from their answers to policies, judged by what they truly want.

    Attributes:
        world: which; `pluralign list worlds` shows their factors.
        population: who disagrees, and how; one of the presets that `pluralign list people` shows, or a file: .toml or
            .json with settings, .csv or .parquet with a taste in every row.
        model: a population model or a recipe, that explains the answers.
        groups: camps that the model is to find, where it has such a setting; its own choice by default.
        welfare: what the lottery that serves all people is best at; one that `pluralign list welfare` shows.
        people: raters. asked: pairs of segments that each of them compares.
        questions: which pairs: "designed" to tell most together, or "uniform", "high-contrast" or "low-contrast".
        segments: pieces of trajectory to choose pairs from.
        share: of the people in the first of two camps, for "two-camps"; half by default.
        training: steps of every policy, as a part of what the world usually gets.
        episodes: by which a policy is judged.
        seeds: independent repetitions, 3 by default and 1 in a quick run; with one, intervals are over people alone.
        seed: the first one.
        quick: train policies for two fifths of the steps: a first look.
        films: show policies side by side in the report, where pictures can be rendered.
    """

    world: str
    population: str = "two-camps"
    model: str = "camps"
    welfare: str = "maxmin"
    people: int = 40
    asked: int = 40
    questions: str = "designed"
    segments: int = 400
    share: float | None = None
    groups: int | None = None
    training: float = 1.0
    episodes: int = 64
    seeds: int | None = None
    seed: int = 0
    quick: bool = False
    films: bool = True

    def __post_init__(self) -> None:
        if self.seeds is None:
            object.__setattr__(self, "seeds", 1 if self.quick else 3)
        for name, least in (("asked", 1), ("segments", 2), ("seeds", 1), ("episodes", EACH)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}.")
        if self.people < 2:
            raise ValueError("`people` must be at least 2, so that there is somebody to disagree.")
        if not 0 < self.training <= 100:
            raise ValueError(
                f"`training` must be positive, and 100 at most, got {self.training}; it is a part of the usual steps, 1."
            )
        if self.share is not None and (self.population != "two-camps" or not 0 < self.share < 1):
            raise ValueError(
                f'`share` must lie between 0 and 1 and is for "two-camps", got {self.share} for {self.population!r}.'
            )
        if self.questions not in ASKED:
            raise ValueError(f"`questions` must be one of {', '.join(ASKED)}, got {self.questions!r}.")
        check_people(self)
        self.explains()
        optimiser(self.welfare)

    def run(self, out: Path, overwrite: bool = False, jobs: int = 1) -> Run:
        """Do it all, into the run folder `out`, seeds side by side in `jobs` processes; write report.html.

        Raises:
            ValueError: `jobs` is less than 1.
        """
        from pluralign.lab.experiment_report import screen, write_report

        if jobs < 1:
            raise ValueError(f"`jobs` must be at least 1, got {jobs}.")
        begun = time.monotonic()
        run = Run.open(out, {"command": "experiment", **self.config()}, overwrite)
        self.keep_people(run)
        seeds = list(range(self.seed, self.seed + (self.seeds or 1)))
        if jobs > 1 and len(seeds) > 1:
            with ProcessPoolExecutor(min(jobs, len(seeds)), mp_context=get_context("spawn")) as pool:
                for done in [pool.submit(_one_seed, self, run, seed) for seed in seeds]:
                    done.result()
        else:
            bar = Bar(total=len(seeds) * len(STAGES))
            try:
                for seed in seeds:
                    at = f"seed {seed}: " if len(seeds) > 1 else ""
                    self.once(run, seed, partial(_told, bar, at))
            finally:
                bar.close()
        if self.films:
            _film(self, run, seeds[0])
        run.record("seconds", time.monotonic() - begun, group="this sitting")
        run.finish()
        write_report(run.folder)
        print(screen(run.folder))
        return run

    def explains(self) -> Any:
        """The model that explains the answers.

        Raises:
            ValueError: there is none of this name, or it does not take `groups`.
        """
        return model_named(self.model, None if self.groups is None else {"groups": self.groups})

    def config(self) -> dict[str, Any]:
        """All settings; of a population in a file also what tells that it has not changed."""
        path = Path(self.population)
        if self.population in PRESETS:
            return asdict(self)
        return {**asdict(self), "population_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    def keep_people(self, run: Run) -> None:
        """A copy in the run folder of the file that holds the population."""
        if self.population not in PRESETS:
            path = Path(self.population)
            shutil.copyfile(path, run.folder / f"population{''.join(path.suffixes)}")

    def learner(self, part: float = 1.0) -> PPO:
        """PPO, as long as this run may take, or `part` of it."""
        part = part * self.training * (0.4 if self.quick else 1.0)
        return bed(self.world).learner(part, episodes=self.episodes)

    def once(self, run: Run, seed: int, tell: Callable[[str, Callable[[], Any]], Any]) -> None:
        """All stages of one seed."""
        for name, (words, work) in STAGES.items():
            tell(words, partial(run.stage, f"{name}-{seed}", partial(_work, work, self, run, seed)))


def _told(bar: Bar, at: str, words: str, work: Callable[[], Any]) -> Any:
    return bar.stage(at + words, work)


def _work(work: "Work", settings: Experiment, run: Run, seed: int, stage: Stage) -> dict[str, Any]:
    return work(settings, run, stage, seed)


def _one_seed(settings: Experiment, run: Run, seed: int) -> None:
    """In a process of its own."""
    torch.set_num_threads(1)
    settings.once(run, seed, lambda words, work: work())


def check_people(settings: Experiment) -> None:
    """Raise before anything is trained.

    Raises:
        ValueError: there is no such population, its file is wrong, people are too few for it, or they do not have a taste per factor.
    """
    here, name = bed(settings.world), settings.population
    if name not in PRESETS and not name.endswith(FILES):
        raise ValueError(
            f"there is no population {name!r}; there are {', '.join(PRESETS)}, or give a file that ends in "
            f"{', '.join(FILES)}."
        )
    people = people_by(settings, torch.ones(len(here.signs()), dtype=torch.float64), 0)
    taste = getattr(people, "taste", None)
    if taste is None or taste.shape[1] != len(here.signs()):
        raise ValueError(
            f"{name}: an experiment judges policies by sums of factors, and needs people with one number for each of "
            f"{', '.join(here.signs())}; `pluralign simulate` takes any people."
        )


def people_of(settings: Experiment, shown: Shown, seed: int) -> Any:
    """The people, whose tastes are in utils per unit of each factor, summed over the steps of a segment."""
    return people_by(settings, shown.scale, seed)


def people_by(settings: Experiment, scale: Float[Tensor, " F"], seed: int) -> Any:
    """The people, where two segments typically differ by `scale`."""
    people = population(settings.population, signed(bed(settings.world), scale))
    if settings.share is not None:
        people = dataclasses.replace(people, share=(settings.share, 1 - settings.share))  # type: ignore[type-var]
    return people.draw(settings.people, Streams(seed).below("people"))


def answers_of(settings: Experiment, shown: Shown, seed: int) -> tuple[Any, Comparisons, Comparisons]:
    """The people, what they said, and what they say to further questions, for judging."""
    people, streams = people_of(settings, shown, seed), Streams(seed).below("people")
    train = ASKED[settings.questions].ask(people, shown.segments, settings.asked, streams)
    # Judged by random pairs, however the others were chosen, and as the same people later in their lives.
    each, before = settings.asked + JUDGED, torch.full((len(people),), settings.asked)
    slate, rater = questions(len(shown.segments), each, len(people), streams)
    later = torch.arange(len(rater)) % each >= settings.asked
    test = people.answer(shown.segments, slate[later], rater[later], streams, asked=before)
    names = tuple(f"p{r:03d}" for r in range(len(people)))
    return people, *(dataclasses.replace(said, rater_ids=names) for said in (train, test))


def wanted(settings: Experiment, people: Any) -> Float[Tensor, "R F"]:
    """What everybody truly wants, once all questions are answered."""
    return (people.at(settings.asked) if hasattr(people, "at") else people).taste.double()


def _show(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    here, notes = bed(settings.world), list[str]()
    learner = settings.learner(BRIEF)
    with _watched(learner, stage, "shown", seed, notes):  # its learning curves say nothing
        shown = collect(here, learner, settings.segments, Streams(seed).below("shown"))
    save(shown.segments, stage.folder / "segments", "segments")
    return {"scale": shown.scale.tolist(), "names": list(shown.segments.names), "notes": notes}


def shown_of(run: Run, seed: int) -> Shown:
    """What the first stage kept."""
    told = run.stage(f"shown-{seed}", lambda stage: None)
    segments = read(run.files(f"shown-{seed}") / "segments", "segments", "run the experiment again")
    assert isinstance(segments, Segments)
    return Shown(segments, torch.tensor(told["scale"], dtype=torch.float64))


def _fit(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
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


def _own(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    """What each true camp would have trained for itself."""
    shown = shown_of(run, seed)
    camps = _camps(settings, people_of(settings, shown, seed), shown, seed)
    return _each(settings, stage, camps, "camp", seed)


def _heard(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
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


def _pooled(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    voices = load(run.files(f"belief-{seed}") / "pooled").voices()
    notes: list[str] = []
    with _watched(settings.learner(), stage, "pooled", seed, notes) as learner:
        Single().optimise(learner, voices, Streams(seed).number("pooled")).save(stage.folder / "policy")
    return {"notes": notes}


def _welfare(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
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
        alone, told = _policies(run, "voices", seed), tuple(personal.of(z) for z in voices.z)
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


def _personal(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    """One policy that is told whom it serves; it begins with what the voices' own policies do."""
    belief = load(run.files(f"belief-{seed}") / "model")
    notes: list[str] = []
    with _watched(settings.learner(), stage, "personalised", seed, notes) as learner:
        start = _policies(run, "voices", seed)
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


def _policies(run: Run, name: str, seed: int) -> tuple[Policy, ...]:
    folder = run.files(f"{name}-{seed}")
    return tuple(
        load_policy(folder / str(g)) for g in range(run.stage(f"{name}-{seed}", lambda s: {})["count"])
    )


def policies_of(settings: Experiment, run: Run, seed: int) -> dict[str, Any]:
    """Everything that was trained: a policy, a lottery or a personal policy under each name."""
    at = lambda name: load_policy(run.files(f"{name}-{seed}") / "policy")
    found: dict[str, Any] = {f"camp {g}": p for g, p in enumerate(_policies(run, "camps", seed))}
    found |= {f"voice {g}": p for g, p in enumerate(_policies(run, "voices", seed))}
    return {**found, "pooled": at("pooled"), settings.welfare: at("welfare"), "personalised": at("personal")}


def _film(settings: Experiment, run: Run, seed: int) -> None:
    """films/ with what the policies of a seed do, or with the reason why nothing can be rendered."""
    from pluralign.lab.films import film

    folder = run.folder / "films"
    if (folder / "film.gif").exists():
        return
    folder.mkdir(exist_ok=True)
    voices = load(run.files(f"belief-{seed}") / "model").voices(seed=seed)
    policies = policies_of(settings, run, seed)
    cast: dict[str, Policy] = {"the average's": policies["pooled"].policies[0]}
    for g, z in list(enumerate(voices.z))[:FEW]:
        cast[f"voice {g}'s"] = policies["personalised"].of(z)
    problem = film(bed(settings.world), cast, folder, Streams(seed).number("film"))
    if problem is not None:
        write_text(folder / "problem.txt", problem + "\n")


def _judge(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    """Everybody's regret: 0 what the best policy known for their true taste brings, 1 what random actions do."""
    shown, learner = shown_of(run, seed), settings.learner()
    people, train, _ = answers_of(settings, shown, seed)
    taste, number = wanted(settings, people), Streams(seed).number("judge")
    policies = policies_of(settings, run, seed)
    personal = policies.pop("personalised")
    belief = load(run.files(f"belief-{seed}") / "model")
    known, voices = belief.known(train).mean, belief.voices(seed=seed)
    seen: dict[str, Tensor] = {}  # (E, F) discounted factors of every policy, all from the same first states
    lost, world = 0, bed(settings.world).world
    alone = {"random": learner.random(), **policies}
    alone |= {f"personal for voice {g}": personal.of(z) for g, z in enumerate(voices.z)}
    for name, policy in alone.items():
        parts = policy.policies if isinstance(policy, Lottery) else (policy,)
        chance = policy.chance.tolist() if isinstance(policy, Lottery) else [1.0]
        each = []
        for part in parts:
            segments = learner.rollout(part, settings.episodes, seed=number)
            lost += episodes_lost(segments, world)
            each.append(factor_returns(segments, learner.discount))
        if len(parts) > 1:
            seen |= {f"{name}, part {p}": x for p, x in enumerate(each)}
        seen[name] = torch.stack([c * x for c, x in zip(chance, each)]).sum(0)
    mine = served(learner, personal, known, number)
    lost += episodes_lost(mine, world)
    returns = {name: taste @ x.T for name, x in seen.items()}  # (R, E)
    own = torch.stack([x.mean(1) for x in returns.values()]).argmax(0)
    best = torch.stack(list(returns.values()))[own, torch.arange(len(own))]
    each_own = factor_returns(mine, learner.discount).reshape(len(taste), EACH, -1)
    returns["personalised"] = torch.einsum("rf,ref->re", taste, each_own)
    random = returns["random"].mean(1)
    regrets = {name: regret(value, random, best) for name, value in returns.items()}
    mine_by = _nearest(known, voices.z)
    regrets["own voice"] = torch.stack([regrets[f"voice {g}"] for g in range(len(voices))])[
        mine_by, torch.arange(len(mine_by))
    ]
    group = None if people.group is None else people.group.tolist()
    for name in ("pooled", settings.welfare, "personalised"):
        _note(stage, name, regrets[name], people.group, seed)
    against = None
    if people.group is not None:
        own_camp = _own_camp(returns, people.group)
        against = regret(returns["personalised"], random, own_camp).tolist()
    return {
        "regret": {name: value.tolist() for name, value in regrets.items()},
        "against own camp": against,
        "group": group,
        "taste": (taste * shown.scale).tolist(),
        "voices": (_linear(voices, taste.shape[1]) * shown.scale).tolist(),
        "lost": lost,
        "scale": shown.scale.tolist(),
    }


def _own_camp(returns: Mapping[str, Tensor], group: Int[Tensor, " R"]) -> Float[Tensor, "R E"]:
    """(R, E) what everybody gets from the policy that was trained for their own true camp alone."""
    place = torch.searchsorted(group.unique(), group)  # nothing was trained for a camp with nobody in it
    each = torch.stack([returns[f"camp {g}"] for g in range(int(place.max()) + 1)])
    return each[place, torch.arange(len(group))]


def _nearest(known: Float[Tensor, "R Z"], z: Float[Tensor, "G Z"]) -> Int[Tensor, " R"]:
    """(R,) the voice that points where each person does, as far as their answers tell."""
    unit = lambda rows: torch.nn.functional.normalize(rows.double(), dim=-1)
    return (unit(known) @ unit(z).T).argmax(1)


def _linear(voices: Voices, width: int) -> Float[Tensor, "G F"]:
    """(G, F) what each voice pays per unit of each factor."""
    still = torch.zeros(1, width)
    return (voices.reward(torch.eye(width)) - voices.reward(still)).T.double()


def summary(regrets: Float[Tensor, " R"]) -> dict[str, Estimate]:
    """Interquartile mean and worst decile of people's regrets, with intervals over people."""
    return {name: bootstrap(regrets, statistic) for name, statistic in SUMMARIES.items()}


def _note(stage: Stage, name: str, regrets: Tensor, group: Tensor | None, seed: int) -> None:
    for what, value in summary(regrets).items():
        stage.record(
            f"regret, {what}", value.value, group=name, seed=seed, standard_error=value.standard_error
        )
    for g in [] if group is None else group.unique().tolist():
        mine = Estimate.mean(regrets[group == g])
        stage.record(
            "regret", mine.value, group=f"{name}, camp {g}", seed=seed, standard_error=mine.standard_error
        )


Work = Callable[[Experiment, Run, Stage, int], dict[str, Any]]
STAGES: Mapping[str, tuple[str, Work]] = {
    "shown": ("behaviour to show", _show),
    "belief": ("asking people and fitting", _fit),
    "camps": ("each camp's own best policy", _own),
    "voices": ("each voice's own best policy", _heard),
    "pooled": ("one policy for the average", _pooled),
    "personal": ("one policy that serves everybody by their taste", _personal),
    "welfare": ("one lottery for all", _welfare),
    "judged": ("judging by true tastes", _judge),
}
