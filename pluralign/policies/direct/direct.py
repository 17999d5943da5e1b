"""A policy straight from answers about segments: no reward, no simulator; one for all, or one that is told whom it serves."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import Luce
from pluralign.data.comparisons import Comparisons
from pluralign.policies.direct import losses
from pluralign.policies.direct.actor import Shown, layers, log_prob, noise
from pluralign.policies.direct.signs import displacement, ranking_accuracy
from pluralign.policies.direct.worth import PolicyWorth
from pluralign.policies.learner import Policy, Progress
from pluralign.policies.learners.network import NetworkPolicy, PersonalNetwork
from pluralign.policies.lottery import Lottery
from pluralign.policies.saving import save_policy
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.prior import Atoms
from pluralign.rewards.transforms import Gauge
from pluralign.streams import Seed, Streams
from pluralign.utility.scores import Nonlinear

FEW = 16  # up to so many shared tastes are told by their number, more by their direction

# (log-ratio or log-probability, log-probability, first, settings) -> loss per answer; the flag asks for a reference.
METHODS: dict[str, tuple[Callable[[Tensor, Tensor, Tensor, "Direct"], Tensor], bool]] = {
    "cpl": (lambda s, log, y, m: losses.cpl(log, y, scale=m.scale, bias=m.bias), False),
    "dpo": (lambda s, log, y, m: losses.logistic(s, y, scale=m.scale), True),
    "ipo": (lambda s, log, y, m: losses.ipo(s, y, scale=m.scale), True),
    "slic": (lambda s, log, y, m: losses.slic(log, y, scale=m.scale), False),
    "rso": (lambda s, log, y, m: losses.slic(s, y, scale=m.scale), True),
    "f_dpo": (lambda s, log, y, m: losses.f_dpo(s, y, scale=m.scale), True),
    "rpo": (lambda s, log, y, m: losses.rpo(s, log, y, scale=m.scale), True),
    "robust_dpo": (lambda s, log, y, m: losses.flipped(s, y, scale=m.scale), True),
    "irepo": (lambda s, log, y, m: losses.difference(s, y, scale=m.scale, least=0.05), True),
}


@dataclass(frozen=True)
class Direct:
    """Contrastive preference learning and the DPO family on segments: sum_t discount^t log pi(a_t | s_t) is the utility.

    Two phases: imitation of everything shown, which is also the reference of the methods that have one, then the
    method's loss. Steps are counted per segment, whatever its length.

    Attributes:
        method: one of METHODS.
        scale: alpha of CPL, beta of DPO, tau of IPO: utils per nat.
        bias: of CPL, in (0, 1]; below 1 keeps mass on what was shown.
        discount: weight of step t is discount**t; 1 as in the published code, below 1 as in the paper.
        keep: how much the imitation loss goes on to count beside the method's (CPL-BC: 1).
        hidden, imitation, updates, batch (answers), rate (falls to zero): of the network and its training.
        refine: how many times the chances of who belongs to which camp are worked out anew, from the policies' own
            likelihood, for populations with shared tastes.
    """

    method: str = "cpl"
    scale: float = 0.1
    bias: float = 0.5
    discount: float = 1.0
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
    ) -> "Served":
        """Learn from M answers to pairs of segments with observations and actions.

        Args:
            people: a belief fitted to the same raters; the policy is told whom it serves, and answers count for a taste
                as far as they are likely to be that taste's. None: one policy for all.
            actions: how many there are to choose from; 0: numbers on a scale; None: as the segments show.
            low, high: the range of each number of an action; by default that of the actions shown.

        Raises:
            ValueError: the options are no such segments, or more than two are on a slate.
        """
        if data.places != 2:
            raise ValueError(f"direct methods learn from pairs, got slates of {data.places}; see pairs_of().")
        if not len(data):
            raise ValueError(
                "learning needs at least one answer, got none; check the filter that made the data."
            )
        streams = Streams.of(seed).below("direct")
        shown = Shown(data.options, actions)
        draws, gauge, tastes = _whom(data, people)
        width = 0 if gauge is None else len(gauge.root)
        state = layers(shown, width, self.hidden, streams("layers"))
        log_all = self._everything(shown, data, width)
        step = self._stepper(shown, state, progress)

        self._imitate(shown, state, width, streams, step)
        reference = log_all(state, torch.zeros(width))
        weight = draws.weight
        rounds = 1 + (self.refine if draws.shared and gauge is not None else 0)
        for k in range(rounds):
            if k:
                told = [self._told(gauge, z) for z in tastes[:, 0]]
                panel = torch.stack(
                    [self._panel(data, log_all(state, t), reference, shown, draws.raters) for t in told]
                )
                share = weight.mean(1)
                weight = torch.softmax(share.clamp_min(1e-6).log()[:, None] - panel, 0)
            self._contrast(
                shown, state, data, gauge, tastes, weight, reference, streams.below(k), step, rounds
            )

        network = self._network(shown, state, width, low, high)
        final = log_all(state, torch.zeros(width)) if gauge is None else None
        notes: dict[str, Any] = {}
        if final is not None:
            pair = lambda log: self._sum(log, shown)[data.slate]
            y = data.label[:, 0]
            good, bad = displacement(pair(reference), pair(final), y)
            notes = {
                "ranking_accuracy": ranking_accuracy(pair(final), y),
                "preferred_moved": good,
                "refused_moved": bad,
            }
        policy = network if gauge is None else PersonalNetwork(network, gauge)
        assert data.rater_ids is not None
        return Served(policy, tastes, weight, data.rater_ids, self, notes)

    def _sum(self, log: Float[Tensor, "*n T"], shown: Shown) -> Float[Tensor, "*n"]:
        return log @ self.discount ** torch.arange(log.shape[-1], dtype=log.dtype)

    def _everything(self, shown: Shown, data: Comparisons, width: int) -> Any:
        def log_all(state: dict[str, Tensor], told: Tensor) -> Float[Tensor, "N T"]:
            with torch.no_grad():
                parts = [
                    log_prob(state, len(self.hidden), shown, x, a, told.expand(len(x), width))
                    for x, a in zip(shown.observation.split(512), shown.action.split(512), strict=True)
                ]
                return torch.cat(parts) * shown.mask

        return log_all

    def _stepper(
        self, shown: Shown, state: dict[str, Tensor], progress: Progress | None
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
        self, shown: Shown, state: dict[str, Tensor], width: int, streams: Streams, step: Any
    ) -> None:
        optimiser, draw = torch.optim.Adam(state.values(), lr=self.rate), streams("imitation")
        for k in range(self.imitation):
            loss = self._copying(shown, state, width, draw)
            step(loss, optimiser, 1 - k / self.imitation)

    def _copying(
        self, shown: Shown, state: dict[str, Tensor], width: int, draw: torch.Generator
    ) -> Float[Tensor, ""]:
        """Minus the mean log-probability of steps of random segments, for nobody in particular."""
        some = torch.randint(len(shown.mask), (self.batch,), generator=draw)
        log = log_prob(
            state,
            len(self.hidden),
            shown,
            shown.observation[some],
            shown.action[some],
            torch.zeros(self.batch, width),
        )
        mask = shown.mask[some]
        return -(log * mask).sum() / mask.sum().clamp_min(1)

    def _contrast(
        self,
        shown: Shown,
        state: dict[str, Tensor],
        data: Comparisons,
        gauge: Gauge | None,
        tastes: Float[Tensor, "S R Z"],
        weight: Float[Tensor, "S R"],
        reference: Float[Tensor, "N T"],
        streams: Streams,
        step: Any,
        rounds: int,
    ) -> None:
        optimiser, draw = torch.optim.Adam(state.values(), lr=self.rate), streams("answers")
        base = self._sum(reference, shown)
        number = max(1, self.updates // rounds)
        for k in range(number):
            rows = torch.randint(len(data), (self.batch,), generator=draw)
            slate, rater = data.slate[rows], data.rater[rows]
            told = torch.zeros(len(rows), 0)
            if gauge is not None:
                pick = torch.multinomial(weight[:, rater].T, 1, generator=draw)[:, 0]
                told = self._told(gauge, tastes[pick, rater])
            log = log_prob(
                state,
                len(self.hidden),
                shown,
                shown.observation[slate],
                shown.action[slate],
                told[:, None].expand(-1, 2, -1),
            )
            score = self._sum(log * shown.mask[slate], shown)
            loss = METHODS[self.method][0](score - base[slate], score, data.label[rows, 0].to(score), self)
            if data.weight is not None:
                loss = loss * data.weight[rows].to(loss)
            total = loss.mean()
            if self.keep:
                total = total + self.keep * self._copying(
                    shown, state, 0 if gauge is None else len(gauge.root), draw
                )
            step(total, optimiser, 1 - k / number)

    @staticmethod
    def _told(gauge: Gauge | None, z: Float[Tensor, "*n Z"]) -> Float[Tensor, "*n Q"]:
        assert gauge is not None
        return gauge.direction(z).float()

    def _panel(
        self, data: Comparisons, log: Tensor, reference: Tensor, shown: Shown, raters: int
    ) -> Float[Tensor, " R"]:
        """The sum of each rater's losses under one taste's policy."""
        score = self._sum(log, shown)[data.slate]
        base = self._sum(reference, shown)[data.slate]
        loss = METHODS[self.method][0](score - base, score, data.label[:, 0].to(score), self)
        return torch.zeros(raters).index_add(0, data.rater, loss.float())

    def _network(
        self, shown: Shown, state: dict[str, Tensor], width: int, low: Tensor | None, high: Tensor | None
    ) -> NetworkPolicy:
        acted = shown.action[shown.mask]
        empty = torch.zeros(0)
        numbers = {name: value.detach().clone() for name, value in state.items()}
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


@dataclass(frozen=True)
class Served:
    """A policy learned from answers, and whom it serves.

    Attributes:
        policy: a Policy, or a Personal one that is told whom it serves.
        tastes: (S, R, Z) what the policy is told of each rater, weighted by weight (S, R).
        rater_ids: R names. settings: the method.
        diagnostics: for one policy for all: how often it ranks as people do, and how far what was preferred and what was
            refused moved from imitation, in nats per segment.
    """

    policy: Any
    tastes: Float[Tensor, "S R Z"]
    weight: Float[Tensor, "S R"]
    rater_ids: tuple[str, ...]
    settings: Any
    diagnostics: Mapping[str, Any] = field(default_factory=dict)

    def of(self, rater: str) -> Policy:
        """The policy for one person: that of the likeliest of shared tastes, else of the expected one.

        Raises:
            KeyError: nobody has this name.
        """
        if rater not in self.rater_ids:
            raise KeyError(f"no rater {rater!r} was met in training; serve a taste by policy.of(z) instead.")
        if not isinstance(self.policy, PersonalNetwork):
            return self.policy
        r = self.rater_ids.index(rater)
        mine = self.tastes[:, r]
        z = mine[self.weight[:, r].argmax()] if self.shared else self.weight[:, r].to(mine) @ mine
        return self.policy.of(z)

    @property
    def shared(self) -> bool:
        """Whether all raters have the same tastes and differ in weights alone."""
        return Draws(self.tastes, self.weight).shared

    def lottery(self) -> Lottery:
        """One policy for each shared taste, with the share of people behind it as its chance.

        Raises:
            ValueError: tastes are continuous, so that there are as many policies as people.
        """
        if not isinstance(self.policy, PersonalNetwork):
            return Lottery((self.policy,), torch.ones(1))
        if not self.shared:
            raise ValueError("tastes are continuous here; draw some people and take policy.of(z) for each.")
        share = self.weight.mean(1)
        return Lottery(tuple(self.policy.of(z) for z in self.tastes[:, 0]), share / share.sum())

    def belief(self) -> Belief:
        """The policies as a belief: predicts answers by Luce's rule, and says which camp a new rater is of.

        Raises:
            ValueError: tastes are continuous.
        """
        personal = isinstance(self.policy, PersonalNetwork)
        network = self.policy.network if isinstance(self.policy, PersonalNetwork) else self.policy
        if personal and not self.shared:
            raise ValueError(
                "tastes are continuous here, and a policy is not linear in them; fit with camps."
            )
        assert isinstance(network, NetworkPolicy)
        told = self.tastes[:, 0].float() if personal else torch.zeros(1, 0)
        worth = PolicyWorth(network, told, self.settings.scale, self.settings.discount)
        weight = self.weight.double()
        share = weight.mean(1)
        eye = torch.eye(len(told), dtype=torch.float64)
        prior = Atoms(eye, share / share.sum())
        return Belief(worth, Luce(), prior, Draws.atoms(eye, weight), self.rater_ids, self.settings)

    def save(self, folder: str | Path) -> None:
        """Write JSON + safetensors into a new folder."""
        save_policy(self, folder)


def _whom(data: Comparisons, people: Belief | None) -> tuple[Draws, Gauge | None, Float[Tensor, "S R Z"]]:
    """Weights of each rater's tastes, how a network reads them, and what it is told."""
    if people is None or (len(people.draws.z) == 1 and people.draws.shared):
        one = Draws(torch.zeros(1, data.raters, 1), torch.ones(1, data.raters))
        return one, None, one.z
    draws = people.known(data, strict=True)
    if draws.shared and len(draws.z) <= FEW:
        eye = torch.eye(len(draws.z), dtype=torch.float64)
        return draws, Gauge(eye), eye[:, None].expand(-1, data.raters, -1)
    root = torch.eye(draws.z.shape[-1], dtype=torch.float64)
    if not isinstance(people.worth, Nonlinear):
        root = Gauge.of(people.worth, data.options.rows.reshape(-1, data.options.rows.shape[-1])).root
        return draws, Gauge(root), draws.z.double()
    return draws, Gauge(root / math.sqrt(len(root))), draws.z.double()
