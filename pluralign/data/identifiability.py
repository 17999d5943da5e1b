"""What answers cannot tell, whatever the model: detected, and said in one sentence each."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Texts
from pluralign.data.questions import components

NARROW = 64  # wider features leave more directions than anybody answers; nothing is counted there
PEOPLE = 1_000  # raters that are looked at one by one; more would cost time and change no sentence
RARE = 0.01  # of the answers, or a tenth of the raters: fewer do not carry a conclusion


def limits(data: Comparisons, alone: tuple[int, int] | None = None) -> dict[str, str]:
    """Name of each limit that these answers have, and a sentence about it.

    raters: there is one. types: pairs, too few from each rater to tell kinds of raters apart. parts: the comparison
    graph of options known by name is disconnected. winners: it is connected, but some options only win or only lose.
    directions: options differ where no slate does. collinear: features follow from one another. separable: most
    raters could be explained without an error. `alone` is what `separable` said, where it was asked already.
    """
    found: dict[str, str] = {}
    raters = int((data.counts > 0).sum())
    if raters == 1:
        found["raters"] = "one rater only: differences between raters cannot be learned."
    each = panel(data)
    if raters > 1 and each == 1:
        found["types"] = (
            "one answer to a pair from each rater cannot tell kinds of raters apart: opposite tastes in equal number look "
            "like people who toss a coin; ask each rater more, or for the best of three."
        )
    elif raters > 1 and each == 2:
        found["types"] = (
            "two answers to pairs from each rater show that raters differ, not how many kinds there are; ask each rater "
            "three times or more, or for the best of three."
        )
    if nameless(data):
        found |= _graph(data)
    elif data.options.rows.shape[-1] <= NARROW:
        found |= _directions(data)
        alike, looked = separable(data) if alone is None else alone
        if alike > looked / 2:
            found["separable"] = (
                f"{alike} of {looked} raters are separable: a linear taste of their own explains every answer of theirs "
                "without an error, so how strong it is only the prior, or what is shared between raters, says."
            )
    return found


def panel(data: Comparisons) -> int | None:
    """How many answers a tenth of the raters gave at least, where answers are of two kinds; None where there are more.

    One binary answer each leaves the mixture of types open: s(t) + s(-t) = 1, so tastes w and -w in equal shares
    answer every pair as indifference does (Chierichetti, Kumar and Tomkins, ICML 2018: pairs do not do for a
    uniform mixture of two logits, pairs and triples do). Exactly two types of unequal size are generically
    identified even then (Zhang et al., arXiv 2201.13132), but nothing says that there are two. Best of three, rankings,
    ties and graded answers have more than two outcomes and are not of this kind.
    """
    counts = data.counts[data.counts > 0].double()
    rich = ((data.slate != ABSENT).sum(1) > 2) | (data.label.max(1).values < 1 - 1e-6)
    if not len(data) or float(rich.double().mean()) > RARE:
        return None
    return int(torch.quantile(counts, 0.9, interpolation="lower"))


def kinds(answers: int) -> int:
    """The most kinds of raters that so many binary answers from each tell apart, whatever the kinds are.

    G mixed products of Bernoulli variables are generically identified, up to their order, from 2 ceil(log2 G) + 1
    of them (Allman, Matias and Rhodes 2009, corollary 5). A linear taste that ties questions together can do with less.
    """
    return 2 ** ((answers - 1) // 2) if answers > 0 else 1


def nameless(data: Comparisons) -> bool:
    """Whether options are known by name alone."""
    bare = isinstance(data.options, Texts) and data.options.embedding is None
    return bare or data.options.rows.shape[-1] == 0


def _graph(data: Comparisons) -> dict[str, str]:
    part = components(data)
    parts = int(part.max()) + 1
    if parts > 1:
        most = int(np.bincount(part[part >= 0]).max())
        return {
            "parts": f"the comparison graph falls into {parts} parts, the largest with {most} options: worths of options "
            "without features are not comparable across them."
        }
    better, worse = _beaten(data)
    wins = coo_array((np.ones(len(better), bool), (better, worse)), shape=(len(part),) * 2)
    group = connected_components(wins, directed=True, connection="strong")[1][part >= 0]
    size = np.unique(group, return_counts=True)[1]
    if len(size) == 1:
        return {}
    rest = int(size.sum() - size.max())
    return {
        "winners": f"{rest} options only win or only lose against the {size.max()} that are linked both ways: how far off "
        "they are, only the prior says."
    }


def _beaten(data: Comparisons) -> tuple[np.ndarray, np.ndarray]:
    """Option that got a share of a choice, option beside it that did not get all: who was preferred to whom, once."""
    better, worse = [], []
    for k in range(data.places):
        for j in range(data.places):
            told = (
                (data.label[:, k] > 0) & (data.slate[:, j] != ABSENT) & (data.slate[:, k] != data.slate[:, j])
            )
            better.append(data.slate[told, k])
            worse.append(data.slate[told, j])
    return torch.cat(better).numpy(), torch.cat(worse).numpy()


def standardised(data: Comparisons) -> Float[Tensor, "N D"]:
    """Features of whole options (sums over the steps of segments), centred and scaled on the options shown."""
    rows = data.options.pool(data.options.rows.double(), 1.0)
    shown = rows[torch.unique(data.slate[data.slate != ABSENT])]
    mean, spread = shown.mean(0), shown.std(0, correction=0)
    constant = spread <= 1e-7 * (1 + shown.abs().amax(0))
    return torch.where(constant, 0.0, (rows - mean) / torch.where(constant, 1.0, spread))


def _directions(data: Comparisons) -> dict[str, str]:
    rows = standardised(data)
    shown = torch.unique(data.slate[data.slate != ABSENT])
    gap = rows[data.slate.clamp_min(0)] - rows[data.slate[:, :1]]
    gap = gap[data.slate != ABSENT]
    spread, seen = _rank(rows[shown]), _rank(gap)
    found = {}
    if seen < spread:
        found["directions"] = (
            f"options differ in {spread} directions, those shown together in {seen}: along the others the answers say nothing."
        )
    varied = int((rows[shown] != 0).any(0).sum())
    if spread < varied < len(shown) and set(data.options.blocks) == {1}:
        found["collinear"] = (
            f"{varied - spread} of {varied} features follow from the others: their weights are not determined, the prior "
            "divides them; drop or combine some."
        )
    return found


def _rank(rows: Float[Tensor, "n D"]) -> int:
    """Directions in which rows spread; beyond the fifth digit of a singular value features of float32 are noise."""
    size = torch.linalg.eigvalsh(rows.T @ rows)
    return int((size > 1e-10 * size[-1].clamp_min(1e-300)).sum()) if float(size[-1]) > 0 else 0


def separable(data: Comparisons) -> tuple[int, int]:
    """Raters all of whose answers a linear taste without noise explains, and raters that were looked at.

    Their likelihood grows without end along that taste (Albert and Anderson 1984). Looked at are the first 1,000 who
    answered without ties. A taste found is a proof; one with margins thinner than a hundred steps of Newton's
    method can find is missed.
    """
    whole = data.label.max(1).values > 1 - 1e-6
    blurred = torch.bincount(data.rater[~whole], minlength=data.raters) > 0
    looked = ((data.counts > 0) & ~blurred).nonzero()[:PEOPLE, 0]
    place = torch.full((data.raters,), -1)
    place[looked] = torch.arange(len(looked))
    rows = (place[data.rater] >= 0).nonzero()[:, 0]
    slate, best = data.slate[rows], data.label[rows].argmax(1, keepdim=True)
    features = standardised(data)
    gap = features[slate.gather(1, best)] - features[slate.clamp_min(0)]
    lost = (slate != ABSENT) & (torch.arange(data.places) != best) & (gap != 0).any(-1)
    rater = place[data.rater[rows]][:, None].expand_as(slate)[lost]
    return int(_explained(gap[lost], rater, len(looked)).sum()), len(looked)


def _explained(x: Float[Tensor, "n D"], rater: Int[Tensor, " n"], raters: int) -> Tensor:
    """(R,) whether some w has x w > 0 for all rows of the rater; raters of like size side by side, padded."""
    done = torch.zeros(raters, dtype=torch.bool)
    x = x / x.norm(dim=1, keepdim=True)
    order = torch.argsort(rater, stable=True)
    x, rater = x[order], rater[order]
    count = torch.bincount(rater, minlength=raters)
    done[count == 0] = True  # nothing to explain
    first = count.cumsum(0) - count
    size = torch.where(count > 0, 2 ** count.clamp_min(1).double().log2().ceil().long(), 0)
    for width in torch.unique(size[size > 0]).tolist():
        who = (size == width).nonzero()[:, 0]
        for some in who.split(max(1, (1 << 23) // (width * x.shape[1] + 1))):
            at = first[some, None] + torch.arange(width)
            real = torch.arange(width) < count[some, None]
            done[some] = _halfspace(x[at.clamp_max(len(x) - 1)] * real[..., None], real)
    return done


def _halfspace(x: Float[Tensor, "r c D"], real: Tensor, sweeps: int = 100) -> Tensor:
    """Newton's method for a logistic regression with hardly any ridge; its taste separates where one can."""
    w = torch.zeros(len(x), x.shape[2], dtype=x.dtype)
    eye = 1e-6 * torch.eye(x.shape[2], dtype=x.dtype)
    done, still = torch.zeros(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.bool)
    for _ in range(sweeps):
        left = (~done & ~still).nonzero()[:, 0]
        if not len(left):
            break
        part, here = x[left], real[left]
        margin = (part @ w[left, :, None])[..., 0]
        wrong = torch.sigmoid(-margin) * here
        bend = (part * (wrong * (1 - wrong))[..., None]).mT @ part + eye
        pull = (wrong[:, None] @ part)[:, 0] - 1e-6 * w[left]
        step = torch.linalg.solve(bend, pull)
        far = (part @ step[..., None])[..., 0].abs().amax(1, keepdim=True)
        w[left] += step * (4 / far.clamp_min(4))  # no answer moves by more than four utils at once
        margin = (part @ w[left, :, None])[..., 0]
        done[left] = ((margin > 1e-9) | ~here).all(1)
        still[left] = far[:, 0] < 1e-9  # the best taste there is, and it does not separate
    return done
