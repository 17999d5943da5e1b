"""A writer tuned on answers of camps so that no camp is left behind: the direct family with weights over camps.

    min over writers of sum_g a_g L_g,

where L_g is the mean loss of camp g's answers (DPO, IPO, ...), and weights a move on the way, `by`

- "returns": with what the writer's own answers bring the camps in the eyes of a belief, as the welfare asks; for the worst
  off a_g <- a_g exp(-pace J_g), normalised.
- "losses": a_g <- a_g exp(pace L_g), normalised, for the worst off alone. Losses are no returns: a camp whose answers are
  noisy has a high loss however it is served, and takes the weight. `least` subtracts what each camp's own best writer loses.

Source: Ramesh et al., Group robust preference optimization in reward-free RLHF, NeurIPS 2024, for "losses"; Chakraborty et
al., MaxMin-RLHF, ICML 2024, for the objective of "returns".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.language.likelihood import answer_log_probs, batches
from pluralign.language.online import Tuned
from pluralign.language.processes import Processes
from pluralign.language.steps import Descend, Row, Steps
from pluralign.language.weighing import acting, moved, reweighed, start, welfare_named
from pluralign.language.writer import Reward, Tune, Writer, moving, tunable
from pluralign.language.yardstick import Yardstick, worths
from pluralign.policies.direct import METHODS as ALL
from pluralign.policies.direct import Direct
from pluralign.policies.direct.methods import Scored
from pluralign.streams import Seed, Streams

By = Literal["returns", "losses"]
# Methods that contrast two texts by their likelihoods alone; distances between actions and whole lists are for segments.
METHODS = {
    name: method
    for name, method in ALL.items()
    if method.slates == "pairs" and not method.distance and not method.strayed
}


def camp_means(loss: Float[Tensor, " M"], member: Float[Tensor, "M G"]) -> Float[Tensor, " G"]:
    """Mean loss of each camp, an answer counting as far as it is a camp's; 0 for one that is not there."""
    return (member * loss[:, None]).sum(0) / member.sum(0).clamp_min(1e-6)


def among(
    policy: Float[Tensor, " N"], reference: Float[Tensor, " N"], prompt: Int[Tensor, " N"]
) -> Float[Tensor, " P"]:
    """(P,) KL(policy, reference) in nats of the chances that two models give the answers to each prompt, given one of them."""
    count = int(prompt.max()) + 1

    def chances(log: Tensor) -> Tensor:
        top = torch.full((count,), -torch.inf, dtype=log.dtype).scatter_reduce(0, prompt, log, "amax")
        total = torch.zeros(count, dtype=log.dtype).index_add(0, prompt, (log - top[prompt]).exp())
        return log - top[prompt] - total.log()[prompt]

    mine, other = chances(policy.double()), chances(reference.double())
    return torch.zeros(count, dtype=mine.dtype).index_add(0, prompt, mine.exp() * (mine - other))


@dataclass(frozen=True)
class GroupRobust:
    """Settings of direct tuning with weights over camps.

    Attributes:
        method: one of METHODS.
        welfare: "mean", "maxmin", "nash", "cvar" or "proportional".
        by: "returns" or "losses".
        scale: beta of DPO, tau of IPO: utils per nat. bias: of CPL.
        pace: of the camps' weights, each time they move; 0 keeps them at the camps' shares, the plain method.
        memory: of returns from one listening to the next, in [0, 1). lean: how far weights also lean to who has least then.
        every: steps from one listening to the next. prompts, answers: that the writer is heard on, and to each.
        updates, batch, rate: of AdamW; batch in answers of raters.
        tune: "lora", adapters of `rank`, or "full".
        rank: of the adapters.
        at_once: tokens read at a time.
        least: (G,) loss of each camp's own best writer, for "losses".
    """

    method: str = "dpo"
    welfare: str = "maxmin"
    by: By = "returns"
    scale: float = 0.1
    bias: float = 0.5
    pace: float = 0.2
    memory: float = 0.5
    lean: float = 1.0
    every: int = 5
    prompts: int = 16
    answers: int = 4
    updates: int = 120
    batch: int = 64
    rate: float = 2e-4
    tune: Tune = "lora"
    rank: int = 8
    at_once: int = 8192
    least: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        welfare_named(self.welfare)
        if self.method not in METHODS:
            raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {self.method!r}.")
        if self.by not in ("returns", "losses"):
            raise ValueError(f'`by` must be "returns" or "losses", got {self.by!r}.')
        if self.by == "losses" and self.welfare not in ("mean", "maxmin"):
            raise ValueError(
                f'weights that move by losses serve the worst off, not {self.welfare}; take by="returns".'
            )

    def settings(self) -> Direct:
        """What the loss is told."""
        return Direct(self.method, scale=self.scale, bias=self.bias)

    def fit(
        self,
        reference: Writer,
        data: Comparisons,
        prompts: Sequence[str],
        answers: Sequence[str],
        member: Float[Tensor, "R G"],
        seed: Seed = 0,
        *,
        measure: Yardstick | None = None,
        reward: Reward | None = None,
        folder: Path | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> Tuned:
        """Tune a copy of `reference` on M answers about pairs of N texts.

        Args:
            prompts, answers: of the N texts.
            member: how far each rater's answers count for each camp: chances, or for one person how alike they are.
            seed: of everything.
            measure, reward: what the reference's answers bring the camps, and what any answers do; without them weights can
                move by losses alone, and the curve tells no returns.
            folder: where to put things aside and to go on from.
            progress: told 1 after each step.

        Raises:
            ValueError: slates of more than two, or weights by returns without a reward.
        """
        if data.places != 2:
            raise ValueError(f"direct methods learn from pairs, got slates of {data.places}; see pairs_of().")
        heard = measure is not None and reward is not None
        moves = self.pace > 0 and self.welfare != "mean" and member.shape[1] > 1
        if moves and self.by == "returns" and not heard:
            raise ValueError(
                'weights that move by returns need `measure` and `reward`; give them, or by="losses".'
            )
        streams, welfare = Streams.of(seed).below("direct"), welfare_named(self.welfare)
        group = Processes.whole_models()
        if self.batch < group.count:
            raise ValueError(
                f"`batch` must give each of {group.count} processes an answer, got {self.batch}; make it larger."
            )
        writer = tunable(reference, self.tune, self.rank, streams.number("adapters"))
        pieces = writer.pieces(prompts, answers)
        with torch.no_grad():
            some = pieces[group.rank :: group.count]
            base = group.gathered(
                answer_log_probs(reference.model, some, padding=writer.padding, at_once=self.at_once)
            )
        mine = member[data.rater]  # (M, G)
        share = (mine.mean(0)).double()
        begun = start(share, welfare) if self.by == "returns" and moves else share
        state = {"weight": begun, "returns": torch.zeros_like(share), "acting": begun.clone()}
        least = torch.zeros_like(share) if self.least is None else torch.tensor(self.least).to(share)

        def step(number: int, descend: Descend) -> Row:
            row: Row = {}
            if number % self.every == 0:
                row = self._listen(
                    writer, reference, prompts, measure, reward, streams.below("listen", number), group
                )
                if "returns" in row and moves and self.by == "returns":
                    now, count = torch.tensor(row["returns"], dtype=torch.float64), number // self.every + 1
                    state["returns"] = self.memory * state["returns"] + (1 - self.memory) * now
                    told = state["returns"] / (1 - self.memory**count)
                    state["weight"] = moved(state["weight"], told, share, welfare, self.pace)
                    state["acting"] = acting(state["weight"], told, welfare, self.lean)
            rows = torch.randint(len(data), (self.batch,), generator=streams("answers", number))
            counted = (mine[rows] @ (state["acting"] / share).to(mine)).float()
            own = rows[group.rank :: group.count]
            part = counted[group.rank :: group.count] * (len(own) / len(rows))
            loss = group.gathered(self._descend(writer, base, pieces, data.take(own), part, descend))
            means = camp_means(loss, mine[rows].to(loss))
            if moves and self.by == "losses":
                there = mine[rows].sum(0) > 0.5
                state["weight"] = state["acting"] = reweighed(
                    state["weight"], torch.where(there, means.to(share) - least, 0.0), self.pace
                )
            return {**row, "loss": means.tolist(), "weight": state["acting"].tolist()}

        loop = Steps(self.updates, self.rate, momentum=0.5, average=1 / 3)
        rows = loop.run(moving(writer), step, state, folder=folder, progress=progress, group=group)
        late = torch.tensor([row["weight"] for row in rows[len(rows) // 2 :]]).mean(0)
        return Tuned(replace(writer, name=f"{reference.name}, tuned"), late, tuple(rows))

    def losses(self, log: Float[Tensor, "M 2"], base: Float[Tensor, "M 2"], data: Comparisons) -> Tensor:
        """(M,) the method's loss of each answer, from log-probabilities of both texts under the writer and the reference."""
        none = torch.zeros_like(log)
        told = Scored(log, log - base, data.label.to(log), data.slate >= 0, none, none, none)
        return METHODS[self.method].loss(told, self.settings())

    def _descend(
        self,
        writer: Writer,
        base: Tensor,
        pieces: Sequence[Any],
        data: Comparisons,
        counted: Tensor,
        descend: Descend,
    ) -> Float[Tensor, " B"]:
        """One step on some answers, every different text read once; returns their losses."""
        met, place = torch.unique(data.slate, return_inverse=True)
        some = [pieces[k] for k in met.tolist()]
        read = lambda part: answer_log_probs(writer.model, part, padding=writer.padding, at_once=self.at_once)
        seen: list[Tensor] = []

        def all_of(log: Tensor) -> Tensor:
            each = self.losses(log[place], base[data.slate], data)
            seen.append(each.detach())
            return (counted * each).mean()

        def losses() -> Iterator[Tensor]:
            parts = batches(some, self.at_once)
            if len(parts) == 1:
                yield all_of(read(some))
                return
            # The slope of the loss in every log-probability first, so that graphs of the parts come one at a time.
            with torch.no_grad():
                log = read(some)
            slope = torch.autograd.grad(all_of(log.requires_grad_()), log)[0]
            for part in parts:
                yield (read([some[k] for k in part]) * slope[part]).sum()

        descend(losses())
        return seen[0]

    def _listen(
        self,
        writer: Writer,
        reference: Writer,
        prompts: Sequence[str],
        measure: Yardstick | None,
        reward: Reward | None,
        streams: Streams,
        group: Processes,
    ) -> Row:
        asked = list(measure.prompts if measure is not None else dict.fromkeys(prompts))
        place = torch.randint(len(asked), (self.prompts,), generator=streams("prompts")).tolist()
        some = [asked[k] for k in place]
        written = writer.write(some, self.answers, seed=streams.number("answers"), group=group)
        row: Row = {}
        if group.first:
            with torch.no_grad():
                ratio = [
                    answer_log_probs(one.model, written.pieces, padding=writer.padding)
                    for one in (writer, reference)
                ]
            row = {"kl": float((ratio[0] - ratio[1]).mean()), "length": written.length}
            if measure is not None and reward is not None:
                zero = measure(range(len(asked)), measure.worth).mean((0, 1))
                row["returns"] = (
                    (measure(place, worths(written, reward, self.answers)) - zero).mean((0, 1)).tolist()
                )
        return dict(group.agreed(row))
