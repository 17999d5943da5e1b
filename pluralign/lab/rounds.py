"""An experiment in rounds: people are asked a few questions, served, and asked again about what policies now do.

The people, their questions in all, the world and its training are those of the experiment; what differs is that they
are asked in rounds, at first about random behaviour alone, then about what was learned from them (`lab.closed_loop`).
"""

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.elicitation.choosers import CHOOSERS
from pluralign.lab.beds import bed
from pluralign.lab.closed_loop import Loop, camps_of, closed_loop
from pluralign.lab.experiment import Experiment, people_of, shown_of
from pluralign.lab.experiment_stages import STAGES, summary
from pluralign.lab.experiment_training import FEW
from pluralign.lab.films import film
from pluralign.lab.naming import model_named
from pluralign.lab.progress import Bar
from pluralign.lab.run import Run, Stage, write_text
from pluralign.lab.serving import Taught
from pluralign.policies.lottery import Lottery
from pluralign.policies.registry import optimiser
from pluralign.policies.saving import load_policy
from pluralign.population import load
from pluralign.population.voices import Voices
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Rounds:
    """An experiment whose people are asked in rounds.

    Attributes:
        experiment: the world, the people and what is wanted for them.
        rounds: of asking, fitting and optimising; each has its part of the questions and of the pieces of trajectory.
        pick: how questions are chosen: "information", "random", or "disagreement" (of the model `ensemble`).
        explore: part of the pieces that come from random actions, after the first round, in which all do.
    """

    experiment: Experiment
    rounds: int = 4
    pick: str = "information"
    explore: float = 0.25

    def __post_init__(self) -> None:
        if self.rounds < 2:
            raise ValueError(
                f"`rounds` must be at least 2, got {self.rounds}; for one round leave `--rounds` away."
            )
        for name in ("asked", "segments"):
            least, given = (
                3 * self.rounds if name == "segments" else self.rounds,
                getattr(self.experiment, name),
            )
            if given < least:
                raise ValueError(f"`{name}` must be at least {least} for {self.rounds} rounds, got {given}.")
        if self.pick not in CHOOSERS:
            raise ValueError(f"`pick` must be one of {', '.join(CHOOSERS)}, got {self.pick!r}.")
        if not 0 <= self.explore <= 1:
            raise ValueError(f"`explore` must be a share in [0, 1], got {self.explore}.")

    @property
    def seeds(self) -> list[int]:
        first = self.experiment.seed
        return list(range(first, first + (self.experiment.seeds or 1)))

    def run(self, out: Path, overwrite: bool = False, jobs: int = 1) -> Run:
        """Do it all, into the run folder `out`, seeds side by side in `jobs` processes; write report.html.

        Raises:
            ValueError: `jobs` is less than 1.
        """
        from pluralign.lab.rounds_report import screen, write_report

        if jobs < 1:
            raise ValueError(f"`jobs` must be at least 1, got {jobs}.")
        begun = time.monotonic()
        settings = {"rounds": self.rounds, "pick": self.pick, "explore": self.explore}
        run = Run.open(
            out, {"command": "experiment rounds", **self.experiment.config(), **settings}, overwrite
        )
        self.experiment.keep_people(run)
        if jobs > 1 and len(self.seeds) > 1:
            with ProcessPoolExecutor(min(jobs, len(self.seeds)), mp_context=get_context("spawn")) as pool:
                for done in [pool.submit(_one_seed, self, run, seed) for seed in self.seeds]:
                    done.result()
        else:
            bar = Bar(total=2 * len(self.seeds))
            try:
                for seed in self.seeds:
                    self.once(run, seed, bar.stage)
            finally:
                bar.close()
        if self.experiment.films:
            self._film(run)
        run.record("seconds", time.monotonic() - begun, group="this sitting")
        run.finish()
        write_report(run.folder)
        print(screen(run.folder))
        return run

    def once(self, run: Run, seed: int, tell: Callable[[str, Callable[[], Any]], Any]) -> None:
        """All of one seed; `show` is the experiment's own first stage, so that the people are the same."""
        words, show = STAGES["shown"]
        ways = {
            "shown": (words, lambda stage: show(self.experiment, run, stage, seed)),
            "loop": (f"{self.rounds} rounds", lambda stage: self._loop(run, stage, seed)),
        }
        for name, (told, work) in ways.items():
            tell(f"seed {seed}: {told}", partial(run.stage, f"{name}-{seed}", work))

    def _film(self, run: Run) -> None:
        """films/ with what was found for the voices of the first seed's last round, or why nothing can be rendered."""
        folder, seed = run.folder / "films", self.seeds[0]
        if (folder / "film.gif").exists():
            return
        folder.mkdir(exist_ok=True)
        last = _loop_folder(run, seed) / "stages" / f"round-{self.rounds - 1}"
        found, voices = load_policy(last / "found").policies, load(last / "belief").voices()
        cast = {f"voice {g}'s": found[g] for g in range(min(len(voices), len(found), FEW))}
        problem = film(bed(self.experiment.world), cast, folder, Streams(seed).number("film"))
        if problem is not None:
            write_text(folder / "problem.txt", problem + "\n")

    def settings(self, window: int) -> Loop:
        """What a round is."""
        told = self.experiment
        return Loop(
            rounds=self.rounds,
            asked=told.asked // self.rounds,
            pick=self.pick,
            pieces=told.segments // self.rounds,
            length=window,
            explore=self.explore,
            population=model_named(told.model),
            optimiser=Heard(told.welfare),
        )

    def _loop(self, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
        told, here = self.experiment, bed(self.experiment.world)
        shown = shown_of(run, seed)
        people, loop = people_of(told, shown, seed), self.settings(here.window)
        now = people.at(loop.rounds * loop.asked) if hasattr(people, "at") else people
        found = closed_loop(
            here.world,
            people,
            loop,
            seed=seed,
            learner=told.learner(),
            truth=camps_of(now, seed=seed),
            first=_first(shown.segments, loop.pieces),
            out=_loop_folder(run, seed),
        )
        regret = _regrets(found.people)
        for name, rows in regret.items():
            for number, row in enumerate(rows):
                for what, value in summary(row).items():
                    stage.record(
                        f"regret, {what}", value.value, group=name, seed=seed, step=number,
                        standard_error=value.standard_error,
                    )  # fmt: skip
        group = None if now.group is None else now.group.tolist()
        return {
            "table": found.table.to_dict("list"),
            "regret": {name: rows.tolist() for name, rows in regret.items()},
            "group": group,
            "notes": list(found.policy.diagnostics.get("silent", ())),
        }


@dataclass(frozen=True)
class Heard:
    """A welfare's lottery over the voices that gain from any policy found; with answers so few some may not, and where
    none does nothing better is known than random actions.

    Attributes:
        welfare: one that `pluralign list welfare` shows.
    """

    welfare: str

    def optimise(self, learner: Any, voices: Voices, seed: Seed = 0, progress: Any = None) -> Lottery:
        """Each voice's own policy, then the lottery; `diagnostics["silent"]` names the voices that had no say."""
        streams, best = Streams.of(seed).below("heard"), optimiser(self.welfare)
        own = tuple(
            learner.improve(voices, one, seed=streams.number("own", g))
            for g, one in enumerate(torch.eye(len(voices), dtype=torch.float64))
        )
        mean = lambda policy: learner.returns(policy, voices, seed=0).double().mean(0)
        gains = torch.stack([mean(policy) for policy in own]).amax(0) > mean(learner.random())
        told = {"silent": tuple(voices.names[g] for g in (~gains).nonzero()[:, 0].tolist())}
        if not bool(gains.any()):
            return Lottery((learner.random(),), torch.ones(1, dtype=torch.float64), told)
        # Rounds cost a training each: few, and none for what cannot be told from chance.
        changes = {"rounds": 1, "tolerance": 0.02}
        fields = {f.name for f in dataclasses.fields(best)}  # type: ignore[arg-type]
        best = dataclasses.replace(best, **{k: v for k, v in changes.items() if k in fields})  # type: ignore[type-var]
        kept = gains.nonzero()[:, 0].tolist()
        weight = voices.weight[kept] / voices.weight[kept].sum()
        heard = Voices(voices.worth, voices.z[kept], weight, tuple(voices.names[g] for g in kept))
        taught = Taught(learner, heard, tuple(own[g] for g in kept), getattr(learner, "known", ()))
        lottery = best.optimise(taught, heard, streams.number("welfare"), progress)
        return dataclasses.replace(lottery, diagnostics={**lottery.diagnostics, **told})


def _loop_folder(run: Run, seed: int) -> Path:
    return run.folder / "loops" / f"seed-{seed}"


def _first(shown: Segments, count: int) -> Segments:
    """Pieces of random behaviour, which come first among those that the experiment shows."""
    aimless = -(-len(shown) * 2 // 5)
    kept = torch.arange(min(count, aimless))
    return Segments(shown.factors[kept].double(), names=shown.names)


def _regrets(people: Any) -> dict[str, Float[Tensor, "rounds R"]]:
    """Regret of everybody in every round: 0 is the best policy that the whole run found for them, 1 random actions.

    `lottery` by the welfare's lottery, `own` by the policy that each was believed to like best.
    """
    wide = {
        name: torch.tensor(people.pivot(index="round", columns="rater", values=name).to_numpy())
        for name in ("policy", "choice", "best", "random", "own")
    }
    random, best = wide["random"][0], torch.maximum(wide["best"].amax(0), wide["own"][0])
    gain = torch.where(best > random, best - random, torch.nan)
    return {"lottery": (best - wide["policy"]) / gain, "own": (best - wide["choice"]) / gain}


def _one_seed(settings: Rounds, run: Run, seed: int) -> None:
    """In a process of its own."""
    torch.set_num_threads(1)
    settings.once(run, seed, lambda words, work: work())
