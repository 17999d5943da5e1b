"""A lottery that wins at least half the time against every policy, by playing against its own past."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.fair import Field, prepared
from pluralign.policies.learner import Learner, Progress
from pluralign.policies.lottery import Lottery
from pluralign.policies.winner import minimax_winner, mirror_descent, self_play
from pluralign.population.voices import Voices
from pluralign.streams import Seed, Streams

# returns (*b, G) of one way, of another, shares (G,) -> (*b) the chance that the first is preferred
Preference = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Votes:
    """The share of the people who would choose the first: each voice answers by Luce's rule from its own returns.

    Attributes:
        temperature: utils; towards zero the better return gets every vote of its voice.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(
                f"`temperature` must be positive, got {self.temperature}; near zero voices are sure."
            )

    def __call__(
        self, ours: Float[Tensor, "*a G"], theirs: Float[Tensor, "*b G"], share: Float[Tensor, " G"]
    ) -> Tensor:
        return (torch.sigmoid((ours - theirs) / self.temperature) * share).sum(-1)


@dataclass(frozen=True)
class SelfPlay:
    """The minimax winner among policies, by what is preferred to what; preferences may go in circles.

    A single reward ranks policies, and where preferences go in circles whatever it ranks first loses to something.
    Each round asks for a policy that gains wins against the lottery played so far: the win rate, as a function of the
    voices' returns, is followed along its gradient, and where that leads nowhere coalitions of all voices but one and
    random weighings are tried. The lottery is then the winner among all policies found. Policies that no weighing of the voices asks for are not found, so a compromise that everybody ranks
    second but nobody's weighted sum ranks first may be missed; and where votes are nearly sure, win rates are steps whose
    slopes say little, so a way by which a coalition gains slightly may be missed too: more `tries` find it.

    Attributes:
        preference: (returns of one policy, of another, shares of the people) -> chance that the first is preferred,
            differentiable; the people vote by default. Policies are compared on the same episodes.
        play: how the lottery is found: "exact" by linear programme, "self-play" by the average of optimistic
            multiplicative weights, "mirror" by the last round of Nash mirror descent.
        rounds: policies asked for at most, besides the voices' own best policies.
        tries: random weighings of the voices asked for before the search ends.
        plays: rounds of "self-play" or "mirror". temperature: of "mirror".
        tolerance: a new policy must win more than half by this, beyond its standard error.
    """

    preference: Preference = dataclass_field(default_factory=Votes)
    play: Literal["exact", "self-play", "mirror"] = "exact"
    rounds: int = 50
    plays: int = 10_000
    tries: int = 8
    temperature: float = 0.01
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"`rounds` must be at least 1, got {self.rounds}.")
        if self.play not in ("exact", "self-play", "mirror"):
            raise ValueError(f'`play` must be "exact", "self-play" or "mirror", got {self.play!r}.')

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery:
        """A lottery; `diagnostics` has `wins` (P, P) between all policies found and the lottery's `worst` win rate.

        Raises:
            ValueError: the preference of one policy to another and the reverse do not add up to one.
        """
        streams = Streams.of(seed).below("self-play")
        field = prepared(learner, voices, "none", streams, progress)
        share = voices.weight.double()
        field.find(share)
        wins = self.wins(torch.stack(field.returns), share)
        for _ in range(self.rounds):
            chance = self._played(wins)
            helped = False
            for weight in self._ways(field, chance, share):
                field.find(weight, chance)
                wins = self.wins(torch.stack(field.returns), share)
                ahead = wins[-1, :-1] @ torch.nn.functional.pad(chance, (0, len(wins) - 1 - len(chance)))
                error = self._error(field, chance, share)
                field.gaps.append(float(ahead) - 0.5)
                helped = field.gaps[-1] > self.tolerance + error
                if helped:
                    break
            if not helped:
                break
        # On fresh episodes, as those that chose the policies flatter them.
        number = streams.number("held out")
        fresh = torch.stack([learner.returns(p, voices, seed=number).double() for p in field.policies])
        wins = self.wins(fresh, share)
        chance = self._played(wins)
        diagnostics = {
            "wins": wins,
            "chance": chance,
            "worst": float((chance @ wins).min()),
            "returns": chance @ fresh.mean(1),
            "asked": torch.stack(field.asked),
            "gaps": list(field.gaps),
        }
        return Lottery(tuple(field.policies), chance, diagnostics).thin()

    def wins(self, returns: Float[Tensor, "P E G"], share: Float[Tensor, " G"]) -> Float[Tensor, "P P"]:
        """How often each policy is preferred to each, over the same episodes."""
        with torch.no_grad():
            return self.preference(returns[:, None], returns[None], share).mean(-1)

    def _played(self, wins: Float[Tensor, "P P"]) -> Float[Tensor, " P"]:
        if self.play == "self-play":
            return self_play(wins, self.plays, optimistic=True)
        if self.play == "mirror":
            return mirror_descent(wins, self.plays, self.temperature)
        return minimax_winner(wins)

    def _ways(
        self, field: Field, chance: Float[Tensor, " P"], share: Float[Tensor, " G"]
    ) -> list[Float[Tensor, " G"]]:
        """Voice weights by which to win: along the win rate's slope on average over the lottery and from each of its
        policies, then for everybody but one voice, as slopes see no coalition where votes are sure. None twice."""
        returns = torch.stack(field.returns)[: len(chance)]
        theirs = returns.detach()
        ours = returns.detach().requires_grad_()
        won = torch.einsum("pqe,q->pe", self.preference(ours[:, None], theirs[None], share), chance).mean(1)
        (slope,) = torch.autograd.grad(won.sum(), ours)
        slope = slope.sum(1).clamp_min(0.0)  # (P, G); a reward is asked for, never its opposite
        played = (chance > 1e-6).nonzero()[:, 0]
        ways = [chance @ slope, *slope[played[chance[played].argsort(descending=True)]]]
        ways += [share * (1 - one) for one in torch.eye(len(share), dtype=torch.float64)]
        drawn = torch.rand(
            self.tries, len(share), generator=field.streams("ways", len(field.policies)), dtype=torch.float64
        )
        ways += [*(-drawn.log())]  # even over all weighings
        fresh: list[Tensor] = []
        for way in ways:
            way = way / way.sum().clamp_min(1e-300)
            if bool((way > 0).any()) and not any(torch.allclose(way, old) for old in (*field.asked, *fresh)):
                fresh.append(way)
        return fresh

    def _error(self, field: Field, chance: Float[Tensor, " P"], share: Float[Tensor, " G"]) -> float:
        returns = torch.stack(field.returns)
        if returns.shape[1] == 1:
            return 0.0
        won = self.preference(returns[-1:], returns[: len(chance)], share)  # (P, E)
        each = chance @ won.detach()
        return float(each.std()) / len(each) ** 0.5
