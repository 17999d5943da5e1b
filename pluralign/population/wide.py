"""Fits over wide or nameless features: every option is scored once, answers only gather and scatter scores."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.population.rows import likelihood
from pluralign.utility import Worth
from pluralign.utility.linear import NARROW, LinearWorth


def is_wide(worth: Worth) -> bool:
    """Whether gathering the features of every answer would cost more than scoring every option."""
    return worth.width > NARROW


@dataclass(frozen=True)
class Incidence:
    """Which options each answer shows, as a sparse matrix, and the options' basis.

    Attributes:
        shows: sparse (M * J, N); for pairs J = 1, +1 for the first option and -1 for the second.
        basis: (N, Z), or None where options are known by name alone and the basis is the identity.
        names: for a nameless basis, the place of each option in the vocabulary.
    """

    shows: scipy.sparse.csr_matrix
    basis: np.ndarray | None
    label: Float[Tensor, "M K"]
    weight: np.ndarray | None
    absent: np.ndarray | None
    rule: ChoiceRule
    width: int

    @staticmethod
    def of(data: Comparisons, worth: Worth, rule: ChoiceRule) -> "Incidence":
        """Build it from data and the worth whose tastes are sought."""
        slate = data.slate.numpy()
        m, k = slate.shape
        nameless = isinstance(worth, LinearWorth) and worth.nameless
        basis = None if nameless else worth.basis(data.options).numpy()
        if nameless:
            assert isinstance(worth, LinearWorth)
            slate = np.where(slate == ABSENT, ABSENT, worth.place(data.options).numpy()[slate])
        columns = worth.width if nameless else len(data.options)
        absent = None
        if k == 2:
            row = np.repeat(np.arange(m), 2)
            value = np.tile([1.0, -1.0], m)
            seen = slate.reshape(-1) >= 0  # an option never met in training has no worth of its own
            shape = (m, columns)
            shows = scipy.sparse.csr_matrix((value[seen], (row[seen], slate.reshape(-1)[seen])), shape)
        else:
            flat = slate.reshape(-1)
            seen = flat >= 0
            row = np.arange(m * k)
            shows = scipy.sparse.csr_matrix((np.ones(seen.sum()), (row[seen], flat[seen])), (m * k, columns))
            hole = data.slate.numpy() == ABSENT
            absent = hole if hole.any() else None
        weight = None if data.weight is None else data.weight.double().numpy()
        return Incidence(shows, basis, data.label.double(), weight, absent, rule, worth.width)

    def derivatives(self, taste: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log-likelihood (C, M), slope (C, M, J) and diagonal curvature (C, M, J) at tastes (Z, C)."""
        score = taste if self.basis is None else self.basis @ taste
        eta = self.shows @ score  # (M J, C)
        m = len(self.label)
        shaped = torch.from_numpy(np.ascontiguousarray(eta.T)).reshape(taste.shape[1], m, -1)
        if self.absent is not None:
            shaped = shaped.masked_fill(torch.from_numpy(self.absent), -torch.inf)
        value, slope, bend = likelihood(self.rule, shaped, self.label)
        diagonal = torch.diagonal(bend, dim1=-2, dim2=-1)
        return value.numpy(), slope.numpy(), diagonal.numpy()

    def weighted(self, value: np.ndarray) -> np.ndarray:
        """Values (C, M) times the weights of the answers."""
        return value if self.weight is None else value * self.weight

    def back(self, slope: np.ndarray) -> np.ndarray:
        """Slopes (C, M, J) summed into tastes (Z, C)."""
        flat = slope.reshape(len(slope), -1).T
        out = self.shows.T @ flat
        return np.asarray(out if self.basis is None else self.basis.T @ out)


def crowd_wide(
    rows: Incidence,
    start: Float[Tensor, "C Z"],
    weight: Float[Tensor, "C M"] | None = None,
    *,
    ridge: Float[Tensor, "Z"] | float,
    centre: Tensor | float = 0.0,
    sweeps: int = 300,
    tolerance: float = 1e-10,
) -> Float[Tensor, "C Z"]:
    """The same optimum as `newton.crowd`, by L-BFGS with a diagonal preconditioner."""
    crowds, width = start.shape
    strength = np.broadcast_to(np.asarray(ridge, dtype=float), (width,))[:, None]
    middle = np.broadcast_to(np.asarray(centre, dtype=float), (crowds, width)).T
    mine = 1.0 if weight is None else weight.numpy()
    mine = mine if rows.weight is None else mine * rows.weight
    value, _, bend = rows.derivatives(start.numpy().T)
    amount = (np.broadcast_to(mine, value.shape)[..., None] * bend).reshape(crowds, -1).T
    squares = rows.shows.copy()
    squares.data = squares.data**2
    per_option = squares.T @ amount  # (N, C)
    curve = per_option if rows.basis is None else (rows.basis**2).T @ per_option
    scale = 1 / np.sqrt(curve + strength + 1e-12)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        taste = flat.reshape(width, crowds) * scale
        value, slope, _ = rows.derivatives(taste)
        slope = np.broadcast_to(mine, value.shape)[..., None] * slope
        gap = taste - middle
        total = (mine * value).sum() - (strength * gap**2).sum() / 2
        return -total, -((rows.back(slope) - strength * gap) * scale).ravel()

    found = scipy.optimize.minimize(
        objective,
        (start.numpy().T / scale).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": sweeps, "maxcor": 20, "ftol": tolerance, "gtol": 1e-7},
    )
    return torch.from_numpy((found.x.reshape(width, crowds) * scale).T.copy())


def directions(
    data: Comparisons, rows: Incidence, taste: Float[Tensor, " Z"], count: int
) -> Float[Tensor, "Z Q"]:
    """Directions along which raters depart most from a common taste.

    The gradients of one rater's answers add up when they share a cause; with the products of each answer with
    itself taken away, sampling noise has mean zero. The largest eigenvectors of what remains are returned.
    """
    _, slope, _ = rows.derivatives(taste.numpy()[:, None])
    slope = slope[0]
    m = len(slope)
    per = slope.shape[1]
    who = data.rater.numpy()
    gather = scipy.sparse.csr_matrix(
        (slope.ravel(), (np.repeat(who, per), np.arange(m * per))), (data.raters, m * per)
    )
    by_rater = gather @ rows.shows  # (R, N)
    own = scipy.sparse.csr_matrix(
        (slope.ravel(), (np.repeat(np.arange(m), per), np.arange(m * per))), (m, m * per)
    )
    each = own @ rows.shows
    if rows.basis is None or by_rater.shape[1] <= 4 * rows.basis.shape[1]:
        moment = (by_rater.T @ by_rater - each.T @ each).toarray()
        moment = moment if rows.basis is None else rows.basis.T @ moment @ rows.basis
    else:  # more options than their products can be held
        moment = _squares(by_rater, rows.basis) - _squares(each, rows.basis)
    size = len(moment)
    _, side = scipy.linalg.eigh((moment + moment.T) / 2, subset_by_index=(size - min(count, size), size - 1))
    return torch.from_numpy(side[:, ::-1].copy())


def _squares(sparse: scipy.sparse.csr_matrix, basis: np.ndarray, block: int = 1 << 23) -> np.ndarray:
    """(X B)' (X B), by blocks of rows that are dense one after the other."""
    step = max(1, block // basis.shape[1])
    total = np.zeros((basis.shape[1], basis.shape[1]))
    for begin in range(0, sparse.shape[0], step):
        part = sparse[begin : begin + step] @ basis
        total += part.T @ part
    return total


def loadings(
    rows: Incidence,
    rater: Int[Tensor, " M"],
    z: Float[Tensor, "S R Q"],
    weight: Float[Tensor, "S R"],
    start: Float[Tensor, "Z Q"],
    ridge: float | np.ndarray,
    sweeps: int = 40,
) -> Float[Tensor, "Z Q"]:
    """The directions W (Z, Q) that explain the answers best when tastes are known up to weighted draws.

    Maximises sum_s weight_s log p(answers | basis @ W @ z_s) - ridge/2 |W|^2, a convex problem, by L-BFGS.
    `ridge` may differ between the numbers of W.
    """
    taste = z[:, rater].numpy()  # (S, M, Q)
    mine = weight[:, rater].numpy()
    if rows.weight is not None:
        mine = mine * rows.weight
    m, q = taste.shape[1:]
    width = start.shape[0]
    label = rows.label

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        matrix = flat.reshape(width, q)
        score = matrix if rows.basis is None else rows.basis @ matrix
        each = (rows.shows @ score).reshape(m, -1, q)
        eta = torch.from_numpy(np.einsum("mjq,smq->smj", each, taste, optimize=True))
        if rows.absent is not None:
            eta = eta.masked_fill(torch.from_numpy(rows.absent), -torch.inf)
        value, slope, _ = likelihood(rows.rule, eta, label)
        pull = np.einsum("smj,sm,smq->mjq", slope.numpy(), mine, taste, optimize=True)
        back = rows.shows.T @ pull.reshape(-1, q)
        back = back if rows.basis is None else rows.basis.T @ back
        total = float((mine * value.numpy()).sum()) - float((ridge * matrix**2).sum()) / 2
        return -total, -(np.asarray(back) - ridge * matrix).ravel()

    found = scipy.optimize.minimize(
        objective,
        start.numpy().ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": sweeps, "maxcor": 20, "ftol": 1e-8},
    )
    return torch.from_numpy(found.x.reshape(width, q).copy())
