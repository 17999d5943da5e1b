"""How sure the wants of camps are: standard errors of voices, by leaving raters out."""

import math

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.stats import t
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.camps import Camps
from pluralign.population.held_out import settled
from pluralign.population.normal_mixture import NormalMixture
from pluralign.population.normals import Normals
from pluralign.population.pooled import Pooled
from pluralign.streams import Seed, Streams
from pluralign.utility.linear import LinearWorth

PARTS = 10
WIDEST = 40  # weights of a taste


def voice_errors(
    model: object, belief: Belief, data: Comparisons, seed: Seed = 0, parts: int = PARTS
) -> Float[Tensor, "G Z"] | None:
    """Standard errors of `belief.voices().z`: the fit is repeated without each tenth of the raters.

    Raters are the units, so answers of one rater may hang together as they like. Settings stay as they were chosen; camps
    are matched to those of the whole fit, since their numbers mean nothing.

    Args:
        model: what was fitted, `Pooled`, `Camps` or a `NormalMixture` of several kinds, over a linear utility of at most 40
            features.
        belief: what it found.
        data: the answers it was fitted to.
        seed: of the tenths and the fits.
        parts: how many parts the raters are cut into, at most as many as there are raters.

    Returns:
        (G, Z) utils per standard deviation of a feature; None for other models, and for fewer than four raters.

    Source: the delete-a-group jackknife, Kott (2001), "The delete-a-group jackknife", Journal of Official Statistics 17.
    """
    people = (data.counts > 0).nonzero()[:, 0]
    if not isinstance(model, Pooled | Camps | NormalMixture) or not _plain(belief) or len(people) < 4:
        return None
    streams = Streams.of(seed)
    fixed = settled(model, belief)
    whole = belief.voices().z.double()
    part = torch.randperm(len(people), generator=streams("tenths")) % min(parts, len(people))
    found = []
    for k in range(int(part.max()) + 1):
        if int((part != k).sum()) < getattr(fixed, "groups", 1):  # fewer people than camps
            return torch.full_like(whole, math.inf)
        rest = fixed.fit(data.of_raters(people[part != k]), streams.number(f"without {k}"))
        if not _plain(rest):
            return None
        scale = (rest.worth.scale / belief.worth.scale).double()  # type: ignore[attr-defined]
        wants = rest.voices().z.double() * scale
        if wants.shape != whole.shape:  # a camp was lost with its tenth: what it wants is not known at all
            return torch.full_like(whole, math.inf)
        found.append(wants[_matched(whole, wants)])
    each = torch.stack(found)
    count = len(each)
    return ((count - 1) / count * (each - each.mean(0)).square().sum(0)).sqrt()


def width_of_interval(parts: int = PARTS) -> float:
    """Standard errors to either side of a 95 % interval, as `parts` parts tell them."""
    return float(t.ppf(0.975, parts - 1))


def _plain(belief: Belief) -> bool:
    """Whether tastes are weights of features by their names, and voices the same few for everybody."""
    worth, same = belief.worth, belief.draws.shared or isinstance(belief.prior, Normals)
    if not isinstance(worth, LinearWorth) or not same:
        return False
    return worth.matrix is None and worth.lift is None and not worth.vocabulary and worth.width <= WIDEST


def _matched(whole: Float[Tensor, "G Z"], found: Float[Tensor, "G Z"]) -> Int[Tensor, " G"]:
    """Which of the `found` is which of the `whole`, the nearest in all."""
    _, other = linear_sum_assignment(torch.cdist(whole, found).square().numpy())
    return torch.as_tensor(other)
