"""The maze experiment, first half: people who disagree, what they were shown, what they answered."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Segments
from pluralign.raters import CampPeople, Factors, Faults, SimulatedRaters, questions
from pluralign.streams import Streams

WORLD = "pluralign/PointMaze-v0"
POOL, JUDGED = 60, 30  # questions that a new person may be asked; answers of each person to judge by
TASTES = {"red": (1.0, 0.0, -0.02), "blue": (0.0, 1.0, -0.02)}  # utils per step and unit of red, blue, effort


@dataclass(frozen=True)
class Answers:
    """What was asked and said.

    Attributes:
        met: people whose answers are fitted. new: people never seen. `group` is the true camp, 0 red, 1 blue.
        train: answers of the people met. test: their answers to further questions, for judging.
        pool: questions that may be asked of each new person, with what they would answer.
        fresh: answers of new people to further questions, for judging.
    """

    met: SimulatedRaters
    new: SimulatedRaters
    train: Comparisons
    test: Comparisons
    pool: Comparisons
    fresh: Comparisons

    @property
    def camps(self) -> Tensor:
        """(R,) the true camp of each person met."""
        assert self.met.group is not None
        return self.met.group


def wander(count: int, steps: int, streams: Streams, world: str = WORLD) -> Segments:
    """Pieces of trajectory in which the puck is put somewhere in a maze and pushed about without a purpose.

    Half the pieces begin near one of the goals, or few would show anything that people care about. A force is
    held for a few steps and then drawn anew, so that the puck gets somewhere.
    """
    import gymnasium
    import pluralign_envs

    twin = pluralign_envs.twin(world)
    rng = np.random.default_rng(streams.number("wander"))
    goals = np.array(list(pluralign_envs.layout(world).goals.values()))
    away = np.linalg.norm(twin.position[:, None] - goals, axis=-1).min(1)
    near = np.flatnonzero(away <= np.quantile(away, 0.35))
    cell = np.where(
        rng.random(count) < 0.5, rng.choice(near, count), rng.integers(len(twin.position), size=count)
    )
    env = gymnasium.make_vec(world, num_envs=count, vectorization_mode="vector_entry_point")
    try:
        place = twin.position[cell] + rng.uniform(-0.2, 0.2, (count, 2))
        observation, _ = env.reset(
            seed=streams.number("reset") % 2**31, options={"qpos": place, "qvel": np.zeros((count, 2))}
        )
        seen: dict[str, list] = {"factors": [], "observation": [], "action": []}
        for step in range(steps):
            if step % 5 == 0:
                force = rng.uniform(-1, 1, (count, 2)).astype(np.float32)
            seen["observation"].append(np.array(observation))
            seen["action"].append(force)
            observation, _, _, _, info = env.step(force)
            seen["factors"].append(np.array(info["factors"]))
    finally:
        env.close()
    stacked = {name: torch.as_tensor(np.stack(rows, 1)) for name, rows in seen.items()}
    return Segments(
        stacked["factors"].float(),
        dt=0.15,
        observation=stacked["observation"].float(),
        action=stacked["action"].float(),
        ids=tuple(f"s{n:04d}" for n in range(count)),
        names=tuple(twin.factor_names),
    )


def ask(
    *,
    people: int,
    newcomers: int,
    share: float,
    asked: int,
    segments: int,
    steps: int,
    rationality: float,
    lapse: float,
    streams: Streams,
) -> Answers:
    """Draw the people, show them pairs of segments, write down what they say."""
    shown = wander(segments, steps, streams)
    crowd = CampPeople(
        centres=tuple(TASTES.values()),
        share=(share, 1 - share),
        spread=0.0,
        worth=Factors(),
        faults=Faults(rationality=rationality, lapse=lapse),
    )
    # Two draws, so that both the people met and those not met hold the camps in their exact shares.
    met, new = crowd.draw(people, streams.below("met")), crowd.draw(newcomers, streams.below("new"))
    train, test = _asked(met, shown, asked, "p", streams.below("met"))
    pool, fresh = _asked(new, shown, POOL, "n", streams.below("new"))
    return Answers(met, new, train, test, pool, fresh)


def _asked(
    who: SimulatedRaters, shown: Segments, count: int, letter: str, streams: Streams
) -> tuple[Comparisons, Comparisons]:
    """`count` answers of everybody, and those to `JUDGED` further questions."""
    each = count + JUDGED
    slate, rater = questions(len(shown), each, len(who), streams.below("questions"))
    said = who.answer(shown, slate, rater, streams.below("answers"))
    said = dataclasses.replace(said, rater_ids=tuple(f"{letter}{r:03d}" for r in range(len(who))))
    place = torch.arange(len(rater)) % each
    return said.take(place < count), said.take(place >= count)
