"""Any welfare of expected returns, maximised over lotteries; and the rounds of best responses behind it."""

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.game import best_mix
from pluralign.policies.learner import Learner, Policy, Progress
from pluralign.policies.lottery import Lottery
from pluralign.population.voices import Voices
from pluralign.rewards.transforms import Scale, relative_gain
from pluralign.rewards.welfare import Nash, Welfare
from pluralign.streams import Seed, Streams


@dataclass
class Field:
    """The policies found so far and what each voice gets from them, episode by episode. Grows by `find`."""

    learner: Learner
    voices: Voices
    streams: Streams
    progress: Progress | None
    random: Float[Tensor, "E G"]
    scale: Scale
    policies: list[Policy] = dataclass_field(default_factory=list)
    returns: list[Tensor] = dataclass_field(default_factory=list)  # (E, G) each, in the voices' own units
    means: list[Tensor] = dataclass_field(default_factory=list)  # (G,) each, the same averaged
    asked: list[Tensor] = dataclass_field(default_factory=list)  # the voice weights that each policy answers
    gaps: list[float] = dataclass_field(default_factory=list)

    @property
    def matrix(self) -> Float[Tensor, "P G"]:
        """Mean returns of all policies, on the scale."""
        return self.scale(torch.stack(self.means))

    def add(self, policy: Policy, weight: Float[Tensor, " G"]) -> None:
        """Judge a policy and keep it."""
        # All policies meet the same luck, so that differences between them are not differences in luck.
        returns = self.learner.returns(policy, self.voices, seed=self.streams.number("returns")).double()
        self.policies.append(policy)
        self.asked.append(weight)
        self.returns.append(returns)
        self.means.append(returns.mean(0))
        if self.progress is not None:
            self.progress(1)

    def find(
        self, weight: Float[Tensor, " G"], chance: Float[Tensor, " P"] | None = None
    ) -> Float[Tensor, " G"]:
        """Add the best response to voice weights (on the scale), and say what it pays.

        The learner goes on from the policies that are played with some `chance`, or from the one that is best for
        these weights so far.
        """
        place = self.matrix @ weight
        kept = [int(place.argmax())] if chance is None else chance.nonzero()[:, 0].tolist()
        start = tuple(self.policies[p] for p in sorted(kept, key=lambda p: -float(place[p])))
        mine, number = self.scale.voices(self.voices), self.streams.number("improve", len(self.policies))
        self.add(self.learner.improve(mine, weight, seed=number, start=start), weight)
        return self.matrix[-1]

    def respond(self, welfare: Welfare, rounds: int, tolerance: float | None) -> None:
        """Best responses to the weights that explain the best lottery so far, until none helps."""
        for _ in range(rounds):
            mix = best_mix(self.matrix, welfare, self.voices.weight)
            self.find(mix.weight, mix.chance)
            lottery = torch.einsum("p,peg->eg", mix.chance, torch.stack(self.returns[:-1]))
            ahead = (self.scale(self.returns[-1]) - self.scale(lottery)) @ mix.weight
            self.gaps.append(float(ahead.mean()))
            exact = len(ahead) == 1
            error = 0.0 if exact else float(ahead.std()) / len(ahead) ** 0.5
            spread = float((self.matrix.amax(0) - self.matrix.amin(0)).max())
            enough = (1e-9 if exact else 0.01) * spread if tolerance is None else tolerance
            if self.gaps[-1] <= enough + error:
                return

    def lottery(self, welfare: Welfare) -> Lottery:
        """The best lottery over all policies found, its chances chosen on episodes that chose no policy."""
        matrix = self.matrix
        if any(len(r) > 1 for r in self.returns):
            number = self.streams.number("held out")
            fresh = [self.learner.returns(p, self.voices, seed=number).double() for p in self.policies]
            matrix = self.scale(torch.stack([r.mean(0) for r in fresh]))
        mix = best_mix(matrix, welfare, self.voices.weight)
        diagnostics = {
            "scale_shift": self.scale.shift,
            "scale_factor": self.scale.factor,
            "matrix": matrix,
            "returns": mix.returns,
            "value": mix.value,
            "weight": mix.weight,
            "asked": torch.stack(self.asked),
            "gaps": list(self.gaps),
        }
        return Lottery(tuple(self.policies), mix.chance, diagnostics).thin()


def prepared(
    learner: Learner, voices: Voices, scale: str, streams: Streams, progress: Progress | None
) -> Field:
    """A field that holds every voice's own best policy, with the scale that these imply."""
    number = streams.number("returns")
    random = learner.returns(learner.random(), voices, seed=number).double()
    field = Field(learner, voices, streams, progress, random, Scale.none(len(voices)))
    for one in torch.eye(len(voices), dtype=torch.float64):
        # Each from scratch: the best policy of one voice is a poor place to start from for its opponent.
        policy = learner.improve(voices, one, seed=streams.number("own", len(field.policies)))
        field.add(policy, one)
    if scale == "relative":
        best = torch.stack(field.means).amax(0)
        field.scale = relative_gain(random.mean(0), best, names=voices.names)
    elif scale != "none":
        raise ValueError(f'`scale` must be "relative" or "none", got {scale!r}.')
    return field


@dataclass(frozen=True)
class Fair:
    """The lottery with the largest welfare of expected returns, by fully corrective Frank-Wolfe.

    Attributes:
        welfare: one of `pluralign.rewards`: Nash(), CVaR(.1), Gini(), SoftMin(.1), AlphaFair(2), Mean().
        rounds, scale, tolerance: as in `MaxMin`. On the relative scale Nash's disagreement point is the random policy.
    """

    welfare: Welfare = dataclass_field(default_factory=Nash)
    rounds: int = 100
    scale: Literal["relative", "none"] = "relative"
    tolerance: float | None = None

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery:
        """A lottery over policies; `diagnostics` has the scale, the returns of all policies and the voice weights."""
        field = prepared(learner, voices, self.scale, Streams.of(seed).below("fair"), progress)
        field.respond(self.welfare, self.rounds, self.tolerance)
        return field.lottery(self.welfare)
