"""The main job on any world: simulate people -> fit -> optimise -> judge everybody by their true taste -> report.

Every stage is kept in the run folder; a stopped run goes on where it was. Seeds may run side by side.
"""

import dataclasses
import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Segments
from pluralign.lab.beds import bed
from pluralign.lab.naming import model_named
from pluralign.lab.progress import Bar
from pluralign.lab.run import Run, Stage
from pluralign.lab.serving import EACH
from pluralign.lab.shown import Shown, signed
from pluralign.lab.simulate_world import QUESTIONS
from pluralign.policies.learners.ppo import PPO
from pluralign.policies.registry import optimiser
from pluralign.raters import PRESETS, Asking, Uniform, population, questions
from pluralign.saving import read
from pluralign.streams import Streams

ASKED: Mapping[str, Asking] = {**QUESTIONS, "uniform": Uniform()}  # nobody meets a pair twice
JUDGED = 20  # answers of everybody, to judge predictions by
FILES = (".toml", ".json", ".csv", ".csv.gz", ".parquet")  # that a population may be in


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
    model: str = "normal_mixture"
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
        from pluralign.lab.experiment_stages import STAGES, film_of

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
            film_of(self, run, seeds[0])
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
        from pluralign.lab.experiment_stages import STAGES

        for name, (words, work) in STAGES.items():
            tell(words, partial(run.stage, f"{name}-{seed}", partial(_work, work, self, run, seed)))


Work = Callable[[Experiment, Run, Stage, int], dict[str, Any]]


def _told(bar: Bar, at: str, words: str, work: Callable[[], Any]) -> Any:
    return bar.stage(at + words, work)


def _work(work: Work, settings: Experiment, run: Run, seed: int, stage: Stage) -> dict[str, Any]:
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


def shown_of(run: Run, seed: int) -> Shown:
    """What the first stage kept."""
    told = run.stage(f"shown-{seed}", lambda stage: None)
    segments = read(run.files(f"shown-{seed}") / "segments", "segments", "run the experiment again")
    assert isinstance(segments, Segments)
    return Shown(segments, torch.tensor(told["scale"], dtype=torch.float64))
