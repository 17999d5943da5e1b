"""Stacked: several populations fitted side by side, each believed as far as its predictions have earned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import Comparisons
from pluralign.population.belief import Belief
from pluralign.population.camps import Camps
from pluralign.population.council import Council, Part, dose, side_by_side
from pluralign.population.held_out import hold_out, settled
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.low_rank import LowRank
from pluralign.population.pooled import Pooled, need_answers
from pluralign.streams import Seed, Streams
from pluralign.utility import Utility
from pluralign.utility.scores import Nonlinear

DOSES = (0, 1, 2, 4, 8, 16, 32)  # answers of a stranger after which members are compared
STRANGERS = 60  # people who play strangers, at least; few raters take turns
TURNS = 5
JUDGED = 0.3  # of a stranger's answers
CAUTION = 40.0  # raters' worth of belief that who says nothing is best served as everybody is
DRAWS = 1 << 19  # of all raters together
SURE = 2.0  # standard errors by which that must be worse than a mix
DOUBT = 5.0  # raters' worth of belief that a dose is like the one before


@dataclass(frozen=True)
class Stacked:
    """Predictions of several populations, averaged with weights that make held-out answers most likely.

    What serves a stranger who has said nothing need not serve one who has said much, so weights go by the number
    of answers (`Council`). They are learnt from raters who play strangers: their answers are kept from a fit, told
    to its members a few at a time, and predicted. Weights of known raters start from there and are learnt from
    these raters' own held-out answers.

    Attributes:
        members: the populations; settings left to "auto" are chosen once. Worths must be linear in the taste.
        weights: one for each member, for all raters and any number of answers; "auto" learns them.
        utility, rule: of all members; None leaves each its own.

    Source: Wolpert (1992); Yao, Vehtari, Simpson and Gelman (2018), stacking of predictive distributions.
    """

    members: tuple[Any, ...] = (Pooled(), Camps(), Hierarchical(draws=32), LowRank(draws=32))
    weights: tuple[float, ...] | str = "auto"
    utility: Utility | None = None
    rule: ChoiceRule | None = None

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("`members` must name at least one population, got none.")
        if self.weights != "auto" and (
            isinstance(self.weights, str)
            or len(self.weights) != len(self.members)
            or min(self.weights) < 0
            or abs(sum(self.weights) - 1) > 1e-6
        ):
            raise ValueError(
                f'`weights` must be {len(self.members)} shares that sum to one, or "auto", got {self.weights!r}.'
            )

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit every member, then the weights; the belief's tastes are those of all members side by side.

        Raises:
            ValueError: a member's worth is not linear in the taste.
        """
        need_answers(data)
        streams = Streams.of(seed)
        own = {k: v for k, v in (("utility", self.utility), ("rule", self.rule)) if v is not None}
        members = [_affordable(replace(member, **own), data.raters) for member in self.members]
        if isinstance(self.weights, tuple):
            beliefs = [m.fit(data, streams.number("whole", k), held=held) for k, m in enumerate(members)]
            strangers = known = torch.tensor([self.weights], dtype=torch.float64)
        else:
            beliefs, strangers, known = _weighed(members, data, held, streams)
        for belief in beliefs:
            if isinstance(belief.worth, Nonlinear):
                raise ValueError(
                    f"a stack needs worths that are linear in the taste, that of {type(belief.settings).__name__} is not; "
                    "leave it out of `members`."
                )
        council = Council(tuple(Part(b.prior, b.worth.width) for b in beliefs), strangers)
        worth = side_by_side(tuple(b.worth for b in beliefs))
        weight = known[dose(data.counts).clamp_max(len(known) - 1)]
        draws = council.together([b.draws for b in beliefs], weight)
        assert data.rater_ids is not None
        names = tuple(type(m).__name__ for m in members)
        average = weight[data.counts > 0].mean(0).tolist()
        notes = {
            "words": ", ".join(f"{name} {share:.2f}" for name, share in zip(names, average, strict=True)),
            "members": names,
            "weight_of_strangers": tuple(tuple(row) for row in strangers.tolist()),
            "weight_of_known": tuple(average),
        }
        return Belief(worth, beliefs[0].rule, council, draws, data.rater_ids, self, notes)


def _affordable(member: Any, raters: int) -> Any:
    """The member with fewer draws a rater where raters are very many: their tastes lie side by side in memory."""
    most = max(4, DRAWS // max(1, raters))
    return replace(member, draws=most) if getattr(member, "draws", 0) > most else member


def _weighed(
    members: Sequence[Any], data: Comparisons, held: Comparisons | None, streams: Streams
) -> tuple[list[Belief], Float[Tensor, "D K"], Float[Tensor, "E K"]]:
    """Members fitted to all the data, and their weights for strangers and for known raters, by dose."""
    kept, out = hold_out(data, streams.below("hold out")) if held is None else (data, held)
    drafts = [m.fit(kept, streams.number("draft", k), held=out) for k, m in enumerate(members)]
    fixed = [settled(m, draft) for m, draft in zip(members, drafts, strict=True)]
    strangers = _strangers(fixed, data, streams.below("strangers"))
    known = _known(drafts, kept, out, strangers)
    if held is not None:
        return drafts, strangers, known
    return [m.fit(data, streams.number("whole", k)) for k, m in enumerate(fixed)], strangers, known


def _strangers(members: Sequence[Any], data: Comparisons, streams: Streams) -> Float[Tensor, "D K"]:
    """Weights by dose, from raters whose answers members have not seen."""
    able = torch.nonzero(data.counts >= 2)[:, 0]
    even = torch.full((len(members),), 1 / len(members), dtype=torch.float64)
    if len(able) < 3:
        return even[None]
    mixed = able[torch.randperm(len(able), generator=streams("order"))]
    size = max(1, min(len(able) // 5, 400))
    turns = min(TURNS, -(-STRANGERS // size), len(able) // size)
    found: dict[int, list[_Told]] = {}
    for turn in range(turns):
        who = torch.zeros(data.raters, dtype=torch.bool)
        who[mixed[turn * size : (turn + 1) * size]] = True
        theirs = who[data.rater]
        rest, new = data.take(~theirs), data.take(theirs).of_raters(who.nonzero()[:, 0])
        beliefs = [m.fit(rest, streams.number("fit", turn, k)) for k, m in enumerate(members)]
        pool, judged = hold_out(new, streams.below("judged", turn), JUDGED)
        place = _place(pool, streams.below("place", turn))
        for step, answers in enumerate(DOSES):
            enough = pool.counts >= answers
            part = judged.take(enough[judged.rater])
            if not len(part) or (answers and not bool(enough.any())):
                continue
            told = pool.take(place < answers)
            share = torch.stack([b.predict(part, b.adapt(told)) for b in beliefs])
            found.setdefault(step, []).append(_Told.of(share, part))
    # Who has said nothing is served as everybody is, by the first member, unless the answers insist.
    alike = 0.25 * even + 0.75 * torch.eye(len(members)).double()[0]
    silent = stack(found[0], alike, CAUTION) if found else alike
    if found and not _insist(found[0], silent):
        silent = 0.01 * alike + 0.99 * torch.eye(len(members)).double()[0]
    rows = [silent]
    for step in sorted(found)[1:]:
        rows.append(stack(found[step], even if step == 1 else rows[-1], DOUBT))
    return torch.stack(rows)


@dataclass(frozen=True)
class _Told:
    """What each member said of what was then answered: share (K, A) of each answer given, mass (A,), one a rater."""

    share: Float[Tensor, "K A"]
    mass: Float[Tensor, " A"]

    @staticmethod
    def of(share: Float[Tensor, "K M J"], data: Comparisons) -> "_Told":
        label = data.label.double() * data.decided[:, None]
        total = torch.zeros(data.raters).double().index_add_(0, data.rater, label.sum(1))
        mass = label / total.clamp_min(1e-12)[data.rater, None]
        given = mass > 0
        return _Told(share.double()[:, given].clamp_min(1e-12), mass[given])


def stack(told: Sequence[_Told], start: Float[Tensor, " K"], doubt: float) -> Float[Tensor, " K"]:
    """The weights under which what was answered is most likely, drawn to `start` by `doubt` raters' worth of it.

    A concave problem in the weights; solved in their logarithms.
    """
    share, mass = torch.cat([t.share for t in told], 1), torch.cat([t.mass for t in told])
    log = start.log().clone().requires_grad_()
    optimiser = torch.optim.LBFGS([log], max_iter=200, tolerance_change=1e-10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        weight = torch.log_softmax(log, 0)
        total = (weight.exp() @ share).log() @ mass + doubt * (start @ weight)
        value = -total / (mass.sum() + doubt)
        value.backward()
        return value

    optimiser.step(loss)
    return torch.softmax(log.detach(), 0)


def _insist(told: Sequence[_Told], weight: Float[Tensor, " K"]) -> bool:
    """Whether answers are likelier under the weights than under the first member alone, by two standard errors."""
    share, mass = torch.cat([t.share for t in told], 1), torch.cat([t.mass for t in told])
    gain = (weight @ share).log() - share[0].log()
    mean = float(gain @ mass / mass.sum())
    error = float((mass * (gain - mean)).square().sum().sqrt() / mass.sum())
    return mean > SURE * error


def _known(
    beliefs: Sequence[Belief], kept: Comparisons, out: Comparisons, strangers: Float[Tensor, "D K"]
) -> Float[Tensor, "E K"]:
    """Weights by dose of raters who were met, from answers of theirs that were held out."""
    if not bool(out.decided.any()):
        return strangers
    assert kept.rater_ids is not None
    assert out.rater_ids is not None
    met = dict(zip(kept.rater_ids, kept.counts.tolist()))
    level = dose(torch.tensor([met.get(name, 0) for name in out.rater_ids]))[out.rater]
    share = torch.stack([b.predict(out) for b in beliefs])
    rows: list[Tensor] = []
    for step in range(int(dose(kept.counts).max()) + 1):
        mine = level == step
        start = strangers[step] if step < len(strangers) else rows[-1]
        rows.append(stack([_Told.of(share[:, mine], out.take(mine))], start, DOUBT))
    return torch.stack(rows)


def _place(data: Comparisons, streams: Streams) -> Int[Tensor, " M"]:
    """(M,) the place of each answer among its rater's, by lot."""
    order = torch.argsort(data.rater + torch.rand(len(data), generator=streams("place"), dtype=torch.float64))
    first = (data.counts.cumsum(0) - data.counts)[data.rater[order]]
    place = torch.empty(len(data), dtype=torch.long)
    place[order] = torch.arange(len(data)) - first
    return place
