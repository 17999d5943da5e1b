"""One policy for everybody: the crowd's average, and the per-step minimum as a baseline."""

from dataclasses import dataclass

import torch

from pluralign.policies.learner import Learner, Progress
from pluralign.policies.lottery import Lottery
from pluralign.population.voices import Voices
from pluralign.rewards.tastes import per_step_min
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Single:
    """The policy that is best for the weighted sum of all voices: what a single pooled reward asks for.

    Attributes:
        weight: one number for each voice; None takes their shares of the people.
    """

    weight: tuple[float, ...] | None = None

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery:
        """A lottery with one policy in it."""
        weight = voices.weight if self.weight is None else torch.tensor(self.weight, dtype=torch.float64)
        number = Streams.of(seed).number("single")
        policy = learner.improve(voices, weight.double(), seed=number, progress=progress)
        return Lottery((policy,), torch.ones(1, dtype=torch.float64), {"weight": weight.double()})


@dataclass(frozen=True)
class PerStepMin:
    """The policy that is best for E[min over voices of the reward at each step]; a baseline, not MaxMin.

    Some published code takes this minimum inside the reward. It is never more than min E[return], the gap can be
    as large as the rewards, and a policy which pleases people in turn counts as pleasing nobody.
    """

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery:
        """A lottery with one policy in it."""
        one = torch.ones(1, dtype=torch.float64)
        number = Streams.of(seed).number("per step minimum")
        policy = learner.improve(per_step_min(voices), one, seed=number, progress=progress)
        return Lottery((policy,), one)
