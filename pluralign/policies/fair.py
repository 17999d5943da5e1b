"""Any welfare of expected returns, maximised over lotteries; and the rounds of best responses behind it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pluralign.policies.game import Mix, best_mix
from pluralign.policies.learner import Learner, Policy, Progress
from pluralign.policies.lottery import Lottery
from pluralign.population.voices import Voices
from pluralign.rewards.transforms import Scale, relative_gain
from pluralign.rewards.welfare import Nash, Welfare, WorstOff
from pluralign.streams import Seed, Streams

CAUTION = 0.8  # how far weights stay near the safest ones; .6 to .9 need about as many rounds
HELD_OUT = 3  # times the learner's episodes, besides those of the search, to choose the last chances by


@dataclass
class Field:
    """The policies found so far and what each voice gets from them, episode by episode. Grows by `find`."""

    learner: Learner
    voices: Voices
    streams: Streams
    progress: Progress | None
    random: Float[Tensor, "E G"]
    scale: Scale
    paid: Voices  # what the learner is paid by, which a proxy may stand in for
    relative: bool = False  # whether the scale is that of relative gains
    policies: list[Policy] = dataclass_field(default_factory=list)
    returns: list[Tensor] = dataclass_field(default_factory=list)  # (E, G) each, in the voices' own units
    means: list[Tensor] = dataclass_field(default_factory=list)  # (G,) each, the same averaged
    asked: list[Tensor] = dataclass_field(default_factory=list)  # the voice weights that each policy answers
    gaps: list[float] = dataclass_field(default_factory=list)

    @property
    def matrix(self) -> Float[Tensor, "P G"]:
        """Mean returns of all policies, on the scale."""
        return self.scale(torch.stack(self.means))

    def add(self, policy: Policy, weight: Float[Tensor, " G"]) -> None:
        """Judge a policy and keep it."""
        # All policies meet the same luck, so that differences between them are not differences in luck.
        returns = self.learner.returns(policy, self.voices, seed=self.streams.number("returns")).double()
        self.policies.append(policy)
        self.asked.append(weight)
        self.returns.append(returns)
        self.means.append(returns.mean(0))
        if self.progress is not None:
            self.progress(1)

    def find(
        self,
        weight: Float[Tensor, " G"],
        chance: Float[Tensor, " P"] | None = None,
        *,
        afresh: bool = False,
    ) -> Float[Tensor, " G"]:
        """Add the best response to voice weights (on the scale), and say what it pays.

        The learner goes on from the policies that are played with some `chance`, or from the one that is best for
        these weights so far, or begins `afresh`.
        """
        place = self.matrix @ weight
        kept = [int(place.argmax())] if chance is None else chance.nonzero()[:, 0].tolist()
        start = tuple(self.policies[p] for p in sorted(kept, key=lambda p: -float(place[p])))
        mine, number = self.scale.voices(self.paid), self.streams.number("improve", len(self.policies))
        begin = None if afresh else start
        self.add(self.learner.improve(mine, weight, seed=number, start=begin), weight)
        return self.matrix[-1]

    def respond(self, welfare: Welfare, rounds: int, tolerance: float | None) -> None:
        """Best responses to the weights that explain the best lottery so far, until none can help.

        Where the welfare has kinks these weights jump about, so they are drawn towards the weights with the lowest
        bound met so far (Wentges 1997), less after each round that such caution has wasted.
        """
        self.reach(welfare, rounds, tolerance)
        mix = best_mix(self.matrix, welfare, self.voices.weight)
        present = (self.voices.weight > 0).double()
        safe = present / present.sum() if isinstance(welfare, WorstOff) else mix.weight
        bound, wasted, best = float("inf"), 0, 0
        for _ in range(rounds):
            caution = 0.0 if welfare.smooth else CAUTION ** (1 + wasted)
            asked = caution * safe + (1 - caution) * mix.weight
            paid = self.find(asked, mix.chance)
            size = float((self.matrix.amax(0) - self.matrix.amin(0)).max())
            helps = float((paid - mix.returns) @ mix.weight) > 1e-12 * size
            wasted = 0 if helps else wasted + 1
            if welfare.smooth:
                safe, best, floor = asked, len(self.policies) - 1, mix
            else:
                # No lottery is worth more than what the best response to any such weights is paid under them.
                if float(paid @ asked) < bound:
                    bound, safe, best = float(paid @ asked), asked, len(self.policies) - 1
                floor = best_mix(self.matrix, welfare, self.voices.weight)
            if self.nothing_helps(best, safe, floor, tolerance):
                return
            mix = best_mix(self.matrix, welfare, self.voices.weight) if welfare.smooth else floor

    def reach(self, welfare: Welfare, rounds: int, tolerance: float | None) -> None:
        """Policies for the worst off, until some lottery is worth more than minus infinity or none can be."""
        for _ in range(rounds):
            worst = best_mix(self.matrix, WorstOff(), self.voices.weight)
            if math.isfinite(float(welfare.value(worst.returns, self.voices.weight))):
                return
            self.find(worst.weight, worst.chance)
            if self.nothing_helps(len(self.policies) - 1, worst.weight, worst, tolerance):
                return

    def nothing_helps(
        self, policy: int, weight: Float[Tensor, " G"], mix: Mix, tolerance: float | None
    ) -> bool:
        """Whether a policy earns no more under the weights it answers than a lottery does under its own."""
        chance = torch.nn.functional.pad(mix.chance, (0, len(self.policies) - len(mix.chance)))
        lottery = torch.einsum("p,peg->eg", chance, torch.stack(self.returns))
        ahead = self.scale(self.returns[policy]) @ weight - self.scale(lottery) @ mix.weight
        exact = len(ahead) == 1
        error = 0.0 if exact else float(ahead.std()) / len(ahead) ** 0.5
        self.gaps.append(float(ahead.mean()))
        size = float((self.matrix.amax(0) - self.matrix.amin(0)).max())
        enough = (1e-9 if exact else 0.01) * size if tolerance is None else tolerance
        return self.gaps[-1] <= enough + error

    def close(self, solve: Callable[[Tensor], Sequence[Mix]], rounds: int, tolerance: float | None) -> None:
        """Best responses to the weights of each of some mixes in turn, until none helps any of them.

        `solve` gives mixes for the returns (P, G) of the policies so far, a later one to be asked once those
        before it are settled. Without caution, unlike `respond`, as later mixes lean on the earlier.
        """
        settled, afresh = 0, False
        for _ in range(rounds):
            mixes = solve(self.matrix)
            if settled >= len(mixes):
                return
            mix = mixes[settled]
            self.find(mix.weight, mix.chance, afresh=afresh)
            helpless = self.nothing_helps(len(self.policies) - 1, mix.weight, mix, tolerance)
            # Where returns are sampled a learner can be stuck near what it went on from: it is asked twice.
            sure = afresh or len(self.returns[-1]) == 1
            settled, afresh = settled + (helpless and sure), helpless and not sure

    def lottery(
        self,
        welfare: Welfare,
        solve: Callable[[Float[Tensor, "P G"]], Mix] | None = None,
    ) -> Lottery:
        """The best lottery over all policies known, its chances chosen on four times the episodes of the search.

        Chances are where luck hurts most: what one voice seems to get decides what the others do. `solve` is the mix
        with the largest welfare unless another is given.

        A policy counts with one standard error less than its mean: of two ways to be as fair, a coin between two
        sure policies is known to be, and one whose favours depend on the first state only if these were typical.
        """
        scale, matrix = self.scale, self.matrix
        error = torch.zeros_like(matrix)
        if any(len(r) > 1 for r in self.returns):
            numbers = [self.streams.number("held out", part) for part in range(HELD_OUT)]
            again = lambda policy: [
                self.learner.returns(policy, self.voices, seed=n).double() for n in numbers
            ]
            seen = [torch.cat([r, *again(p)]) for p, r in zip(self.policies, self.returns, strict=True)]
            means = torch.stack([r.mean(0) for r in seen])
            if self.relative:
                random = torch.cat([self.random, *again(self.learner.random())]).mean(0)
                # Whoever gains nothing on these episodes keeps the unit of the search.
                gains = (self.voices.weight > 0) & (means.amax(0) > random)
                scale = relative(random, means, self.voices, gains, self.scale)
            matrix = scale(means)
            error = torch.stack([r.std(0) / len(r) ** 0.5 for r in seen]) * scale.factor
        mix = (
            best_mix(matrix - error, welfare, self.voices.weight) if solve is None else solve(matrix - error)
        )
        returns = mix.chance @ matrix
        diagnostics = {
            "scale_shift": scale.shift,
            "scale_factor": scale.factor,
            "matrix": matrix,
            "error": error,
            "returns": returns,
            "value": float(welfare.value(returns, self.voices.weight)),
            "weight": mix.weight,
            "asked": torch.stack(self.asked),
            "gaps": list(self.gaps),
        }
        return Lottery(tuple(self.policies), mix.chance, diagnostics).thin()


def prepared(
    learner: Learner,
    voices: Voices,
    scale: str,
    streams: Streams,
    progress: Progress | None,
    paid: Voices | None = None,
) -> Field:
    """A field that holds every voice's own best policy and what the learner knew before, with the scale that these imply.

    Raises:
        TypeError: the learner cannot train, or there are no voices to train for.
    """
    if not hasattr(learner, "improve"):
        raise TypeError(
            f"`learner` must train policies, as Tabular, PPO and SAC do, got {type(learner).__name__}."
        )
    if not isinstance(voices, Voices):
        raise TypeError(f"`voices` must be Voices, got {type(voices).__name__}; give belief.voices().")
    paid = voices if paid is None else paid
    number = streams.number("returns")
    random = learner.returns(learner.random(), voices, seed=number).double()
    field = Field(learner, voices, streams, progress, random, Scale.none(len(voices)), paid)
    for one in torch.eye(len(voices), dtype=torch.float64):
        # Each from scratch: the best policy of one voice is a poor place to start from for its opponent.
        policy = learner.improve(paid, one, seed=streams.number("own", len(field.policies)))
        field.add(policy, one)
    for policy in getattr(learner, "known", ()):
        field.add(policy, torch.zeros(len(voices), dtype=torch.float64))
    if scale == "relative":
        # Nobody stands behind the others, so they may have nothing to gain.
        field.scale = relative(
            random.mean(0), torch.stack(field.means), voices, voices.weight > 0, field.scale
        )
        field.relative = True
    return field


def relative(
    random: Float[Tensor, " G"],
    means: Float[Tensor, "P G"],
    voices: Voices,
    heard: Bool[Tensor, " G"],
    others: Scale,
) -> Scale:
    """0 is the random policy and 1 the best of P policies, for the voices that are heard; of the others as it was."""
    names = tuple(name for name, here in zip(voices.names, heard.tolist(), strict=True) if here)
    found = relative_gain(random[heard], means.amax(0)[heard], names=names)
    shift, factor = others.shift.clone(), others.factor.clone()
    shift[heard], factor[heard] = found.shift, found.factor
    return Scale(shift, factor)


def check_settings(rounds: int, scale: str) -> None:
    """Raise before anything long is trained."""
    if rounds < 1:
        raise ValueError(f"`rounds` must be at least 1, got {rounds}.")
    if scale not in ("relative", "none"):
        raise ValueError(f'`scale` must be "relative" or "none", got {scale!r}.')


@dataclass(frozen=True)
class Fair:
    """The lottery with the largest welfare of expected returns, by fully corrective Frank-Wolfe.

    Attributes:
        welfare: one of `pluralign.rewards`: Nash(), CVaR(.1), Gini(), SoftMin(.1), AlphaFair(2), Mean().
        rounds, scale, tolerance: as in `MaxMin`. On the relative scale Nash's disagreement point is the random policy.
    """

    welfare: Welfare = dataclass_field(default_factory=Nash)
    rounds: int = 100
    scale: Literal["relative", "none"] = "relative"
    tolerance: float | None = None

    def __post_init__(self) -> None:
        check_settings(self.rounds, self.scale)

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery:
        """A lottery over policies; `diagnostics` has the scale, the returns of all policies and the voice weights."""
        field = prepared(learner, voices, self.scale, Streams.of(seed).below("fair"), progress)
        field.respond(self.welfare, self.rounds, self.tolerance)
        return field.lottery(self.welfare)
