"""One copy of a world as a gymnasium environment: a batch of one."""

from typing import Any

import gymnasium
import numpy as np

from pluralign_envs.border import applied, check_render_mode, first_state, spaces
from pluralign_envs.catalogue import make_world
from pluralign_envs.physics import Physics
from pluralign_envs.render import Camera
from pluralign_envs.world import World


class WorldEnv(gymnasium.Env):
    """Pays no reward: `info["factors"]` (F,) says what happened in a step, raters say what it is worth.

    Episodes are ended by gymnasium's TimeLimit, which `gymnasium.make` adds; and where the simulation becomes
    unstable: the step did not happen, its factors are 0, `info["lost"]` is true, and `lost` counts such episodes.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - gymnasium's convention

    def __init__(self, world: World | str = "pluralign/PointMaze-v0", render_mode: str | None = None) -> None:
        check_render_mode(render_mode, self.metadata["render_modes"])
        self.world = make_world(world) if isinstance(world, str) else world
        self.render_mode = render_mode
        self.factors = self.world.factors
        self.factor_names = tuple(factor.name for factor in self.factors)
        self._physics = Physics(self.world, copies=1, nthread=0)
        self.metadata = {**self.metadata, "render_fps": round(1 / self._physics.seconds)}
        self.observation_space, self.action_space = spaces(self.world, self._physics)
        self._begun = False
        self.lost = 0
        self._camera: Camera | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """`options` may hold a first state: `qpos` (nq,) and `qvel` (nv,)."""
        super().reset(seed=seed)
        uniform = self.np_random.random(self.world.draws)
        self._physics.place(np.arange(1), *first_state(self.world, uniform, dict(options or {})))
        self._begun = True
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if not self._begun:
            raise gymnasium.error.ResetNeeded("Call `reset` before the first `step`.")
        action = applied(action, self.action_space)
        lost = bool(self._physics.step(action[None])[0])
        factors = self.world.measure(self._physics.qpos[0], self._physics.qvel[0], action)
        info = {"factors": factors * 0, "lost": True} if lost else {"factors": factors}
        self.lost += lost
        return self._observe(), 0.0, lost, False, info

    def _observe(self) -> np.ndarray:
        return self.world.observe(self._physics.qpos[0], self._physics.qvel[0]).astype(np.float32)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        if self.render_mode is None:
            gymnasium.logger.warn("Nothing is rendered without `render_mode='rgb_array'`.")
            return None
        if self._camera is None:
            self._camera = Camera(self._physics.model, self.world.camera)
        return self._camera.frame(self._physics.qpos[0])

    def close(self) -> None:
        self._physics.close()
        if self._camera is not None:
            self._camera.close()
            self._camera = None
