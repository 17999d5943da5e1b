"""Variational preference learning: an encoder reads answers, a decoder pays tastes, both learn from one bound."""

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Items, Options, Segments
from pluralign.population.adam import Adam, filled, leaves
from pluralign.population.amortised import Amortised, Encoder, divergence, encoded, spread_out
from pluralign.population.anchored import anchored
from pluralign.population.batches import Batch, Batches, hold_out_questions, stopped_early, watchable
from pluralign.population.belief import Belief
from pluralign.population.cloud import clouded
from pluralign.population.held_out import choose, log_loss, some
from pluralign.population.pooled import Pooled, need_answers
from pluralign.population.prior import Gaussian
from pluralign.population.rows import Rows
from pluralign.population.wide import is_wide
from pluralign.streams import Seed, Streams
from pluralign.utility import MLP, Linear, TasteMLP, Utility
from pluralign.utility.linear import LinearWorth
from pluralign.utility.scores import Nonlinear

TEMPERS = (0.0, 1.0, 0.6, 0.3)
LOUDER = (1.0, 2.0, 4.0)  # of learnt priors, as factors on tastes
CAUTIOUS = 1.0  # standard errors by which a spread, or a wilder shape, must beat what is simpler
CLOUD, ROUNDS = 1024, 60  # tastes of a learnt prior, and rounds of EM for their shares
FEW = 32  # principal components
ACTIVE = 0.01  # variance of the posterior means over raters from which a latent unit counts as used
AT_ONCE = 1 << 26  # numbers of features held; where there are more, the start is taken as it is
ENOUGH = 40_000  # answers to begin from, where they come before training; of more, training itself learns
POOLED = "held-out answers show no differences between raters beyond noise: this is the pooled model"
COLLAPSED = "the latent has collapsed onto the pooled answer: the posterior of every rater is the prior"


@dataclass(frozen=True)
class Variational:
    """z_r ~ N(0, 1), answers by the rule given u(x, z_r); q(z | answers) from an encoder, any number of answers.

    For every rater, all of the answers or a random part of them (as if the rater had stopped early) are explained
    by tastes that the encoder reads from the same answers,

        E_q[ log p(answers | z) ] - KL( q(z | answers) || N(0, 1) )  <=  log p(answers),

    so the encoder learns to read few answers and many. Predictions come from draws of q, moved by Newton steps
    where worth is linear in z, and weighted by the exact posterior.

    Attributes:
        utility: Linear or MLP: a basis, worth = common(x) + z . directions(x). TasteMLP: any function of (x, z).
        rule: how worths become answers.
        width: Z at most; directions that answers do not ask for shrink to nothing.
        components: of wide linear features, read only this many principal ones; 0 reads all; "auto" tries 32 and
            all on held-out answers.
        temper: factor on the spread of tastes; 0 is the pooled model; "auto" chooses by held-out likelihood.
        prior: "normal"; "learnt", a cloud of tastes of any shape (see `cloud`), or "auto", by held-out likelihood. For
            worths linear in the taste.
        steps: of Adam; "auto" stops early by held-out likelihood.
        rounds: times the encoder goes over the answers.
        kl: weight of the divergence, 1 is the bound. warmup: steps over which the weight rises from 0.
        free: nats per rater that cost nothing.
        ridge: 1 / variance of the weights of the decoder. rate, batch: of Adam; batch in answers.
        samples: draws of z per rater and step. informed: begin at the Laplace-EM solution, not at random.
        draws: tastes that describe a rater.
        weighted: correct the encoder by the exact likelihood also where the worth is a network of the taste.

    Source: Poddar et al., VPL, NeurIPS 2024; Kingma and Welling (2014) for the bound.
    """

    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    width: int = 8
    components: int | str = "auto"
    temper: float | str = "auto"
    prior: str = "auto"
    steps: int | str = "auto"
    rounds: int = 2
    kl: float = 1.0
    warmup: int = 20
    free: float = 0.0
    ridge: float = 1.0
    rate: float = 1e-2
    batch: int = 4096
    samples: int = 4
    informed: bool = True
    draws: int = 64
    weighted: bool = True

    def __post_init__(self) -> None:
        for name in ("width", "rounds", "samples", "draws", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.prior not in ("normal", "learnt", "auto"):
            raise ValueError(f'`prior` must be "normal", "learnt" or "auto", got {self.prior!r}.')
        for name in ("kl", "free", "ridge"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be a finite number of 0 or more, got {getattr(self, name)}.")

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; the belief has `draws` weighted tastes per rater."""
        need_answers(data)
        streams = Streams.of(seed)
        found = self.learnt(data, streams, held)
        return replace(found.settings._tempered(data, found, streams), settings=self)

    def learnt(self, data: Comparisons, streams: Streams, held: Comparisons | None = None) -> "Learnt":
        """The parameters, with what "auto" settled on; for `fit`, and for populations that read answers otherwise."""
        if "auto" not in (self.temper, self.steps, self.components, self.prior):
            cloud = 1.0 if self.prior == "learnt" else 0.0
            return Learnt(self, self._trained(data, streams), float(self.temper), data, None, cloud)
        kept, judge = (data, held) if held is not None else hold_out_questions(data, streams.below("held"))
        if not len(judge) or not bool(judge.decided.any()):
            # Nothing to judge by: no claim that raters differ.
            blind = replace(self, components=0 if self.components == "auto" else self.components)
            temper = 0.0 if self.temper == "auto" else float(self.temper)
            return Learnt(blind, blind._trained(data, streams) if temper else None, temper, data, None)
        settled = self._narrowed(kept, streams, judge)
        model = settled._trained(kept, streams, judge)
        found = Learnt(settled, model, 1.0, kept, judge)
        fits = {
            (t, c): partial(_candidate, replace(found, temper=t, cloud=c), streams) for t, c in self._shapes()
        }
        # A network's pooled model and worths cost more than the choice needs: some raters will do.
        part, told = (kept, judge) if isinstance(self.utility, Linear) else watchable(kept, judge, streams)
        (temper, cloud), choice = choose(fits, part, streams, told, cautious=CAUTIOUS)
        if kept is not data and len(data) <= ENOUGH and temper > 0 and isinstance(self.utility, Linear):
            again = replace(settled, steps=model.steps)._trained(data, streams)
            model = replace(again, curve=model.curve)
        notes = {"components": settled.components, "choice_table": choice.table}
        return replace(found, model=model, temper=temper, cloud=cloud, notes=notes)

    def _shapes(self) -> list[tuple[float, float]]:
        """What the spread of tastes may be: temper of a normal, and how loud a cloud is, 0 for none."""
        tempers = TEMPERS if self.temper == "auto" else (float(self.temper),)
        if isinstance(self.utility, TasteMLP):
            return [(t, 0.0) for t in tempers if t in (0.0, 1.0)]
        normal = [(t, 0.0) for t in tempers if self.prior != "learnt" or t == 0]
        return normal + [(1.0, c) for c in LOUDER if self.prior != "normal" and self.temper in ("auto", 1.0)]

    def _narrowed(self, kept: Comparisons, streams: Streams, judge: Comparisons) -> "Variational":
        """Where features are wide: their first principal components, if these predict held-out answers better."""
        if self.components != "auto":
            return self
        if not isinstance(self.utility, Linear):
            return replace(self, components=0)
        worth = self.utility.start(kept, width=None, generator=streams("start"))
        if not is_wide(worth) or worth.nameless:
            return replace(self, components=0)
        tries = {c: replace(self, components=c, steps=0, temper=1.0, prior="normal").fit for c in (FEW, 0)}
        best, _ = choose(tries, kept, streams, judge)
        return replace(self, components=best)

    def _linear(self) -> Linear:
        assert isinstance(self.utility, Linear)
        return replace(self.utility, components=int(self.components)) if self.components else self.utility

    # Training -------------------------------------------------------------------------------------------------------

    def _start(self, data: Comparisons, streams: Streams) -> "Model":
        """Decoder, encoder and what it reads by, before training."""
        encoder = Encoder.start(self.rounds, generator=streams("encoder"))
        if isinstance(self.utility, TasteMLP):
            decoder = self.utility.start(data, width=self.width, generator=streams("decoder"))
            own = MLP(self.utility.hidden[:2], self.utility.discount)
            reader = own.start(data, width=1 + self.width, generator=streams("reader"))
            return Model(decoder, reader, encoder)
        if not isinstance(self.utility, Linear):
            worth = self.utility.start(data, width=1 + self.width, generator=streams("decoder"))
            return Model(worth, None, encoder)
        if self.informed:
            full, sides = anchored(
                self._linear(),
                self.rule,
                some(data, streams, ENOUGH),
                streams,
                width=self.width,
                ridge=max(self.ridge, 1e-3),
            )
        else:
            full = self._linear().start(data, width=None, generator=streams("start"))
            noise = torch.randn(full.width, 1 + self.width, generator=streams("directions")).double()
            sides = noise * 0.1 / max(full.width, 1) ** 0.5
        return Model(full, None, encoder, sides)

    def _trained(self, data: Comparisons, streams: Streams, judge: Comparisons | None = None) -> "Model":
        """Adam on the bound; where `steps` is "auto", until the answers of `judge` are predicted worse."""
        start = self._start(data, streams)
        network = start.sides is None
        most, patience, every = (600, 6, 100) if network else (600, 3, 50)
        limit = most if self.steps == "auto" else int(self.steps)
        if start.sides is not None and len(data.options) * start.worth.width > AT_ONCE:
            limit = 0
        if not limit:
            return start
        watched = self.steps == "auto" and judge is not None
        known = data
        if watched:
            assert judge is not None
            known, judge = watchable(data, judge, streams)
        light, store = start.light(data)
        if network:
            light = light.cast(torch.float32)
        flat = [t.clone().requires_grad_() for t in leaves(light.moving)]
        adam, weights = Adam(flat), None
        total = float(len(data) if data.weight is None else data.weight.sum())
        batches, draw = Batches.of(data, self.batch, streams("order")), streams("noise")
        best, since, kept = math.inf, 0, (0, [t.detach().clone() for t in flat])
        curve: list[tuple[int, float]] = []
        for step in range(limit + 1):
            if watched and judge is not None and (step % every == 0 or step == limit):
                now = start.trained(light.put(filled(light.moving, [t.detach() for t in flat])))
                score = self._held_loss(known, judge, now)
                curve.append((step, score))
                if score < best - 1e-4:
                    best, since, kept = score, 0, (step, [t.detach().clone() for t in flat])
                else:
                    since += 1
                    if since >= patience:
                        break
            if step == limit:
                break
            part = stopped_early(batches.next(), draw)
            weight = self.kl * min(1.0, (step + 1) / max(1, self.warmup))
            bound = self.bound(light.put(filled(light.moving, flat)), store, part, draw, weight)
            decay = torch.stack([t.square().sum() for t in flat]).sum()
            loss = -bound.sum() / part.weight.sum().clamp_min(1.0) + self.ridge / 2 * decay / total
            rate = self.rate * (1 + math.cos(math.pi * step / limit)) / 2
            adam.step(torch.autograd.grad(loss, flat), rate)
        at, weights = kept if watched else (limit, [t.detach() for t in flat])
        return replace(start.trained(light.put(filled(light.moving, weights))), steps=at, curve=tuple(curve))

    def _held_loss(self, known: Comparisons, judge: Comparisons, model: "Model") -> float:
        quick = replace(self, draws=min(16, self.draws))
        loss = log_loss(quick._belief(known, model), judge)
        return float(loss[torch.isfinite(loss)].mean())

    def bound(
        self, model: "Model", store: Options, part: "Batch", draw: torch.Generator, kl: float
    ) -> Float[Tensor, " R"]:
        """The bound per rater of a batch, in nats."""
        hole = part.slate == ABSENT
        x, slate = model.scored(store, part.slate.clamp_min(0))
        rows = x[slate].masked_fill(hole[..., None], 0.0)
        label, weight = part.label.to(rows), part.weight.to(rows)
        mean, precision = model.encoder(rows, label, hole, weight, part.rater, part.raters)
        half = (self.samples + 1) // 2
        noise = torch.randn(half, part.raters, mean.shape[1], generator=draw, dtype=torch.float64)
        z = spread_out(mean, precision, torch.cat([noise, -noise])[: self.samples].to(mean))
        eta = model.worths(store, part, rows, z).masked_fill(hole, -torch.inf)
        value = self.rule.log_prob(eta, label.expand(eta.shape)).mean(0) * weight
        fit = torch.zeros(part.raters, dtype=value.dtype).index_add(0, part.rater, value)
        still = torch.eye(mean.shape[1], dtype=mean.dtype)
        nats = divergence(mean, precision, torch.zeros_like(mean), still)
        return fit - kl * (nats - self.free).clamp_min(0.0)

    # Belief ---------------------------------------------------------------------------------------------------------

    def _tempered(self, data: Comparisons, found: "Learnt", streams: Streams) -> Belief:
        """The belief with tastes drawn in, or of a cloud; without any spread, the pooled model."""
        if found.model is None or found.temper == 0:
            return found.pooled(data)
        model = found.model.scaled(math.sqrt(found.temper))
        belief = self._belief(data, model)
        units, nats = activity(belief, data)
        notes: dict[str, Any] = {
            **found.notes,
            "temper": found.temper,
            "steps": model.steps,
            "curve": model.curve,
        }
        notes |= {"active_units": int(units.sum()), "units": len(units), "kl": nats}
        notes |= {"shrinkage": belief.shrinkage, "effective_draws": float(belief.draws.effective.mean())}
        if not bool(units.any()):
            notes["verdict"] = COLLAPSED
        if found.cloud:
            belief = self._clouded(data, belief, found.cloud, streams)
            notes |= {"louder": found.cloud, "cloud": len(belief.draws.z), "shrinkage": belief.shrinkage}
        return replace(belief, diagnostics=notes)

    def _clouded(self, data: Comparisons, belief: Belief, louder: float, streams: Streams) -> Belief:
        """The same with a prior of any shape."""
        basis = belief.worth.basis(data.options)
        few = some(data, streams, ENOUGH)
        prior = clouded(
            belief.draws,
            Rows.of(few, basis, self.rule),
            count=CLOUD,
            rounds=ROUNDS,
            louder=louder,
            generator=streams("cloud"),
        )
        return replace(belief, prior=prior, draws=prior.posterior(data, basis, self.rule))

    def _belief(self, data: Comparisons, model: "Model") -> Belief:
        worth = model.final
        linear = not isinstance(worth, Nonlinear)
        mean, spread = torch.zeros(worth.width).double(), torch.ones(worth.width).double()
        if linear:
            mean[0], spread[0] = 1.0, 0.0
        prior = Amortised(
            Gaussian(mean, torch.diag(spread), self.draws), model.encoder, model.reader, self.weighted
        )
        give = prior.posterior(data, worth.basis(data.options), self.rule) if linear else None
        draws = prior.read(data, worth, self.rule) if give is None else give
        assert data.rater_ids is not None
        return Belief(worth, self.rule, prior, draws, data.rater_ids, self)


@dataclass(frozen=True)
class Learnt:
    """What training found, on the answers `kept`, judged by those of `judge`; `model` is None where nothing was."""

    settings: Variational
    model: "Model | None"
    temper: float
    kept: Comparisons
    judge: Comparisons | None
    cloud: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)

    def pooled(self, data: Comparisons) -> Belief:
        """The model without differences between raters."""
        settings = self.settings
        utility: Utility = settings.utility
        if isinstance(utility, TasteMLP):
            utility = MLP(utility.hidden, utility.discount)
        ridge: float | str = "auto" if self.judge is not None else max(settings.ridge, 0.1)
        belief = Pooled(utility, settings.rule, ridge).fit(data, held=self.judge)
        notes = {**self.notes, "temper": 0.0, "active_units": 0, "verdict": POOLED}
        return replace(belief, settings=settings, diagnostics=notes)


def _candidate(found: Learnt, streams: Streams, data: Comparisons) -> Belief:
    return found.settings._tempered(data, found, streams)


def activity(belief: Belief, data: Comparisons) -> tuple[Tensor, float]:
    """(Z,) which latent units the raters' posterior means differ in by a variance above .01, and the mean KL in nats.

    Source: Burda et al., Importance Weighted Autoencoders, ICLR 2016, for active units.
    """
    prior = belief.prior
    assert isinstance(prior, Amortised)
    basis = belief.worth.basis(data.options) if prior.reader is None else prior.reader.basis(data.options)
    present = data.counts > 0
    mean, precision = encoded(prior.encoder, basis, data)
    eye = torch.eye(mean.shape[1]).to(mean)
    nats = divergence(mean[present], precision[present], torch.zeros_like(mean[present]), eye)
    own = belief.draws.mean[present]
    own = own if prior.reader is not None else own[:, 1:]
    return own.var(0, correction=0) > ACTIVE, float(nats.mean())


@dataclass(frozen=True)
class Model:
    """What is trained: a decoder, an encoder, and what the encoder reads options by.

    Attributes:
        worth: the decoder; with `sides`, the basis of which those are combinations.
        reader: a basis of its own where the decoder has none.
        sides: (W, 1 + Z), for linear worths.
        steps: taken. curve: (step, held-out loss). size: while training, of the features, which is taken off.
    """

    worth: Any
    reader: Any
    encoder: Encoder
    sides: Tensor | None = None
    steps: int = 0
    curve: tuple[tuple[int, float], ...] = ()
    size: float = 1.0

    @property
    def final(self) -> Any:
        """The worth of a belief."""
        return self.worth if self.sides is None else self.worth.onto(self.sides)

    def scaled(self, factor: float) -> "Model":
        """The same with tastes `factor` times as far apart; networks of the taste as they are."""
        if factor == 1 or isinstance(self.worth, Nonlinear):
            return self
        if self.sides is not None:
            return replace(self, sides=torch.cat([self.sides[:, :1], self.sides[:, 1:] * factor], 1))
        weight, bias = self.worth.layers[-1]
        size = torch.full_like(bias, factor)
        size[0] = 1.0
        last = (weight * size, bias * size)
        return replace(self, worth=replace(self.worth, layers=(*self.worth.layers[:-1], last)))

    # While training: options stand with their standardised features, and tensors are put in the place of others.

    @property
    def moving(self) -> tuple:
        """A tree of the tensors that training moves."""
        decoder = (
            (self.sides,) if self.sides is not None else (self.worth.layers, getattr(self.worth, "told", ()))
        )
        return decoder, () if self.reader is None else self.reader.layers, self.encoder.gates

    def put(self, tree: tuple) -> "Model":
        """The same with other tensors, in the form of `moving`."""
        decoder, layers, gates = tree
        encoder = Encoder(gates)
        if self.sides is not None:
            return replace(self, sides=decoder[0], encoder=encoder)
        told = {"told": decoder[1]} if decoder[1] else {}
        reader = None if self.reader is None else replace(self.reader, layers=layers)
        return replace(
            self, worth=replace(self.worth, layers=decoder[0], **told), reader=reader, encoder=encoder
        )

    def cast(self, kind: torch.dtype) -> "Model":
        """The same in numbers of another kind."""
        tree = self.moving
        return self.put(filled(tree, [t.to(kind) for t in leaves(tree)]))

    def light(self, data: Comparisons) -> tuple["Model", Options]:
        """The same over features that are computed once, and these as options; segments stay as they are."""
        options = data.options
        if self.sides is not None:
            x = self.worth.basis(options)
            size = float(x.var(0, correction=0).mean().sqrt()) if x.numel() else 1.0
            size = size if size > 0 else 1.0  # steps and ridge are for columns of variance one
            return replace(self, sides=self.sides * size, size=size), Items(x / size)
        if isinstance(options, Segments):
            return self, options
        x = self.worth.inner.steps(options.rows)
        thin = LinearWorth(torch.zeros(x.shape[1]).double(), torch.ones(x.shape[1]).double(), None, None, 1.0)
        reader = None if self.reader is None else replace(self.reader, inner=thin)
        return replace(self, worth=replace(self.worth, inner=thin), reader=reader), Items(x)

    def trained(self, light: "Model") -> "Model":
        """What `light` learnt, over the options as they are."""
        wide = light.cast(torch.float64)
        if self.sides is not None:
            assert wide.sides is not None
            return replace(wide, worth=self.worth, sides=wide.sides / light.size, size=1.0)
        reader = None if self.reader is None else replace(wide.reader, inner=self.reader.inner)
        return replace(wide, worth=replace(wide.worth, inner=self.worth.inner), reader=reader)

    def scored(self, store: Options, slate: Int[Tensor, "M K"]) -> tuple[Float[Tensor, "n Z1"], Tensor]:
        """What the encoder reads of options, and where each place of the slates stands in it."""
        if self.sides is not None:
            return store.rows @ self.sides, slate
        met, place = torch.unique(slate, return_inverse=True)
        return (self.worth if self.reader is None else self.reader).basis(store.take(met)), place

    def worths(
        self, store: Options, part: "Batch", rows: Float[Tensor, "M K Z1"], z: Float[Tensor, "S R Z"]
    ) -> Float[Tensor, "S M K"]:
        """Utils of what each answer shows, to its rater's draws."""
        own = z[:, part.rater]
        if not isinstance(self.worth, Nonlinear):
            return rows[..., 0] + torch.einsum("smz,mkz->smk", own, rows[..., 1:])
        shown = store.take(part.slate.clamp_min(0).flatten())
        first = self.worth.first(self.worth.features(shown))  # (M K, *t, H)
        own = own.repeat_interleave(part.slate.shape[1], 1)
        value = self.worth.score(first, own.reshape(*own.shape[:2], *[1] * (first.dim() - 2), own.shape[2]))
        return shown.pool(value.movedim(0, -1), self.worth.discount).T.reshape(len(z), *part.slate.shape)


__all__ = ["Variational", "activity"]
