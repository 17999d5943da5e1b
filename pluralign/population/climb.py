"""Corners of mixes by climbing the likelihood of the answers itself, over a cloud of mixes that all raters share."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.population.rows import answer_log_prob, likelihood
from pluralign.population.simplex import dirichlet_grid
from pluralign.population.wide import Incidence

LEAST, MOST = 2, 8  # mixes in the cloud for each draw
EACH = (
    1 << 15
)  # likelihoods of an answer under a mix in one look, for each draw: more mixes where answers are few
ENOUGH = 1 << 18  # places of answers: more would cost time and change little
CACHED = 1 << 17
SHAPES = (1.0, 0.25)  # concentrations of the mixes to start from; their shares are learnt
STEPS = 10  # of L-BFGS between two looks at the shares
LOOKS = 20  # rounds of EM for the shares
RARE = 1e-3  # of an even share; mixes with less are left out


def climbed(
    incidence: Incidence,
    rater: Int[Tensor, " M"],
    raters: int,
    start: Float[Tensor, "Z K"],
    *,
    ridge: Float[Tensor, " Z"],
    loose: float,
    draws: int,
    rounds: int,
    tolerance: float = 1e-3,
) -> tuple[Float[Tensor, "Z K"], int]:
    """Maximise sum_r log sum_s share_s p(answers of r | corners @ mix_s) over corners and shares, less the ridge.

    Where people hardly err, EM moves a boundary only as far as draws made under the old one allow; the likelihood itself
    has a slope that L-BFGS follows, loudness of all worths included. A cloud shared by raters makes it two products of
    matrices, without sampling noise between two looks.

    Args:
        incidence: M answers and the basis in which corners are sought. rater: who answered each.
        start: (Z, K).
        ridge: 1 / variance of the corners' departures from what they have in common. loose: the same of that.
        draws: the cloud has so many mixes several times over. rounds: climbs at most.
        tolerance: stop when one gains less than this share of the value.

    Returns:
        corners (Z, K), and the climbs made.

    Source: Kiefer and Wolfowitz (1956) for the shares; the slope of the likelihood is Fisher's identity.
    """
    size = min(MOST, max(LEAST, EACH // incidence.shows.shape[0])) * draws
    mix = cloud(start.shape[1], size)
    log_share = torch.full((len(mix),), -np.log(len(mix)), dtype=mix.dtype)
    panel = Panel.of(incidence, rater, raters, mix)
    stiff, scale = ridge[:, None].numpy(), panel.scale(ridge.numpy())
    tip, last, done = start.numpy(), -np.inf, 0

    def minus(flat: np.ndarray) -> tuple[float, np.ndarray]:
        at = flat.reshape(tip.shape) * scale
        value, slope, _ = panel.look(at, log_share)
        common = stiff * at.sum(1, keepdims=True) / (loose + tip.shape[1] * stiff)
        gap = at - common
        value -= float((stiff * gap**2).sum() + loose * (common**2).sum()) / 2
        return -value, -((slope - stiff * gap) * scale).ravel()

    while done < rounds:
        done += 1
        log_share = shares(panel.told(tip), log_share)
        found = scipy.optimize.minimize(
            minus,
            (tip / scale).ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": STEPS, "maxcor": 20},
        )
        tip = found.x.reshape(tip.shape) * scale
        if -found.fun - last < tolerance * abs(found.fun):
            break
        last = -found.fun
    return torch.from_numpy(tip.copy()), done


def law_of(
    incidence: Incidence, rater: Int[Tensor, " M"], raters: int, corners: Float[Tensor, "Z K"], count: int
) -> tuple[Float[Tensor, "S K"], Float[Tensor, " S"]]:
    """Mixes and their shares under which the answers are likeliest, among `count` that fill the simplex."""
    panel = Panel.of(incidence, rater, raters, cloud(corners.shape[1], count))
    log_share = torch.full((len(panel.mix),), -np.log(len(panel.mix)), dtype=panel.mix.dtype)
    share = shares(panel.told(corners.numpy()), log_share, 5 * LOOKS).exp().double()
    kept = share > RARE / len(share)
    return panel.mix[kept].double(), share[kept] / share[kept].sum()


@dataclass(frozen=True)
class Panel:
    """Answers as they are told by every mix; numbers in single precision, sums of them in double.

    Attributes:
        mix: (S, K).
    """

    incidence: Incidence
    rater: Int[Tensor, " M"]
    raters: int
    mix: Float[Tensor, "S K"]
    label: Float[Tensor, "M C"]
    weight: Tensor | None

    @staticmethod
    def of(incidence: Incidence, rater: Int[Tensor, " M"], raters: int, mix: Float[Tensor, "S K"]) -> "Panel":
        """The panel of M answers."""
        weight = None if incidence.weight is None else torch.from_numpy(incidence.weight).float()
        return Panel(incidence, rater, raters, mix, incidence.label.float(), weight)

    def scale(self, ridge: np.ndarray) -> np.ndarray:
        """(Z, 1) one over the root of a bound on the curvature, by which steps are of like size."""
        square = self.incidence.shows.copy()
        square.data = square.data**2
        seen = np.asarray(square.sum(0)).ravel()
        basis = self.incidence.basis
        curve = (seen if basis is None else seen @ basis**2) / (4 * self.mix.shape[1])
        return 1 / np.sqrt(curve + ridge + 1e-12)[:, None]

    def _each(self, tip: np.ndarray) -> Float[Tensor, "M J K"]:
        score = tip if self.incidence.basis is None else self.incidence.basis @ tip
        return (
            torch.from_numpy(self.incidence.shows @ score).float().reshape(len(self.label), -1, tip.shape[1])
        )

    def _blocks(self, each: Float[Tensor, "M J K"]) -> Iterator[tuple[slice, Float[Tensor, "S m J"]]]:
        """Worths under every mix, a few answers at a time, so that they stay in the cache."""
        step = max(1, CACHED // (len(self.mix) * each.shape[1]))
        for begin in range(0, len(each), step):
            part = slice(begin, begin + step)
            eta = (each[part] @ self.mix.T).permute(2, 0, 1)
            if self.incidence.absent is not None:
                eta = eta.masked_fill(torch.from_numpy(self.incidence.absent[part]), -torch.inf)
            yield part, eta

    def _told(self, each: Float[Tensor, "M J K"]) -> Float[Tensor, "R S"]:
        told = torch.zeros(self.raters, len(self.mix))
        for part, eta in self._blocks(each):
            value = answer_log_prob(self.incidence.rule, eta, self.label[part])
            value = value if self.weight is None else value * self.weight[part]
            told.index_add_(0, self.rater[part], value.T)
        return told

    def told(self, tip: np.ndarray) -> Float[Tensor, "R S"]:
        """Log-likelihood of all answers of each rater under each mix."""
        return self._told(self._each(tip))

    def look(
        self, tip: np.ndarray, log_share: Float[Tensor, " S"]
    ) -> tuple[float, np.ndarray, Float[Tensor, "R S"]]:
        """The log-likelihood, its gradient (Z, K), and each rater's chance to have each mix."""
        each = self._each(tip)
        told = self._told(each) + log_share
        top = torch.logsumexp(told, 1, keepdim=True)
        chance = (told - top).exp()
        pull = torch.empty_like(each)
        for part, eta in self._blocks(each):
            slope = _slope(self.incidence.rule, eta, self.label[part])
            mine = chance[self.rater[part]]
            mine = mine if self.weight is None else mine * self.weight[part, None]
            pull[part] = (slope.permute(1, 2, 0) * mine[:, None]) @ self.mix
        back = self.incidence.shows.T @ pull.reshape(-1, self.mix.shape[-1]).double().numpy()
        back = back if self.incidence.basis is None else self.incidence.basis.T @ back
        return float(top.double().sum()), np.asarray(back), chance


def _slope(
    rule: ChoiceRule, eta: Float[Tensor, "S m J"], label: Float[Tensor, "m C"]
) -> Float[Tensor, "S m J"]:
    if (
        isinstance(rule, Luce) and eta.shape[-1] == 1
    ):  # the curvature, which is not needed here, takes as long
        return (label[:, :1] - torch.sigmoid(eta / rule.temperature)) / rule.temperature
    return likelihood(rule, eta, label)[1]


def cloud(corners: int, count: int) -> Float[Tensor, "S K"]:
    """The corners, and mixes that fill the simplex."""
    some = [dirichlet_grid(torch.full((corners,), a).double(), count // len(SHAPES)) for a in SHAPES]
    return torch.cat([torch.eye(corners).double(), *some]).float()


def shares(
    told: Float[Tensor, "R S"], log_share: Float[Tensor, " S"], looks: int = LOOKS
) -> Float[Tensor, " S"]:
    """Logarithms of the shares of mixes under which the answers are likelier, by EM; a pseudo-rater is like nobody."""
    chance = (told - told.amax(1, keepdim=True)).exp()
    share = log_share.exp()
    for _ in range(looks):
        mine = 1 / (chance @ share)
        share = (share * (mine @ chance) + 1 / len(share)) / (len(chance) + 1)
    return share.log()
