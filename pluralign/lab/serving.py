"""People served by policies: what each gets, and how much less than they could have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.policies.learner import Policy, Progress, Start
from pluralign.policies.learners.ppo import PPO
from pluralign.population.voices import Voices
from pluralign.streams import Seed
from pluralign.utility import Worth

EACH = 16  # episodes by which a person who is served by an own policy is judged


@dataclass(frozen=True)
class Serving:
    """A personal policy that serves person b in copy b of the world."""

    personal: Any
    z: Tensor

    def act(self, observation: np.ndarray, *, generator: Any = None) -> np.ndarray:
        return self.personal.act(observation, self.z, generator=generator)

    def save(self, folder: Any) -> None:
        raise TypeError("what serves these people now is not kept; save the personal policy.")


@dataclass(frozen=True)
class Taught:
    """A learner that was told each voice's own best policy, and trains for everything else.

    Attributes:
        learner: who trains. voices: whose own best policies are known. own: these policies, one a voice.
    """

    learner: PPO
    voices: Voices
    own: Sequence[Policy]

    def improve(
        self,
        voices: Voices,
        weight: Float[Tensor, " G"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> Policy:
        """As the learner's; a single voice from scratch is answered at once."""
        single = int((weight != 0).sum()) == 1
        if start is None and single and torch.equal(voices.z, self.voices.z):
            return self.own[int(weight.argmax())]
        return self.learner.improve(voices, weight, seed=seed, start=start, progress=progress)

    def returns(self, policy: Policy, voices: Voices, *, seed: Seed = 0) -> Float[Tensor, "E G"]:
        return self.learner.returns(policy, voices, seed=seed)

    def random(self) -> Policy:
        return self.learner.random()

    def rollout(self, policy: Policy, episodes: int, *, seed: Seed = 0) -> Segments:
        return self.learner.rollout(policy, episodes, seed=seed)

    def personalise(self, worth: Worth, tastes: Float[Tensor, "K Z"], **more: Any) -> Any:
        return self.learner.personalise(worth, tastes, **more)

    @property
    def discount(self) -> float:
        """Per step."""
        return self.learner.discount


def factor_returns(seen: Segments, discount: float) -> Float[Tensor, "E F"]:
    """(E, F) discounted sums of the factors: anybody's return is their taste times these."""
    return seen.pool(seen.factors.double(), discount)


def served(
    learner: PPO, personal: Any, z: Float[Tensor, "R Z"], seed: int
) -> tuple[Float[Tensor, "R F"], int]:
    """Mean discounted factors of everybody when served by their own z, and how many episodes broke."""
    copies = Serving(personal, z.repeat_interleave(EACH, 0))
    seen = learner.rollout(copies, len(z) * EACH, seed=seed)
    broken = 0 if seen.mask is None else int((seen.mask.sum(1) < seen.mask.sum(1).max()).sum())
    return factor_returns(seen, learner.discount).reshape(len(z), EACH, -1).mean(1), broken


def episodes_lost(seen: Segments, world: str) -> int:
    """Episodes that ended before their time: here nothing else ends one than a simulation that became unstable."""
    from pluralign_envs import make_world

    if seen.mask is None:
        return 0 if seen.factors.shape[1] >= make_world(world).horizon else len(seen)
    return int((seen.mask.sum(1) < make_world(world).horizon).sum())


def regret(
    returns: Float[Tensor, " R"], random: Float[Tensor, " R"], best: Float[Tensor, " R"]
) -> Float[Tensor, " R"]:
    """(R,) 0 where a person gets the best that is known for them, 1 where random actions would bring as much.

    NaN for whoever no policy known brings more than random actions.
    """
    gain = best - random
    return torch.where(gain > 1e-9 * best.abs(), (best - returns) / gain, torch.full_like(gain, torch.nan))
