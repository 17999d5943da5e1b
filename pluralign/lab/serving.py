"""People served by policies: what each gets, and how much less than they could have."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Segments
from pluralign.policies.learner import Policy, Progress, Start, several
from pluralign.policies.learners.batch import made, played
from pluralign.policies.learners.episodes import check_home, one_thread
from pluralign.policies.learners.ppo import PPO
from pluralign.population.voices import Voices
from pluralign.streams import Seed, Streams
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
        known: further policies that a lottery may play.
        personal: what serves any taste; training for a mixture of voices may go on from what it does for that.
    """

    learner: Any
    voices: Voices
    own: Sequence[Policy]
    known: Sequence[Policy] = ()
    personal: Any = None

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
        taste = voices.mixed(weight.to(voices.z))
        if start is not None and self.personal is not None and bool(taste.any()):
            start = (*several(start), self.personal.of(taste))
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


@dataclass(frozen=True)
class GoingOn:
    """A learner whose searches go on from policies that are there already, unless told otherwise.

    Attributes:
        learner: who trains. known: policies to go on from. found: what was found since, in turn.
    """

    learner: Any
    known: tuple[Policy, ...]
    found: list[Policy] = field(default_factory=list)

    def improve(
        self,
        voices: Voices,
        weight: Float[Tensor, " G"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> Policy:
        begin = (self.known or None) if start is None else start
        self.found.append(self.learner.improve(voices, weight, seed=seed, start=begin, progress=progress))
        return self.found[-1]

    def returns(self, policy: Policy, voices: Voices, *, seed: Seed = 0) -> Float[Tensor, "E G"]:
        return self.learner.returns(policy, voices, seed=seed)

    def random(self) -> Policy:
        return self.learner.random()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.learner, name)


def factor_returns(seen: Segments, discount: float) -> Float[Tensor, "E F"]:
    """(E, F) discounted sums of the factors: anybody's return is their taste times these."""
    return seen.pool(seen.factors.double(), discount)


def served(learner: PPO, personal: Any, z: Float[Tensor, "R Z"], seed: int) -> Segments:
    """`EACH` episodes of everybody when served by their own z, person by person.

    All begin in the first states of `learner.rollout(..., EACH, seed=seed)`, so that a difference is not one of luck.
    """
    check_home(getattr(personal, "network", None), learner.world)
    first = Streams.of(seed).number("episodes") % 2**31
    env = made(learner.world, len(z) * EACH)
    copies = Serving(personal, z.repeat_interleave(EACH, 0))
    try:
        with one_thread():
            starts = [first + episode for _ in z for episode in range(EACH)]
            seen = played(env, copies.act, seed=starts, longest=learner.longest)
    finally:
        env.close()
    return Segments(seen["factors"], seen["mask"])


def episodes_lost(seen: Segments, world: str) -> int:
    """Episodes that ended before their time: here nothing else ends one than a simulation that became unstable."""
    from pluralign_envs import make_world

    steps = torch.full((len(seen),), seen.factors.shape[1]) if seen.mask is None else seen.mask.sum(1)
    return int((steps < make_world(world).horizon).sum())


def regret(
    returns: Float[Tensor, "R E"], random: Float[Tensor, " R"], best: Float[Tensor, "R E2"]
) -> Float[Tensor, " R"]:
    """(R,) 0 where a person gets the best that is known for them, 1 where random actions would bring as much.

    NaN for whoever no policy known brings more than random actions.

    Args:
        returns: of E episodes. random: the mean under random actions.
        best: of E2 >= E episodes under the best policy known, the first E of which begin as those of `returns`.
    """
    gain = best.mean(1) - random
    gap = best[:, : returns.shape[1]].mean(1) - returns.mean(1)
    return torch.where(gain > 1e-9 * best.mean(1).abs(), gap / gain, torch.full_like(gain, torch.nan))
