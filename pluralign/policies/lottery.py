"""A lottery over policies: what a fair optimiser answers. One policy is drawn for a whole episode."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.learner import Learner, Policy
from pluralign.policies.saving import save_policy
from pluralign.population.voices import Voices
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Lottery:
    """P policies and the chance of each.

    Drawing at each step instead of each episode would be another, worse thing: a coin tossed in every step
    between "go left" and "go right" stays where it is.

    Attributes:
        policies: P policies of one world. chance: (P,), sums to one.
        diagnostics: numbers about how the lottery was found.
    """

    policies: tuple[Policy, ...]
    chance: Float[Tensor, " P"]
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.policies) != len(self.chance):
            raise ValueError(
                f"`chance` must have one number for each of the {len(self.policies)} policies, got {len(self.chance)}."
            )
        if not abs(float(self.chance.sum()) - 1) < 1e-6 or bool((self.chance < 0).any()):
            raise ValueError(f"`chance` must be chances that sum to one, got {self.chance.tolist()}.")

    def __len__(self) -> int:
        return len(self.policies)

    def returns(self, learner: Learner, voices: Voices, *, seed: Seed = 0) -> Float[Tensor, "E G"]:
        """(E, G), for each episode's luck the average over the policies that could have been drawn."""
        number = Streams.of(seed).number("lottery")
        total: Tensor | None = None
        for policy, chance in zip(self.policies, self.chance.double().tolist()):
            if chance > 0:
                mine = chance * learner.returns(policy, voices, seed=number)
                total = mine if total is None else total + mine
        assert total is not None
        return total

    def draw(self, episodes: int, *, seed: Seed = 0) -> np.ndarray:
        """(episodes,) which policy plays each episode."""
        generator = Streams.of(seed)("which policy")
        return torch.multinomial(self.chance, episodes, replacement=True, generator=generator).numpy()

    def sample(self, *, seed: Seed = 0) -> Policy:
        """The policy for one episode."""
        return self.policies[int(self.draw(1, seed=seed)[0])]

    def thin(self) -> "Lottery":
        """Without the policies that are never drawn."""
        kept = [p for p in range(len(self.policies)) if float(self.chance[p]) > 0]
        return Lottery(tuple(self.policies[p] for p in kept), self.chance[kept], self.diagnostics)

    def save(self, folder: str | Path) -> None:
        """Write JSON + safetensors into a new folder."""
        save_policy(self, folder)
