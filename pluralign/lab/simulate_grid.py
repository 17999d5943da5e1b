"""A folder of answers by people who want the same of a van on the delivery grid, and judge its trips by different rules."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data import Comparisons, write
from pluralign.data.options import Options, Segments
from pluralign.raters import CampPeople, SimulatedRaters, questions
from pluralign.saving import appearing
from pluralign.streams import Seed, Streams
from pluralign.tabular import Table, delivery, endless
from pluralign.utility.judged import RULES, Judged, statistics
from pluralign.utility.moves import Moves

TASTE = (-1.0, 10.0, -10.0, 1.0, -1.0, -2.0)  # gas, goal, sheep, coin, roadblock, mud; utils of a move


@dataclass(frozen=True)
class ByRule:
    """Segments as each of G rules judges them, under one known reward.

    Attributes:
        settings: the rules and the discounts. moves: the world. reward: (F,) utils per unit of each factor.
        size: (G,) what the worths are divided by.
    """

    settings: Judged
    moves: Moves
    reward: Float[Tensor, " F"]
    size: Float[Tensor, " G"]

    def basis(self, options: Options) -> Float[Tensor, "N G"]:
        """Utils by every rule."""
        rule = torch.tensor([RULES[name] for name in self.settings.rules], dtype=torch.float64)
        return statistics(options, self.moves, self.reward, self.settings) @ rule.T / self.size


@dataclass(frozen=True)
class SimulateGrid:
    """People who all want the goal, coins and little gas and mud, and look at pieces of trips by rules of their own.

    Attributes:
        rules: what people judge by, of "partial return", "expected return", "regret", "stochastic regret", "end value".
        share: of the people that judge by each; by default equal.
        raters: how many people.
        answers: per person.
        segments: pieces of trips, from every cell alike.
        steps: moves of a piece, random ones.
        discount: of the values that people judge by, per move.
        strength: utils by which two pieces typically differ to a person.
        seed: of everything.
    """

    rules: tuple[str, ...] = ("partial return", "regret", "end value")
    share: tuple[float, ...] = ()
    raters: int = 90
    answers: int = 40
    segments: int = 800
    steps: int = 4
    discount: float = 0.95
    strength: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("raters", 1), ("answers", 1), ("segments", 2), ("steps", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be {least} or more, got {getattr(self, name)}.")
        if not self.strength > 0:
            raise ValueError(f"`strength` must be a positive number of utils, got {self.strength}.")
        if not self.rules:
            raise ValueError(f"`rules` must name one rule at least; there are {', '.join(RULES)}.")
        Judged(self.rules, discount=self.discount)  # tells what is wrong with either

    @property
    def world(self) -> Table:
        """The grid, with the end as its last state."""
        return endless(delivery(discount=self.discount))

    def answer(self) -> tuple[Comparisons, SimulatedRaters]:
        """The answers and the people; `group` is the rule of each."""
        streams, world = Streams.of(self.seed), self.world
        options = pieces(world, self.segments, self.steps, streams.below("pieces"))
        settings = Judged(self.rules, discount=self.discount)
        moves, count = Moves.of(world.transition, world.factors), len(self.rules)
        plain = ByRule(settings, moves, torch.tensor(TASTE).double(), torch.ones(count).double())
        size = plain.basis(options).std(0) * 2**0.5 / self.strength
        worth = ByRule(settings, moves, plain.reward, size)
        centres = tuple(tuple(row) for row in torch.eye(count).tolist())
        share = self.share or (1 / count,) * count
        people = CampPeople(centres, share, worth=worth).draw(self.raters, self.seed)
        slate, rater = questions(len(options), self.answers, self.raters, self.seed)
        data = people.answer(options, slate, rater, self.seed)
        ids = tuple(f"r{r:0{len(str(self.raters - 1))}d}" for r in range(self.raters))
        return Comparisons(options, data.slate, data.rater, data.label, rater_ids=ids), people

    def write(self, out: str | Path) -> Path:
        """A folder as `pluralign.read` takes it; beside it truth.csv (whose rule is which) and truth_share.npy.

        Raises:
            FileExistsError: it exists.
        """
        with appearing(out) as half:
            data, people = self.answer()
            assert people.group is not None
            write(data, half, form="csv.gz")
            rule = [self.rules[g] for g in people.group.tolist()]
            truth = {"rater_id": data.rater_ids, "group": people.group.numpy(), "judges_by": rule}
            pd.DataFrame(truth).to_csv(half / "truth.csv", index=False)
            np.save(
                half / "truth_share.npy", people.share(data.options, data.slate, data.rater)[:, 0].numpy()
            )
        return Path(out)


def pieces(world: Table, count: int, steps: int, seed: Seed) -> Segments:
    """Random walks from every state but the last, which is the end and is not walked on from."""
    streams = Streams.of(seed)
    end, actions = len(world.start) - 1, world.factors.shape[1]
    state = [torch.randint(end, (count,), generator=streams("start"))]
    action = torch.randint(actions, (count, steps), generator=streams("actions"))
    for k in range(steps):
        row = world.transition[state[k], action[:, k]]
        state.append(torch.multinomial(row, 1, generator=streams("moves", k))[:, 0])
    seen = torch.stack(state, 1)
    here = seen[:, :-1]
    return Segments(
        world.factors[here, action],
        here != end,
        observation=here[..., None].double(),
        action=action[..., None].double(),
        reached=seen[:, -1:].double(),
        names=world.factor_names,
    )


__all__ = ["TASTE", "ByRule", "SimulateGrid", "pieces"]
