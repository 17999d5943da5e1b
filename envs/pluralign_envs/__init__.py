"""Gymnasium environments that publish named factors and pay no reward: raters own all values.

    import gymnasium, pluralign_envs
    env = gymnasium.make("pluralign/PointMaze-v0")
    envs = gymnasium.make_vec("pluralign/PointMaze-v0", num_envs=64, vectorization_mode="vector_entry_point")

`env.render()` gives frames (with `render_mode="rgb_array"`), `save_film(frames, "a.gif", fps=...)` a film.
`twin(id)` is a small finite world with exact transitions, `layout(id)` the maze seen from above, and
`pluralign_envs.sb3.StableVecEnv` hands a batch to Stable-Baselines3.
"""

from gymnasium import register

from pluralign_envs.catalogue import WORLDS, layout, make_world, twin
from pluralign_envs.film import save_film
from pluralign_envs.maze import Layout, Maze
from pluralign_envs.point_maze import PointMaze
from pluralign_envs.tabular import Twin
from pluralign_envs.world import Factor, World

__all__ = [
    "Factor",
    "Layout",
    "Maze",
    "PointMaze",
    "Twin",
    "World",
    "layout",
    "make_world",
    "save_film",
    "twin",
]

# Entry points are strings, so that registering ids does not import MuJoCo.
for _id, _world in WORLDS.items():
    register(
        _id,
        entry_point="pluralign_envs.single:WorldEnv",
        vector_entry_point="pluralign_envs.batch:WorldVectorEnv",
        max_episode_steps=_world.horizon,
        kwargs={"world": _id},
    )
