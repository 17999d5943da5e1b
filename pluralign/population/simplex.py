"""Tastes as convex mixes of a few corners: the prior of prototype models, and Bayes' rule for the mixing weights."""

from dataclasses import dataclass

import scipy.special
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.cloud import panel
from pluralign.population.draws import Draws
from pluralign.population.newton import solve
from pluralign.population.prior import normal_grid, own_log_prob, truncated
from pluralign.population.rows import Rows, likelihood

TINY = 1e-12  # a share below is none
ROUNDS = 3  # rounds in which the draws move towards the posterior
NEAR = 1e-3  # log-units that a mode may miss: draws around it need no more
LOOSE = 1.5  # draws are spread this much wider than the posterior looks, so that none of it is missed


@dataclass(frozen=True)
class Simplex:
    """taste = w @ corners with w ~ Dirichlet(concentration).

    Bayes' rule by importance sampling: draws of the prior where they serve, otherwise draws around the rater's
    most probable weights, in log-ratio coordinates, moved towards the posterior by their own moments.

    Attributes:
        corners: (K, Z) the prototypes.
        concentration: (K,) of the Dirichlet distribution; all small: raters sit at corners (camps).
        draws: how many tastes describe a rater.
    """

    corners: Float[Tensor, "K Z"]
    concentration: Float[Tensor, " K"]
    draws: int = 128

    @property
    def mean(self) -> Float[Tensor, " Z"]:
        """(Z,) the expected taste."""
        return self.concentration / self.concentration.sum() @ self.corners

    @property
    def covariance(self) -> Float[Tensor, "Z Z"]:
        """(Z, Z) the spread of tastes."""
        total = self.concentration.sum()
        share = self.concentration / total
        spread = (torch.diag(share) - share[:, None] * share) / (total + 1)
        return self.corners.T @ spread @ self.corners

    def shares(self, draws: Draws) -> Float[Tensor, " K"]:
        """(K,) how much of each corner the raters of `draws` have together; without raters, newcomers."""
        expected = self.concentration / self.concentration.sum()
        if not draws.raters:
            return expected
        # Corners need not be independent: the nearest solution to the expected one.
        gap = draws.mean.mean(0) - expected @ self.corners
        share = expected + torch.linalg.pinv(self.corners.T) @ gap
        return _shares(share)

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]:
        """Tastes of `count` new raters."""
        mass = torch._standard_gamma(self.concentration.expand(count, -1).contiguous(), generator=generator)
        return _shares(mass) @ self.corners

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws:
        """Weighted tastes of every rater."""
        weights = self.weights(Rows.of(data, basis @ self.corners.T, rule))
        return Draws(weights.z @ self.corners, weights.weight)

    def weights(self, rows: Rows) -> Draws:
        """The same for the mixing weights (S, R, K); `rows` are told in worths of the corners."""
        corners, raters = len(self.corners), rows.raters
        first = dirichlet_grid(self.concentration, self.draws)
        z = first[:, None].expand(-1, raters, -1)
        flat = torch.full((self.draws, raters), 1 / self.draws, dtype=z.dtype)
        if corners == 1 or not len(rows):
            return Draws(z, flat)
        weight = truncated(rows.log_prob(first))
        told = torch.bincount(rows.rater, minlength=raters) > 0
        weight = torch.where(told, weight, flat)
        if rows.weight is not None:
            told = told & (rows.by_rater(rows.weight) > 0)
        frame = log_ratio_frame(corners).to(z)
        start = torch.einsum("sr,sk->rk", weight, first)
        centre, curvature = modes(rows, self.concentration, frame, start)
        spread = torch.linalg.inv(curvature)
        noise = normal_grid(self.draws, corners - 1).to(z)
        for _ in range(ROUNDS):
            factor = torch.linalg.cholesky(LOOSE * spread)
            y = centre + torch.einsum("rxy,sy->srx", factor, noise)
            moved = torch.softmax(y @ frame.T, -1)
            log = own_log_prob(rows, moved) + (torch.log(moved.clamp_min(TINY)) @ self.concentration)
            log = log + noise.square().sum(1)[:, None] / 2
            new = truncated(log)
            better = told & (new.square().sum(0) < weight.square().sum(0))
            z = torch.where(better[:, None], moved, z)
            weight = torch.where(better, new, weight)
            soft = _tempered(log)
            centre = torch.einsum("srx,sr->rx", y, soft)
            gap = y - centre
            spread = torch.einsum("sr,srx,sry->rxy", soft, gap, gap)
            spread = spread + 1e-6 * torch.eye(corners - 1).to(z)
        return Draws(z, weight)


@dataclass(frozen=True)
class Mixes:
    """taste = w @ corners with w one of S mixes: whatever shape their law has, Bayes' rule is exact.

    Attributes:
        corners: (K, Z) the prototypes. mix: (S, K). share: (S,), sums to one.
    """

    corners: Float[Tensor, "K Z"]
    mix: Float[Tensor, "S K"]
    share: Float[Tensor, " S"]

    @property
    def size(self) -> int:
        """How many tastes describe a rater."""
        return len(self.mix)

    @property
    def mean(self) -> Float[Tensor, " Z"]:
        """(Z,) the expected taste."""
        return self.share @ self.mix @ self.corners

    @property
    def covariance(self) -> Float[Tensor, "Z Z"]:
        """(Z, Z) the spread of tastes."""
        gap = self.mix @ self.corners - self.mean
        return (gap * self.share[:, None]).T @ gap

    def shares(self, draws: Draws) -> Float[Tensor, " K"]:
        """(K,) how much of each corner the raters of `draws` have together; without raters, newcomers."""
        return (draws.weight.mean(1) if draws.raters else self.share) @ self.mix

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]:
        """Tastes of `count` new raters."""
        pick = torch.multinomial(self.share, count, replacement=True, generator=generator)
        return self.mix[pick] @ self.corners

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws:
        """Each rater's chance to have each mix."""
        log = self.share.log()[:, None].expand(-1, data.raters)
        if len(data):
            log = log + panel(Rows.of(data, basis @ self.corners.T, rule), self.mix)
        return Draws.atoms(self.mix @ self.corners, torch.softmax(log, 0))


def modes(
    rows: Rows,
    concentration: Float[Tensor, " K"],
    frame: Float[Tensor, "K Y"],
    start: Float[Tensor, "R K"],
    sweeps: int = 25,
) -> tuple[Float[Tensor, "R Y"], Float[Tensor, "R Y Y"]]:
    """Every rater's most probable log-ratios and the curvature there, by damped Gauss-Newton steps side by side."""
    eye = torch.eye(frame.shape[1]).to(start)
    total = concentration.sum()
    # Towards a corner the density has no end; the floor says that beyond e^-5 a share is as good as none.
    floor = 0.04 * eye

    def value(rows: Rows, y: Tensor) -> Tensor:
        w = torch.softmax(y @ frame.T, -1)
        log = torch.log_softmax(y @ frame.T, -1) @ concentration
        return own_log_prob(rows, w[None])[0] + log - 0.02 * y.square().sum(1)

    def slopes(rows: Rows, y: Tensor) -> tuple[Tensor, Tensor]:
        w = torch.softmax(y @ frame.T, -1)
        turn = (torch.diag_embed(w) - w[:, :, None] * w[:, None]) @ frame  # dw/dy, (R, K, Y)
        gradient = (concentration - total * w) @ frame - 0.04 * y
        curvature = total * frame.T @ turn + floor
        block = max(1, (1 << 22) // (rows.x.shape[1] * frame.shape[1] ** 2 + rows.width))
        for begin in range(0, len(rows), block):
            part = slice(begin, begin + block)
            who, x = rows.rater[part], rows.x[part]
            eta = torch.einsum("mjk,mk->mj", x, w[who])
            if rows.absent is not None:
                eta = eta.masked_fill(rows.absent[part], -torch.inf)
            _, slope, bend = likelihood(rows.rule, eta, rows.label[part])
            if rows.weight is not None:
                slope, bend = slope * rows.weight[part, None], bend * rows.weight[part, None, None]
            inner = x @ turn[who]  # (m, J, Y)
            gradient = gradient.index_add(0, who, torch.einsum("mjy,mj->my", inner, slope))
            curvature = curvature.index_add(0, who, inner.mT @ (bend @ inner))
        return gradient, curvature

    y = torch.log(start.clamp_min(1e-4)) @ frame
    best = value(rows, y)
    damp = torch.zeros(len(y)).to(y)
    who, some = torch.arange(len(y)), rows  # raters on their way; a few take many more sweeps than most
    awake = torch.ones(len(y), dtype=torch.bool)  # who has arrived rests, whatever company still moves
    for _ in range(sweeps):
        here, last, hold = y[who], best[who], damp[who]
        gradient, curvature = slopes(some, here)
        step = solve(curvature + hold[:, None, None] * eye, gradient)
        length = step.norm(dim=1, keepdim=True)
        step = step * (4 / length.clamp_min(4))  # at most four log-units at once
        new = value(some, here + step)
        good = new >= last - 1e-12 * last.abs()
        moved = good & awake
        y[who] = torch.where(moved[:, None], here + step, here)
        best[who] = torch.where(moved, new, last)
        damp[who] = torch.where(good, hold / 4, (4 * hold).clamp_min(0.1))
        awake = awake & (~good | (length[:, 0] > NEAR))
        if not bool(awake.any()):
            break
        if 2 * int(awake.sum()) < len(who):
            who, some, awake = who[awake], some.of_raters(awake), awake[awake]
    return y, slopes(rows, y)[1]


def concentration_of(
    draws: Draws, told: Tensor, *, least: float = 0.05, most: float = 50.0, sweeps: int = 60
) -> Float[Tensor, " K"]:
    """The Dirichlet distribution that draws of the weights look like, by maximum likelihood.

    Minka (2000), fixed point for the concentration. One pseudo-rater spread evenly keeps corners alive.
    """
    z, mass = draws.z[:, told], draws.weight[:, told]
    corners = z.shape[-1]
    log = z.clamp_min(1e-4).log()
    level = (torch.einsum("srk,sr->k", log, mass) - corners**0.5) / (mass.shape[1] + 1)
    alpha = draws.mean[told].mean(0) * corners
    for _ in range(sweeps):
        goal = torch.digamma(alpha.sum()) + level
        alpha = _inverse_digamma(goal).clamp(least, most)
    return alpha


def dirichlet_grid(concentration: Float[Tensor, " K"], count: int) -> Float[Tensor, "S K"]:
    """Draws of a Dirichlet distribution that fill the simplex evenly."""
    engine = torch.quasirandom.SobolEngine(len(concentration), scramble=True, seed=0)
    points = engine.draw(count, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    return _shares(torch.from_numpy(scipy.special.gammaincinv(concentration.numpy(), points.numpy())))


def log_ratio_frame(corners: int) -> Float[Tensor, "K Y"]:
    """Orthonormal directions across (1, ..., 1): isometric log-ratio coordinates (Egozcue et al. 2003)."""
    full = torch.eye(corners, dtype=torch.float64) - 1 / corners
    return torch.linalg.svd(full)[0][:, : corners - 1]


def _shares(mass: Tensor) -> Tensor:
    mass = mass.clamp_min(TINY)
    return mass / mass.sum(-1, keepdim=True)


def _tempered(log: Float[Tensor, "S R"], sweeps: int = 12) -> Float[Tensor, "S R"]:
    """Weights to the largest power, at most one, under which a third of the draws still count."""
    log = log - log.amax(0)
    low, high = torch.zeros(log.shape[1]).to(log), torch.ones(log.shape[1]).to(log)
    enough = lambda power: 1 / torch.softmax(power * log, 0).square().sum(0) >= len(log) / 3
    full = enough(high)
    for _ in range(sweeps):
        middle = (low + high) / 2
        keep = enough(middle)
        low, high = torch.where(keep, middle, low), torch.where(keep, high, middle)
    return torch.softmax(torch.where(full, 1.0, low) * log, 0)


def _inverse_digamma(value: Tensor) -> Tensor:
    """Minka (2000), appendix C: five Newton steps from a start that is never far."""
    x = torch.where(value >= -2.22, value.exp() + 0.5, -1 / (value - torch.digamma(torch.ones(()).to(value))))
    for _ in range(5):
        x = x - (torch.digamma(x) - value) / torch.polygamma(1, x)
    return x.clamp_min(1e-6)
