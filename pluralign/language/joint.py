"""Backbone and population trained together, by turns.

1. Every different text is encoded once; the population is fitted to the hidden states as exactly as it can be.
2. Given its tastes q, the backbone follows the gradient of the expected log-likelihood of the answers,
   E_q[ log p(answer given u(x; z)) ]: by Fisher's identity that of the marginal likelihood at this point. A step takes
   all answers about some prompts, encodes each of their texts once, and gathers.

The round that predicts answers about held-out prompts best is kept: texts that were trained on are predicted better by a
backbone that has learnt them by heart, too. The first one is the backbone as it came, so that training which does not
help is not used.
"""

import copy
import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Texts
from pluralign.language.backbone import Backbone
from pluralign.language.needs import need
from pluralign.language.once import Encoded, Pieces, encode, padded_pairs, pieces_of
from pluralign.language.processes import Processes
from pluralign.language.text_belief import TextBelief
from pluralign.population.belief import Belief
from pluralign.population.held_out import hold_out, log_loss
from pluralign.streams import Seed, Streams
from pluralign.utility import Linear
from pluralign.utility.scores import slate_worths

Tune = Literal["lora", "full", "none"]
PAIRS = 8  # comparisons in a batch of the trainer that work is counted against


@dataclass(frozen=True)
class Joint:
    """Train a backbone and a population together.

    Attributes:
        tune: "lora", adapters of low rank (peft); "full", all weights; "none", the backbone as it is.
        rounds: at most so many turns of the backbone; two in a row without gain are the last.
        batch: answers per step, in whole prompts.
        rate: of AdamW. decay: of its weights.
        rank: of the adapters.
        clip: largest norm of a step's gradient.
        at_once: tokens read at a time.
    """

    tune: Tune = "lora"
    rounds: int = 4
    batch: int = 64
    rate: float = 2e-3
    decay: float = 0.0
    rank: int = 8
    clip: float = 1.0
    at_once: int = 8192

    def __post_init__(self) -> None:
        if self.tune not in ("lora", "full", "none"):
            raise ValueError(f'`tune` must be "lora", "full" or "none", got {self.tune!r}.')
        for name in ("rounds", "batch", "rank", "at_once"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")

    def fit(
        self,
        population: Any,
        backbone: Backbone,
        data: Comparisons,
        prompts: Sequence[str],
        answers: Sequence[str],
        seed: Seed = 0,
        *,
        held: Comparisons | None = None,
        progress: bool = False,
    ) -> TextBelief:
        """Fit to M answers about N texts.

        Args:
            population: settings of a population; a linear utility is without a worth of its own for each text, which
                would leave the backbone nothing to learn.
            backbone: is copied, not changed.
            data: options are N texts; their embeddings, if any, are not looked at.
            prompts, answers: of the N texts.
            seed: of everything.
            held: answers to judge rounds by; by default those about a fifth of the prompts.
            progress: show a bar.

        Returns:
            the belief; where weights were held in slices the first process alone can read texts by it.
        """
        streams, group = Streams.of(seed), Processes.here()
        if isinstance(getattr(population, "utility", None), Linear):
            population = dataclasses.replace(
                population, utility=dataclasses.replace(population.utility, identity=False)
            )
        pieces = pieces_of(backbone, prompts, answers)
        groups, length = prompt_of(data, pieces), torch.tensor([len(one) for one in pieces])
        kept, judge = (data, held) if held is not None else apart(data, groups, streams)
        body = self._prepared(backbone, streams)
        moving = [p for p in body.model.parameters() if p.requires_grad] if self.tune != "none" else []
        optimiser = torch.optim.AdamW(moving, lr=self.rate, weight_decay=self.decay) if moving else None
        engine = body
        if optimiser is not None:
            model, optimiser = group.wrapped(body.model, optimiser)
            engine = dataclasses.replace(body, model=model)
            if group.sharded:  # what was there before has no weights any more
                body, moving = engine, [p for p in model.parameters() if p.requires_grad]
        curve, tokens, pairs, best, since = [], 0, 0, float("inf"), 0
        stored = [p.detach().clone() for p in moving]
        bar = tqdm(
            range(self.rounds + 1 if moving else 1),
            disable=not (progress and group.first),
            desc="training",
            unit="round",
        )
        for turn in bar:
            texts = encoded(body, data, pieces, self.at_once, group)
            belief = population.fit(dataclasses.replace(kept, options=texts), streams.number("fit"))
            loss = _loss(belief, dataclasses.replace(judge, options=texts)) if len(judge) else 0.0
            curve.append(loss)
            bar.set_postfix(held_out=f"{loss:.4f}")
            if loss < best - 1e-4:
                best, since, stored = loss, 0, [p.detach().clone() for p in moving]
            else:
                since += 1
            if optimiser is None or turn == self.rounds or since == 2:
                break
            for part in steps(kept, groups, self.batch, streams("order", turn)):
                mine = group.part(part, groups)
                weight = group.count / len(part)
                tokens += self._step(engine, optimiser, moving, belief, mine, pieces, weight, group)
                pairs += padded_pairs(length, part.slate[:, :2].clamp_min(0), PAIRS)
        with torch.no_grad():
            for parameter, value in zip(moving, stored):
                parameter.copy_(value)
        texts = encoded(body, data, pieces, self.at_once, group)
        final = population.fit(dataclasses.replace(data, options=texts), streams.number("fit"))
        notes = {
            "held_out": curve,
            "kept_round": curve.index(min(curve)),
            "tokens": int(group.total(tokens)),
            "pairwise_tokens": pairs,
        }
        if group.sharded and moving:
            weights = group.whole(body.model)
            if group.first:
                body = self._prepared(backbone, streams)
                body.model.load_state_dict(weights)
        return TextBelief(final, body, self.tune, backbone.name, notes)

    def _prepared(self, backbone: Backbone, streams: Streams) -> Backbone:
        """A copy whose parameters can move as `tune` says."""
        if self.tune == "none":
            return backbone
        model = copy.deepcopy(backbone.model)
        if self.tune == "full":
            return dataclasses.replace(backbone, model=model.requires_grad_(True))
        peft = need("peft")
        config = peft.LoraConfig(
            r=self.rank, lora_alpha=2 * self.rank, target_modules="all-linear", task_type="FEATURE_EXTRACTION"
        )
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of the libraries, to each other
            torch.manual_seed(streams.number("adapters"))
            made = peft.get_peft_model(model, config)
        made.peft_config["default"].base_model_name_or_path = backbone.name
        return dataclasses.replace(backbone, model=made.eval())

    def _step(
        self,
        body: Backbone,
        optimiser: torch.optim.Optimizer,
        moving: list[Tensor],
        belief: Belief,
        part: Comparisons,
        pieces: Sequence[Pieces],
        weight: float,
        group: Processes,
    ) -> int:
        """One step of AdamW on the answers of `part`, each of this weight; returns the tokens computed."""
        if not len(part):  # other processes have some, and gradients are added up together
            found = encode(body, pieces[:1], at_once=self.at_once, ways=group.ways)
            loss = 0.0 * found.states.sum()
        else:
            found, loss = self._loss(body, belief, part, pieces, weight, group)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moving, self.clip)
        optimiser.step()
        return found.counts.computed

    def _loss(
        self,
        body: Backbone,
        belief: Belief,
        part: Comparisons,
        pieces: Sequence[Pieces],
        weight: float,
        group: Processes,
    ) -> tuple[Encoded, Tensor]:
        """Hidden states of the texts of `part`, each once, and `weight` times the nats of its answers."""
        met = torch.unique(part.slate[part.slate != ABSENT])
        found = encode(body, [pieces[k] for k in met.tolist()], at_once=self.at_once, ways=group.ways)
        place = torch.full((len(part.options),), ABSENT)
        place[met] = torch.arange(len(met))
        slate = torch.where(part.slate == ABSENT, ABSENT, place[part.slate.clamp_min(0)])
        assert isinstance(part.options, Texts)
        options = Texts(tuple(part.options.texts[k] for k in met.tolist()), found.states.cpu())
        loss = -weight * expected(belief, dataclasses.replace(part, options=options, slate=slate)).sum()
        return found, loss


def expected(belief: Belief, data: Comparisons) -> Float[Tensor, " M"]:
    """(M,) E_q[log p(answer)] under each rater's tastes, in nats; differentiable in the options."""
    draws = belief.draws
    worth = slate_worths(belief.worth, data, draws.z, shared=draws.shared)
    value = belief.rule.log_prob(worth, data.label.to(worth).expand(worth.shape))
    return (draws.weight[:, data.rater] * value).sum(0)


def encoded(
    backbone: Backbone,
    data: Comparisons,
    pieces: Sequence[Pieces],
    at_once: int = 8192,
    group: Processes | None = None,
) -> Texts:
    """The options of `data` with their hidden states, each read by one process."""
    assert isinstance(data.options, Texts)
    group = group or Processes()
    mine = pieces[group.rank :: group.count]
    with torch.no_grad():
        read = encode(backbone, mine or pieces[:1], at_once=at_once, ways=group.ways).states.cpu()
    group.sliced(backbone.model)
    states = group.gathered(read[: len(mine)])
    return dataclasses.replace(data.options, embedding=states)


def prompt_of(data: Comparisons, pieces: Sequence[Pieces]) -> Int[Tensor, " N"]:
    """(N,) a number for the prompt of each text; texts without one are on their own, joined by what they are compared with."""
    if all(one.prompt for one in pieces):
        known: dict[tuple[int, ...], int] = {}
        return torch.tensor([known.setdefault(one.prompt, len(known)) for one in pieces])
    number = torch.arange(len(pieces))
    first, other = data.slate[:, 0], data.slate[:, 1]
    # A text goes with the smallest text it was compared with: one step towards the connected part, and cheap.
    return number.scatter_reduce(0, torch.maximum(first, other), torch.minimum(first, other), "amin")


def apart(
    data: Comparisons, group: Int[Tensor, " N"], streams: Streams, share: float = 0.2
) -> tuple[Comparisons, Comparisons]:
    """Answers to train on, and those about a share of the prompts; where prompts are few, a share of every rater's answers."""
    met = torch.unique(group[data.slate[:, 0]])
    if len(met) < 5:
        return hold_out(data, streams.below("joint"), share=share)
    order = met[torch.randperm(len(met), generator=streams("prompts apart"))]
    out = torch.isin(group[data.slate[:, 0]], order[: round(share * len(met))])
    return data.take(~out), data.take(out)


def steps(
    data: Comparisons, group: Int[Tensor, " N"], batch: int, generator: torch.Generator
) -> list[Comparisons]:
    """All answers in parts of about `batch`, answers about one prompt together, prompts in random order."""
    mine = group[data.slate[:, 0]]
    rank = torch.randperm(int(group.max()) + 1, generator=generator)[mine]
    order = rank.argsort(stable=True)
    found, size = [], 0
    for rows in torch.unique_consecutive(rank[order], return_counts=True)[1].tolist():
        size += rows
        if size >= batch:
            found.append(size)
            size = 0
    if size:
        found.append(size)
    return [data.take(rows) for rows in order.split(found)]


def _loss(belief: Belief, judge: Comparisons) -> float:
    value = log_loss(belief, judge)
    value = value[torch.isfinite(value)]
    return float(value.mean()) if len(value) else 0.0
