"""What a policy really brings while it is pushed ever harder towards a reward that was learned from few answers.

    best_of, tilted   a finite set of options, exactly: best of n, and the optimum under a Kullback-Leibler limit
    trained           a tabular world, step by step of policy mirror descent
    FewAnswers        an experiment: a maze whose reward is learned for each place apart
    RareOptions       another: options of which some are hardly ever compared
    compare           either of them, for one reward, an ensemble's mean and careful ensembles, over seeds

A single reward is followed to where it errs upwards, which is where nobody was asked: its own return rises and
the true one falls. What all members of an ensemble like does not do that.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Items
from pluralign.metrics.estimate import Estimate
from pluralign.policies.learners.tabular import Table, Tabular, TabularPolicy
from pluralign.policies.pessimist import Careful
from pluralign.population.ensemble import Ensemble, apart
from pluralign.population.pooled import Pooled
from pluralign.population.voices import Voices
from pluralign.raters import CampPeople, Factors, questions
from pluralign.rewards.doubt import Doubts, UncertaintyWeighted
from pluralign.rewards.tastes import known_voices
from pluralign.rewards.welfare import Mean, Welfare, WorstOff
from pluralign.streams import Seed, Streams

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
LIMITS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


@dataclass(frozen=True)
class Curve:
    """What is believed and what is true, along the way.

    Attributes:
        pressure: (T,) nats from the reference policy, or steps of training. proxy, true: (T,) returns.
    """

    pressure: Float[Tensor, " T"]
    proxy: Float[Tensor, " T"]
    true: Float[Tensor, " T"]
    unit: str = "nats from the reference"

    @property
    def fall(self) -> float:
        """What was lost again since the true return was highest; 0 where training only helped."""
        return float(self.true.max() - self.true[-1])

    @property
    def gain(self) -> float:
        """True return at the end, less that of the beginning."""
        return float(self.true[-1] - self.true[0])


def best_of(
    proxy: Float[Tensor, " N"],
    true: Float[Tensor, " N"],
    reference: Float[Tensor, " N"] | None = None,
    *,
    counts: tuple[int, ...] = COUNTS,
) -> Curve:
    """The best by `proxy` of n options drawn from the reference, for every n of `counts`; exact.

    The chance to end at most at rank i is the n-th power of that of one draw; the pressure is measured, not the
    bound log n - (n - 1) / n.
    """
    base = _reference(proxy, reference)
    level, place = torch.unique(proxy.double(), return_inverse=True)
    mass = torch.zeros(len(level), dtype=torch.float64).index_add(0, place, base)
    reach = mass.cumsum(0).clamp_max(1.0)
    reach[-1] = 1.0
    before = torch.cat([torch.zeros(1, dtype=torch.float64), reach[:-1]])
    n = torch.tensor(counts, dtype=torch.float64)[:, None]
    chosen = reach**n - before**n
    chance = (chosen / mass)[:, place] * base  # options of equal proxy keep their proportions
    return Curve(_nats(chance, base), chance @ proxy.double(), chance @ true.double())


def tilted(
    proxy: Float[Tensor, " N"],
    true: Float[Tensor, " N"],
    reference: Float[Tensor, " N"] | None = None,
    *,
    nats: tuple[float, ...] = LIMITS,
) -> Curve:
    """The best policy within so many nats of the reference: reference exp(proxy / t), t by bisection; exact.

    Limits beyond what the best options are away from the reference end there.
    """
    base = _reference(proxy, reference)
    gain = (proxy - proxy.max()).double()
    limit = torch.tensor(nats, dtype=torch.float64)
    tilt = lambda heat: torch.softmax(heat[:, None] * gain + base.log(), 1)
    size = float(gain.abs().max()) or 1.0
    low, high = torch.zeros_like(limit), torch.full_like(limit, 1e6 / size)
    for _ in range(200):
        middle = (low + high) / 2
        over = _nats(tilt(middle), base) > limit
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    chance = tilt(low)
    return Curve(_nats(chance, base), chance @ proxy.double(), chance @ true.double())


def trained(
    learner: Tabular,
    doubts: Doubts,
    truth: Voices,
    over_members: Welfare | None = None,
    over_people: Welfare | None = None,
    *,
    steps: int = 200,
    rate: float = 1.0,
) -> Curve:
    """Policy mirror descent from the random policy, pushed by what is sure of an uncertain reward.

    In each step policy[s, a] is multiplied by exp(rate Q[s, a]), Q being the value of the reward whose weights are the
    slope of the careful welfare at the present returns; a single certain reward never changes its slope, and this
    is then the natural policy gradient, which converges to its best policy.

    Args:
        learner: of a tabular world. doubts: guesses of what people want; one guess is a single reward.
        truth: what they want; `true` is the mean over these voices by their shares.
        over_members, over_people: as in `Pessimist`; the mean by default.
        steps: of training. rate: how far a step goes, in parts of the spread of Q over actions.

    Source: natural policy gradient with soft-max policies, Agarwal et al. 2021, "On the theory of policy gradient methods".
    """
    table = learner.table
    shape = doubts.z.shape[:2]
    guessed = learner.rewards(doubts.every).unflatten(-1, shape)
    wanted = learner.rewards(truth) @ truth.weight.double()
    careful = Careful(over_members or Mean(), over_people or Mean(), doubts.weight)
    log = torch.zeros(table.factors.shape[:2], dtype=torch.float64)
    proxy, true = [], []
    eye = torch.eye(len(log), dtype=torch.float64)
    for _ in range(steps + 1):
        chance = torch.softmax(log, 1)
        visits = learner.occupancy(TabularPolicy(chance))
        returns = torch.einsum("sa,sagk->gk", visits, guessed)
        proxy.append(careful.value(returns))
        true.append((visits * wanted).sum())
        reward = torch.einsum("sagk,gk->sa", guessed, careful.gradient(returns))
        step = torch.einsum("sa,saz->sz", chance, table.transition)
        value = torch.linalg.solve(eye - table.discount * step, (chance * reward).sum(1))
        ahead = reward + table.discount * table.transition @ value
        ahead = ahead - ahead.mean(1, keepdim=True)
        log = log + rate * ahead / ahead.abs().amax().clamp_min(1e-300)
        log = (log - log.amax(1, keepdim=True)).clamp_min(-50.0)  # a policy that can still change its mind
    return Curve(torch.arange(steps + 1).double(), torch.stack(proxy), torch.stack(true), "steps of training")


@dataclass(frozen=True)
class FewAnswers:
    """A maze, one camp, few answers, and a reward for each place of its own.

    Attributes:
        people: who answer. asked: pairs each. segments: pieces of random walks to choose from. length: steps, each.
        members: of the ensemble. ridge: of each member and of the single reward. strength: utils by which two
            segments typically differ to a person.
        steps: of training.
    """

    people: int = 20
    asked: int = 6
    segments: int = 40
    length: int = 10
    members: int = 8
    ridge: float = 0.1
    strength: float = 2.0
    steps: int = 150

    def run(self, seed: Seed = 0) -> dict[str, Curve]:
        """One set of people and answers; curves in parts of what the best policy gains over the random one."""
        streams = Streams.of(seed)
        learner, taste = places()
        truth = known_voices(taste[None])
        anywhere = torch.full((len(taste),), 1 / len(taste), dtype=torch.float64)
        table = learner.table
        walk = Table(
            table.transition, anywhere, table.factors, table.discount, table.factor_names, self.length
        )
        shown = Tabular(walk).rollout(learner.random(), self.segments, seed=streams.number("walk"))
        spread = float((shown.factors.double().sum(1) @ taste).std()) * 2**0.5
        rows = CampPeople((tuple((self.strength / spread * taste).tolist()),), (1.0,), worth=Factors())
        crowd = rows.draw(self.people, streams.number("people"))
        slate, rater = questions(len(shown), self.asked, self.people, streams.number("questions"))
        data = crowd.answer(shown, slate, rater, streams.number("answers"))
        single = Pooled(ridge=self.ridge)
        one = single.fit(data, streams.number("single")).voices()
        alone = Doubts(one.worth, one.z[:, None], one.weight)
        many = Doubts.of(Ensemble(single, self.members).fit(data, streams.number("ensemble")), 1)
        unit = float(_returns(learner, learner.random(), many.mean).abs().max())
        best = learner.improve(truth, torch.ones(1))
        low, high = (float(_returns(learner, p, truth)) for p in (learner.random(), best))
        kinds: dict[str, tuple[Doubts, Welfare]] = {
            "single reward": (alone, Mean()),
            "mean of the ensemble": (many, Mean()),
            "worst case": (many, WorstOff()),
            "uncertainty-weighted": (many, UncertaintyWeighted(1 / max(unit, 1e-9))),
        }
        return {
            name: _shifted(trained(learner, doubts, truth, rule, steps=self.steps), low, high)
            for name, (doubts, rule) in kinds.items()
        }


@dataclass(frozen=True)
class RareOptions:
    """Options that a reference policy proposes more or less often, and people compare as often as they are proposed.

    The k-th option is proposed in proportion to 1 / k. Those at the end were compared once or twice, so that a reward
    fitted to the answers is least right where a policy that leaves the reference goes.

    Attributes:
        options: how many. people: who answer. asked: pairs each. spread: of true worths, in utils.
        skill: correlation of an option's worth with the logarithm of how often it is proposed: what is hardly ever
            proposed is mostly bad.
        members: of the ensemble; an option compared once is in two crowds in three, and few members may all have met it.
        ridge: of each member and of the single reward. penalty: of the uncertainty-weighted rule.
    """

    options: int = 300
    people: int = 60
    asked: int = 6
    spread: float = 1.0
    skill: float = 0.7
    members: int = 20
    ridge: float = 0.01
    penalty: float = 0.5

    def run(self, seed: Seed = 0) -> dict[str, Curve]:
        """One set of options, people and answers; worths in utils, within more and more nats of the reference."""
        streams = Streams.of(seed)
        base = 1 / torch.arange(1, self.options + 1, dtype=torch.float64)
        base = base / base.sum()
        noise = torch.randn(self.options, generator=streams("worth"), dtype=torch.float64)
        usual = (base.log() - base.log().mean()) / base.log().std(correction=0)
        worth = self.spread * (self.skill * usual + (1 - self.skill**2) ** 0.5 * noise)
        crowd = CampPeople(((1.0,),), (1.0,), worth=Factors()).draw(self.people, streams.number("people"))
        asked = self.people * self.asked
        slate = torch.multinomial(base.expand(asked, -1), 2, generator=streams("questions"))
        rater = torch.arange(self.people).repeat_interleave(self.asked)
        told = crowd.answer(Items(worth[:, None]), slate, rater, streams.number("answers"))
        names = Items(torch.zeros(self.options, 0))
        data = replace(told, options=names)
        single = Pooled(ridge=self.ridge)
        one = single.fit(data, streams.number("single"))
        many = apart(Ensemble(single, self.members).fit(data, streams.number("ensemble")))
        score = lambda belief: belief.utility(names, belief.draws)[0].double()
        # A score says nothing about its zero: what the reference brings is zero for every guess.
        level = lambda x: x - x @ base
        guesses = torch.stack([level(score(b)) for b in many], 1)
        even = torch.full((self.members,), 1 / self.members, dtype=torch.float64)
        sure = {
            "single reward": level(score(one)),
            "mean of the ensemble": Mean().value(guesses, even),
            "worst case": WorstOff().value(guesses, even),
            "uncertainty-weighted": UncertaintyWeighted(self.penalty).value(guesses, even),
        }
        return {name: tilted(proxy, level(worth), base) for name, proxy in sure.items()}


def compare(
    settings: FewAnswers | RareOptions, runs: int = 10, *, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, list[Curve]]]:
    """`runs` sets of people and answers: a table of the ways to train, and all curves.

    Columns: `end`, the true return in the end; `lost`, how much higher it was at the peak of the mean curve; `ahead`,
    how much it ends above the first way, a single reward, on the same answers; each with its standard error over runs.

    Raises:
        ValueError: fewer than 2 runs, which have no standard error.
    """
    if runs < 2:
        raise ValueError(f"`runs` must be at least 2 for a standard error, got {runs}.")
    every = [settings.run(Streams.of(seed).number("run", k)) for k in range(runs)]
    curves = {name: [run[name] for run in every] for name in every[0]}
    rows = []
    ends = {name: torch.stack([c.true for c in found]) for name, found in curves.items()}
    plain = next(iter(ends.values()))[:, -1]
    for name, true in ends.items():
        # Where the mean curve is highest: the height of each single run's own peak is mostly luck.
        peak = int(true.mean(0).argmax())
        numbers = {"end": true[:, -1], "lost": true[:, peak] - true[:, -1], "ahead": true[:, -1] - plain}
        row: dict[str, Any] = {"trained for": name, "peak": float(curves[name][0].pressure[peak])}
        for what, each in numbers.items():
            number = Estimate.mean(each)
            row |= {what: number.value, f"{what} error": number.standard_error}
        rows.append(row)
    return pd.DataFrame(rows), curves


def places(world: Any = None) -> tuple[Tabular, Float[Tensor, " S"]]:
    """A maze whose factors are one for each place, and what the first camp of the maze pays for being there."""
    if world is None:
        import pluralign_envs

        world = pluralign_envs.twin("pluralign/PointMaze-v0")
    table = Table.of(world)
    states, actions, _ = table.factors.shape
    factors = torch.eye(states, dtype=torch.float64)[:, None].expand(-1, actions, -1)
    learner = Tabular(Table(table.transition, table.start, factors, table.discount, horizon=table.horizon))
    return learner, table.factors[:, 0, 0].clone()


def picture(curves: dict[str, list[Curve]], unit: str = "utils above the reference") -> Any:
    """What is believed beside what is true, for each way to train: means over runs, a standard error to each side."""
    from pluralign.lab.report import COLOURS, canvas, titled

    drawing, axes = canvas(9.6, 3.4, columns=2)
    for ax, what in zip(axes, ("proxy", "true")):
        for colour, (name, found) in zip(COLOURS, curves.items()):
            height = torch.stack([getattr(c, what) for c in found]).numpy()
            mean, error = height.mean(0), height.std(0, ddof=1) / np.sqrt(len(height))
            along = torch.stack([c.pressure for c in found]).mean(0).numpy()
            ax.fill_between(along, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)
            ax.plot(along, mean, color=colour, label=name)
        titled(ax, f"{'What is believed' if what == 'proxy' else 'What is true'}, {unit}")
        ax.set_xlabel(found[0].unit)
    axes[0].legend(frameon=False, fontsize=8)
    return drawing


def _returns(learner: Tabular, policy: TabularPolicy, voices: Voices) -> Tensor:
    return learner.returns(policy, voices)[0]


def _shifted(curve: Curve, low: float, high: float) -> Curve:
    return replace(curve, true=(curve.true - low) / (high - low))


def _reference(proxy: Tensor, reference: Tensor | None) -> Tensor:
    if reference is None:
        return torch.full((len(proxy),), 1 / len(proxy), dtype=torch.float64)
    if bool((reference <= 0).any()):
        raise ValueError("`reference` must give every option a chance; leave out those that have none.")
    return reference.double() / reference.double().sum()


def _nats(chance: Tensor, base: Tensor) -> Tensor:
    return torch.special.xlogy(chance, chance / base).sum(-1)
