"""Attribute heads and a gate: each attribute by ridge regression, mixed by what the prompt asks for.

Source: Wang et al., Interpretable preferences via multi-objective reward modelling (ArmoRM), 2024. Differs: ratings that
are missing are left out of their attribute exactly; the gate is any number of layers over a prompt's hidden state.
"""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy.stats import spearmanr
from torch import Tensor

from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class AttributeHeads:
    """K linear scores of a hidden state.

    Attributes:
        weight: (D, K). bias: (K,).
        less: (K,) how much of the score of `against` is taken off each, 0 at first.
        against: which attribute that is.
    """

    weight: Float[Tensor, "D K"]
    bias: Float[Tensor, " K"]
    less: Float[Tensor, " K"]
    against: int = 0

    def __call__(self, states: Float[Tensor, "*b D"]) -> Float[Tensor, "*b K"]:
        """Scores in the units of the ratings."""
        score = states.double() @ self.weight + self.bias
        return score - self.less * score[..., self.against, None]


@dataclass(frozen=True)
class Gate:
    """Weights of K attributes for a prompt: softmax(network(state) / temperature)."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    temperature: float = 1.0

    def __call__(self, prompt: Float[Tensor, "*b D"]) -> Float[Tensor, "*b K"]:
        """Shares that sum to one."""
        value = prompt.double()
        for weight, bias in self.layers[:-1]:
            value = torch.nn.functional.silu(value @ weight + bias)
        weight, bias = self.layers[-1]
        return torch.softmax((value @ weight + bias) / self.temperature, -1)


def fit_attributes(
    states: Float[Tensor, "N D"], ratings: Float[Tensor, "N K"], ridge: float = 1.0
) -> AttributeHeads:
    """The ridge solution for each attribute on the texts that were rated for it; NaN where one was not.

    Raises:
        ValueError: an attribute has no rating.
    """
    known = torch.isfinite(ratings)
    if not bool(known.any(0).all()):
        empty = int((~known.any(0)).nonzero()[0, 0])
        raise ValueError(f"attribute {empty} has no rating at all; leave it out.")
    x, w = states.double(), known.double()
    y = torch.where(known, ratings.double(), 0.0)
    count = w.sum(0)
    centre, level = (w.T @ x) / count[:, None], y.sum(0) / count  # (K, D), (K,)
    gram = (
        torch.einsum("nk,nd,ne->kde", w, x, x) - count[:, None, None] * centre[:, :, None] * centre[:, None]
    )
    cross = y.T @ x - (count * level)[:, None] * centre
    eye = torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(gram + ridge * eye, cross[..., None])[..., 0].T
    return AttributeHeads(weight, level - (centre * weight.T).sum(1), torch.zeros_like(level))


def decorrelated(
    heads: AttributeHeads, states: Float[Tensor, "N D"], against: int, most: float = 0.0, steps: int = 200
) -> AttributeHeads:
    """Take so much of attribute `against` (verbosity) off the others that no rank correlation to it is above `most`.

    The smallest such multiple, to one part in `steps`, of the multiple that brings the scores' covariance to zero twice.
    """
    score = dataclasses.replace(heads, less=torch.zeros_like(heads.bias))(states)
    told = score[:, against]
    less = torch.zeros_like(heads.bias)
    for k in range(score.shape[1]):
        if k == against:
            continue
        gap = told - told.mean()
        full = 2 * float((score[:, k] * gap).mean() / gap.square().mean().clamp_min(1e-12))
        for step in range(steps + 1):
            less[k] = full * step / steps
            rank = spearmanr((score[:, k] - less[k] * told).numpy(), told.numpy()).statistic
            if rank <= most + 1e-9 or full <= 0:
                break
    return dataclasses.replace(heads, less=less, against=against)


def fit_gate(
    prompt: Float[Tensor, "M D"],
    gap: Float[Tensor, "M K"],
    *,
    hidden: tuple[int, ...] = (32,),
    temperature: float = 1.0,
    scale: float = 1.0,
    updates: int = 300,
    rate: float = 1e-2,
    decay: float = 1e-2,
    seed: Seed = 0,
) -> Gate:
    """A gate under which what was preferred scores higher: Bradley-Terry on scale * sum_k gate_k gap_k.

    Args:
        prompt: (M, D) states of the prompts.
        gap: (M, K) attribute scores of the preferred minus those of the other.
        hidden: widths of the gate's layers.
        temperature: of its softmax; higher is nearer to equal weights.
        scale: utils per unit of score.
        updates, rate, decay: of AdamW on all answers.
        seed: of the start.
    """
    streams = Streams.of(seed)
    sizes = [prompt.shape[1], *hidden, gap.shape[1]]
    layers = []
    for k, (fan, out) in enumerate(zip(sizes[:-1], sizes[1:])):
        draw = torch.randn(fan, out, generator=streams("gate", k), dtype=torch.float64)
        layers.append(
            (draw * (0.1 if k == len(sizes) - 2 else 1.0) / fan**0.5, torch.zeros(out, dtype=torch.float64))
        )
    flat = [t.requires_grad_() for layer in layers for t in layer]
    optimiser = torch.optim.AdamW(flat, lr=rate, weight_decay=decay)
    gate = Gate(tuple(layers), temperature)
    for _ in range(updates):
        optimiser.zero_grad()
        margin = scale * (gate(prompt) * gap.double()).sum(-1)
        (-torch.nn.functional.logsigmoid(margin)).mean().backward()
        optimiser.step()
    return Gate(tuple((w.detach(), b.detach()) for w, b in layers), temperature)


def mixed(
    heads: AttributeHeads,
    gate: Gate,
    states: Float[Tensor, "N D"],
    prompt: Int[Tensor, " N"],
    prompts: Float[Tensor, "P D"],
) -> Float[Tensor, " N"]:
    """One score for each text: its attributes, weighted by what its prompt asks for."""
    return (gate(prompts)[prompt] * heads(states)).sum(-1)
