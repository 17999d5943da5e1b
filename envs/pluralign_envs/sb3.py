"""A batch of copies for Stable-Baselines3, which has no adapter for gymnasium's vector environments."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from pluralign_envs.batch import WorldVectorEnv


class StableVecEnv(VecEnv):
    """`StableVecEnv("pluralign/PointMaze-v0", num_envs=64, reward=lambda factors: factors @ weight)`.

    `factors` (N, F) holds those of the last step, for reward wrappers that price a whole batch; without
    `reward` the rewards are zero. Infos are empty but for episodes that ended.
    """

    def __init__(
        self,
        env: WorldVectorEnv | str,
        num_envs: int = 64,
        reward: Callable[[np.ndarray], np.ndarray] | None = None,
        **settings: Any,
    ) -> None:
        """`env`: an environment, or an id to make one of `num_envs` copies with further `settings`."""
        self.env = env if isinstance(env, WorldVectorEnv) else _make(env, num_envs, settings)
        env = self.env
        self.render_mode = env.render_mode
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.factor_names = env.factor_names
        self.factors = np.zeros((env.num_envs, len(env.factor_names)))
        self._reward, self._began = reward, time.time()
        self._return, self._length = np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=int)

    def reset(self) -> np.ndarray:
        # SB3's `seed` spreads one seed over the copies as seed + i, and each counts once.
        seeds = self._seeds if any(seed is not None for seed in self._seeds) else None
        observation, _ = self.env.reset(seed=seeds)
        self._reset_seeds()
        self._reset_options()
        self._return[:], self._length[:] = 0, 0
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        observation, reward, terminated, truncated, info = self.env.step(self._actions)
        done = terminated | truncated
        self.factors = info["factors"]
        if self._reward is not None:
            reward = self._reward(self.factors)
        self._return += reward
        self._length += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for copy in np.flatnonzero(done):
            infos[copy] = {
                "terminal_observation": info["final_obs"][copy],
                "TimeLimit.truncated": bool(truncated[copy] and not terminated[copy]),
                "factors": self.factors[copy],
                "episode": {
                    "r": float(self._return[copy]),
                    "l": int(self._length[copy]),
                    "t": round(time.time() - self._began, 6),
                },
            }
        self._return[done], self._length[done] = 0, 0
        return observation, reward.astype(np.float32), done, infos

    def close(self) -> None:
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        return self.env.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("The copies share one environment: set attributes on `.env`.")

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        raise NotImplementedError("The copies share one environment: call methods on `.env`.")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))


def _make(id: str, num_envs: int, settings: dict[str, Any]) -> WorldVectorEnv:
    made = gymnasium.make_vec(id, num_envs=num_envs, vectorization_mode="vector_entry_point", **settings)
    if not isinstance(made, WorldVectorEnv):
        raise ValueError(f"StableVecEnv takes the environments of pluralign_envs; {id!r} is not one.")
    return made
