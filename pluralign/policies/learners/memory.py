"""What an off-policy learner saw: steps with their factors and without a reward, priced anew whenever tastes change.

As PEBBLE relabels its replay buffer (Lee, Smith and Abbeel, ICML 2021) after each update of the reward model.
"""

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pluralign.policies.learners.batch import Price


@dataclass(frozen=True)
class Seen:
    """T steps of each of C copies of a world, in turn; a step in which a simulation became unstable is another copy's.

    Attributes:
        read, after: what a network read of the observation, and of the next one. action: within [-1, 1] of their range.
        factors: of the step. ended: whether the world ended the episode there. cut: ended, or cut off by a time limit.
    """

    read: Float[Tensor, "T C O"]
    after: Float[Tensor, "T C O"]
    action: Float[Tensor, "T C A"]
    factors: Float[Tensor, "T C F"]
    ended: Bool[Tensor, "T C"]
    cut: Bool[Tensor, "T C"]

    def __len__(self) -> int:
        return len(self.read)

    def __add__(self, more: "Seen") -> "Seen":
        return Seen(*(torch.cat([getattr(self, f.name), getattr(more, f.name)]) for f in fields(Seen)))


@dataclass
class Memory:
    """Given to a learner, it keeps what was seen from one search to the next: `SAC(world, memory=Memory())`.

    The only thing here that changes: equal seeds mean equal policies where the memory holds the same. It is for one world, and
    for one number of copies.

    Attributes:
        seen: everything so far.
    """

    seen: Seen | None = None

    def add(self, more: Seen) -> None:
        """Remember more."""
        self.seen = more if self.seen is None else self.seen + more


def paid(seen: Seen, price: Price, who: np.ndarray) -> np.ndarray:
    """(T, C) what each step is worth to those it serves, `who` (T, C)."""
    found = price(seen.factors.flatten(0, 1).numpy(), who.reshape(-1))
    return np.asarray(found).reshape(who.shape)


def running(seen: Seen, reward: np.ndarray, discount: float) -> np.ndarray:
    """(T * C,) discounted sums of rewards so far in the episode, after each step."""
    total, sums = np.zeros(reward.shape[1]), []
    cut = seen.cut.numpy()
    for step in range(len(reward)):
        total = total * discount + reward[step]
        sums.append(total)
        total = np.where(cut[step], 0.0, total)
    return np.concatenate(sums)


@cache
def replay_class() -> Any:
    """A replay buffer that keeps factors; a function, because its base class comes with an extra."""
    from stable_baselines3.common.buffers import ReplayBuffer

    class Replay(ReplayBuffer):
        """Rewards of old steps are those of today's tastes; a step in which a simulation became unstable is no step."""

        paid: Any = None  # the copies that are stepped; they know the factors, and which simulations broke

        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            self.first, self._factors = 0, list[np.ndarray]()

        def recall(
            self, seen: Seen, reward: np.ndarray, tastes: np.ndarray, who: np.ndarray, unit: float
        ) -> None:
            """Begin with what was seen, paid `reward` (T, C) in this unit and told whom each step serves."""
            now = slice(0, len(seen))
            told = tastes[who].astype(np.float32)
            self.observations[now] = np.concatenate([seen.read.numpy(), told], -1)
            self.next_observations[now] = np.concatenate([seen.after.numpy(), told], -1)
            self.actions[now], self.rewards[now] = seen.action.numpy(), reward / unit
            self.dones[now], self.timeouts[now] = seen.ended.numpy(), 0
            self.pos = self.first = len(seen)

        def add(self, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any, infos: Any) -> None:
            lost = self.paid.lost
            if lost.all():
                return
            kept = np.where(lost, np.flatnonzero(~lost)[0], np.arange(self.n_envs))
            self._factors.append(self.paid.factors[kept])
            super().add(
                obs[kept], next_obs[kept], action[kept], reward[kept], done[kept], [infos[k] for k in kept]
            )

        def seen(self, width: int) -> Seen:
            """The steps added since, without what the network was told after the `width` numbers it observes."""
            now = slice(self.first, self.first + len(self._factors))
            cut, late = self.dones[now] > 0, self.timeouts[now] > 0
            return Seen(
                torch.as_tensor(self.observations[now, :, :width].copy()),
                torch.as_tensor(self.next_observations[now, :, :width].copy()),
                torch.as_tensor(self.actions[now].copy()),
                torch.as_tensor(np.stack(self._factors)),
                torch.as_tensor(cut & ~late),
                torch.as_tensor(cut),
            )

    return Replay
