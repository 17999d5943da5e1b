"""A policy straight from answers about segments: no reward, no simulator; one for all, or one that is told whom it serves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.policies.direct.actor import Shown, divergence, layers, log_prob, noise, outputs
from pluralign.policies.direct.lists import lists_of
from pluralign.policies.direct.methods import METHODS, Scored
from pluralign.policies.direct.served import Served, whom
from pluralign.policies.direct.signs import displacement, ranking_accuracy
from pluralign.policies.learner import Progress
from pluralign.policies.learners.actor import rectified
from pluralign.policies.learners.network import NetworkPolicy, PersonalNetwork
from pluralign.policies.learners.offline import network as random_layers
from pluralign.population.belief import Belief
from pluralign.rewards.transforms import Gauge
from pluralign.streams import Seed, Streams


class Asked(NamedTuple):
    """B slates as a method needs them: `label` (B, K) shares or grades, by `rater` (B,), counting `weight` (B,)."""

    slate: Int[Tensor, "B K"]
    label: Float[Tensor, "B K"]
    rater: Int[Tensor, " B"]
    weight: Float[Tensor, " B"]


class Before(NamedTuple):
    """The policy that imitates: its numbers, what it says of every step, and log-probabilities of what was done."""

    state: Mapping[str, Tensor]
    out: Float[Tensor, "N T C"]
    log: Float[Tensor, "N T"]


@dataclass(frozen=True)
class Direct:
    """Contrastive preference learning and the DPO family on segments: sum_t discount^t log pi(a_t | s_t) is the utility.

    Two phases: imitation of everything shown, which is also the reference of the methods that have one, then the
    method's loss.

    Attributes:
        method: one of METHODS.
        scale: alpha of CPL, beta of DPO, tau of IPO: utils per nat; of DPPO its temperature.
        bias: of CPL, in (0, 1]; below 1 keeps mass on what was shown.
        discount: weight of step t is discount**t; 1 as in the published code, below 1 as in the paper.
        average: take the mean over the steps of a segment instead of the sum, so that short segments count like long ones.
        value: also learn what it is worth to be in a state. For people who judge by what was paid on the way instead of
            by regret: the sum of rewards is that of advantages plus V(first state) - discount^T V(last).
        keep: how much the imitation loss goes on to count beside the method's (CPL-BC: 1).
        hidden, imitation, updates, batch (answers), rate (falls to zero): of the network and its training.
        refine: how many times the chances of who belongs to which camp are worked out anew, from the policies' own
            likelihood, for populations with shared tastes.
    """

    method: str = "cpl"
    scale: float = 0.1
    bias: float = 0.5
    discount: float = 1.0
    average: bool = False
    value: bool = False
    keep: float = 0.0
    hidden: tuple[int, ...] = (64, 64)
    imitation: int = 500
    updates: int = 1500
    batch: int = 96
    rate: float = 1e-3
    refine: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {self.method!r}.")
        if not 0 < self.bias <= 1:
            raise ValueError(f"`bias` must be in (0, 1], got {self.bias}; 1 is no bias.")
        if not 0 < self.discount <= 1:
            raise ValueError(f"`discount` must be in (0, 1], got {self.discount}; give 0.99, not a horizon.")
        if not self.scale > 0:
            raise ValueError(f"`scale` must be positive utils per nat, got {self.scale}.")

    def fit(
        self,
        data: Comparisons,
        people: Belief | None = None,
        seed: Seed = 0,
        progress: Progress | None = None,
        *,
        actions: int | None = None,
        low: Float[Tensor, " A"] | None = None,
        high: Float[Tensor, " A"] | None = None,
    ) -> Served:
        """Learn from M answers about segments with observations and actions.

        Args:
            people: a belief fitted to the same raters; the policy is told whom it serves, and answers count for a taste
                as far as they are likely to be that taste's. None: one policy for all.
            actions: how many there are to choose from; 0: numbers on a scale; None: as the segments show.
            low, high: the range of each number of an action; by default that of the actions shown.

        Raises:
            ValueError: the options are no such segments, or more than two are on a slate and the method needs pairs.
        """
        method = METHODS[self.method]
        if data.places != 2 and method.slates == "pairs":
            raise ValueError(
                f"{self.method} learns from pairs, got slates of {data.places}; take pro or lipo, or see pairs_of()."
            )
        if not len(data):
            raise ValueError(
                "learning needs at least one answer, got none; check the filter that made the data."
            )
        streams = Streams.of(seed).below("direct")
        shown = Shown(data.options, actions)
        if method.distance and shown.counted:
            raise ValueError(
                f"{self.method} compares distances between actions, and these are counted; take cpl."
            )
        if self.value and shown.reached is None:
            raise ValueError(
                "`value` needs segments that say what they `reached`; write them again with it, or judge by regret."
            )
        draws, gauge, tastes = whom(data, people)
        width = 0 if gauge is None else len(gauge.root)
        state = layers(shown, width, self.hidden, streams("layers"))
        if self.value:
            sizes = (shown.observation.shape[-1] + width, *self.hidden, 1)
            for k, (weight, bias) in enumerate(random_layers(sizes, streams("value"))):
                state |= {f"value.{k}.weight": weight.detach(), f"value.{k}.bias": bias.detach()}
        step = self._stepper(state, progress)
        whose = torch.zeros(1, width) if gauge is None else _told(gauge, tastes.flatten(0, 1))
        self._imitate(shown, state, whose, streams, step)
        kept = {name: value.detach().clone() for name, value in state.items()}
        before = Before(kept, *self._everything(shown, kept, torch.zeros(width)))
        asked = self._asked(data)
        weight = draws.weight
        rounds = 1 + (self.refine if draws.shared and gauge is not None else 0)
        for k in range(rounds):
            if k:
                told = [_told(gauge, z) for z in tastes[:, 0]]
                panel = torch.stack([self._panel(asked, state, t, before, shown, data.raters) for t in told])
                share = weight.mean(1)
                weight = torch.softmax(share.clamp_min(1e-6).log()[:, None] - panel, 0)
            self._contrast(shown, state, asked, gauge, tastes, weight, before, streams.below(k), step, rounds)

        network = self._network(shown, state, width, low, high)
        notes = {} if gauge is not None or data.places != 2 else self._signs(shown, state, data, before)
        policy = network if gauge is None else PersonalNetwork(network, gauge)
        assert data.rater_ids is not None
        return Served(policy, tastes, weight, data.rater_ids, self, notes)

    def _asked(self, data: Comparisons) -> Asked:
        if METHODS[self.method].slates == "lists":
            slate, label, rater = lists_of(data)
            return Asked(slate, label.float(), rater, torch.ones(len(slate)))
        weight = torch.ones(len(data)) if data.weight is None else data.weight.float()
        return Asked(data.slate, data.label.float(), data.rater, weight)

    def _sum(self, log: Float[Tensor, "*n T"], mask: Bool[Tensor, "*n T"]) -> Float[Tensor, "*n"]:
        fading = mask * self.discount ** torch.arange(log.shape[-1], dtype=log.dtype)
        total = (log * fading).sum(-1)
        return total / fading.sum(-1).clamp_min(1e-9) if self.average else total

    def _everything(
        self, shown: Shown, state: Mapping[str, Tensor], told: Float[Tensor, " Q"]
    ) -> tuple[Float[Tensor, "N T C"], Float[Tensor, "N T"]]:
        """What the network says of every step, and the log-probabilities of what was done."""
        with torch.no_grad():
            out = torch.cat(
                [
                    outputs(state, len(self.hidden), x, told.expand(len(x), len(told)))
                    for x in shown.observation.split(512)
                ]
            )
            return out, log_prob(state, shown, out, shown.action)

    def _stepper(
        self, state: dict[str, Tensor], progress: Progress | None
    ) -> Callable[[Tensor, torch.optim.Optimizer, float], None]:
        def step(loss: Tensor, optimiser: torch.optim.Optimizer, left: float) -> None:
            for group in optimiser.param_groups:
                group["lr"] = self.rate * max(left, 0.01)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(list(state.values()), 1.0)
            optimiser.step()
            if progress is not None:
                progress(1)

        for value in state.values():
            value.requires_grad_()
        return step

    def _imitate(
        self, shown: Shown, state: dict[str, Tensor], whose: Float[Tensor, "n Q"], streams: Streams, step: Any
    ) -> None:
        optimiser, draw = torch.optim.Adam(state.values(), lr=self.rate), streams("imitation")
        for k in range(self.imitation):
            loss = self._copying(shown, state, whose, draw)
            step(loss, optimiser, 1 - k / self.imitation)

    def _copying(
        self, shown: Shown, state: dict[str, Tensor], whose: Float[Tensor, "n Q"], draw: torch.Generator
    ) -> Float[Tensor, ""]:
        """Minus the mean log-probability of steps of random segments, half of them for nobody, half for anybody."""
        some = torch.randint(len(shown.mask), (self.batch,), generator=draw)
        told = whose[torch.randint(len(whose), (self.batch,), generator=draw)]
        told = told * (torch.arange(self.batch) % 2)[:, None]
        out = outputs(state, len(self.hidden), shown.observation[some], told)
        mask = shown.mask[some]
        return -(log_prob(state, shown, out, shown.action[some]) * mask).sum() / mask.sum().clamp_min(1)

    def _contrast(
        self,
        shown: Shown,
        state: dict[str, Tensor],
        asked: Asked,
        gauge: Gauge | None,
        tastes: Float[Tensor, "S R Z"],
        weight: Float[Tensor, "S R"],
        before: Before,
        streams: Streams,
        step: Any,
        rounds: int,
    ) -> None:
        optimiser, draw = torch.optim.Adam(state.values(), lr=self.rate), streams("answers")
        number = self.updates // rounds
        for k in range(number):
            rows = torch.randint(len(asked.slate), (self.batch,), generator=draw)
            told = torch.zeros(len(rows), 0)
            if gauge is not None:
                rater = asked.rater[rows]
                pick = torch.multinomial(weight[:, rater].T, 1, generator=draw)[:, 0]
                told = _told(gauge, tastes[pick, rater])
            total = (self._loss(shown, state, asked, rows, told, before) * asked.weight[rows]).mean()
            if self.keep:
                total = total + self.keep * self._copying(shown, state, told, draw)
            step(total, optimiser, 1 - k / number)

    def _loss(
        self,
        shown: Shown,
        state: Mapping[str, Tensor],
        asked: Asked,
        rows: Int[Tensor, " b"],
        told: Float[Tensor, "b Q"],
        before: Before,
    ) -> Float[Tensor, " b"]:
        method, there = METHODS[self.method], asked.slate[rows] != ABSENT
        slate = asked.slate[rows].clamp_min(0)
        action, mask = shown.action[slate], shown.mask[slate]
        told = told[:, None].expand(-1, slate.shape[1], -1)
        out = outputs(state, len(self.hidden), shown.observation[slate], told)
        nothing = lambda x: x.masked_fill(~there, -torch.inf)
        log = self._sum(log_prob(state, shown, out, action), mask)
        base = self._sum(before.log[slate], mask)
        distance = strayed = torch.zeros_like(log)
        if method.distance:
            # A root has no slope at zero.
            far = ((out - action).square().sum(-1) + 1e-12).sqrt()
            distance = (far * mask).sum(-1) / mask.sum(-1)
        if method.strayed:
            strayed = self._sum(divergence(shown, state, out, before.state, before.out[slate]), mask)
        value = self._value(shown, state, slate, told) if self.value else torch.zeros_like(log)
        ratio = log - base + value / self.scale
        return method.loss(
            Scored(nothing(log), nothing(ratio), asked.label[rows], there, distance, strayed, value), self
        )

    def _value(
        self,
        shown: Shown,
        state: Mapping[str, Tensor],
        slate: Int[Tensor, "b K"],
        told: Float[Tensor, "b K Q"],
    ) -> Float[Tensor, "b K"]:
        """V(first state) - discount^T V(last), in utils."""
        assert shown.reached is not None
        both = torch.stack([shown.observation[slate][:, :, 0], shown.reached[slate]])
        layers_of = [
            (state[f"value.{k}.weight"], state[f"value.{k}.bias"]) for k in range(len(self.hidden) + 1)
        ]
        begun, ended = rectified(layers_of, torch.cat([both, told.expand(2, *told.shape)], -1))[..., 0]
        return begun - self.discount ** shown.mask[slate].sum(-1) * ended

    def _panel(
        self,
        asked: Asked,
        state: Mapping[str, Tensor],
        told: Float[Tensor, " Q"],
        before: Before,
        shown: Shown,
        raters: int,
    ) -> Float[Tensor, " R"]:
        """The sum of each rater's losses under one taste's policy."""
        with torch.no_grad():
            loss = [
                self._loss(shown, state, asked, rows, told.expand(len(rows), -1), before)
                for rows in torch.arange(len(asked.slate)).split(1024)
            ]
        return torch.zeros(raters).index_add(0, asked.rater, torch.cat(loss).float())

    def _signs(
        self, shown: Shown, state: Mapping[str, Tensor], data: Comparisons, before: Before
    ) -> dict[str, Any]:
        """How often the policy ranks as people do, and how far both sides moved."""
        _, log = self._everything(shown, state, torch.zeros(0))
        pair = lambda x: self._sum(x, shown.mask)[data.slate]
        y = data.label[:, 0]
        good, bad = displacement(pair(before.log), pair(log), y)
        return {
            "ranking_accuracy": ranking_accuracy(pair(log), y),
            "preferred_moved": good,
            "refused_moved": bad,
        }

    def _network(
        self,
        shown: Shown,
        state: Mapping[str, Tensor],
        width: int,
        low: Float[Tensor, " A"] | None,
        high: Float[Tensor, " A"] | None,
    ) -> NetworkPolicy:
        acted = shown.action[shown.mask]
        empty = torch.zeros(0)
        numbers = {
            name: value.detach().clone() for name, value in state.items() if not name.startswith("value.")
        }
        if "log_std" in numbers:
            numbers["log_std"] = noise(shown, numbers["log_std"])
        return NetworkPolicy(
            numbers,
            self.hidden,
            shown.centre,
            shown.scale,
            empty if shown.counted else (acted.amin(0) if low is None else low.float()),
            empty if shown.counted else (acted.amax(0) if high is None else high.float()),
            torch.zeros(width) if width else None,
        )


def _told(gauge: Gauge | None, z: Float[Tensor, "*n Z"]) -> Float[Tensor, "*n Q"]:
    assert gauge is not None
    return gauge.direction(z).float()
