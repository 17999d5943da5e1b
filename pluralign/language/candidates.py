"""Answers to choose from, as a world for the optimisers: best-of-n and reranking under any welfare.

An episode is a prompt, a policy a chance for each of its n answers, a voice's return the worth of what is said. So
MaxMin, Fair, Single and every other optimiser choose answers for camps as they choose policies for robots: the minimum
is taken over average worths, not answer by answer (for that see `per_answer`).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.options import Options
from pluralign.policies.learner import Progress, Start, checked_weight
from pluralign.policies.saving import save_policy
from pluralign.population.voices import Voices
from pluralign.rewards.welfare import Welfare
from pluralign.streams import Seed


@dataclass(frozen=True)
class Chooser:
    """Chances of the n answers to each of P prompts."""

    chance: Float[Tensor, "P n"]

    def act(self, observation: np.ndarray, *, generator: np.random.Generator | None = None) -> np.ndarray:
        """(B,) which answer to give to the prompts numbered `observation` (B,); the likeliest without a generator."""
        chance = self.chance[torch.from_numpy(np.asarray(observation, dtype=np.int64).reshape(-1))]
        if generator is None:
            return chance.argmax(-1).numpy()
        draw = torch.from_numpy(generator.random(len(chance)))[:, None]
        return (chance.cumsum(-1) < draw).sum(-1).clamp(max=chance.shape[1] - 1).numpy()

    def kl(self) -> Float[Tensor, " P"]:
        """Nats away from giving all n answers the same chance, for each prompt."""
        return math.log(self.chance.shape[1]) - torch.special.entr(self.chance).sum(-1)

    def save(self, folder: str | Path) -> None:
        """Write JSON + safetensors into a new folder."""
        save_policy(self, folder)


@dataclass(frozen=True)
class Candidates:
    """P prompts with n answers each, drawn from a reference policy.

    Attributes:
        options: P n texts with hidden states, the answers to a prompt one after the other.
        answers: n.
        temperature: utils per nat of distance from the reference; 0 is best-of-n.
    """

    options: Options
    answers: int
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if self.answers < 1 or len(self.options) % self.answers:
            raise ValueError(
                f"`options` must be {self.answers} answers to each prompt, got {len(self.options)} in all."
            )
        if self.temperature < 0:
            raise ValueError(f"`temperature` must not be negative, got {self.temperature}; 0 is best-of-n.")

    def worths(self, voices: Voices) -> Float[Tensor, "P n G"]:
        """What every answer is worth to every voice."""
        return voices.returns(self.options).double().reshape(-1, self.answers, len(voices))

    def improve(
        self,
        voices: Voices,
        weight: Float[Tensor, " G"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> Chooser:
        """The exact best choice for weighted voices: the best answer, or chances in proportion to exp(worth / temperature)."""
        del seed, start, progress
        worth = self.worths(voices) @ checked_weight(weight, voices)
        if self.temperature:
            return Chooser(torch.softmax(worth / self.temperature, -1))
        best = (worth == worth.amax(-1, keepdim=True)).double()
        return Chooser(best / best.sum(-1, keepdim=True))

    def returns(self, policy: Any, voices: Voices, *, seed: Seed = 0) -> Float[Tensor, "P G"]:
        """(P, G) expected worth of what is said to each prompt."""
        del seed
        return torch.einsum("pn,png->pg", policy.chance.double(), self.worths(voices))

    def random(self) -> Chooser:
        """The reference: all answers alike."""
        count = len(self.options) // self.answers
        return Chooser(torch.full((count, self.answers), 1 / self.answers, dtype=torch.float64))


def per_answer(candidates: Candidates, voices: Voices, welfare: Welfare) -> Chooser:
    """The answer with the highest welfare, each judged on its own; no camp is made up for what another answer cost it."""
    value = welfare.value(candidates.worths(voices), voices.weight.double())
    return Chooser(torch.nn.functional.one_hot(value.argmax(-1), candidates.answers).double())


def win_rate(policy: Chooser, candidates: Candidates, voices: Voices) -> Float[Tensor, " G"]:
    """(G,) chance that a voice prefers what the policy says to an answer of the reference; equal worths are half."""
    worth = candidates.worths(voices)
    beats = torch.heaviside(worth[:, :, None] - worth[:, None], torch.tensor(0.5, dtype=worth.dtype)).mean(2)
    return torch.einsum("pn,png->g", policy.chance.double(), beats) / len(worth)


def best_of_n_kl(n: int) -> float:
    """At most so many nats is best-of-n away from its reference: log n - (n - 1) / n.

    Source: Beirami et al., Theoretical guarantees on the best-of-n alignment policy, ICML 2025, that it is a bound.
    """
    return math.log(n) - (n - 1) / n


def ranked(worth: Float[Tensor, "P n"]) -> Int[Tensor, "P n"]:
    """Answers from best to worst."""
    return worth.argsort(stable=True, dim=-1, descending=True)
