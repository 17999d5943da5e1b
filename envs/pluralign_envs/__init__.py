"""Gymnasium environments that publish named factors and pay no reward: raters own all values.

    import gymnasium, pluralign_envs
    env = gymnasium.make("pluralign/PointMaze-v0")
    envs = gymnasium.make_vec("pluralign/PointMaze-v0", num_envs=64, vectorization_mode="vector_entry_point")

`twin(id)` is a small finite world with exact transitions, `layout(id)` the maze seen from above, and
`pluralign_envs.sb3.StableVecEnv` hands a batch to Stable-Baselines3.
"""

from typing import TYPE_CHECKING, Any

from gymnasium import register

from pluralign_envs.catalogue import HORIZON, WORLDS

if TYPE_CHECKING:
    from pluralign_envs.batch import WorldVectorEnv
    from pluralign_envs.catalogue import layout, twin, world
    from pluralign_envs.maze import Layout, Maze
    from pluralign_envs.single import WorldEnv
    from pluralign_envs.twin import Twin
    from pluralign_envs.world import Factor, World

# Imported on first use: registering ids must not cost an import of MuJoCo.
_HOME = {
    "Factor": "world",
    "Layout": "maze",
    "Maze": "maze",
    "Twin": "twin",
    "World": "world",
    "WorldEnv": "single",
    "WorldVectorEnv": "batch",
    "layout": "catalogue",
    "twin": "catalogue",
    "world": "catalogue",
}
__all__ = [
    "Factor",
    "Layout",
    "Maze",
    "Twin",
    "World",
    "WorldEnv",
    "WorldVectorEnv",
    "layout",
    "twin",
    "world",
]

for _id in WORLDS:
    register(
        _id,
        entry_point="pluralign_envs.single:WorldEnv",
        vector_entry_point="pluralign_envs.batch:WorldVectorEnv",
        max_episode_steps=HORIZON[_id],
        kwargs={"world": _id},
    )


def __getattr__(name: str) -> Any:
    # `pluralign_envs.twin` is the function; the module of that name is reached by import statements only.
    if name not in _HOME:
        raise AttributeError(f"pluralign_envs has no {name!r}; it has {', '.join(__all__)}.")
    from importlib import import_module

    return getattr(import_module(f"pluralign_envs.{_HOME[name]}"), name)
