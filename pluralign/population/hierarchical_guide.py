"""The hierarchical model for Pyro, and the guide that both of its methods start from.

    mean ~ N(0, (5 unit)^2)    scale ~ half-normal(5 unit)    correlation ~ LKJ(2)
    taste of rater r = mean + L noise_r,    noise_r ~ N(0, 1),    L = diag(scale) chol(correlation)

`unit` is the scale on which a typical question is worth about a util, so the priors are wide and forget the units
of the features. Tastes are not centred: noise_r is what is sampled (Betancourt and Girolami 2015).

Source: Train (2009), chapter 12; Hoffman and Gelman (2014); Hoffman et al. (2013).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.population.prior import inverse, own_log_prob
from pluralign.population.rows import Rows, answer_log_prob
from pluralign.utility import Worth

try:
    import pyro
    import pyro.distributions as dist
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'the methods "svi" and "nuts" of Hierarchical need Pyro; run: pip install "pluralign[bayes]"'
    ) from missing

if TYPE_CHECKING:
    from pluralign.population.hierarchical import Hierarchical

WIDE = 5.0  # prior standard deviations, in units
FULL = 100  # up to this many numbers of the population the guide knows all their correlations


@contextmanager
def own_state(seed: int) -> Iterator[None]:
    """Pyro as if alone: a random stream of its own, an empty parameter store, no validation; all put back."""
    with (
        torch.random.fork_rng(devices=[]),
        pyro.get_param_store().scope(),
        pyro.validation_enabled(False),
    ):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True)
class Population:
    """The distribution of tastes, its prior, and the numbers that it is told by.

    A population is a vector u: the mean (Z,), the logarithms of the scales (Z,), and the correlations,
    Z (Z - 1) / 2 free numbers.
    """

    width: int
    unit: float

    @property
    def size(self) -> int:
        return 2 * self.width + self.width * (self.width - 1) // 2

    @cached_property
    def priors(self) -> dict[str, Any]:
        """Distributions by the name of the Pyro site."""
        wide = torch.full((self.width,), WIDE * self.unit, dtype=torch.float64)
        found = {
            "mean": dist.Normal(torch.zeros_like(wide), wide).to_event(1),
            "scale": dist.HalfNormal(wide).to_event(1),
        }
        if self.width > 1:
            found["correlation"] = dist.LKJCholesky(self.width, torch.tensor(2.0, dtype=torch.float64))
        return found

    def parts(self, u: Float[Tensor, "*b U"]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Values by site, and the logarithm of how much each stretches space."""
        z = self.width
        value = {"mean": u[..., :z], "scale": u[..., z : 2 * z].exp()}
        stretch = {"mean": torch.zeros_like(u[..., 0]), "scale": u[..., z : 2 * z].sum(-1)}
        if z > 1:
            change = dist.transforms.CorrCholeskyTransform()
            value["correlation"] = change(u[..., 2 * z :])
            stretch["correlation"] = change.log_abs_det_jacobian(u[..., 2 * z :], value["correlation"])
        return value, stretch

    def root(self, value: dict[str, Tensor]) -> Float[Tensor, "*b Z Z"]:
        """L, with L L' the covariance of tastes."""
        if self.width == 1:
            return value["scale"][..., None]
        return value["scale"][..., None] * value["correlation"]

    def log_prior(self, value: dict[str, Tensor], stretch: dict[str, Tensor]) -> Float[Tensor, "*b"]:
        """The prior density of u, told by its parts."""
        parts = [prior.log_prob(value[name]) + stretch[name] for name, prior in self.priors.items()]
        return torch.stack(parts).sum(0)

    def vector(self, mean: Float[Tensor, "Z"], covariance: Float[Tensor, "Z Z"]) -> Float[Tensor, "U"]:
        """The u of a mean and a covariance."""
        scale = covariance.diagonal().clamp_min((1e-3 * self.unit) ** 2).sqrt()
        parts = [mean, scale.log()]
        if self.width > 1:
            related = covariance / scale / scale[:, None] * 0.99
            related.fill_diagonal_(1.0)
            parts.append(dist.transforms.CorrCholeskyTransform().inv(torch.linalg.cholesky(related)))
        return torch.cat(parts)


def answering(population: Population, rows: Rows) -> None:
    """The Pyro model; works for any batch of populations and tastes in front."""
    value = {name: pyro.sample(name, prior) for name, prior in population.priors.items()}
    with pyro.plate("raters", rows.raters):
        flat = torch.zeros(population.width, dtype=torch.float64)
        noise = pyro.sample("noise", dist.Normal(flat, 1.0).to_event(1))
        taste = value["mean"] + (population.root(value) @ noise[..., None])[..., 0]
        pyro.factor("answers", rows.by_rater(rows.weighted(_per_answer(rows, taste))))


def _per_answer(rows: Rows, taste: Float[Tensor, "*b R Z"]) -> Float[Tensor, "*b M"]:
    eta = torch.einsum("...mz,mjz->...mj", taste[..., rows.rater, :], rows.x)
    if rows.absent is not None:
        eta = eta.masked_fill(rows.absent, -torch.inf)
    return answer_log_prob(rows.rule, eta, rows.label)


@dataclass(frozen=True)
class Start:
    """Where both methods start: the Laplace-EM fit."""

    population: Population
    rows: Rows
    mean: Tensor
    covariance: Tensor
    mode: Tensor
    curvature: Tensor

    @staticmethod
    def of(settings: "Hierarchical", data: Comparisons, worth: Worth) -> "Start":
        from pluralign.population.normal import normal_em

        rows = Rows.of(data, worth.basis(data.options).double(), settings.rule)
        found = normal_em(rows, settings.rounds, settings.strength, anchored=False)
        unit = math.sqrt(min(1.0, 0.5 * rows.width / max(rows.contrast, 1e-12)))
        return Start(Population(rows.width, unit), rows, *found[:4])


@dataclass(frozen=True)
class Settled:
    """The guide after training: u ~ N(centre, spread spread'), raters as in `rater`."""

    population: Population
    centre: Float[Tensor, "U"]
    spread: Float[Tensor, "U U"]
    power: Float[Tensor, "R Z Z"]
    pull: Float[Tensor, "R Z"]

    def rater(self, value: dict[str, Tensor], noise: Float[Tensor, "*s R Z"]) -> tuple[Tensor, Tensor]:
        """Tastes (*b, R, Z) from the guide given populations, and log prior - log guide of each (*b, R).

        The axes of the populations and of the noise broadcast.
        """
        side = self.population.root(value)
        middle, factor = conditional(self.power, self.pull, value["mean"], side)
        tail = torch.linalg.solve_triangular(factor.mT, noise[..., None], upper=True)[..., 0]
        inner = middle + tail
        log = (noise.square().sum(-1) - inner.square().sum(-1)) / 2 - log_size(factor)
        return taste_at(value["mean"], side, inner), log

    def evidence(
        self, rows: Rows, value: dict[str, Tensor], noise: Float[Tensor, "S R Z"]
    ) -> Float[Tensor, "P R"]:
        """Log-chance of each rater's answers in each population: an average over tastes, without bias.

        Half of the tastes are from the guide, half from the population itself, weighted by the mixture of both: people
        who always answer the same way have a tail that is the population's, too thick for the guide alone.
        """
        value = at(value, torch.arange(len(value["mean"])), 2)
        side = self.population.root(value)
        middle, factor = conditional(self.power, self.pull, value["mean"], side)
        guided = middle + torch.linalg.solve_triangular(factor.mT, noise[..., None], upper=True)[..., 0]
        inner = torch.cat([guided, noise.expand_as(guided)], 1)
        white = (factor.mT @ (inner - middle)[..., None])[..., 0]
        over = (
            log_size(factor) + (inner.square().sum(-1) - white.square().sum(-1)) / 2
        )  # log guide - log prior
        taste = taste_at(value["mean"], side, inner)
        chance = own_log_prob(rows, taste.flatten(0, 1)).reshape(over.shape)
        return torch.logsumexp(chance - torch.logaddexp(over, torch.zeros_like(over)), 1) - math.log(
            len(noise)
        )


def taste_at(mean: Tensor, side: Tensor, inner: Tensor) -> Tensor:
    return mean + (inner[..., None, :] @ side.mT)[..., 0, :]


def log_size(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def conditional(power: Tensor, pull: Tensor, mean: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """Centre of noise_r given the population, and the Cholesky factor of its precision I + L' A_r L."""
    precision = side.mT @ power @ side + torch.eye(power.shape[-1], dtype=power.dtype)
    factor = torch.linalg.cholesky(precision)
    force = side.mT @ (pull - (power @ mean[..., None])[..., 0])[..., None]
    return torch.cholesky_solve(force, factor)[..., 0], factor


class Guide:
    """The Pyro guide; its parameters live in the parameter store of the fit."""

    def __init__(self, start: Start, first: dict[str, Tensor]) -> None:
        self.start, self.first = start, first

    @staticmethod
    def near(start: Start) -> "Guide":
        """Parameters that repeat the Laplace approximation."""
        population, rows = start.population, start.rows
        count = 1 + len(torch.unique(rows.rater))
        precision = inverse(start.covariance)
        power = start.curvature - precision
        lift = 1e-6 * power.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] + 1e-12
        eye = torch.eye(rows.width, dtype=torch.float64)
        root, fail = torch.linalg.cholesky_ex(power + lift * eye)
        silent = torch.bincount(rows.rater, minlength=rows.raters) == 0
        root = torch.where((silent | (fail > 0))[:, None, None], 0.0, root)
        score = (start.mode - start.mean) @ precision
        pull = (root @ root.mT @ start.mode[..., None])[..., 0] + score * (~silent)[:, None]
        own = start.covariance.diagonal().clamp_min((0.01 * population.unit) ** 2).sqrt()
        spread = torch.full((population.size,), 1.0, dtype=torch.float64)
        spread[: rows.width] = own
        spread[rows.width : 2 * rows.width] = 0.7
        first = {
            "centre": population.vector(start.mean, start.covariance),
            "size": (spread / count**0.5).log(),
            "lean": torch.zeros(population.size, population.size, dtype=torch.float64),
            "root": root,
            "pull": pull,
        }
        if population.size > FULL:
            del first["lean"]
        return Guide(start, first)

    def _parameters(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        held = {
            name: pyro.param(name, value) for name, value in self.first.items()
        }  # the store's, once it has them
        size = held["size"].exp()
        spread = torch.diag(size)
        if "lean" in held:
            spread = spread + size[:, None] * held["lean"].tril(-1)
        return held["centre"], spread, held["root"] @ held["root"].mT, held["pull"]

    def __call__(self) -> None:
        centre, spread, power, pull = self._parameters()
        population = self.start.population
        u = pyro.sample("u", dist.MultivariateNormal(centre, scale_tril=spread), infer={"is_auxiliary": True})
        value, stretch = population.parts(u)
        for name, part in value.items():
            event = 2 if name == "correlation" else 1
            pyro.sample(name, dist.Delta(part, log_density=-stretch[name], event_dim=event))
        middle, factor = conditional(power, pull, value["mean"], population.root(value))
        precision = factor @ factor.mT
        with pyro.plate("raters", self.start.rows.raters):
            pyro.sample("noise", dist.MultivariateNormal(middle, precision_matrix=precision))

    def settled(self) -> Settled:
        """The guide as it stands; before training the Laplace approximation."""
        parameters = [p.detach().clone() for p in self._parameters()]
        return Settled(self.start.population, *parameters)


def at(value: dict[str, Tensor], index: Tensor, axes: int) -> dict[str, Tensor]:
    """These populations, with axes behind them for draws and raters."""
    return {name: part[index][(slice(None), *(None,) * axes)] for name, part in value.items()}
