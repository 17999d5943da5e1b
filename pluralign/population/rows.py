"""Answers as rows of a linear model, with the derivatives of their likelihood; the inside of every convex fit."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import ABSENT, Comparisons


def likelihood(
    rule: ChoiceRule, eta: Float[Tensor, "*b M J"], label: Float[Tensor, "M K"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-likelihood (*b, M), its gradient in eta (*b, M, J) and curvature (*b, M, J, J), never negative.

    Pairs are told by J = 1: eta is then the difference of worths, first minus second. The curvature is minus
    the second derivative, with negative parts cut off where a rule (a lapse, say) is not log-concave.
    """
    if eta.shape[-1] == 1:
        return _pairs(rule, eta[..., 0], label)
    if isinstance(rule, Luce):
        share = rule.share(eta)
        slope = (label - share) / rule.temperature
        bend = torch.diag_embed(share) - share[..., :, None] * share[..., None, :]
        return rule.log_prob(eta, label.expand(eta.shape)), slope, bend / rule.temperature**2
    flat = eta.reshape(-1, eta.shape[-1])
    told = label.expand(eta.shape).reshape(flat.shape)
    one = lambda u, y: rule.log_prob(u, y)
    value = rule.log_prob(flat, told)
    slope = torch.func.vmap(torch.func.grad(one))(flat, told).nan_to_num(0.0)
    bend = -torch.func.vmap(torch.func.hessian(one))(flat, told).nan_to_num(0.0)
    size, side = torch.linalg.eigh((bend + bend.mT) / 2)
    bend = (side * size.clamp_min(0.0)[:, None]) @ side.mT
    return value.reshape(eta.shape[:-1]), slope.reshape(eta.shape), bend.reshape(*eta.shape, eta.shape[-1])


def _pairs(rule: ChoiceRule, gap: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if isinstance(rule, Luce):
        gap = gap / rule.temperature
        first = label[:, 0]
        share = torch.sigmoid(gap)
        # log s(d) for the part that went to the first, log s(-d) for the rest.
        value = first * gap - torch.nn.functional.softplus(gap)
        slope, bend = (first - share) / rule.temperature, share * (1 - share) / rule.temperature**2
        return value, slope[..., None], bend[..., None, None]
    with torch.enable_grad():
        gap = gap.detach().requires_grad_()
        utility = torch.stack([gap / 2, -gap / 2], -1)
        value = rule.log_prob(utility, label.expand(utility.shape))
        (slope,) = torch.autograd.grad(value.sum(), gap, create_graph=True)
        bend = torch.zeros_like(slope)
        if slope.requires_grad:
            bend = -torch.autograd.grad(slope.sum(), gap)[0]
    return value.detach(), slope.detach()[..., None], bend.clamp_min(0.0)[..., None, None]


@dataclass(frozen=True)
class Rows:
    """M answers as rows, sorted by rater.

    Attributes:
        x: (M, J, Z); for pairs J = 1 and x is the difference of the two basis rows.
        label: (M, K). rater: (M,), ascending. weight: (M,) or None.
        absent: (M, J) true where nothing was shown; None where all slates are full.
        raters: R.
        order: (M,) the place of each row in the data it came from.
    """

    x: Float[Tensor, "M J Z"]
    label: Float[Tensor, "M K"]
    rater: Int[Tensor, " M"]
    weight: Float[Tensor, " M"] | None
    absent: Tensor | None
    raters: int
    rule: ChoiceRule
    order: Int[Tensor, " M"]

    @staticmethod
    def of(data: Comparisons, basis: Float[Tensor, "N Z"], rule: ChoiceRule) -> "Rows":
        """Gather the basis rows of every answer once."""
        order = torch.argsort(data.rater, stable=True)
        slate, label = data.slate[order], data.label[order].to(basis)
        weight = None if data.weight is None else data.weight[order].to(basis)
        absent = None
        if data.places > 2 and bool(((slate != ABSENT).sum(1) == 2).all()):  # pairs on a longer slate
            place = torch.argsort((slate == ABSENT).int(), dim=1, stable=True)[:, :2]
            slate, label = slate.gather(1, place), label.gather(1, place)
        if slate.shape[1] == 2:
            x = (basis[slate[:, 0]] - basis[slate[:, 1]])[:, None]
        else:
            hole = slate == ABSENT
            x = basis[slate.clamp_min(0)]
            if bool(hole.any()):
                absent, x = hole, x.masked_fill(hole[..., None], 0.0)
        return Rows(x, label, data.rater[order], weight, absent, data.raters, rule, order)

    def of_raters(self, mine: Bool[Tensor, " R"]) -> "Rows":
        """The rows of some raters, who are numbered anew."""
        keep = mine[self.rater]
        pick = lambda x: None if x is None else x[keep]
        return replace(
            self,
            x=self.x[keep],
            label=self.label[keep],
            rater=(mine.cumsum(0) - 1)[self.rater[keep]],
            weight=pick(self.weight),
            absent=pick(self.absent),
            raters=int(mine.sum()),
            order=self.order[keep],
        )

    @property
    def width(self) -> int:
        return self.x.shape[-1]

    def __len__(self) -> int:
        return len(self.x)

    @property
    def present(self) -> Bool[Tensor, " R"]:
        """Who has answered at all."""
        return torch.bincount(self.rater, minlength=self.raters) > 0

    @property
    def contrast(self) -> float:
        """Mean squared distance of two options shown together: the scale on which tastes are told apart."""
        if self.x.shape[1] == 1:
            square = self.x.square().sum((1, 2))
        else:
            real = torch.ones_like(self.x[..., 0]) if self.absent is None else (~self.absent).to(self.x)
            count = real.sum(1)
            total = (
                self.x.square().sum((1, 2)) - self.x.sum(1).square().sum(1) / count
            )  # absent rows are zero
            square = 2 * total / (count - 1)  # for two options this is the squared difference
        if self.weight is None:
            return float(square.mean())
        return float((square * self.weight).sum() / self.weight.sum().clamp_min(1e-12))

    def eta(self, taste: Float[Tensor, "*b Z"]) -> Float[Tensor, "*b M J"]:
        """Worths (differences for pairs) of every answer's options for each taste."""
        m, j, z = self.x.shape
        eta = (taste.reshape(-1, z) @ self.x.reshape(m * j, z).T).reshape(*taste.shape[:-1], m, j)
        return eta if self.absent is None else eta.masked_fill(self.absent, -torch.inf)

    def by_rater(self, value: Float[Tensor, "*b M"]) -> Float[Tensor, "*b R"]:
        """Sums over the answers of each rater."""
        out = torch.zeros(*value.shape[:-1], self.raters, dtype=value.dtype)
        return out.index_add_(-1, self.rater, value)

    def weighted(self, value: Float[Tensor, "*b M"]) -> Float[Tensor, "*b M"]:
        """The value times the weight of the answer."""
        return value if self.weight is None else value * self.weight

    def log_prob(self, taste: Float[Tensor, "*b Z"]) -> Float[Tensor, "*b R"]:
        """Log-likelihood of all answers of each rater under each taste (the panel likelihood)."""
        value = answer_log_prob(self.rule, self.eta(taste), self.label)
        return self.by_rater(self.weighted(value))


def answer_log_prob(rule: ChoiceRule, eta: Tensor, label: Tensor) -> Tensor:
    """Log-likelihood of answers (*b, M) told by `eta` as in `likelihood`, with gradients and without curvature."""
    if eta.shape[-1] > 1:
        return rule.log_prob(eta, label.expand(eta.shape))
    gap = eta[..., 0]
    if isinstance(rule, Luce):
        gap = gap / rule.temperature
        return label[:, 0] * gap - torch.nn.functional.softplus(gap)
    utility = torch.stack([gap / 2, -gap / 2], -1)
    return rule.log_prob(utility, label.expand(utility.shape))


@dataclass(frozen=True)
class Bucket:
    """Raters with about as many answers each, padded to a common length so that one batched product serves all.

    Attributes:
        rater: (r,) which raters. x: (r, c, J, Z), label: (r, c, K), weight: (r, c), zero on padding.
    """

    rater: Int[Tensor, " r"]
    x: Float[Tensor, "r c J Z"]
    label: Float[Tensor, "r c K"]
    weight: Float[Tensor, "r c"]
    absent: Tensor | None


def buckets(rows: Rows, limit: int = 1 << 24) -> list[Bucket]:
    """Group raters by the next power of two of their number of answers; raters without answers are left out.

    `limit` bounds the numbers held by one bucket, so that a crowd with many answers comes in several.
    """
    count = torch.bincount(rows.rater, minlength=rows.raters)
    first = count.cumsum(0) - count
    size = torch.where(count > 0, 2 ** torch.ceil(torch.log2(count.clamp_min(1).double())).long(), 0)
    out = []
    for length in torch.unique(size[size > 0]).tolist():
        everyone = (size == length).nonzero()[:, 0]
        most = max(1, limit // (length * rows.x.shape[1] * max(rows.width, 1)))
        for who in everyone.split(most):
            place = first[who, None] + torch.arange(length)
            real = torch.arange(length) < count[who, None]
            place = torch.where(real, place, 0)
            weight = real.to(rows.x) if rows.weight is None else rows.weight[place] * real
            absent = None if rows.absent is None else rows.absent[place]
            out.append(Bucket(who, rows.x[place], rows.label[place], weight, absent))
    return out
