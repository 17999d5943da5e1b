"""N copies of a world as a gymnasium vector environment, without a Python loop over copies per step."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from pluralign_envs.border import applied, check_render_mode, first_state, spaces
from pluralign_envs.catalogue import make_world
from pluralign_envs.physics import Physics
from pluralign_envs.render import Camera
from pluralign_envs.world import World


class WorldVectorEnv(VectorEnv):
    """Copy i is, bit for bit, the single environment reset with seed + i, as in gymnasium's SyncVectorEnv.

    An episode that ends is reset within the same step: its last observation is in `info["final_obs"]`, its
    last info in `info["final_info"]`. `info["factors"]` (N, F) always belongs to the step just taken, ended
    or not, so that a sum over steps misses none. Where a simulation becomes unstable the episode terminates:
    the step did not happen, its factors are 0, `info["lost"]` (N,) says which, and `lost` counts such episodes.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - gymnasium's convention
        "render_modes": ["rgb_array"],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        world: World | str = "pluralign/PointMaze-v0",
        max_episode_steps: int | None = None,
        nthread: int = 0,
        render_mode: str | None = None,
    ) -> None:
        """`nthread`: threads of MuJoCo's rollout; 0 steps on the calling thread, best on a busy machine."""
        self.world = make_world(world) if isinstance(world, str) else world
        steps = self.world.horizon if max_episode_steps is None else max_episode_steps
        for name, value, least in (
            ("num_envs", num_envs, 1),
            ("nthread", nthread, 0),
            ("max_episode_steps", steps, 1),
        ):
            if value != int(value) or value < least:
                raise ValueError(f"`{name}` must be a whole number of at least {least}, got {value!r}.")
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.num_envs, self.max_episode_steps, self.render_mode = num_envs, steps, render_mode
        self.factors = self.world.factors
        self.factor_names = tuple(factor.name for factor in self.factors)
        self._physics = Physics(self.world, num_envs, nthread)
        self.metadata = {**self.metadata, "render_fps": round(1 / self._physics.seconds)}
        self.single_observation_space, self.single_action_space = spaces(self.world, self._physics)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._streams: list[np.random.Generator] = []
        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._camera: Camera | None = None
        self.lost = 0

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """`options` may hold `reset_mask` (N,) to reset some copies only, and a first state for every copy
        reset, `qpos` (., nq) and `qvel` (., nv)."""
        seeds: list[int | None]
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [None if seed is None else int(seed) + copy for copy in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"`seed` must be one number or {self.num_envs}, got {len(seeds)}.")
        options = dict(options or {})
        mask = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, dtype=bool)))
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"`reset_mask` must be ({self.num_envs},) booleans, some of them true, got {mask!r}."
            )
        copies = np.flatnonzero(mask)
        if not self._streams:
            self._streams = [seeding.np_random(None)[0] for _ in range(self.num_envs)]
        for copy in copies:
            if seeds[copy] is not None:
                self._streams[copy] = seeding.np_random(seeds[copy])[0]
        self._begin(copies, options)
        return self._observe(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        if not self._streams:
            raise gymnasium.error.ResetNeeded("Call `reset` before the first `step`.")
        actions = applied(actions, self.action_space)
        lost = self._physics.step(actions)
        self._elapsed += 1
        factors = self.world.measure(self._physics.qpos, self._physics.qvel, actions)
        observation = self._observe()
        truncated = self._elapsed >= self.max_episode_steps
        done = truncated | lost
        info: dict[str, Any] = {"factors": factors, "_factors": np.ones(self.num_envs, dtype=bool)}
        if lost.any():
            factors[lost] = 0
            self.lost += int(lost.sum())
            info["lost"], info["_lost"] = lost, lost.copy()
        if done.any():
            ended = np.flatnonzero(done)
            final = np.full(self.num_envs, None, dtype=object)
            for copy in ended:
                final[copy] = observation[copy].copy()
            info["final_obs"], info["_final_obs"] = final, done.copy()
            info["final_info"] = {"factors": np.where(done[:, None], factors, 0), "_factors": done.copy()}
            if lost.any():
                info["final_info"]["lost"], info["final_info"]["_lost"] = lost.copy(), lost.copy()
            info["_final_info"] = done.copy()
            self._begin(ended, {})
            observation = self._observe()
        return observation, np.zeros(self.num_envs), lost.copy(), truncated, info

    def _begin(self, copies: np.ndarray, options: dict[str, Any]) -> None:
        uniform = np.array([self._streams[copy].random(self.world.draws) for copy in copies])
        qpos, qvel = first_state(self.world, uniform, options)
        self._physics.place(copies, qpos, qvel)
        self._elapsed[copies] = 0

    def _observe(self) -> np.ndarray:
        return self.world.observe(self._physics.qpos, self._physics.qvel).astype(np.float32)

    def render(self) -> tuple[np.ndarray, ...] | None:
        if self.render_mode is None:
            gymnasium.logger.warn("Nothing is rendered without `render_mode='rgb_array'`.")
            return None
        if self._camera is None:
            self._camera = Camera(self._physics.model, self.world.camera)
        return tuple(self._camera.frame(self._physics.qpos[i]) for i in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        self._physics.close()
        if self._camera is not None:
            self._camera.close()
