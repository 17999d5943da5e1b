"""Tuning a language model on answers of camps so that no camp is left behind: group-robust direct optimisation.

    min over policies, max over weights a on the simplex, of sum_g a_g L_g,   a_g <- a_g exp(rate L_g), normalised,

where L_g is the mean DPO or IPO loss of camp g. Losses are no returns: a camp whose answers are noisy has a high loss
however it is served, and takes the weight. `regret` subtracts what each camp's own best policy would lose.

Source: Ramesh et al., Group robust preference optimization in reward-free RLHF, NeurIPS 2024.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.language.likelihood import answer_log_probs
from pluralign.language.once import Pieces
from pluralign.streams import Seed, Streams

Loss = Callable[[Float[Tensor, "*b 2"], Float[Tensor, "*b"]], Float[Tensor, "*b"]]


def reweighed(weight: Float[Tensor, " G"], loss: Float[Tensor, " G"], rate: float) -> Float[Tensor, " G"]:
    """Multiplicative weights: more on who loses more."""
    return torch.softmax(weight.log() + rate * loss, -1)


def camp_means(loss: Float[Tensor, " M"], camp: Int[Tensor, " M"], camps: int) -> Float[Tensor, " G"]:
    """Mean loss of each camp; 0 for one that is not there."""
    total = torch.zeros(camps, dtype=loss.dtype).index_add(0, camp, loss)
    return total / torch.bincount(camp, minlength=camps).clamp_min(1)


def among(
    policy: Float[Tensor, " N"], reference: Float[Tensor, " N"], prompt: Int[Tensor, " N"]
) -> Float[Tensor, " P"]:
    """(P,) KL(policy, reference) in nats of the chances that two models give the answers to each prompt, given one of them."""
    count = int(prompt.max()) + 1

    def chances(log: Tensor) -> Tensor:
        top = torch.full((count,), -torch.inf, dtype=log.dtype).scatter_reduce(0, prompt, log, "amax")
        total = torch.zeros(count, dtype=log.dtype).index_add(0, prompt, (log - top[prompt]).exp())
        return log - top[prompt] - total.log()[prompt]

    mine, other = chances(policy.double()), chances(reference.double())
    return torch.zeros(count, dtype=mine.dtype).index_add(0, prompt, mine.exp() * (mine - other))


@dataclass(frozen=True)
class Tuned:
    """A tuned model, and how it came about.

    Attributes:
        model: a causal model. weight: (G,) of the camps, averaged over steps.
        loss: (G,) mean loss of each camp at the end.
        kl: nats from the reference, mean over prompts, of the chances among the texts that answer a prompt.
    """

    model: Any
    weight: Float[Tensor, " G"]
    loss: Float[Tensor, " G"]
    kl: float


@dataclass(frozen=True)
class GroupRobust:
    """Settings of the smallest loop that does it.

    Attributes:
        scale: beta of DPO, utils per nat.
        loss: of log-ratios (*b, 2) and the share of the first (*b); by default DPO's.
        pace: of the camps' weights per step; 0 keeps them at the camps' shares, the plain method.
        updates, batch, rate: of AdamW; batch in answers.
        least: (G,) loss of each camp's own best policy, to weigh regrets; None weighs losses.
    """

    scale: float = 0.5
    loss: Loss | None = None
    pace: float = 0.1
    updates: int = 60
    batch: int = 32
    rate: float = 1e-3
    least: tuple[float, ...] | None = None

    def fit(
        self, model: Any, pieces: Sequence[Pieces], data: Comparisons, camp: Int[Tensor, " R"], seed: Seed = 0
    ) -> Tuned:
        """Tune a copy of `model`, which is also the reference.

        Args:
            model: a causal model of transformers with its head.
            pieces: tokens of the N texts of `data`.
            data: M answers about pairs.
            camp: (R,) of each rater.
            seed: of the order.
        """
        camps = int(camp.max()) + 1
        with torch.no_grad():
            reference = answer_log_probs(model, pieces)
        policy = copy.deepcopy(model).requires_grad_(True)
        optimiser = torch.optim.AdamW(policy.parameters(), lr=self.rate, weight_decay=0.0)
        mine = camp[data.rater]
        weight = torch.bincount(mine, minlength=camps).float() / len(data)
        least = torch.zeros(camps) if self.least is None else torch.tensor(self.least)
        draw, average = Streams.of(seed)("order"), torch.zeros(camps)
        for _ in range(self.updates):
            rows = torch.randint(len(data), (self.batch,), generator=draw)
            loss = self._losses(policy, reference, pieces, data.take(rows))
            means = camp_means(loss, mine[rows], camps)
            there = torch.bincount(mine[rows], minlength=camps) > 0
            if self.pace:
                weight = reweighed(weight, torch.where(there, means.detach() - least, 0.0), self.pace)
            average += weight / self.updates
            optimiser.zero_grad()
            (weight * means).sum().backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimiser.step()
        with torch.no_grad():
            loss = self._losses(policy, reference, pieces, data)
            now = answer_log_probs(policy, pieces)
        known: dict[tuple[int, ...], int] = {}
        prompt = torch.tensor([known.setdefault(one.prompt, len(known)) for one in pieces])
        kl = float(among(now, reference, prompt).mean())
        return Tuned(policy, average, camp_means(loss, mine, camps), kl)

    def _losses(
        self, policy: Any, reference: Tensor, pieces: Sequence[Pieces], data: Comparisons
    ) -> Float[Tensor, " M"]:
        met, place = torch.unique(data.slate, return_inverse=True)
        ratio = answer_log_probs(policy, [pieces[k] for k in met.tolist()]) - reference[met]
        score, first = ratio[place], data.label[:, 0]
        if self.loss is not None:
            return self.loss(score, first)
        gap = self.scale * (score[:, 0] - score[:, 1])
        return torch.nn.functional.softplus(gap) - first * gap
