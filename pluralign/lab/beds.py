"""Test beds: the worlds by short names, which of their factors people care for, and how PPO learns in them."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pluralign.policies.learners.ppo import PPO


@dataclass(frozen=True)
class Bed:
    """A world as experiments use it.

    Attributes:
        world: its id. goals: factors that people differ in caring for, the first two first.
        costs: factors that all people mind alike. Nobody cares for any other factor.
        window: steps of a segment that people judge.
        training: settings of PPO with which a policy learns in ten to thirty seconds on one core; see `PPO`.
    """

    world: str
    goals: tuple[str, ...]
    costs: tuple[str, ...]
    window: int = 25
    training: Mapping[str, Any] = field(default_factory=dict)

    def learner(self, part: float = 1.0, **more: Any) -> PPO:
        """PPO with this bed's settings and `part` of its steps."""
        import pluralign_envs  # noqa: F401 - registers the worlds

        steps = int(self.training.get("steps", 100_000) * part)
        given = {**self.training, "steps": steps, "again": steps // 3, "personal": int(1.5 * steps), **more}
        return PPO(self.world, **given)

    def signs(self) -> dict[str, int]:
        """1 for a goal, -1 for a cost, 0 for what nobody cares for: every factor in its order.

        Raises:
            ValueError: a goal or a cost is no factor of the world.
        """
        from pluralign_envs import make_world

        names = [factor.name for factor in make_world(self.world).factors]
        for name in (*self.goals, *self.costs):
            if name not in names:
                raise ValueError(f"{self.world} has no factor {name!r}; there are {', '.join(names)}.")
        return {name: (name in self.goals) - (name in self.costs) for name in names}


_BODY: dict[str, Any] = {"noise": 0.4, "steps": 100_000}

BEDS: dict[str, Bed] = {
    "maze": Bed("pluralign/PointMaze-v0", ("red", "blue"), ("effort",)),
    "large-maze": Bed(
        "pluralign/PointMazeLarge-v0",
        ("red", "blue", "green", "yellow", "purple", "orange", "teal", "pink", "brown", "black"),
        ("effort",),
    ),
    "safety": Bed(
        "pluralign/SharedSafety-v0", ("red", "blue", "green"), ("hazard", "effort"), training={"strays": 32}
    ),
    "reacher": Bed(
        "pluralign/Reacher-v0",
        ("red", "blue", "green", "yellow"),
        ("haste", "power"),
        15,
        {"steps": 80_000, "discount": 0.95},
    ),
    "crowd": Bed("pluralign/Crowd-v0", ("progress", "distance"), ("effort",), training={"steps": 80_000}),
    "pusher": Bed(
        "pluralign/Pusher-v0",
        ("red_left", "red_right", "blue_left", "blue_right"),
        ("effort",),
        training={"steps": 150_000, "copies": 64, "discount": 0.98},
    ),
    "cheetah": Bed("pluralign/Cheetah-v0", ("speed", "height"), ("power", "bounce"), training=_BODY),
    "walker": Bed(
        "pluralign/Walker-v0", ("speed", "height"), ("power", "bounce"), 50, {**_BODY, "discount": 0.98}
    ),
    "ant": Bed(
        "pluralign/Ant-v0",
        ("east", "north"),
        ("power", "bounce"),
        training={**_BODY, "batch": 512, "learning_rate": 3e-3},
    ),
}
ALIASES = {"shared-safety": "safety", "navigation": "crowd", "kitchen-like": "pusher"}


def bed(name: str) -> Bed:
    """The bed called `name`.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    known = ALIASES.get(name, name)
    if known in BEDS:
        return BEDS[known]
    near = difflib.get_close_matches(name, [*BEDS, *ALIASES], n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(f"there is no world {name!r}{hint}; there are {', '.join(BEDS)}.")


def world_named(name: str) -> str:
    """The id of a world, from its id, its name, or what experiments call it: maze is pluralign/PointMaze-v0.

    Raises:
        ValueError: there is none; the message lists those that exist.
    """
    try:
        from pluralign_envs.catalogue import WORLDS
    except ImportError as problem:
        raise ImportError(f"worlds need more packages ({problem}); install the extra `control`.") from problem
    short = {id.removeprefix("pluralign/").removesuffix("-v0").lower(): id for id in WORLDS}
    found = short.get(name.lower(), name)
    return found if found in WORLDS else bed(name.lower()).world
