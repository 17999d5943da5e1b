"""Hierarchical Bayes by Pyro: stochastic variational inference and the No-U-Turn sampler, with diagnostics.

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
from pluralign.population.draws import Draws
from pluralign.population.prior import Gaussian, inverse, normal_grid, own_log_prob
from pluralign.population.rows import Rows, answer_log_prob
from pluralign.streams import Streams
from pluralign.utility import Worth

try:
    import pyro
    import pyro.distributions as dist
    from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
    from pyro.ops.stats import effective_sample_size, fit_generalized_pareto, split_gelman_rubin
    from pyro.optim import ClippedAdam
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'the methods "svi" and "nuts" of Hierarchical need Pyro; run: pip install "pluralign[bayes]"'
    ) from missing

if TYPE_CHECKING:
    from pluralign.population.hierarchical import Hierarchical

WIDE = 5.0  # prior standard deviations, in units
PARTICLES = 4
POPULATIONS = 512  # populations drawn to correct the guide
INNER = 32  # tastes per rater and population from the guide, and as many from the population
TAILS = 6.0  # degrees of freedom of the draws that are corrected
WIDER = 0.8  # times 1 / sqrt(U): how much farther they are spread than the guide
AT_ONCE = 1 << 20  # numbers per piece
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
        from pluralign.population.laplace import laplace_em

        rows = Rows.of(data, worth.basis(data.options).double(), settings.rule)
        found = laplace_em(rows, settings.rounds, settings.strength, anchored=False)
        unit = math.sqrt(min(1.0, 0.5 * rows.width / max(rows.contrast, 1e-12)))
        return Start(Population(rows.width, unit), rows, *found[:4])


# Variational inference ----------------------------------------------------------------------------------------------


def svi(
    settings: "Hierarchical", data: Comparisons, worth: Worth, streams: Streams
) -> tuple[Gaussian, Draws, dict[str, object]]:
    """The best normal guide, then corrected by importance weights.

    The guide is normal for the population, and given the population normal for every rater: prior times a normal
    stand-in for the likelihood, precision A_r and pull h_r, so that it is exact where answers are many.

    Returns:
        the population with the posterior means of mean and covariance; `settings.draws` weighted tastes per rater;
        notes: `elbo` (means over twentieths of the steps), `k_hat` and `effective` of the importance weights of the
        population, `warnings` (sentences).
    """
    start = Start.of(settings, data, worth)
    population, rows = start.population, start.rows
    with own_state(streams.number("svi")):
        guide = _Guide.near(start)
        optimiser = ClippedAdam({"lr": 0.02, "lrd": 0.02 ** (1 / max(1, settings.steps))})
        bound = Trace_ELBO(num_particles=PARTICLES, vectorize_particles=True, max_plate_nesting=1)
        fit = SVI(lambda: answering(population, rows), guide, optimiser, bound)
        elbo = -torch.tensor([fit.step() for _ in range(settings.steps)], dtype=torch.float64)
        found = guide.settled()
        noise = torch.randn(POPULATIONS, population.size, dtype=torch.float64)
        # Student's t, and wider than the guide, whose tails are too thin to be corrected by weights.
        shrink = (
            torch.distributions.Chi2(torch.tensor(TAILS, dtype=torch.float64)).sample((POPULATIONS, 1))
            / TAILS
        )
        noise = noise / shrink.sqrt()
        with torch.no_grad():
            return _corrected(settings, start, found, noise, elbo)


@dataclass(frozen=True)
class _Settled:
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
        middle, factor = _conditional(self.power, self.pull, value["mean"], side)
        tail = torch.linalg.solve_triangular(factor.mT, noise[..., None], upper=True)[..., 0]
        inner = middle + tail
        log = (noise.square().sum(-1) - inner.square().sum(-1)) / 2 - _log_size(factor)
        return _taste(value["mean"], side, inner), log

    def evidence(
        self, rows: Rows, value: dict[str, Tensor], noise: Float[Tensor, "S R Z"]
    ) -> Float[Tensor, "P R"]:
        """Log-chance of each rater's answers in each population: an average over tastes, without bias.

        Half of the tastes are from the guide, half from the population itself, weighted by the mixture of both: people
        who always answer the same way have a tail that is the population's, too thick for the guide alone.
        """
        value = _at(value, torch.arange(len(value["mean"])), 2)
        side = self.population.root(value)
        middle, factor = _conditional(self.power, self.pull, value["mean"], side)
        guided = middle + torch.linalg.solve_triangular(factor.mT, noise[..., None], upper=True)[..., 0]
        inner = torch.cat([guided, noise.expand_as(guided)], 1)
        white = (factor.mT @ (inner - middle)[..., None])[..., 0]
        over = (
            _log_size(factor) + (inner.square().sum(-1) - white.square().sum(-1)) / 2
        )  # log guide - log prior
        taste = _taste(value["mean"], side, inner)
        chance = own_log_prob(rows, taste.flatten(0, 1)).reshape(over.shape)
        return torch.logsumexp(chance - torch.logaddexp(over, torch.zeros_like(over)), 1) - math.log(
            len(noise)
        )


def _taste(mean: Tensor, side: Tensor, inner: Tensor) -> Tensor:
    return mean + (inner[..., None, :] @ side.mT)[..., 0, :]


def _log_size(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _conditional(power: Tensor, pull: Tensor, mean: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """Centre of noise_r given the population, and the Cholesky factor of its precision I + L' A_r L."""
    precision = side.mT @ power @ side + torch.eye(power.shape[-1], dtype=power.dtype)
    factor = torch.linalg.cholesky(precision)
    force = side.mT @ (pull - (power @ mean[..., None])[..., 0])[..., None]
    return torch.cholesky_solve(force, factor)[..., 0], factor


class _Guide:
    """The Pyro guide; its parameters live in the parameter store of the fit."""

    def __init__(self, start: Start, first: dict[str, Tensor]) -> None:
        self.start, self.first = start, first

    @staticmethod
    def near(start: Start) -> "_Guide":
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
        return _Guide(start, first)

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
        middle, factor = _conditional(power, pull, value["mean"], population.root(value))
        precision = factor @ factor.mT
        with pyro.plate("raters", self.start.rows.raters):
            pyro.sample("noise", dist.MultivariateNormal(middle, precision_matrix=precision))

    def settled(self) -> _Settled:
        """The guide as it stands; before training the Laplace approximation."""
        parameters = [p.detach().clone() for p in self._parameters()]
        return _Settled(self.start.population, *parameters)


def _corrected(
    settings: "Hierarchical", start: Start, guide: _Settled, noise: Float[Tensor, "P U"], elbo: Tensor
) -> tuple[Gaussian, Draws, dict[str, object]]:
    """Populations from the guide, weighted by their chance; then tastes given some of these populations.

    The chances of raters' answers are averages without bias, so the weights are right on average (Beaumont 2003).
    """
    population, rows = start.population, start.rows
    many = guide.centre + (1 + WIDER / population.size**0.5) * noise @ guide.spread.T
    inner = normal_grid(INNER, rows.width)[:, None].expand(-1, rows.raters, -1)
    value, stretch = population.parts(many)
    pieces = torch.arange(len(many)).split(max(1, AT_ONCE // (2 * inner.numel())))
    evidence = torch.cat([guide.evidence(rows, _at(value, some, 0), inner) for some in pieces])  # (P, R)
    log = population.log_prior(value, stretch) + evidence.sum(1)
    log = log + (TAILS + population.size) / 2 * torch.log1p(noise.square().sum(1) / TAILS)
    k_hat = tail_index(log)
    weight = torch.softmax(log, 0).clamp_max(len(log) ** -0.5)
    weight = weight / weight.sum()
    notes = _bound_notes(elbo)
    warnings = list(notes["warnings"])
    if k_hat > 0.7:
        warnings.append(
            f"the normal guide misses the population's posterior (k-hat {k_hat:.2f}, above 0.7), so it is corrected in "
            'part only; compare with method="nuts".'
        )
    mean, covariance = _moments(population, value, weight)
    draws = _tastes(settings, guide, rows, value, evidence, weight)
    notes |= {
        "k_hat": k_hat,
        "effective": float(1 / weight.square().sum()),
        "warnings": tuple(warnings),
    }
    return Gaussian(mean, covariance, settings.draws), draws, notes


def _tastes(
    settings: "Hierarchical",
    guide: _Settled,
    rows: Rows,
    value: dict[str, Tensor],
    evidence: Tensor,
    weight: Tensor,
) -> Draws:
    """One taste per rater and population, weighted by its chance over that of the rater's answers."""
    # Systematic resampling: every population as often as its weight says, up to one.
    reach = (torch.arange(settings.draws, dtype=torch.float64) + 0.5) / settings.draws
    chosen = torch.searchsorted(weight.cumsum(0), reach).clamp_max(len(weight) - 1)
    grid = normal_grid(settings.draws, rows.width)[:, None].expand(-1, rows.raters, -1)
    if settings.draws == 1:
        return Draws(
            guide.rater(guide.population.parts(guide.centre)[0], 0 * grid)[0],
            torch.ones(1, rows.raters, dtype=torch.float64),
        )
    taste, log = guide.rater(_at(value, chosen, 1), grid)
    log = log + own_log_prob(rows, taste) - evidence[chosen]
    share = torch.softmax(log, 0).clamp_max(settings.draws**-0.5)
    return Draws(taste, share / share.sum(0))


def _at(value: dict[str, Tensor], index: Tensor, axes: int) -> dict[str, Tensor]:
    """These populations, with axes behind them for draws and raters."""
    return {name: part[index][(slice(None), *(None,) * axes)] for name, part in value.items()}


def _moments(
    population: Population, value: dict[str, Tensor], weight: Float[Tensor, "P"]
) -> tuple[Tensor, Tensor]:
    root = population.root(value)
    mean = weight @ value["mean"]
    return mean, torch.einsum("p,pxy->xy", weight, root @ root.mT)


def _bound_notes(elbo: Float[Tensor, "T"]) -> dict[str, Any]:
    """Means over twentieths of the steps; a sentence where the bound still rises."""
    if len(elbo) < 20:
        return {
            "elbo": tuple(elbo.tolist()),
            "warnings": ("so few steps of variational inference say little.",),
        }
    parts = torch.stack([part.mean() for part in elbo.tensor_split(20)])
    noise = float(elbo[-len(elbo) // 10 :].std() / (len(elbo) / 20) ** 0.5)
    rise = float(parts[-1] - parts[-3])
    warnings: tuple[str, ...] = ()
    if rise > 4 * noise + 0.1:
        warnings = (f"the bound still rose by {rise:.1f} nats in the last tenth; give more `steps`.",)
    return {"elbo": tuple(parts.tolist()), "warnings": warnings}


def tail_index(log: Float[Tensor, "P"]) -> float:
    """k-hat of importance weights: above .7 their averages are not to be trusted.

    Source: Vehtari et al. (2024), "Pareto smoothed importance sampling".
    """
    count = min(len(log) // 5, int(3 * len(log) ** 0.5))
    ratio = (log - log.max()).exp().sort().values
    excess = ratio[-count:] - ratio[-count - 1]
    if not float(excess[-1]) > 1e-9:
        return -math.inf  # all weights alike
    return float(fit_generalized_pareto(excess[excess > 0])[0])


# Sampling -----------------------------------------------------------------------------------------------------------


def nuts(
    settings: "Hierarchical", data: Comparisons, worth: Worth, streams: Streams
) -> tuple[Gaussian, Draws, dict[str, object]]:
    """Samples from the joint posterior of population and tastes, `chains` chains one after the other.

    Each chain runs in coordinates where the Laplace approximation is standard normal (as Hoffman et al. 2019 do with
    a network), and keeps as many samples as it warmed up (at least what `draws` needs); the draws are thinned from all.

    Returns:
        as `svi`; notes: `r_hat` (largest), `effective` (smallest, bulk), `divergences`, `warnings` (sentences).
    """
    start = Start.of(settings, data, worth)
    population, rows = start.population, start.rows
    with own_state(0):
        guide = _Guide.near(start).settled()
    keep = max(settings.warmup, -(-settings.draws // settings.chains), 20)

    def minus_log_joint(place: dict[str, Tensor]) -> Tensor:
        # Both coordinates are standard normal under the guide, so that steps can be long.
        u = guide.centre + guide.spread @ place["population"]
        value, stretch = population.parts(u)
        taste, log = guide.rater(value, place["noise"][None])
        log = log + own_log_prob(rows, taste) - place["noise"].square().sum(-1) / 2
        return -(population.log_prior(value, stretch) + log.sum())

    chains, divergences = [], 0
    for chain in range(settings.chains):
        with own_state(streams.number("nuts", chain)):
            # Starts are scattered, so that chains that do not meet are found out.
            first = {
                "population": 2 * torch.randn(population.size, dtype=torch.float64),
                "noise": torch.randn(rows.raters, rows.width, dtype=torch.float64),
            }
            kernel = NUTS(potential_fn=minus_log_joint)
            run = MCMC(
                kernel,
                num_samples=keep,
                warmup_steps=settings.warmup,
                initial_params=first,
                disable_progbar=True,
            )
            run.run()
            chains.append(run.get_samples(group_by_chain=False))
            divergences += sum(len(places) for places in run.diagnostics()["divergences"].values())
    with torch.no_grad():
        u = (
            guide.centre + torch.stack([c["population"] for c in chains]) @ guide.spread.T
        )  # (chains, keep, U)
        value, _ = population.parts(u)
        noise = torch.stack([c["noise"] for c in chains])
        flat = {name: part.flatten(0, 1) for name, part in value.items()}
        everything = torch.arange(len(flat["mean"]))
        taste = guide.rater(_at(flat, everything, 1), noise.flatten(0, 1))[0]
        root = population.root(value)
        told = [value["mean"], value["scale"].log(), (root @ root.mT).flatten(2)]
        told.append(taste.reshape(*u.shape[:2], -1))
        r_hat, effective = _mixing(torch.cat(told, 2))
        total = len(flat["mean"])
        mean, covariance = _moments(population, flat, torch.full((total,), 1 / total, dtype=torch.float64))
        if settings.draws == 1:
            taste = taste.mean(0, keepdim=True)
        else:
            taste = taste[torch.linspace(0, total - 1, settings.draws).round().long()]
        draws = Draws(taste, torch.full(taste.shape[:2], 1 / len(taste), dtype=torch.float64))
    notes: dict[str, object] = {"r_hat": r_hat, "effective": effective, "divergences": divergences}
    notes["warnings"] = tuple(_complaints(r_hat, effective, divergences, total))
    return Gaussian(mean, covariance, settings.draws), draws, notes


def _mixing(told: Float[Tensor, "C T Q"]) -> tuple[float, float]:
    """The largest R-hat and the smallest bulk effective sample size over all quantities.

    Of ranks turned normal, over halves of chains (Vehtari et al. 2021).
    """
    told = told[:, : told.shape[1] // 2 * 2]
    flat = told.flatten(0, 1)
    rank = flat.argsort(0).argsort(0).double() + 1
    normal = torch.special.ndtri((rank - 0.375) / (len(flat) + 0.25)).reshape(told.shape)
    halves = torch.cat(normal.tensor_split(2, 1))
    moves = (flat - flat[0]).abs().amax(0) > 0
    if not bool(moves.any()):
        return math.inf, 0.0
    r_hat = split_gelman_rubin(normal[..., moves], chain_dim=0, sample_dim=1)
    return float(r_hat.max()), float(
        effective_sample_size(halves[..., moves], chain_dim=0, sample_dim=1).min()
    )


def _complaints(r_hat: float, effective: float, divergences: int, total: int) -> list[str]:
    found = []
    if not r_hat < 1.05:
        found.append(f"the chains have not met (R-hat {r_hat:.2f}, above 1.05); give more `warmup`.")
    if not effective >= 100:
        found.append(
            f"some numbers rest on {effective:.0f} effective samples, fewer than 100; give more `warmup`."
        )
    if divergences > 0:
        found.append(
            f"{divergences} of {total} steps diverged, so parts of the posterior may be missed; give more answers or "
            "raters, or fewer features."
        )
    return found
