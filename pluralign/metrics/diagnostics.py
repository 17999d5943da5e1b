"""What a belief has learned of its raters: numbers and plain words, written once for every population."""

import dataclasses
import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.identifiability import kinds, limits, panel
from pluralign.metrics.estimate import Estimate, bootstrap
from pluralign.population import Atoms, Belief, PopulationModel
from pluralign.population.held_out import hold_out, settled, some
from pluralign.population.normals import Normals
from pluralign.streams import Seed, Streams
from pluralign.utility.scores import AtTastes

ENOUGH = 20_000  # answers by which a belief is asked; more would cost time and change no sentence
ACTIVE = (
    0.01  # Burda, Grosse and Salakhutdinov, ICLR 2016: the variance of means above which a unit is active
)
ALIKE = "These data show no differences between raters beyond noise: use pooled."
COLLAPSED = 0.05  # of the way that predictions would go if they followed a rater wholly


@dataclass(frozen=True)
class Diagnosis:
    """What a belief made of R raters.

    Attributes:
        raters: R, those with answers.
        effective_camps: into how many camps the answers sort raters, see `effective_camps`.
        shrinkage: share of the taste variance that answers could not tell from noise, in [0, 1].
        activity: (directions,) variance between raters of the expected taste, relative to that of the prior; one
            number for each direction that has at least a hundredth of the prior's variance, the widest first.
        flip: how far predictions follow when every label of a rater is turned round: 1 wholly, 0 not at all.
        gain: nats per answer that half of a rater's answers are worth for the other half, over none.
        beyond: the same less that of a fit to the same answers with raters shuffled; None where none was made.
        verdict: one sentence.
        warnings: what to be careful about, one sentence each.
        gauges: what no fit of this kind can tell, whatever the data.
    """

    raters: int
    effective_camps: float
    shrinkage: float
    activity: tuple[float, ...]
    flip: Estimate
    gain: Estimate
    beyond: Estimate | None
    verdict: str
    warnings: tuple[str, ...] = ()
    gauges: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)

    @property
    def active(self) -> int:
        """Directions of taste in which raters were told apart."""
        return sum(value > ACTIVE for value in self.activity)

    def lines(self) -> list[tuple[str, str]]:
        """What `print` shows: a name and a value each."""
        beyond = "not asked" if self.beyond is None else _measured(self.beyond, " nats per answer")
        return [
            ("raters", f"{self.raters:,}"),
            ("effective camps", f"{self.effective_camps:.2f}"),
            ("active directions", f"{self.active} of {len(self.activity)}"),
            ("shrinkage", f"{self.shrinkage:.2f}"),
            ("follows flipped labels", _measured(self.flip, " of the way")),
            ("own answers are worth", _measured(self.gain, " nats per answer")),
            ("more than shuffled", beyond),
        ]

    def __str__(self) -> str:
        rows = [f"{name:<24}{value}" for name, value in self.lines()]
        notes = [*(f"! {text}" for text in self.warnings), *(f"- {text}" for text in self.gauges)]
        return "\n".join([self.verdict, *rows, *notes])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self.lines()
        )
        notes = "".join(f"<li>{html.escape(text)}</li>" for text in (*self.warnings, *self.gauges))
        return f"<p>{html.escape(self.verdict)}</p><table>{rows}</table><ul>{notes}</ul>"


def diagnose(belief: Belief, data: Comparisons, seed: Seed = 0, *, control: bool = True) -> Diagnosis:
    """Look at what `belief` learned of the raters of `data`, the answers that it was fitted to.

    Args:
        belief: of any population.
        data: its training answers; the control says nothing about others.
        seed: of halves, shuffles and bootstraps.
        control: fit once more, with raters shuffled. Shuffled raters have no tastes, so what their answers seem to
            be worth is noise that the population took for taste; only more than that is a difference between raters.

    Raises:
        ValueError: `data` has no answers.
    """
    if not len(data):
        raise ValueError(
            "there must be answers to diagnose a belief by, got none; give the training answers."
        )
    streams = Streams.of(seed)
    spread = activity(belief, streams.number("prior"))
    flip, gain = responses(belief, data, streams)
    beyond = None
    model = settled(belief.settings, belief)
    if control and spread and isinstance(model, PopulationModel) and math.isfinite(gain.value):
        mixed = shuffled(data, streams("shuffle"))
        other = responses(model.fit(mixed, streams.number("control")), mixed, streams)[1]
        error = math.hypot(gain.standard_error, other.standard_error)
        beyond = Estimate.normal(gain.value - other.value, error, gain.n)
    active = sum(value > ACTIVE for value in spread)
    found = limits(data)
    return Diagnosis(
        raters=int((data.counts > 0).sum()),
        effective_camps=effective_camps(belief, streams.number("voices")),
        shrinkage=belief.shrinkage,
        activity=spread,
        flip=flip,
        gain=gain,
        beyond=beyond,
        verdict=_verdict(spread, active, beyond, belief.diagnostics),
        warnings=(*_warnings(belief, data, spread, flip), *found.values()),
        gauges=gauges(belief),
        limits=found,
    )


def activity(belief: Belief, seed: Seed = 0, *, samples: int = 4096) -> tuple[float, ...]:
    """Variance over raters of the expected taste along each main direction of the prior, relative to the prior's.

    The prior is known by `samples` draws, so a value is good to about two parts in a hundred. Directions with less
    than a hundredth of the prior's variance are left out; none is left where everybody has one taste.
    """
    drawn = belief.sample(samples, seed).double()
    size, side = torch.linalg.eigh(torch.cov(drawn.T).reshape(drawn.shape[1], -1))
    kept = size > 0.01 * size.clamp_min(0).sum()
    if not bool(kept.any()) or float(size[-1]) <= 1e-12 * (1 + float(drawn.square().mean())):
        return ()
    mean = belief.draws.mean.double() @ side[:, kept]
    between = mean.var(0, correction=0) if len(mean) else torch.zeros(int(kept.sum()))
    return tuple((between / size[kept]).flip(0).tolist())


def effective_camps(belief: Belief, seed: Seed = 0) -> float:
    """exp of the information, in nats, that answers give about which voice a rater speaks in.

    That is the entropy of the voices' shares less what is left of it for the average rater, each draw of a rater
    speaking in the nearest voice. G camps of one size that everybody surely belongs to give G; camps that nobody can be
    sorted into give 1, however large their shares. A continuous population has at most its four default voices.
    """
    if not belief.draws.raters:
        return 1.0
    voices = belief.voices(seed=seed)
    z, centre = belief.draws.z, voices.worth.z if isinstance(voices.worth, AtTastes) else voices.z
    every = max(1, len(z) * belief.draws.raters // 1_000_000)
    draws = belief.draws.take(torch.arange(0, belief.draws.raters, every))
    z = draws.z[:, :1] if draws.shared else draws.z
    nearest = torch.cdist(z.to(centre), centre.expand(len(z), -1, -1)).argmin(-1)
    mine = torch.nn.functional.one_hot(nearest, len(centre)).to(draws.weight)
    share = torch.einsum("srg,sr->rg", mine.expand(-1, draws.raters, -1), draws.weight)
    entropy = lambda p: torch.special.entr(p).sum(-1)
    return float((entropy(share.mean(0)) - entropy(share).mean()).clamp_min(0).exp())


def responses(belief: Belief, data: Comparisons, seed: Seed = 0) -> tuple[Estimate, Estimate]:
    """How far predictions follow flipped labels, and the nats per answer that a rater's own answers are worth.

    Half of each rater's answers are told to `adapt`, as given and with every label turned round; the other half is
    predicted. With c and c' the predicted shares less those of a coin, the response is
    sum (c - c') c / (2 sum c c): 1 where flipping the rater flips the prediction, 0 where nothing happens.

    Returns:
        both with the standard error of a bootstrap over raters; NaN where nobody gave two answers.
    """
    streams = Streams.of(seed)
    data = some(data, streams, ENOUGH)
    data = data.of_raters((data.counts > 0).nonzero()[:, 0])
    told, judged = hold_out(data, streams.below("halves"), 0.5)
    both = (told.counts > 0) & (judged.counts > 0)
    if not bool(both.any()):
        nothing = Estimate(math.nan, math.nan, 0, math.nan, math.nan)
        return nothing, nothing
    people = both.nonzero()[:, 0]
    told, judged = told.of_raters(people), judged.of_raters(people)
    shown = (judged.slate != ABSENT).to(torch.float64)
    coin = shown / shown.sum(1, keepdim=True)
    blank = judged.with_labels(coin.to(judged.label))
    share = {
        name: belief.predict(blank, belief.adapt(answers, seed=streams.number("adapt"))).double()
        for name, answers in (("own", told), ("flipped", turned(told)), ("none", told.take(torch.arange(0))))
    }
    lean, other = share["own"] - coin, share["flipped"] - coin
    total = lambda value: torch.zeros(judged.raters, dtype=torch.float64).index_add_(
        0, judged.rater, value.sum(1)
    )
    parts = torch.stack([total((lean - other) * lean), 2 * total(lean * lean)], 1)
    ratio = lambda x: x[..., 0].sum(1) / x[..., 1].sum(1).clamp_min(1e-300)
    flip = bootstrap(parts, ratio, samples=500, seed=streams.number("flip"))
    worth = loss_by_rater(share["none"], judged) - loss_by_rater(share["own"], judged)
    gain = Estimate.mean(worth) if bool(torch.isfinite(worth).any()) else flip
    return flip, gain


def loss_by_rater(share: Float[Tensor, "M K"], data: Comparisons) -> Float[Tensor, " R"]:
    """Mean log loss in nats of each rater's decided answers; NaN for raters without any."""
    loss = -(data.label.double() * share.clamp_min(1e-12).log()).sum(1)
    keep = data.decided.double()
    total = torch.zeros(data.raters, dtype=torch.float64).index_add_(0, data.rater, loss * keep)
    count = torch.zeros(data.raters, dtype=torch.float64).index_add_(0, data.rater, keep)
    return total / torch.where(count > 0, count, torch.nan)


def turned(data: Comparisons) -> Comparisons:
    """Every label turned round: what was not chosen shares the choice. For pairs, the other one wins."""
    shown = (data.slate != ABSENT).to(data.label)
    return data.with_labels((shown - data.label) / (shown.sum(1, keepdim=True) - 1))


def shuffled(data: Comparisons, generator: torch.Generator) -> Comparisons:
    """The same answers with the rater of each drawn from a hat; everybody keeps their number of answers."""
    return dataclasses.replace(data, rater=data.rater[torch.randperm(len(data), generator=generator)])


def gauges(belief: Belief) -> tuple[str, ...]:
    """What no fit of this kind can tell, whatever the data."""
    said = [
        "only differences of worth are known, and a util is a log-odds: stronger tastes and surer raters look the same, so "
        "utils of two raters cannot be compared."
    ]
    prior = belief.prior
    if isinstance(prior, Atoms) and prior.voice is not None and bool((prior.voice < 0).any()):
        said.append(
            "a taste and its opposite, with every trust turned round, fit equally well: the majority is presumed honest."
        )
    elif isinstance(prior, Normals):
        said.append("kinds of people have no names: another fit may number them otherwise.")
    elif isinstance(prior, Atoms) and len(prior.z) > 1:
        said.append(
            "camps have no names: they are numbered by size, and another fit may number them otherwise."
        )
    elif getattr(belief.worth, "matrix", None) is not None:
        said.append(
            "directions of taste are known up to a change of axes: compare worths, or the spaces they span."
        )
    return tuple(said)


def _verdict(
    spread: tuple[float, ...], active: int, beyond: Estimate | None, notes: Mapping[str, Any]
) -> str:
    if not spread:
        return _one_taste(notes)
    if beyond is None:
        return f"Raters differ in {active} of {len(spread)} directions of this belief; no control says whether that is more than noise."
    words = f"{_measured(beyond, ' nats per answer')} more than answers of shuffled raters are"
    if beyond.value > 2 * beyond.standard_error:
        return f"Raters differ beyond noise: their own answers are worth {words}."
    return f"{ALIKE} (Own answers are worth {words}.)"


def _one_taste(notes: Mapping[str, Any]) -> str:
    """Whether one taste was found, or was all that could be."""
    for key, kinds_of in (("groups_table", "camps"), ("prototypes_table", "prototypes")):
        (_, one, error), *others = notes.get(key) or [("1", math.nan, math.nan)]
        if others:
            # The table's errors are of differences to the best of all.
            name, loss, apart = min(others, key=lambda row: row[1])
            found = Estimate.normal(one - loss, apart if one <= loss else error, 0)
            return (
                f"{ALIKE} (Of up to {others[-1][0]} {kinds_of}, the best number above one, {name}, gains "
                f"{_measured(found, ' nats per held-out answer')} over one taste for all.)"
            )
    return (
        "This belief has one taste for everybody: it says nothing about differences between raters; fit camps or "
        "hierarchical to look for them."
    )


def _warnings(belief: Belief, data: Comparisons, spread: tuple[float, ...], flip: Estimate) -> list[str]:
    notes = []
    if spread and flip.value < COLLAPSED:
        notes.append(
            f"predictions hardly follow what a rater answers ({flip.value:.2f} of the way when all labels are flipped): the "
            "model has collapsed onto the pooled answer, or the answers tell too little."
        )
    each = panel(data)
    groups = 1
    if isinstance(belief.prior, Normals) or (isinstance(belief.prior, Atoms) and belief.prior.voice is None):
        groups = len(belief.prior.share)
    if each is not None and each >= 3 and groups > kinds(each):
        notes.append(
            f"{each} answers to pairs from each rater are sure to tell {kinds(each)} kinds of raters apart, this belief has "
            f"{groups}: only the form of the model tells the others."
        )
    return notes


def _measured(found: Estimate, unit: str) -> str:
    if not math.isfinite(found.value):
        return "nobody gave two answers"
    sure = math.isfinite(found.low) and math.isfinite(found.high) and found.standard_error > 0
    bounds = f" (95 % interval over raters {found.low:+z.3f} to {found.high:+z.3f})" if sure else ""
    return f"{found.value:+z.3f}{unit}{bounds}"
