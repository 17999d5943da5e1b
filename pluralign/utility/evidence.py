"""How much of an option's worth each kind of feature explains: the variances under which everybody's answers are likeliest.

The worths of I options are normal with covariance K = sum_b variance_b K_b, one kernel for each kind of feature and the
identity for what belongs to an option alone: linear regression and one effect for each option, partially pooled.
Pooled answers about pairs are logistic in the differences. Around the most probable worths (Laplace's approximation)
the variances climb the evidence by the minorise-maximise steps of Zhou, Hu, Qiao and Zhou (2019), "MM algorithms for
variance components models"; they never turn negative.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import breadth_first_order, connected_components
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons

WIDEST = 1024  # features whose weights are doubted
MOST = 512  # options by which variances are found; more would cost time and change little
LEAST, FIRST, LARGEST = 1e-4, 0.3, 100.0  # squared utils
OWN = 0.01  # what is an option's own varies at least so much


@dataclass(frozen=True)
class Unsaid:
    """What is not known of the worth of an option that nobody has spoken of.

    Attributes:
        own: variance of what belongs to it alone, in squared utils.
        root: (D, Q) of the covariance of the weights of the scaled features.
    """

    own: float
    root: Float[Tensor, "D Q"]

    def covariance(self, rows: Float[Tensor, "M K D"], new: Bool[Tensor, "M K"]) -> Float[Tensor, "M K K"]:
        """Of the worths on a slate; those of options that were met are taken as known."""
        told = (rows @ self.root) * new[..., None]
        return told @ told.mT + self.own * torch.diag_embed(new.to(rows))


def variances(
    pair: Int[Tensor, "M 2"],
    first: Float[Tensor, " M"],
    weight: Float[Tensor, " M"],
    kernels: Float[Tensor, "B I I"],
    *,
    sweeps: int = 40,
    tolerance: float = 0.02,
) -> tuple[Float[Tensor, " B"], Float[Tensor, "I I"]]:
    """The variance of each kernel, in squared utils; and (K + W^-1)^-1 with W the curvature of the answers, there.

    Args:
        pair: numbers of the two options, different ones.
        first: share of the first.
        weight: how many answers a row stands for.
        kernels: positive semidefinite, mean diagonal about 1.
        sweeps: at most so many steps.
        tolerance: stop when no variance moves by more than this share of their sum.
    """
    count = kernels.shape[1]
    one, other = pair.T
    eye = torch.eye(count, dtype=kernels.dtype)
    found = torch.full((len(kernels),), FIRST, dtype=kernels.dtype)
    worth = torch.zeros(count, dtype=kernels.dtype)
    for sweep in range(sweeps):
        share = torch.sigmoid(worth[one] - worth[other])
        slope = torch.zeros_like(worth)
        slope.index_add_(0, one, weight * (first - share)).index_add_(0, other, weight * (share - first))
        bend = weight * share * (1 - share)
        curve = torch.zeros(count * count, dtype=kernels.dtype)
        for a, b, sign in ((one, one, 1.0), (other, other, 1.0), (one, other, -1.0), (other, one, -1.0)):
            curve.index_add_(0, a * count + b, sign * bend)
        curve = curve.reshape(count, count)
        whole = torch.einsum("b,bij->ij", found, kernels)
        solved = torch.linalg.solve(
            eye + curve @ whole, torch.cat([curve, (curve @ worth + slope)[:, None]], 1)
        )
        dual, spread = solved[:, -1], solved[:, :-1]  # K^-1 worth, and (K + curve^-1)^-1
        step = whole @ dual - worth
        worth = worth + step * min(1.0, 3.0 / float(step.abs().max().clamp_min(1e-12)))
        if sweep < 2:  # first to where the answers are
            continue
        pull = torch.einsum("i,bij,j->b", dual, kernels, dual)
        push = torch.einsum("ij,bij->b", spread, kernels)
        new = found * (pull / push.clamp_min(1e-12)).clamp_min(0).sqrt()
        new = new.clamp(LEAST, LARGEST)
        moved, found = (new - found).abs().max() / new.sum(), new
        if moved < tolerance:
            break
    return found, spread


def pairs_of(data: Comparisons) -> tuple[Int[Tensor, "P 2"], Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Every different pair of options shown together, the share of the first, and how many answers it stands for.

    On longer slates each place is compared with every other, in so far as answers say which is better.
    """
    parts = []
    for a in range(data.places):
        for b in range(a + 1, data.places):
            slate, label = data.slate[:, [a, b]], data.label[:, [a, b]].double()
            mass = label.sum(1)
            kept = (slate != ABSENT).all(1) & (mass > 0) & (slate[:, 0] != slate[:, 1])
            told = torch.ones(len(data)).double() if data.weight is None else data.weight.double()
            parts.append((slate[kept], (label[:, 0] / mass)[kept], (told * mass)[kept]))
    slate, first, weight = (torch.cat(x) for x in zip(*parts))
    turned = slate[:, 0] > slate[:, 1]
    slate, first = slate.sort(1).values, torch.where(turned, 1 - first, first)
    pair, where = torch.unique(slate, dim=0, return_inverse=True)
    total = torch.zeros(len(pair)).double().index_add_(0, where, weight)
    share = torch.zeros(len(pair)).double().index_add_(0, where, weight * first)
    return pair, share / total.clamp_min(1e-12), total


def parts_of(
    pair: Int[Tensor, "P 2"], count: int, generator: torch.Generator
) -> tuple[Int[Tensor, " I"], Int[Tensor, " some"]]:
    """(count,) the connected part each option lies in; and `MOST` options that were compared with each other, or all."""
    one, other = pair.T.numpy()
    graph = scipy.sparse.coo_matrix((np.ones(len(one)), (one, other)), (count, count)).tocsr()
    _, part = connected_components(graph, directed=False)
    which = torch.from_numpy(part.astype(np.int64))
    if count <= MOST:
        return which, torch.arange(count)
    mixed = torch.randperm(count, generator=generator).numpy()
    _, starts = np.unique(part[mixed], return_index=True)
    order, size = [], 0
    for start in mixed[np.sort(starts)]:
        order.append(breadth_first_order(graph, start, directed=False, return_predecessors=False))
        size += len(order[-1])
        if size >= MOST:
            break
    return which, torch.from_numpy(np.concatenate(order)[:MOST].astype(np.int64))


def spreads(
    data: Comparisons,
    shown: Int[Tensor, " I"],
    rows: Float[Tensor, "I D"],
    kinds: list[slice],
    generator: torch.Generator,
) -> tuple[Float[Tensor, " D"], Float[Tensor, "I I"], "Unsaid"]:
    """(D,) standard deviations of the features' weights, a root of the covariance of what is the options' own, and what is
    not known of other options.

    What a feature means may differ between parts that are never compared (debates, prompts): such meaning belongs to the
    options of a part, and says nothing of others. Where there is one part, or hardly more options than parts, what is an
    option's own is independent of all else.

    Args:
        data: answers about options of which `shown` (ascending) are known.
        rows: their standardised features.
        kinds: columns with one spread each.
    """
    pair, first, weight = pairs_of(data)
    pair = torch.searchsorted(shown, pair)
    part, some = parts_of(pair, len(shown), generator)
    count = int(part.max()) + 1
    near = (part[:, None] == part[None]).double() if 2 <= count <= len(shown) / 4 else None
    place = torch.full((len(shown),), ABSENT)
    place[some] = torch.arange(len(some))
    kept = (place[pair] >= 0).all(1)
    kernel = [rows[some, kind] @ rows[some, kind].T for kind in kinds]
    size = [torch.diagonal(k).mean() for k in kernel]
    kernel = [k / max(float(s), 1e-12) for k, s in zip(kernel, size)]
    beside = [] if near is None else [k * near[some][:, some] for k in kernel]
    every = torch.stack([torch.eye(len(some), dtype=rows.dtype), *kernel, *beside])
    found, spread = variances(place[pair[kept]], first[kept], weight[kept], every)
    scale = torch.ones(rows.shape[1], dtype=rows.dtype)
    for kind, one, mean in zip(kinds, found[1:], size):
        scale[kind] = (one / mean.clamp_min(1e-12)).sqrt() if mean > 1e-12 else 0.0
    cover = found[0].clamp_min(OWN) * torch.eye(len(rows), dtype=rows.dtype)
    if near is not None:
        for kind, one, mean in zip(kinds, found[1 + len(kinds) :], size):
            cover += one / mean.clamp_min(1e-12) * near * (rows[:, kind] @ rows[:, kind].T)
    own = float(torch.diagonal(cover).mean())
    if len(scale) > WIDEST:
        return scale, torch.linalg.cholesky(cover), Unsaid(own, torch.zeros(len(scale), 0, dtype=rows.dtype))
    told = rows[some] * scale
    left = torch.eye(len(scale), dtype=rows.dtype) - told.T @ spread @ told
    much, side = torch.linalg.eigh((left + left.mT) / 2)
    return scale, torch.linalg.cholesky(cover), Unsaid(own, side * much.clamp_min(0.0).sqrt())
