"""In context: attention over a rater's answers says the rater's taste; learnt from simulated raters and across real ones."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.choice import ChoiceRule, Luce
from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.population.adam import Adam, filled, leaves
from pluralign.population.amortised import Encoder, blocks, spread_out
from pluralign.population.batches import Batch, Batches, watchable
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.held_out import log_loss
from pluralign.population.pooled import need_answers
from pluralign.population.prior import normal_grid
from pluralign.population.variational import Learnt, Variational
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear, TasteMLP, Utility

ROUNDS = 3  # Newton steps of the first guess
EVERY = 25  # steps between two looks at held-out answers


@dataclass(frozen=True)
class Reader:
    """S draws of a taste from a rater's answers: an encoder's normal guess, moved and weighed by attention.

    S seeds look at the answers (keys and values; an answer of weight w counts as w of them, next to one blank),
    and say by how much their draw should move and what it should weigh. What they say of no answers is taken
    off, so that without answers the draws are those of N(0, 1). Answers have no order and options no place.

    Attributes:
        layers: (weight, bias) of key, value, seed update and head. seeds: (S, H). noise: (S, Z), the grid.
        newton: the first guess.
        mean, covariance: of tastes before any answer; the first number of a taste is one.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    seeds: Float[Tensor, "S H"]
    noise: Float[Tensor, "S Z"]
    newton: Encoder
    mean: Float[Tensor, " Z1"]
    covariance: Float[Tensor, "Z1 Z1"]

    @staticmethod
    def start(width: int, draws: int, hidden: int, *, generator: torch.Generator) -> "Reader":
        """A reader that trusts the encoder's guess, and an encoder that is Newton's method."""

        def normal(fan: int, out: int) -> tuple[Tensor, Tensor]:
            weight = torch.randn(fan, out, generator=generator, dtype=torch.float64) / fan**0.5
            return weight, torch.zeros(out, dtype=torch.float64)

        token = 2 * (1 + width)
        weight, bias = normal(hidden, 1 + width)
        update = normal(2 * hidden + 2 * width + 1, hidden)
        layers = (normal(token, hidden), normal(token, hidden), update, (0 * weight, bias))
        seeds = torch.randn(draws, hidden, generator=generator, dtype=torch.float64)
        mean = torch.zeros(1 + width, dtype=torch.float64)
        mean[0] = 1.0
        newton = Encoder.start(ROUNDS, generator=generator)
        return Reader(layers, seeds, normal_grid(draws, width), newton, mean, torch.diag(1 - mean))

    @property
    def moving(self) -> tuple:
        """A tree of the tensors that training moves."""
        return self.layers, self.seeds, self.newton.gates

    def put(self, tree: tuple) -> "Reader":
        """The same with other tensors, in the form of `moving`."""
        return replace(self, layers=tree[0], seeds=tree[1], newton=Encoder(tree[2]))

    def __call__(
        self,
        rows: Float[Tensor, "M K Z1"],
        label: Float[Tensor, "M K"],
        hole: Tensor,
        weight: Float[Tensor, " M"],
        rater: Int[Tensor, " M"],
        raters: int,
    ) -> tuple[Float[Tensor, "S R Z1"], Float[Tensor, "S R"]]:
        """Tastes, with their leading one, and log weights."""
        mean, precision = self.newton(rows, label, hole, weight, rater, raters)
        z = spread_out(mean, precision, self.noise[:, None].expand(-1, raters, -1))
        (key_weight, key_bias), (value_weight, value_bias) = self.layers[:2]
        token = tokens(rows, label, hole)
        key = token @ key_weight + key_bias
        value = torch.tanh(token @ value_weight + value_bias)
        score = (self.seeds @ key.T / key.shape[1] ** 0.5).clamp(-8, 8).exp() * weight  # (S, M)
        mass = 1 + torch.zeros(len(z), raters, dtype=z.dtype).index_add(1, rater, score)
        total = torch.zeros(len(z), raters, value.shape[1], dtype=z.dtype)
        total = total.index_add(1, rater, score[..., None] * value)
        some = self._said(total / mass[..., None], z, mean.expand(len(z), -1, -1), mass.log()[..., None])
        nothing = torch.zeros_like(total[:, :1])
        grid = self.noise[:, None]
        change = some - self._said(nothing, grid, torch.zeros_like(grid), nothing[..., :1])
        asked = torch.zeros(raters, dtype=z.dtype).index_add(0, rater, weight) > 0
        change = change * asked[:, None].to(z)
        z = z + change[..., 1:]
        return torch.cat([torch.ones_like(z[..., :1]), z], -1), torch.log_softmax(change[..., 0], 0)

    def _said(self, heard: Tensor, z: Tensor, mean: Tensor, mass: Tensor) -> Float[Tensor, "S R Z1"]:
        (weight, bias), (last, end) = self.layers[2:]
        seeds = self.seeds[:, None].expand(-1, heard.shape[1], -1)
        known = torch.cat([heard, seeds, z, mean, mass], -1)
        return torch.nn.functional.silu(known @ weight + bias) @ last + end

    def sample(self, count: int, *, generator: torch.Generator) -> Float[Tensor, "count Z1"]:
        """Tastes of `count` new raters."""
        noise = torch.randn(count, len(self.mean), generator=generator, dtype=self.mean.dtype)
        return self.mean + noise * torch.diagonal(self.covariance).sqrt()

    def posterior(self, data: Comparisons, basis: Float[Tensor, "N Z1"], rule: ChoiceRule) -> Draws:
        """Draws for each rater, in blocks that bound the memory; the rule is in the training."""
        del rule
        order = torch.argsort(data.rater, stable=True)
        z = torch.empty(len(self.noise), data.raters, basis.shape[1], dtype=basis.dtype)
        log = torch.empty(z.shape[:2], dtype=basis.dtype)
        block = max(1, (1 << 22) // (self.seeds.numel() + basis.shape[1] ** 2))
        for (first, last), who in blocks(data.counts, block):
            rows = order[first:last]
            slate = data.slate[rows]
            weight = basis.new_ones(len(rows)) if data.weight is None else data.weight[rows].to(basis)
            hole = slate == ABSENT
            shown = basis[slate.clamp_min(0)].masked_fill(hole[..., None], 0.0)
            label, local = data.label[rows].to(basis), data.rater[rows] - who.start
            z[:, who], log[:, who] = self(shown, label, hole, weight, local, who.stop - who.start)
        return Draws(z, log.exp())


def tokens(rows: Float[Tensor, "M K Z1"], label: Float[Tensor, "M K"], hole: Tensor) -> Float[Tensor, "M Z2"]:
    """What attention sees of an answer: which way it points and how far apart the options are.

    Lengths of worth gaps grow without bound with sure raters; squashed, they keep attention calm.
    """
    shown = (~hole).to(rows)
    count = shown.sum(1, keepdim=True)
    gap = (rows - (rows * shown[..., None]).sum(1, keepdim=True) / count[..., None]) * shown[..., None]
    signed = (label[..., None] * gap).sum(1)
    return torch.cat([torch.tanh(signed / 2), gap.square().sum(1).log1p()], 1)


@dataclass(frozen=True)
class InContext:
    """A reader learnt across raters: some answers in, chances of the others out; no inference at prediction.

    Options are described by the basis that `Variational` learns. As a prior-fitted network the reader is first taught
    on simulated raters: normal tastes over that basis, asked the very questions of the data. Then real raters'
    answers teach it, until held-out answers are predicted worse.

    Attributes:
        utility, rule, width, components, temper: as in Variational; the utility must be a basis.
        simulated: steps on simulated raters; 0 for none. steps: on real ones, at most.
        draws: S, seeds of the attention and tastes per rater. hidden: its width.
        rate, batch: of Adam; batch in answers.

    Source: Zhao et al., GPO, ICLR 2024; Mueller et al., Transformers can do Bayesian inference, ICLR 2022.
    """

    utility: Utility = field(default_factory=Linear)
    rule: ChoiceRule = field(default_factory=Luce)
    width: int = 8
    components: int | str = "auto"
    temper: float | str = "auto"
    simulated: int = 100
    steps: int = 75
    draws: int = 64
    hidden: int = 32
    rate: float = 3e-3
    batch: int = 1024

    def __post_init__(self) -> None:
        for name in ("width", "draws", "hidden", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if isinstance(self.utility, TasteMLP):
            raise ValueError(
                "`utility` must be a basis (Linear or MLP), got TasteMLP; in_context gives tastes that worths are "
                "linear in, use Variational for networks of the taste."
            )

    def fit(self, data: Comparisons, seed: Seed = 0, *, held: Comparisons | None = None) -> Belief:
        """Fit to M answers; the belief has `draws` weighted tastes per rater."""
        need_answers(data)
        streams = Streams.of(seed)
        base = Variational(
            self.utility,
            self.rule,
            width=self.width,
            components=self.components,
            temper=self.temper,
            prior="normal",
        )
        if "auto" not in (self.temper, self.components):
            base = replace(base, steps=self.steps)
        found = base.learnt(data, streams.below("basis"), held)
        if found.model is None or found.temper == 0:
            return replace(found.pooled(data), settings=self)
        worth = found.model.scaled(math.sqrt(found.temper)).final
        reader, notes = self._taught(worth, found, streams)
        belief = self._belief(data, worth, reader)
        notes |= {**found.notes, "temper": found.temper, "shrinkage": belief.shrinkage}
        return replace(belief, diagnostics=notes)

    def _taught(self, worth: Any, found: Learnt, streams: Streams) -> tuple[Reader, dict[str, Any]]:
        """First simulated raters, then real ones; what predicts held-out answers best is kept."""
        data = found.kept
        basis = worth.basis(data.options)
        reader = Reader.start(worth.width - 1, self.draws, self.hidden, generator=streams("reader"))
        flat = [t.clone().requires_grad_() for t in leaves(reader.moving)]
        adam, batches = Adam(flat), Batches.of(data, self.batch, streams("order"))
        draw, answer = streams("context"), streams("simulated answers")
        known, judge = watchable(data, found.judge, streams) if found.judge is not None else (data, None)
        best, kept = math.inf, (0, [t.detach().clone() for t in flat])
        total = self.simulated + self.steps
        for step in range(total + 1):
            now = reader.put(filled(reader.moving, flat))
            if judge is not None and (step % EVERY == 0 or step == total) and step >= self.simulated:
                still = reader.put(filled(reader.moving, [t.detach() for t in flat]))
                loss = log_loss(self._belief(known, worth, still), judge)
                score = float(loss[torch.isfinite(loss)].mean())
                if score < best:
                    best, kept = score, (step, [t.detach().clone() for t in flat])
            if step == total:
                break
            part = batches.next()
            if step < self.simulated:
                part = self._simulated(part, basis, answer)
            loss = -self.predictive(now, part, basis, draw)
            rate = self.rate * (1 + math.cos(math.pi * step / total)) / 2
            adam.step(torch.autograd.grad(loss, flat), rate)
        if judge is None:
            kept = (total, [t.detach() for t in flat])
        taught = reader.put(filled(reader.moving, kept[1]))
        return taught, {"steps": max(0, kept[0] - self.simulated), "simulated": self.simulated}

    def _simulated(self, part: Batch, basis: Float[Tensor, "N Z1"], answer: torch.Generator) -> Batch:
        """The same questions, answered by raters with normal tastes."""
        z = torch.randn(part.raters, basis.shape[1], generator=answer, dtype=basis.dtype)
        z[:, 0] = 1.0
        slate, place = part.slate.sort(1)  # so that the place of an option does not matter
        eta = (basis[slate.clamp_min(0)] * z[part.rater][:, None]).sum(-1)
        share = self.rule.share(eta.masked_fill(slate == ABSENT, -torch.inf))
        pick = (share.cumsum(1) < part.lots(answer)[:, None] * share.sum(1, keepdim=True)).sum(1)
        label = torch.zeros_like(share).scatter(
            1, place.gather(1, pick.clamp_max(slate.shape[1] - 1)[:, None]), 1.0
        )
        return replace(part, label=label)

    def predictive(
        self, reader: Reader, part: Batch, basis: Float[Tensor, "N Z1"], draw: torch.Generator
    ) -> Float[Tensor, ""]:
        """Mean log chance of each answer, given a random part of the rater's other answers."""
        share = torch.rand(part.raters, generator=draw, dtype=torch.float64)
        known = (part.lots(draw) < share[part.rater]).to(basis)
        hole = part.slate == ABSENT
        rows = basis[part.slate.clamp_min(0)].masked_fill(hole[..., None], 0.0)
        label = part.label.to(basis)
        z, log = reader(rows, label, hole, part.weight * known, part.rater, part.raters)
        eta = torch.einsum("smz,mkz->smk", z[:, part.rater], rows).masked_fill(hole, -torch.inf)
        chance = self.rule.log_prob(eta, label.expand(eta.shape)) + log[:, part.rater]
        weight = part.weight * (1 - known)
        return (torch.logsumexp(chance, 0) * weight).sum() / weight.sum().clamp_min(1e-12)

    def _belief(self, data: Comparisons, worth: Any, reader: Reader) -> Belief:
        assert data.rater_ids is not None
        draws = reader.posterior(data, worth.basis(data.options), self.rule)
        return Belief(worth, self.rule, reader, draws, data.rater_ids, self)
