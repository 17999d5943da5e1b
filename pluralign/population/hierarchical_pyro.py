"""Hierarchical Bayes by Pyro: stochastic variational inference and the No-U-Turn sampler, with diagnostics.

Source: Train (2009), chapter 12; Hoffman and Gelman (2014); Hoffman et al. (2013).
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.population.draws import Draws
from pluralign.population.hierarchical_guide import (
    Guide,
    Population,
    Settled,
    Start,
    answering,
    at,
    own_state,
)
from pluralign.population.prior import Gaussian, normal_grid, own_log_prob
from pluralign.population.rows import Rows
from pluralign.streams import Streams
from pluralign.utility import Worth

# isort: split
# After the guide, which says what to install where there is no Pyro.
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.ops.stats import effective_sample_size, fit_generalized_pareto, split_gelman_rubin
from pyro.optim import ClippedAdam

if TYPE_CHECKING:
    from pluralign.population.hierarchical import Hierarchical

PARTICLES = 4
POPULATIONS = 512  # populations drawn to correct the guide
INNER = 32  # tastes per rater and population from the guide, and as many from the population
TAILS = 6.0  # degrees of freedom of the draws that are corrected
WIDER = 0.8  # times 1 / sqrt(U): how much farther they are spread than the guide
AT_ONCE = 1 << 20  # numbers per piece


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
        guide = Guide.near(start)
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


def _corrected(
    settings: "Hierarchical", start: Start, guide: Settled, noise: Float[Tensor, "P U"], elbo: Tensor
) -> tuple[Gaussian, Draws, dict[str, object]]:
    """Populations from the guide, weighted by their chance; then tastes given some of these populations.

    The chances of raters' answers are averages without bias, so the weights are right on average (Beaumont 2003).
    """
    population, rows = start.population, start.rows
    many = guide.centre + (1 + WIDER / population.size**0.5) * noise @ guide.spread.T
    inner = normal_grid(INNER, rows.width)[:, None].expand(-1, rows.raters, -1)
    value, stretch = population.parts(many)
    pieces = torch.arange(len(many)).split(max(1, AT_ONCE // (2 * inner.numel())))
    evidence = torch.cat([guide.evidence(rows, at(value, some, 0), inner) for some in pieces])  # (P, R)
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
    guide: Settled,
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
    taste, log = guide.rater(at(value, chosen, 1), grid)
    log = log + own_log_prob(rows, taste) - evidence[chosen]
    share = torch.softmax(log, 0).clamp_max(settings.draws**-0.5)
    return Draws(taste, share / share.sum(0))


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
        guide = Guide.near(start).settled()
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
        taste = guide.rater(at(flat, everything, 1), noise.flatten(0, 1))[0]
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
