"""A folder of answers by simulated people whose tastes are known, to try models on."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pluralign.data import Comparisons, Items, write
from pluralign.raters import CampPeople, Faults, GaussianPeople, SimulatedRaters, questions
from pluralign.saving import appearing
from pluralign.streams import Streams

POPULATIONS = ("camps", "gaussian", "alike")


@dataclass(frozen=True)
class Simulate:
    """People who value options by their features, and answer questions about random pairs of them.

    Attributes:
        population: "camps" (a taste per camp), "gaussian" (everybody a little different) or "alike" (one taste).
        raters: how many people.
        answers: per person.
        options: how many there are to compare.
        features: numbers that describe an option, each standard normal.
        groups: camps, for "camps".
        share: of the people in each camp; by default equal.
        strength: utils by which two random options typically differ to a person.
        spread: how far people stand from their camp or from the mean, as a part of `strength`.
        lapse: chance that an answer is a guess.
        seed: of everything.
    """

    population: str = "camps"
    raters: int = 120
    answers: int = 30
    options: int = 80
    features: int = 6
    groups: int = 2
    share: tuple[float, ...] = ()
    strength: float = 2.0
    spread: float = 0.3
    lapse: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.population not in POPULATIONS:
            raise ValueError(
                f"`population` must be one of {', '.join(POPULATIONS)}, got {self.population!r}."
            )
        for name in ("raters", "answers", "features", "groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be 1 or more, got {getattr(self, name)}.")
        if not (0 <= self.strength < math.inf and 0 <= self.spread < math.inf):
            raise ValueError(
                f"`strength` and `spread` must be finite and 0 or more, got {self.strength} and {self.spread}."
            )

    def people(self) -> SimulatedRaters:
        """The people; their tastes are what a model should find."""
        streams = Streams.of(self.seed)
        # Two standard normal options differ by strength * sqrt(2 * sum of squares) / sqrt(2) utils.
        scale = self.strength / 2**0.5
        centre = torch.randn(self.groups, self.features, generator=streams("centres"), dtype=torch.float64)
        centre = scale * centre / centre.norm(dim=1, keepdim=True)
        around = self.spread * scale / self.features**0.5
        faults = Faults(lapse=self.lapse)
        if self.population == "camps":
            share = self.share or (1 / self.groups,) * self.groups
            centres = tuple(tuple(row) for row in centre.tolist())
            return CampPeople(centres, tuple(share), around, faults=faults).draw(self.raters, self.seed)
        wide = around**2 if self.population == "gaussian" else 0.0
        covariance = tuple(tuple(wide * (a == b) for b in range(self.features)) for a in range(self.features))
        mean = tuple(centre[0].tolist())
        return GaussianPeople(mean, covariance, faults=faults).draw(self.raters, self.seed)

    def answer(self) -> tuple[Comparisons, SimulatedRaters, torch.Tensor]:
        """The answers, the people, and the true chance (M, 2) of every answer."""
        streams, people = Streams.of(self.seed), self.people()
        names = tuple(f"x{d}" for d in range(self.features))
        ids = _ids("item", self.options)
        rows = torch.randn(self.options, self.features, generator=streams("options")).double()
        items = Items(rows.float(), ids, names)
        slate, rater = questions(
            self.options,
            self.answers,
            self.raters,
            self.seed,
            repeat=self.answers > math.comb(self.options, 2),
        )
        data = people.answer(items, slate, rater, self.seed)
        data = dataclasses.replace(data, rater_ids=_ids("r", self.raters))
        return data, people, people.share(items, slate, rater)

    def write(self, out: str | Path) -> Path:
        """A folder as `pluralign.read` takes it, with the truth beside: truth.csv and truth_share.npy.

        Raises:
            FileExistsError: it exists.
        """
        with appearing(out) as half:
            data, people, share = self.answer()
            write(data, half, form="csv.gz")
            truth = pd.DataFrame({"rater_id": data.rater_ids})
            if people.group is not None:
                truth["group"] = people.group.numpy()
            for d, column in enumerate(people.taste.T):
                truth[f"x{d}"] = column.numpy()
            truth.to_csv(half / "truth.csv", index=False, float_format="%.9g")
            np.save(half / "truth_share.npy", share[:, 0].numpy())
        return Path(out)


def _ids(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{n:0{len(str(count - 1))}d}" for n in range(count))
