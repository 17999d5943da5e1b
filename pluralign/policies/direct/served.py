"""Policies learned from answers, and whom they serve."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import Luce
from pluralign.data.comparisons import Comparisons
from pluralign.policies.direct.worth import PolicyWorth
from pluralign.policies.learner import Policy
from pluralign.policies.learners.network import NetworkPolicy, PersonalNetwork
from pluralign.policies.lottery import Lottery
from pluralign.policies.saving import save_policy
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.prior import Atoms
from pluralign.rewards.transforms import Gauge
from pluralign.utility.scores import Nonlinear

FEW = 16  # up to so many shared tastes are told by their number, more by their direction


@dataclass(frozen=True)
class Served:
    """A policy learned from answers, and whom it serves.

    Attributes:
        policy: a Policy, or a Personal one that is told whom it serves.
        tastes: (S, R, Z) what the policy is told of each rater, weighted by weight (S, R).
        rater_ids: R names. settings: the method.
        diagnostics: for one policy for all: how often it ranks as people do, and how far what was preferred and what was
            refused moved from imitation, in nats per segment.
    """

    policy: Any
    tastes: Float[Tensor, "S R Z"]
    weight: Float[Tensor, "S R"]
    rater_ids: tuple[str, ...]
    settings: Any
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def of(self, rater: str) -> Policy:
        """The policy for one person: that of the likeliest of shared tastes, else of the expected one.

        Raises:
            KeyError: nobody has this name.
        """
        if rater not in self.rater_ids:
            raise KeyError(f"no rater {rater!r} was met in training; serve a taste by policy.of(z) instead.")
        if not isinstance(self.policy, PersonalNetwork):
            return self.policy
        r = self.rater_ids.index(rater)
        mine = self.tastes[:, r]
        z = mine[self.weight[:, r].argmax()] if self.shared else self.weight[:, r].to(mine) @ mine
        return self.policy.of(z)

    @property
    def shared(self) -> bool:
        """Whether all raters have the same tastes and differ in weights alone."""
        return Draws(self.tastes, self.weight).shared

    def lottery(self) -> Lottery:
        """One policy for each shared taste, with the share of people behind it as its chance.

        Raises:
            ValueError: tastes are continuous, so that there are as many policies as people.
        """
        if not isinstance(self.policy, PersonalNetwork):
            return Lottery((self.policy,), torch.ones(1))
        if not self.shared:
            raise ValueError("tastes are continuous here; draw some people and take policy.of(z) for each.")
        share = self.weight.mean(1)
        return Lottery(tuple(self.policy.of(z) for z in self.tastes[:, 0]), share / share.sum())

    def belief(self) -> Belief:
        """The policies as a belief: predicts answers by Luce's rule, and says which camp a new rater is of.

        Raises:
            ValueError: tastes are continuous, or the policy says which action is best and not how likely each is.
        """
        personal = isinstance(self.policy, PersonalNetwork)
        network = self.policy.network if isinstance(self.policy, PersonalNetwork) else self.policy
        if personal and not self.shared:
            raise ValueError(
                "tastes are continuous here, and a policy is not linear in them; fit with camps."
            )
        if not isinstance(network, NetworkPolicy):
            raise ValueError(
                "this policy has no likelihood that could predict answers; learn one by cpl or another direct method."
            )
        told = self.tastes[:, 0].float() if personal else torch.zeros(1, 0)
        worth = PolicyWorth(network, told, self.settings.scale, self.settings.discount, self.settings.average)
        weight = self.weight.double()
        share = weight.mean(1)
        eye = torch.eye(len(told), dtype=torch.float64)
        prior = Atoms(eye, share / share.sum())
        return Belief(worth, Luce(), prior, Draws.atoms(eye, weight), self.rater_ids, self.settings)

    def save(self, folder: str | Path) -> None:
        """Write JSON + safetensors into a new folder."""
        save_policy(self, folder)


def whom(data: Comparisons, people: Belief | None) -> tuple[Draws, Gauge | None, Float[Tensor, "S R Z"]]:
    """Weights of each rater's tastes, how a network reads them, and what it is told."""
    if people is None or (len(people.draws.z) == 1 and people.draws.shared):
        one = Draws(torch.zeros(1, data.raters, 1), torch.ones(1, data.raters))
        return one, None, one.z
    draws = people.known(data, strict=True)
    if draws.shared and len(draws.z) <= FEW:
        eye = torch.eye(len(draws.z), dtype=torch.float64)
        return draws, Gauge(eye), eye[:, None].expand(-1, data.raters, -1)
    root = torch.eye(draws.z.shape[-1], dtype=torch.float64)
    if not isinstance(people.worth, Nonlinear):
        root = Gauge.of(people.worth, data.options.rows.reshape(-1, data.options.rows.shape[-1])).root
        return draws, Gauge(root), draws.z.double()
    return draws, Gauge(root / math.sqrt(len(root))), draws.z.double()
