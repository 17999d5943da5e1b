"""Batches of simulated copies: made from an id, paid by voices, handed to Stable-Baselines3."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.utility import Worth

World = str | Callable[[int], Any]  # a gymnasium id, or N -> a vector environment with N copies
Price = Callable[[np.ndarray, np.ndarray], np.ndarray]  # factors (N, F), whom each copy serves (N,) -> (N,)


def price_of(worth: Worth, taste: Float[Tensor, " Z"]) -> Price:
    """Every copy is paid by one taste."""
    return lambda factors, _: (worth.steps(torch.as_tensor(factors)) @ taste).numpy()


def price_each(worth: Worth, tastes: Float[Tensor, "K Z"]) -> Price:
    """Every copy is paid by the taste that it serves."""
    return lambda factors, who: torch.einsum(
        "nz,nz->n", worth.steps(torch.as_tensor(factors)), tastes[who]
    ).numpy()


def made(world: World, copies: int) -> Any:
    """A gymnasium vector environment that resets a copy in the step that ends its episode."""
    import gymnasium
    from gymnasium.vector import AutoresetMode

    if not isinstance(world, str):
        env = world(copies)
    else:
        try:
            spec = gymnasium.spec(world)
        except gymnasium.error.UnregisteredEnv:
            raise ValueError(
                f"no environment is registered as {world!r}; import the package that brings it first, for the worlds of "
                "pluralign `import pluralign_envs`."
            ) from None
        if spec.vector_entry_point is not None:
            env = gymnasium.make_vec(world, num_envs=copies, vectorization_mode="vector_entry_point")
        else:
            env = gymnasium.make_vec(
                world,
                num_envs=copies,
                vectorization_mode="sync",
                vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
            )
    mode = env.metadata.get("autoreset_mode")
    if env.num_envs != copies or mode != AutoresetMode.SAME_STEP:
        raise ValueError(
            f"`world` must make a vector environment of {copies} copies with autoreset_mode SAME_STEP, got "
            f"{env.num_envs} copies and {mode}."
        )
    return env


def factors_of(info: dict[str, Any], ended: np.ndarray) -> np.ndarray:
    """(N, F) factors of the step just taken, also where a new episode has already begun."""
    now, last = info.get("factors"), info.get("final_info", {}).get("factors")
    if now is None and last is None:
        raise ValueError(
            'the environment publishes no info["factors"]; wrap it so that each step says what happened.'
        )
    if now is None or last is None:
        return np.asarray(last if now is None else now, dtype=np.float64)
    return np.where(ended[:, None], last, now).astype(np.float64)


def lost_of(info: dict[str, Any], copies: int) -> np.ndarray:
    """(N,) whether the simulation of a copy became unstable in the step just taken."""
    lost = info.get("lost", info.get("final_info", {}).get("lost"))
    return np.zeros(copies, dtype=bool) if lost is None else np.asarray(lost, dtype=bool)


def played(
    env: Any, act: Callable[[np.ndarray], np.ndarray], *, seed: int | list[int], longest: int
) -> dict[str, Tensor]:
    """One episode of every copy of `env`, from reset to end: factors (N, T, F), mask, observation, action; and of its end
    the last observation, `last` (N, O), and whether it was `terminated` (N,) rather than cut off.

    A step in which the simulation became unstable did not happen, and is no part of the episode that it ends.
    """
    observation, _ = env.reset(seed=seed)
    there = np.ones(env.num_envs, dtype=bool)
    seen: dict[str, list[np.ndarray]] = {"factors": [], "mask": [], "observation": [], "action": []}
    last, stopped = np.array(observation), np.zeros(env.num_envs, dtype=bool)
    for _ in range(longest):
        action = act(observation)
        seen["observation"].append(np.array(observation))
        seen["action"].append(np.asarray(action).reshape(env.num_envs, -1))
        observation, _, terminated, truncated, info = env.step(action)
        ended = np.asarray(terminated) | np.asarray(truncated)
        happened = there & ~lost_of(info, len(there))
        seen["factors"].append(np.where(happened[:, None], factors_of(info, ended), 0.0))
        seen["mask"].append(happened)
        over = np.flatnonzero(there & ended)
        if len(over):
            last[over] = np.stack(info["final_obs"][over])
            stopped[over] = np.asarray(terminated)[over]
        there = there & ~ended
        if not there.any():
            found = {name: torch.as_tensor(np.stack(rows, 1)) for name, rows in seen.items()}
            return found | {"last": torch.as_tensor(last), "terminated": torch.as_tensor(stopped)}
    raise ValueError(
        f"{int(there.sum())} of {len(there)} episodes did not end within {longest} steps; give the environment a time "
        "limit (max_episode_steps), or the learner a larger `longest`."
    )


@cache
def stable_class() -> type:
    """The adapter; a function, because its base class comes with an extra that may not be installed."""
    from stable_baselines3.common.vec_env import VecEnv

    class Paid(VecEnv):
        """Copies that pay `price`, in units of the running spread of the discounted return.

        Each copy serves a taste drawn anew at the start of each episode, which is appended to what is observed.
        `known` holds discounted sums of rewards seen before, if any, to start the running spread.

        Where a simulation becomes unstable the episode ends; `lost` (N,) says which did in the step just taken, and
        `lost_count` how many so far. `factors` (N, F) are those of the step just taken.
        """

        def __init__(
            self,
            env: Any,
            price: Price,
            *,
            centre: np.ndarray,
            scale: np.ndarray,
            tastes: np.ndarray,
            discount: float,
            rng: np.random.Generator,
            seed: int,
            known: np.ndarray,
        ) -> None:
            from gymnasium.spaces import Box

            self._env = env  # the base class asks for its render mode

            width = len(centre) + tastes.shape[1]
            super().__init__(
                env.num_envs, Box(-np.inf, np.inf, (width,), np.float32), env.single_action_space
            )
            self._price, self._rng, self._first = price, rng, seed
            self._centre, self._scale, self._tastes = centre, scale, tastes.astype(np.float32)
            self._discount = discount
            self._who = np.zeros(env.num_envs, dtype=np.int64)
            self._return = np.zeros(env.num_envs)
            self._count, self._mean, self._spread = 1e-4, 0.0, 0.0
            self.lost, self.lost_count = np.zeros(env.num_envs, dtype=bool), 0
            self.factors = np.zeros((env.num_envs, 0))
            self._paid, self._steps = 0.0, 0
            self._note(known)

        def reset(self) -> np.ndarray:
            observation, _ = self._env.reset(seed=self._first)
            self._who = self._rng.integers(len(self._tastes), size=self.num_envs)
            self._return[:] = 0
            return self._read(observation)

        def step_async(self, actions: np.ndarray) -> None:
            self._actions = actions

        def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
            observation, _, terminated, truncated, info = self._env.step(self._actions)
            ended = terminated | truncated
            self.lost = lost_of(info, self.num_envs)
            self.lost_count += int(self.lost.sum())
            self.factors = factors_of(info, ended)
            reward = np.where(self.lost, 0.0, self._price(self.factors, self._who))
            self._paid, self._steps = self._paid + float(reward.sum()), self._steps + int((~self.lost).sum())
            paid = (reward / self._unit(reward)).astype(np.float32)
            infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
            if ended.any():
                last = observation.copy()
                for copy in np.flatnonzero(ended):
                    last[copy] = info["final_obs"][copy]
                last = self._read(last)
                for copy in np.flatnonzero(ended):
                    infos[copy] = {
                        "terminal_observation": last[copy],
                        "TimeLimit.truncated": bool(truncated[copy] and not terminated[copy]),
                    }
                self._return[ended] = 0
                self._who[ended] = self._rng.integers(len(self._tastes), size=int(ended.sum()))
            return self._read(observation), paid, ended, infos

        def _read(self, observation: np.ndarray) -> np.ndarray:
            x = ((observation - self._centre) / self._scale).astype(np.float32)
            return np.concatenate([x, self._tastes[self._who]], 1)

        def _unit(self, reward: np.ndarray) -> float:
            self._return = self._return * self._discount + reward
            self._note(self._return)
            return self.unit

        @property
        def unit(self) -> float:
            """Standard deviation of discounted sums of rewards so far: rewards may come in any unit."""
            return max(float(np.sqrt(self._spread / self._count)), 1e-12)

        def tally(self) -> float:
            """What a step was paid on average since this was last asked."""
            mean = self._paid / max(self._steps, 1)
            self._paid, self._steps = 0.0, 0
            return mean

        def _note(self, value: np.ndarray) -> None:
            if not value.size:
                return
            count, mean = self._count + value.size, float(value.mean())
            shift = mean - self._mean
            self._spread += float(value.var()) * value.size + shift**2 * self._count * value.size / count
            self._mean += shift * value.size / count
            self._count = count

        def warn(self) -> None:
            """Say how many episodes became unstable, if any did."""
            if self.lost_count:
                warnings.warn(
                    f"{self.lost_count} training episodes became unstable: they were ended there, and the step was not "
                    "learned from.",
                    stacklevel=3,
                )

        def close(self) -> None:
            self._env.close()

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            return [getattr(self._env, attr_name)] * len(list(self._get_indices(indices)))

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            raise NotImplementedError("the copies share one environment.")

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
            raise NotImplementedError("the copies share one environment.")

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False] * self.num_envs

    return Paid


@cache
def buffer_class() -> type:
    """What PPO learns from, without the steps in which a simulation became unstable."""
    from stable_baselines3.common.buffers import RolloutBuffer

    class Sound(RolloutBuffer):
        """A lost step neither surprises (its reward is set to the value expected) nor is a sample to learn from."""

        paid: Any = None

        def reset(self) -> None:
            self._lost = np.zeros((self.buffer_size, self.n_envs), dtype=bool)
            super().reset()

        def add(self, *step: Any) -> None:
            self._lost[self.pos] = self.paid.lost
            super().add(*step)

        def compute_returns_and_advantage(self, last_values: Tensor, dones: np.ndarray) -> None:
            self.rewards[self._lost] = self.values[self._lost]
            super().compute_returns_and_advantage(last_values, dones)
            if self._lost.mean() > 0.9:
                raise ValueError(
                    f"the simulation became unstable in {int(self._lost.sum())} of {self._lost.size} steps, too many "
                    "to learn from; give the world a shorter time step or weaker motors."
                )

        def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> Any:
            # The base class has by now laid out its rows copy by copy.
            lost = self._lost.swapaxes(0, 1).reshape(-1)
            kept = batch_inds[~lost[batch_inds]]
            return super()._get_samples(kept if len(kept) else batch_inds, env)

    return Sound


def silent() -> Any:
    """A logger that writes nothing; Stable-Baselines3 makes a folder in the temporary directory for its own."""
    from stable_baselines3.common.logger import Logger

    return Logger(None, [])
