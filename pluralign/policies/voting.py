"""Rules that only read who would rather have what: (N, N) shares of the people, to a lottery over N options.

    on(share)                 (N, N) -> (N,) chances; `share[i, j]` of the people would rather have i than j
    choose(utility, weight)   (R, N), (R,) -> (N,), the same from utilities; their size is not looked at

Options that a rule cannot tell apart have equal chances, so no rule prefers a name. The lottery over options is a
policy for one decision; for policies of a world, let every policy be an option.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule

SAME = 1e-9  # scores nearer than this, in parts of the largest, differ by rounding
AT_ONCE = 1 << 22  # comparisons held per piece, 32 MB


@runtime_checkable
class Aggregator(Protocol):
    """Many people's utilities to one lottery over options."""

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]: ...


@runtime_checkable
class Voting(Aggregator, Protocol):
    """An aggregator to which pairwise shares are enough."""

    def on(self, share: Float[Tensor, "N N"]) -> Float[Tensor, " N"]: ...


def preferences(
    utility: Float[Tensor, "R N"],
    weight: Float[Tensor, " R"] | None = None,
    *,
    rule: ChoiceRule | None = None,
) -> Float[Tensor, "N N"]:
    """(N, N) the share of the people who would rather have the row than the column; who does not mind counts half.

    Args:
        utility: what each option is worth to each person. weight: of the people; even by default.
        rule: how people answer; by default without error, whoever is asked.

    Raises:
        ValueError: utilities are not finite, weights negative or all zero.
    """
    mass = checked(utility, weight)
    size = max(1, AT_ONCE // utility.shape[1] ** 2)
    total = torch.zeros(utility.shape[1], utility.shape[1], dtype=torch.float64)
    for u, w in zip(utility.double().split(size), mass.split(size)):
        first, second = u[:, :, None], u[:, None, :]
        if rule is None:
            said = (first > second).double() + 0.5 * (first == second).double()
        else:
            both = torch.stack(torch.broadcast_tensors(first, second), -1)
            said = rule.share(both)[..., 0]
        total += torch.einsum("r,rij->ij", w, said)
    return total


def checked(utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None) -> Float[Tensor, " R"]:
    """Shares of the people that sum to one.

    Raises:
        ValueError: utilities are not finite, weights negative or all zero.
    """
    if not bool(torch.isfinite(utility).all()):
        raise ValueError("`utility` must be finite for every person and option; leave out who has none.")
    if weight is None:
        return torch.full((len(utility),), 1 / len(utility), dtype=torch.float64)
    if len(weight) != len(utility) or bool((weight < 0).any()) or not float(weight.sum()) > 0:
        raise ValueError(
            f"`weight` must be one number, not negative, for each of the {len(utility)} people, and not all zero; "
            f"got {weight.tolist()}."
        )
    return weight.double() / weight.double().sum()


def top(score: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Equal chances for all options with the largest score."""
    best = (score >= score.max() - SAME * (1 + score.abs().max())).double()
    return best / best.sum()


@dataclass(frozen=True)
class Borda:
    """The option that wins most comparisons, all opponents counting alike.

    What pooled Bradley-Terry scores do where every pair is asked equally often: both have the order of the row sums.
    """

    def on(self, share: Float[Tensor, "N N"]) -> Float[Tensor, " N"]:
        return top(pairwise(share).sum(1))

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]:
        return self.on(preferences(utility, weight))


@dataclass(frozen=True)
class Copeland:
    """The option that beats most others by majority; a draw is half a win."""

    def on(self, share: Float[Tensor, "N N"]) -> Float[Tensor, " N"]:
        lead = pairwise(share) - 0.5
        return top((lead > SAME).double().sum(1) + 0.5 * (lead.abs() <= SAME).double().sum(1))

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]:
        return self.on(preferences(utility, weight))


@dataclass(frozen=True)
class Kemeny:
    """The first option of the order that agrees with most answers; exact, so for 16 options at most.

    The sign estimator for options without features: scores whose signs of differences are right most often.

    Source: Kemeny 1959; by dynamic programming over sets.
    """

    def on(self, share: Float[Tensor, "N N"]) -> Float[Tensor, " N"]:
        share = pairwise(share)
        count = len(share)
        if count > 16:
            raise ValueError(f"Kemeny is exact and for at most 16 options, got {count}; take Copeland.")
        wins = share.numpy() * (1 - np.eye(count))
        sets = np.arange(1 << count)
        member = (sets[:, None] >> np.arange(count)) & 1
        ahead = member @ wins.T  # (sets, N): what is agreed with by placing an option before all of a set
        best = np.zeros(len(sets))
        for size in range(1, count + 1):
            here = sets[member.sum(1) == size]
            first = np.stack([best[here & ~(1 << i)] + ahead[here & ~(1 << i), i] for i in range(count)], 1)
            best[here] = np.where(member[here] == 1, first, -np.inf).max(1)
        full = len(sets) - 1
        rest = full & ~(1 << np.arange(count))
        return top(torch.as_tensor(best[rest] + ahead[rest, np.arange(count)]))

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]:
        return self.on(preferences(utility, weight))


@dataclass(frozen=True)
class MaximalLottery:
    """The lottery that no option beats by majority: the minimax winner, the symmetric equilibrium of share - 1/2.

    Where there are several, the most even one (smallest sum of squares); `winner.minimax_winner`, by which policies are
    found, takes one with few options instead.

    Source: Fishburn 1984; "Nash learning from human feedback" (Munos et al. 2023) and SPO (Swamy et al. 2024) look
    for it by self-play. The most even point by Lawson and Hanson's least distance programming (1974, chapter 23).
    """

    def on(self, share: Float[Tensor, "N N"]) -> Float[Tensor, " N"]:
        from scipy.optimize import nnls

        share = pairwise(share)
        count = len(share)
        lead = (share - share.T).numpy() / 2
        # Smallest |p| with lead' p >= 0, p >= 0, sum p = 1; the room of 1e-12 keeps rounding from emptying the set.
        above = np.concatenate([lead.T, np.eye(count), np.ones((1, count)), -np.ones((1, count))])
        floor = np.concatenate([np.full(count, -1e-12), np.zeros(count), [1.0], [-1.0]])
        table = np.concatenate([above.T, floor[None]])
        target = np.append(np.zeros(count), 1.0)
        rest = table @ nnls(table, target, maxiter=1000 * count)[0] - target
        chance = torch.as_tensor(-rest[:-1] / rest[-1]).clamp_min(0.0)
        chance = chance / chance.sum()
        lost = -float((chance @ torch.as_tensor(lead)).min())
        if not lost < 1e-7:
            raise RuntimeError(
                f"the lottery found loses to an option by {lost:.2g}; look for shares of odd size."
            )
        return chance

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]:
        return self.on(preferences(utility, weight))


@dataclass(frozen=True)
class Proportional:
    """Chances proportional to u exp(beta u), u being an option's worst share against any other.

    No more people than u can have the option as their favourite, so at beta = 0 groups get about their share of the
    chances without anybody knowing the groups; as beta grows all goes to the option with the smallest worst defeat.

    Attributes:
        beta: 0 or more; math.inf is the minimax rule of Simpson and Kramer.

    Source: population-proportional rule F^beta, ICLR 2026 (arXiv 2506.05619).
    """

    beta: float = 0.0

    def __post_init__(self) -> None:
        if not self.beta >= 0:
            raise ValueError(f"`beta` must be 0 or more, got {self.beta}; 0 is proportional.")

    def on(self, share: Float[Tensor, "N N"]) -> Float[Tensor, " N"]:
        share = pairwise(share)
        worst = (share + torch.eye(len(share)).to(share)).amin(1)
        if not float(worst.max()) > 0:
            raise ValueError(
                "every option loses to some other with nobody on its side, which no people with orders do; look for "
                "shares that are 0 because nobody was asked."
            )
        if math.isinf(self.beta):
            return top(worst)
        chance = worst * torch.exp(self.beta * (worst - worst.max()))
        return chance / chance.sum()

    def choose(
        self, utility: Float[Tensor, "R N"], weight: Float[Tensor, " R"] | None = None
    ) -> Float[Tensor, " N"]:
        return self.on(preferences(utility, weight))


def bradley_terry(share: Float[Tensor, "N N"], *, rounds: int = 100) -> Float[Tensor, " N"]:
    """(N,) the pooled reward: scores whose chances of winning fit the shares best, every pair counting alike; sum 0.

    Raises:
        ValueError: some option or group of options always wins, so that its score is infinite.
    """
    share = pairwise(share)
    score = torch.zeros(len(share), dtype=torch.float64)
    off = 1 - torch.eye(len(share), dtype=torch.float64)
    for _ in range(rounds):
        chance = torch.sigmoid(score[:, None] - score)
        slope = ((share - chance) * off).sum(1)
        wide = chance * (1 - chance) * off
        # The flat direction, the same for all scores, is fixed by adding ones.
        sharp = wide.sum(1).diag() - wide + 1.0
        step = torch.linalg.solve(sharp, slope)
        score = score + step * min(1.0, 2 / float(step.abs().max().clamp_min(1e-300)))
        if float(step.abs().max()) < 1e-12:
            return score - score.mean()
        if float(score.abs().max()) > 15:
            break
    raise ValueError(
        "the scores grow without end: some options always win; ask more people, or give a prior (`Pooled`)."
    )


def pairwise(share: Float[Tensor, "N N"]) -> Float[Tensor, "N N"]:
    """Shares that can be right, with one half on the diagonal.

    Raises:
        ValueError: shares of a pair do not sum to one, or some are negative.
    """
    if share.shape[0] != share.shape[1]:
        raise ValueError(f"`share` must be (N, N), got {tuple(share.shape)}.")
    off = ((share + share.T - 1).abs() > 1e-6) | (share < -1e-9)
    off = (off & ~torch.eye(len(share), dtype=torch.bool)).nonzero()
    if len(off):
        i, j = off[0].tolist()
        raise ValueError(
            f"`share` must hold shares with share[i, j] + share[j, i] = 1; {len(off)} do not, first ({i}, {j}): "
            f"{float(share[i, j])} and {float(share[j, i])}. For utilities call `preferences` first."
        )
    share = share.double()
    share = (
        share + 1 - share.T
    ) / 2  # float32 shares of a pair do not sum to one by more than float64 forgives
    share.fill_diagonal_(0.5)
    return share
