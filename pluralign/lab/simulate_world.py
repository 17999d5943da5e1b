"""A folder of answers about a simulated world, and of the episodes that were shown, for offline learners."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data import Comparisons, write
from pluralign.data.options import Options, Segments
from pluralign.lab.beds import world_named
from pluralign.lab.episodes import QUALITY, Episodes, collect, joined, write_minari
from pluralign.policies import Policy
from pluralign.policies.learners.ppo import PPO
from pluralign.population.voices import Voices
from pluralign.raters import (
    Asking,
    Basis,
    ChangingRaters,
    Contrast,
    Designed,
    Factors,
    MixedRaters,
    RankedRaters,
    SimulatedRaters,
    Uniform,
    long_tailed,
    population,
    write_population,
)
from pluralign.saving import appearing
from pluralign.streams import Streams

COSTS = frozenset({"effort", "power", "hazard", "bounce"})  # factors of which people would rather have less
QUESTIONS: dict[str, Asking] = {
    "uniform": Uniform(repeat=True),
    "high-contrast": Contrast(high=True),
    "low-contrast": Contrast(high=False),
    "designed": Designed(),
}
Raters = SimulatedRaters | MixedRaters | ChangingRaters | RankedRaters


@dataclass(frozen=True)
class SimulateWorld:
    """People who watch pieces of trajectories of a world and say which of two they prefer.

    Attributes:
        world: an id, or its short name, for example cheetah.
        population: a preset, or a .toml, .json, .csv or .parquet file.
        raters: how many people.
        answers: per person; on average, if long-tailed.
        long_tailed: few people give many answers.
        questions: "uniform", "high-contrast", "low-contrast" or "designed" pairs.
        strength: utils by which two pieces typically differ to a person, in presets.
        quality: of the policies shown: "random", "medium", "expert", or "mixed", a third of each.
        voices: how many kinds of people a policy is trained for, for other than random quality.
        training: steps of the simulator for each of these.
        episodes: in all. segments: pieces cut from them. steps: of a piece.
        seed: of everything.
    """

    world: str
    population: str = "two-camps"
    raters: int = 200
    answers: int = 20
    long_tailed: bool = False
    questions: str = "uniform"
    strength: float = 2.0
    quality: str = "mixed"
    voices: int = 2
    training: int = 60_000
    episodes: int = 90
    segments: int = 600
    steps: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "world", world_named(self.world))
        for name, among in (("quality", (*QUALITY, "mixed")), ("questions", tuple(QUESTIONS))):
            if getattr(self, name) not in among:
                raise ValueError(f"`{name}` must be one of {', '.join(among)}, got {getattr(self, name)!r}.")
        for name, least in (
            ("raters", 1),
            ("answers", 1),
            ("voices", 1),
            ("episodes", 3),
            ("segments", 2),
            ("steps", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be {least} or more, got {getattr(self, name)}.")
        if self.training < 0:
            raise ValueError(f"`training` must be 0 or more steps, got {self.training}.")

    def watched(self) -> Episodes:
        """The episodes, in turn by every policy that was trained."""
        streams, learner = Streams.of(self.seed), PPO(self.world, steps=self.training)
        random = learner.random()
        kinds = {self.quality: QUALITY[self.quality]} if self.quality in QUALITY else QUALITY
        trained: list[tuple[str, Policy]] = [("nobody", random)]
        if any(part < 1 for part in kinds.values()):
            pilot = collect(self.world, random, 48, streams.below("pilot"), random=random, part=1.0)
            pieces = pilot.cut(400, min(self.steps, int(pilot.length.min())), streams.below("pilot"))[0]
            trained = self._trained(learner, pieces, streams)
        parts = []
        for place, (kind, part) in enumerate(kinds.items()):
            many = self.episodes // len(kinds) + (place < self.episodes % len(kinds))
            for turn, (voice, policy) in enumerate(trained[:1] if part >= 1 else trained):
                count = many if part >= 1 else many // len(trained) + (turn < many % len(trained))
                if count:
                    name = kind if part >= 1 else f"{kind}, {voice}"
                    seeds = streams.below("episodes", kind, turn)
                    parts.append(
                        collect(self.world, policy, count, seeds, random=random, part=part, name=name)
                    )
        return joined(parts)

    def people(self, pieces: Segments) -> Raters:
        """The people; a preset takes as typical what two of these pieces differ by."""
        return population(self.population, scales(pieces), self.strength).draw(self.raters, self.seed)

    def answer(self, pieces: Segments) -> tuple[Comparisons, Raters]:
        """What everybody says of pairs of these pieces."""
        people = self.people(pieces)
        each = long_tailed(self.raters, self.answers, self.seed) if self.long_tailed else self.answers
        data = QUESTIONS[self.questions].ask(people, pieces, each, self.seed)
        ids = tuple(f"r{r:0{len(str(self.raters - 1))}d}" for r in range(self.raters))
        return dataclasses.replace(data, rater_ids=ids), people

    def write(self, out: str | Path) -> tuple[Path, Comparisons]:
        """A folder as `pluralign.read` takes it, with what was seen and done in every piece; beside it episodes/ as Minari
        lays it out, and the truth: truth.csv (tastes), population.toml, and truth_share.npy (the chance of the first of
        each pair; not where people who change have skipped questions).

        Raises:
            FileExistsError: it exists.
        """
        with appearing(out) as half:
            data = self._written(half)
        return Path(out), data

    def _written(self, half: Path) -> Comparisons:
        from pluralign_envs.catalogue import WORLDS

        # A wrong population is told before anything is simulated.
        population(
            self.population, {factor.name: 1.0 for factor in WORLDS[self.world].factors}, self.strength
        )
        episodes = self.watched()
        pieces, episode, first = episodes.cut(
            self.segments, self.steps, Streams.of(self.seed).below("pieces")
        )
        data, people = self.answer(pieces)
        about = pd.DataFrame(
            {
                "policy": [episodes.policy[n] for n in episode.tolist()],
                "episode": episode.numpy(),
                "start": first.numpy(),
            }
        )
        write(data, half, form="csv.gz", item_attributes=about)
        truth(people, data, pieces.names).to_csv(half / "truth.csv", index=False, float_format="%.9g")
        write_population(
            population(self.population, scales(pieces), self.strength),
            half / "population.toml",
            pieces.names,
        )
        if not isinstance(people, ChangingRaters) or len(data) == self.raters * self.answers:
            np.save(half / "truth_share.npy", people.share(pieces, data.slate, data.rater)[:, 0].numpy())
        write_minari(episodes, half / "episodes")
        return data

    def _trained(self, learner: PPO, pieces: Segments, streams: Streams) -> list[tuple[str, Policy]]:
        """A policy for each of a few kinds of people."""
        people = self.people(pieces)
        wanted, names = wishes(people, pieces, self.voices)
        worth = Known(people.worth if isinstance(people, SimulatedRaters) else Factors(), wanted.shape[1])
        voices = Voices(worth, wanted, torch.full((len(wanted),), 1 / len(wanted)).double(), names)
        even = torch.eye(len(wanted), dtype=torch.float64)
        return [
            (name, learner.improve(voices, even[g], seed=streams.below("policy", g)))
            for g, name in enumerate(names)
        ]


@dataclass(frozen=True)
class Known:
    """What simulated people value, as a reward per step."""

    inner: Basis
    width: int

    def basis(self, options: Options) -> Float[Tensor, "N Z"]:
        """(N, Z) of whole options."""
        return self.inner.basis(options)

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b Z"]:
        """(*b, Z) of single steps; plain factors, where people weigh steps by their place."""
        found: Tensor = getattr(self.inner, "steps", Factors().steps)(rows)
        return found


def wishes(people: Raters, pieces: Segments, count: int) -> tuple[Float[Tensor, "G Z"], tuple[str, ...]]:
    """Tastes of at most `count` kinds of people: the largest camps, or people as unlike as can be.

    People who rank factors have no taste: they are taken to want each factor in their list three times less, in units of
    its margin, than the one before.
    """
    if isinstance(people, RankedRaters):
        place = people.order.argsort(1)
        taste = people.sign / people.margin.clamp_min(1e-9) * 3.0 ** -place.double()
    else:
        taste = people.taste.double()
    if people.group is not None:
        size = torch.bincount(people.group)
        largest = size.argsort(descending=True, stable=True)[: min(count, int((size > 0).sum()))].tolist()
        return torch.stack([taste[people.group == g].mean(0) for g in largest]), tuple(
            f"camp {g}" for g in largest
        )
    felt = (
        taste * pieces.factors.sum(1).double().std(0).clamp_min(1e-9)
        if taste.shape[1] == len(pieces.names)
        else taste
    )
    chosen = [int(felt.norm(dim=1).argmax())]
    while len(chosen) < min(count, len(taste)):
        away = torch.cdist(felt, felt[chosen]).amin(1)
        chosen.append(int(away.argmax()))
    return taste[chosen], tuple(f"rater {r}" for r in chosen)


def scales(pieces: Segments) -> dict[str, float]:
    """Root mean square differences between two pieces, by factor: negative for costs, 1 where no two pieces differ."""
    spread = pieces.pool(pieces.factors.double(), 1.0).std(0) * 2**0.5
    size = {name: float(s) if float(s) > 1e-9 else 1.0 for name, s in zip(pieces.names, spread, strict=True)}
    return {name: -value if name in COSTS else value for name, value in size.items()}


def truth(people: Raters, data: Comparisons, names: tuple[str, ...]) -> pd.DataFrame:
    """What only a simulation knows of each person, a row each."""
    assert data.rater_ids is not None
    found: dict[str, Any] = {"rater_id": list(data.rater_ids)}
    if people.group is not None:
        found["group"] = people.group.numpy()
    if isinstance(people, MixedRaters):
        found["kind"] = people.kind.numpy()
    if isinstance(people, RankedRaters):
        found["order"] = [" ".join(names[f] for f in order) for order in people.order.tolist()]
        found |= {f"margin_{name}": people.margin[:, f].numpy() for f, name in enumerate(names)}
        return pd.DataFrame(found)
    taste = people.taste
    columns = names if taste.shape[1] == len(names) else (*names, *(f"{name}^2" for name in names))
    return pd.DataFrame(found | {name: taste[:, f].numpy() for f, name in enumerate(columns)})
