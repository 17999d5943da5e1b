"""What the single and the vector environment check and declare alike."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from pluralign_envs.physics import Physics
from pluralign_envs.world import World


def spaces(world: World, physics: Physics) -> tuple[Box, Box]:
    """Of one copy: observations, and actions in the units of the model's actuators."""
    low, high = physics.model.actuator_ctrlrange.T.astype(np.float32)
    return Box(-np.inf, np.inf, (world.observation_size,), np.float32), Box(low, high, dtype=np.float32)


def applied(action: np.ndarray, space: Any) -> np.ndarray:
    """The control a motor applies: like MuJoCo's, it saturates at its range; factors see what it applied."""
    action = np.asarray(action, dtype=np.float64)
    if action.shape != space.shape:
        raise ValueError(f"An action must have shape {space.shape}, got {action.shape}.")
    if not np.isfinite(action).all():
        where = np.argwhere(~np.isfinite(action))
        raise ValueError(
            f"Actions must be finite; {len(where)} numbers are not, first at {where[0].tolist()}."
        )
    return np.clip(action, space.low, space.high)


def first_state(world: World, uniform: np.ndarray, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Where an episode begins: drawn by the world, unless `options` places it."""
    qpos, qvel = world.start(uniform)
    unknown = sorted(set(options) - {"qpos", "qvel"})
    if unknown:
        raise ValueError(
            f"Unknown reset options {unknown}; there are 'qpos', 'qvel' and, for vector environments, 'reset_mask'."
        )
    given = {}
    for name, drawn in (("qpos", qpos), ("qvel", qvel)):
        given[name] = np.asarray(options.get(name, drawn), dtype=np.float64)
        if given[name].shape != drawn.shape:
            raise ValueError(f"`{name}` must have shape {drawn.shape}, got {given[name].shape}.")
        if not np.isfinite(given[name]).all():
            raise ValueError(f"`{name}` must be finite, got {given[name][~np.isfinite(given[name])][0]}.")
    return given["qpos"], given["qvel"]


def check_render_mode(mode: str | None, known: list[str]) -> None:
    if mode is not None and mode not in known:
        raise ValueError(f"`render_mode` must be None or one of {known}, got {mode!r}.")
