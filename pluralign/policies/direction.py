"""As far as can be in a direction that says how voices should fare relative to each other."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.fair import check_settings, prepared
from pluralign.policies.game import Mix, best_mix
from pluralign.policies.learner import Learner, Progress
from pluralign.policies.lottery import Lottery
from pluralign.population.voices import Voices
from pluralign.rewards.welfare import WorstOff
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Direction:
    """The lottery with the largest t such that voice g gets t * preference[g] at least.

    All directions together trace the whole frontier of what voices can have, its hollow parts too, where weighted
    sums (`Single`) jump. Equal preferences are `MaxMin`.

    Attributes:
        preference: one number for each voice, none negative; zero lets a voice take what is left.
        rounds, scale, tolerance: as in `MaxMin`.

    Source: the weighted Chebyshev method; preference vectors as in directional alignment (Wang et al., ACL 2024).
    """

    preference: tuple[float, ...]
    rounds: int = 100
    scale: Literal["relative", "none"] = "relative"
    tolerance: float | None = None

    def __post_init__(self) -> None:
        check_settings(self.rounds, self.scale)
        if not all(math.isfinite(x) and x >= 0 for x in self.preference) or not sum(self.preference) > 0:
            raise ValueError(
                f"`preference` must be finite numbers, none negative, some positive; got {self.preference}."
            )

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery:
        """A lottery over policies; `diagnostics` as of `MaxMin`, with the `length` t reached."""
        if len(self.preference) != len(voices):
            raise ValueError(
                f"`preference` must have one number for each of the {len(voices)} voices, got {len(self.preference)}."
            )
        way = torch.tensor(self.preference, dtype=torch.float64)
        cares = way > 0
        field = prepared(learner, voices, self.scale, Streams.of(seed).below("direction"), progress)

        def solve(matrix: Float[Tensor, "P G"]) -> Mix:
            mix = best_mix(matrix[:, cares] / way[cares], WorstOff())
            weight = torch.zeros_like(way)
            weight[cares] = mix.weight / way[cares]
            return Mix(mix.chance, mix.chance @ matrix, mix.value, weight / weight.sum())

        field.close(lambda matrix: [solve(matrix)], self.rounds, self.tolerance)
        lottery = field.lottery(WorstOff(), solve)
        length = float((lottery.diagnostics["returns"][cares] / way[cares]).min())
        return Lottery(lottery.policies, lottery.chance, {**lottery.diagnostics, "length": length})
