"""Gymnasium wrappers that pay what voices want. Reached through `pluralign.rewards`, which imports gymnasium late."""

import copy
from typing import Any

import gymnasium
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.population.belief import Belief
from pluralign.population.voices import Voices
from pluralign.rewards.tastes import draw_tastes
from pluralign.rewards.transforms import Gauge
from pluralign.streams import Streams


class RewardWrapper(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Pays sum_g weight_g reward_g(factors) at each step; `info["rewards"]` (G,) has what each voice would pay."""

    def __init__(self, env: gymnasium.Env, voices: Voices, weight: Float[Tensor, " G"] | None = None) -> None:
        """`weight`: one number for each voice, their shares of the people by default."""
        gymnasium.utils.RecordConstructorArgs.__init__(self, voices=voices, weight=weight)
        super().__init__(env)
        self.voices, self.weight = voices, _weight(voices, weight)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = self.env.step(action)
        rewards = self.voices.reward(_factors(info)).double()
        info = {**info, "rewards": rewards.numpy()}
        return observation, float(rewards @ self.weight), terminated, truncated, info


class VectorRewardWrapper(gymnasium.vector.VectorWrapper):
    """The same for N copies at once, which are priced together; `info["rewards"]` is (N, G).

    Where an episode ends the reward is that of its last step, and a step in which a simulation became unstable pays nothing.
    """

    def __init__(
        self, env: gymnasium.vector.VectorEnv, voices: Voices, weight: Float[Tensor, " G"] | None = None
    ) -> None:
        """`weight`: one number for each voice, their shares of the people by default."""
        super().__init__(env)
        self.voices, self.weight = voices, _weight(voices, weight)

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        observation, _, terminated, truncated, info = self.env.step(actions)
        rewards = self.voices.reward(_factors(info)).double().numpy()
        if "lost" in info:
            rewards[info["lost"]] = 0
        info = {**info, "rewards": rewards}
        return observation, rewards @ self.weight.numpy(), terminated, truncated, info


def _weight(voices: Voices, weight: Float[Tensor, " G"] | None) -> Float[Tensor, " G"]:
    weight = voices.weight if weight is None else weight
    if len(weight) != len(voices) or bool((weight < 0).any()):
        raise ValueError(
            f"`weight` must have one number, not negative, for each of the {len(voices)} voices, got "
            f"{weight.tolist()}."
        )
    return weight.double()


class PersonalWrapper(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Each episode serves one person drawn from a belief, whose taste is appended to the observation.

    The reward is in units of its own spread over typical steps, and the taste is told as a direction (`Gauge`): a
    person who reports in units ten times as large changes nothing. `info["z"]` has the taste;
    `reset(options={"z": taste})` serves a given one.
    """

    def __init__(
        self, env: gymnasium.Env, people: Belief | Voices, rows: Float[Tensor, "n F"] | None = None
    ) -> None:
        """`rows`: factors of typical steps; by default those of ten episodes with random actions."""
        gymnasium.utils.RecordConstructorArgs.__init__(self, people=people, rows=rows)
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            raise ValueError(f"observations must be one row of numbers, got the space {space}; flatten them.")
        self.people = people
        self.worth = people.worth
        # Random episodes are always the same ones, so that scales do not depend on a seed ...
        self._first = rows is None
        self.gauge = Gauge.of(self.worth, _random_rows(env) if rows is None else rows)
        side = np.ones(len(self.gauge.root), dtype=space.dtype)
        self.observation_space = gymnasium.spaces.Box(
            np.concatenate([space.low, -side]), np.concatenate([space.high, side]), dtype=space.dtype.type
        )
        self._streams: Streams | None = None
        self._episode = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is None and self._first:
            # ... but episodes that nobody seeds must not all follow from them.
            seed = int(np.random.SeedSequence().generate_state(1)[0] >> 1)
        self._first = False
        if seed is not None or self._streams is None:
            fresh = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
            self._streams, self._episode = Streams(fresh), 0
        options = dict(options or {})
        z = options.pop("z", None)
        if z is None:
            z = draw_tastes(self.people, 1, generator=self._streams("person", self._episode))[0]
        z = torch.as_tensor(z, dtype=torch.float64)
        self._episode += 1
        self.z, self._unit, self._told = z, self.gauge.unit(z), self.gauge.direction(z).numpy()
        observation, info = self.env.reset(seed=seed, options=options or None)
        return self._read(observation), {**info, "z": z.numpy().copy()}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = self.env.step(action)
        reward = float(self.worth.steps(_factors(info)).double() @ self._unit)
        return self._read(observation), reward, terminated, truncated, {**info, "z": self.z.numpy().copy()}

    def _read(self, observation: np.ndarray) -> np.ndarray:
        return np.concatenate([observation, self._told.astype(observation.dtype)])


def _factors(info: dict[str, Any]) -> Tensor:
    if "factors" not in info:
        raise ValueError(
            'the environment publishes no info["factors"]; wrap it so that each step says what happened.'
        )
    return torch.as_tensor(np.asarray(info["factors"], dtype=np.float64))


def _random_rows(env: gymnasium.Env, episodes: int = 10, longest: int = 1000) -> Tensor:
    space = copy.deepcopy(env.action_space)
    space.seed(0)
    rows = []
    for episode in range(episodes):
        env.reset(seed=episode)
        for _ in range(longest):
            _, _, terminated, truncated, info = env.step(space.sample())
            rows.append(_factors(info))
            if terminated or truncated:
                break
    return torch.stack(rows)


__all__ = ["PersonalWrapper", "RewardWrapper", "VectorRewardWrapper"]
