"""The worlds by id, and what can be asked of them without a simulator."""

from pluralign_envs.ant import Ant
from pluralign_envs.cheetah import Cheetah
from pluralign_envs.crowd import Crowd
from pluralign_envs.maze import Layout
from pluralign_envs.point_maze import LARGE, SAFETY, PointMaze
from pluralign_envs.pusher import Pusher
from pluralign_envs.reacher import Reacher
from pluralign_envs.tabular import Twin
from pluralign_envs.walker import Walker
from pluralign_envs.world import World

WORLDS: dict[str, World] = {
    "pluralign/PointMaze-v0": PointMaze(),
    "pluralign/PointMazeLarge-v0": LARGE,
    "pluralign/SharedSafety-v0": SAFETY,
    "pluralign/Cheetah-v0": Cheetah(),
    "pluralign/Walker-v0": Walker(),
    "pluralign/Ant-v0": Ant(),
    "pluralign/Reacher-v0": Reacher(),
    "pluralign/Crowd-v0": Crowd(),
    "pluralign/Pusher-v0": Pusher(),
}


def make_world(id: str) -> World:
    if id not in WORLDS:
        raise ValueError(f"There is no world {id!r}; the worlds are {', '.join(WORLDS)}.")
    return WORLDS[id]


def twin(id: str) -> Twin:
    """A finite world with exact transitions whose optimal returns, once normalised, are the simulator's."""
    return _ask(id, "twin")()


def layout(id: str) -> Layout:
    """Walls, goals and start region in metres, to draw the world from above without a renderer."""
    return _ask(id, "layout")


def _ask(id: str, name: str):
    answer = getattr(make_world(id), name, None)
    if answer is None:
        able = [known for known, world in WORLDS.items() if hasattr(world, name)]
        raise ValueError(f"{id} has no {name}; {', '.join(able)} has one.")
    return answer
