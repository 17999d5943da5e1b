"""What answers say of a taste, in one pass: an encoder that multiplies one normal factor per answer."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.population.draws import Draws
from pluralign.population.newton import modes
from pluralign.population.prior import Gaussian, inverse, normal_grid
from pluralign.population.rows import Rows, buckets
from pluralign.utility.scores import Nonlinear, slate_worths

SIGNS = 3  # numbers that tell a gate how surprising and how telling an answer is
STEEPEST = 6.0  # a gate is at most exp(6)
Layer = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Encoder:
    """q(z | answers) = N(mean, precision^-1), precision = 1 + sum of what each answer adds.

    Answer m shows options with rows (c_k, d_k) of a basis: common worth and what tastes change of it. With
    chances pi = softmax(c + d . mean) it adds, times two gates a_m, b_m > 0,

        to the precision          a_m  sum_k pi_k (d_k - d_bar)(d_k - d_bar)'
        to the precise mean       b_m  sum_k (y_k - pi_k) d_k  +  its part of the precision @ mean.

    With gates of one, a round is Newton's step for the posterior under a Luce rule. The gates are small networks
    of how surprising and how telling the answer is; training teaches them what Newton does not know. So answers
    commute, an option has no place, any number will do, none leaves exactly N(0, 1), an answer of weight two is
    the answer twice, and more answers make surer.

    Attributes:
        gates: per round, two (weight, bias) layers from SIGNS numbers to log a, log b.
    """

    gates: tuple[tuple[Layer, Layer], ...]

    @staticmethod
    def start(rounds: int, hidden: int = 8, *, generator: torch.Generator) -> "Encoder":
        """Gates of one."""

        def gate() -> tuple[Layer, Layer]:
            weight = torch.randn(SIGNS, hidden, generator=generator, dtype=torch.float64) / SIGNS**0.5
            first = (weight, torch.zeros(hidden, dtype=torch.float64))
            return first, (torch.zeros(hidden, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))

        return Encoder(tuple(gate() for _ in range(rounds)))

    def __call__(
        self,
        rows: Float[Tensor, "M K Z1"],
        label: Float[Tensor, "M K"],
        hole: Tensor,
        weight: Float[Tensor, " M"],
        rater: Int[Tensor, " M"],
        raters: int,
    ) -> tuple[Float[Tensor, "R Z"], Float[Tensor, "R Z Z"]]:
        """Mean and precision for each rater; `hole` (M, K) is true where nothing was shown."""
        common, side = rows[..., 0], rows[..., 1:]
        eye = torch.eye(side.shape[-1], dtype=rows.dtype)
        mean = rows.new_zeros(raters, side.shape[-1])
        precision = eye.expand(raters, -1, -1)
        pair = rows[:, 0] - rows[:, 1]  # of a pair only the difference tells, and it is half the work
        for (inner, start), (outer, bias) in self.gates:
            own = mean[rater]
            if rows.shape[1] == 2:
                chance = torch.sigmoid(pair[:, 0] + (pair[:, 1:] * own).sum(-1))
                doubt, surprise = chance * (1 - chance), label[:, 0] - chance
                reach = doubt * pair[:, 1:].square().sum(-1)
                signs = [2 * surprise.square(), 2 * doubt, reach.log1p()]
                push, gap, root = surprise[:, None] * pair[:, 1:], pair[:, None, 1:], doubt[:, None, None]
            else:
                eta = (common + (side * own[:, None]).sum(-1)).masked_fill(hole, -torch.inf)
                chance = torch.softmax(eta, -1)
                gap = side - (chance[..., None] * side).sum(1, keepdim=True)
                surprise = label - chance
                reach = (chance * gap.square().sum(-1)).sum(1)
                signs = [surprise.square().sum(1), 1 - chance.square().sum(1), reach.log1p()]
                push, root = (surprise[..., None] * side).sum(1), chance[..., None]
            gate = torch.tanh(torch.stack(signs, 1) @ inner + start) @ outer + bias
            gate = gate.clamp(-STEEPEST, STEEPEST).exp() * weight[:, None]
            bend = (gate[:, :1, None] * root * gap).mT @ gap  # (M, Z, Z)
            push = gate[:, 1:] * push + (bend @ own[..., None])[..., 0]
            precision = eye + rows.new_zeros(raters, *eye.shape).index_add(0, rater, bend)
            precise = rows.new_zeros(mean.shape).index_add(0, rater, push)
            mean = torch.linalg.solve(precision, precise)
        return mean, precision


def divergence(
    mean: Float[Tensor, "R Z"], precision: Tensor, other: Float[Tensor, "R Z"], other_precision: Tensor
) -> Float[Tensor, " R"]:
    """KL( N(mean, precision^-1) || N(other, other_precision^-1) ) in nats, with its factor of one half."""
    factor = torch.linalg.cholesky(precision)
    spread = torch.cholesky_inverse(factor)
    gap = mean - other
    trace = (other_precision * spread).sum((-1, -2))
    square = ((other_precision @ gap[..., None])[..., 0] * gap).sum(-1)
    size = _logdet(factor) - _logdet(torch.linalg.cholesky(other_precision))
    return (trace + square - mean.shape[1] + size) / 2


def _logdet(factor: Tensor) -> Tensor:
    return 2 * torch.diagonal(factor, dim1=-2, dim2=-1).log().sum(-1)


def spread_out(
    mean: Float[Tensor, "R Z"], precision: Float[Tensor, "R Z Z"], noise: Float[Tensor, "S R Z"]
) -> Float[Tensor, "S R Z"]:
    """Draws from N(mean, precision^-1) by reparameterisation."""
    factor = torch.linalg.cholesky(precision).mT
    tail = torch.linalg.solve_triangular(factor, noise.permute(1, 2, 0), upper=True)
    return mean + tail.permute(2, 0, 1)


@dataclass(frozen=True)
class Amortised:
    """Normal tastes, read off answers by an encoder and corrected by the exact likelihood.

    Attributes:
        tastes: of people not met. Under a basis its first column is common to all, the first number of a taste is
            one, and the others are standard normal.
        encoder: gives the first guess.
        reader: the basis by which it reads options, where the worth has none; None: by the worth's own.
        weighted: for a worth without a basis, importance weights by the exact posterior.
    """

    tastes: Gaussian
    encoder: Encoder
    reader: Any = None
    weighted: bool = True

    @property
    def mean(self) -> Float[Tensor, " Z"]:
        return self.tastes.mean

    @property
    def covariance(self) -> Float[Tensor, "Z Z"]:
        return self.tastes.covariance

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z"]:
        """Tastes of `count` new raters."""
        return self.tastes.sample(count, generator=generator)

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> Draws:
        """Draws around each rater's most probable taste, found from the encoder's guess, with exact weights."""
        guess, _ = encoded(self.encoder, basis, data)
        start = torch.cat([torch.ones_like(guess[:, :1]), guess], 1)
        rows, precision = Rows.of(data, basis, rule), inverse(self.covariance)
        groups = buckets(rows)
        # Tight, or a rater's taste would depend on when others' have converged.
        mode, curvature, _ = modes(
            groups, rule, self.mean, precision, data.raters, start=start, tolerance=1e-14
        )
        return self.tastes.around(mode, curvature, rows, precision)

    def read(self, data: Comparisons, worth: Nonlinear, rule: ChoiceRule) -> Draws:
        """The same for a worth without a basis: draws of the encoder's normal, with exact weights."""
        mean, precision = encoded(self.encoder, self.reader.basis(data.options), data)
        count, raters = self.tastes.draws, data.raters
        noise = normal_grid(count, mean.shape[1]).to(mean)
        z = spread_out(mean, precision, noise[:, None].expand(-1, raters, -1))
        weight = torch.full((count, raters), 1 / count, dtype=z.dtype)
        if self.weighted and len(data) and count > 1:
            log = answers_log_prob(data, worth, rule, z)
            log = log - z.square().sum(-1) / 2 + noise.square().sum(1)[:, None] / 2
            # Truncated importance weights (Ionides 2008): no draw counts more than sqrt(S) times the average.
            weight = torch.softmax(log, 0).clamp_max(count**-0.5)
            weight = weight / weight.sum(0)
        return Draws(z, weight)


def encoded(
    encoder: Encoder, basis: Float[Tensor, "N Z1"], data: Comparisons
) -> tuple[Float[Tensor, "R Z"], Float[Tensor, "R Z Z"]]:
    """The encoder on all answers of `data`; blocks of raters bound the memory."""
    mean = basis.new_zeros(data.raters, basis.shape[1] - 1)
    precision = torch.eye(basis.shape[1] - 1, dtype=basis.dtype).repeat(data.raters, 1, 1)
    order = torch.argsort(data.rater, stable=True)
    for first, some in blocks(data.counts, max(1, (1 << 22) // (data.places * basis.shape[1] ** 2))):
        rows = order[first[0] : first[1]]
        slate = data.slate[rows]
        weight = basis.new_ones(len(rows)) if data.weight is None else data.weight[rows].to(basis)
        shown = basis[slate.clamp_min(0)].masked_fill((slate == ABSENT)[..., None], 0.0)
        local = data.rater[rows] - some.start
        found = encoder(
            shown, data.label[rows].to(basis), slate == ABSENT, weight, local, some.stop - some.start
        )
        mean[some], precision[some] = found
    return mean, precision


def blocks(counts: Int[Tensor, " R"], size: int) -> list[tuple[tuple[int, int], slice]]:
    """Runs of raters with about `size` answers together: where their answers lie, sorted by rater, and who they are."""
    reach = counts.cumsum(0)
    runs = torch.unique_consecutive((reach - counts) // size, return_counts=True)[1].tolist()
    out, start = [], 0
    for many in runs:
        first = int(reach[start] - counts[start])
        out.append(((first, int(reach[start + many - 1])), slice(start, start + many)))
        start += many
    return out


def answers_log_prob(
    data: Comparisons, worth: Any, rule: ChoiceRule, z: Float[Tensor, "S R Z"]
) -> Float[Tensor, "S R"]:
    """Log-likelihood of each rater's answers under that rater's draws."""
    eta = slate_worths(worth, data, z)
    value = rule.log_prob(eta, data.label.to(eta).expand(eta.shape))
    if data.weight is not None:
        value = value * data.weight.to(value)
    return torch.zeros(z.shape[:2], dtype=value.dtype).index_add(1, data.rater, value)
