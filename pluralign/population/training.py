"""The one training loop, for utilities with parameters of their own (networks).

Every population is, for training, a weighted set of S tastes per rater: one for pooled, G camps, a grid of
normal draws. The loss is minus the panel likelihood, so a rater's answers stay together:

    - sum_r log sum_s share_s prod_{m of r} choice(answer_m | B(x) z_s)
"""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.population.held_out import hold_out
from pluralign.population.joint import Jointly, fit_jointly
from pluralign.streams import Streams
from pluralign.utility import Worth
from pluralign.utility.mlp import MLPWorth

RATE, DECAY = 3e-3, 1e-3  # of AdamW
BATCH = 256  # answers per step, in whole raters
EPOCHS, PATIENCE = 200, 10  # at most, and without gain on held-out answers


def train(
    worth: Worth,
    z: Float[Tensor, "S Z"],
    rule: ChoiceRule,
    data: Comparisons,
    streams: Streams,
    *,
    learn_share: bool = False,
    restarts: int = 1,
) -> tuple[Any, Float[Tensor, " S"], dict[str, object]]:
    """Fit the network by Adam over mini-batches of raters, stopped early by held-out panel likelihood.

    Args:
        worth: the network before training. z: (S, Z) fixed tastes over its outputs.
        learn_share: learn the shares of the tastes (camps), instead of equal ones (draws).
        restarts: networks trained side by side as a leading dimension; the best on held-out answers is kept.

    Returns:
        the trained worth, shares (S,), and notes: epochs run, held-out log-likelihood per answer per restart.
    """
    if isinstance(worth, Jointly):
        return fit_jointly(worth, z, rule, data, streams, learn_share=learn_share, restarts=max(restarts, 8))
    if not isinstance(worth, MLPWorth):
        raise TypeError(f"{type(worth).__name__} has no layers to train; use Linear or MLP as the utility.")
    kept, held = hold_out(data, streams.below("early stopping"), share=0.15)
    if not len(held):
        kept = held = data
    layers = [_restarts(worth, k, restarts, streams) for k in range(len(worth.layers))]
    shares = torch.zeros(restarts, len(z), dtype=torch.float64, requires_grad=learn_share)
    weights = [t for layer in layers for t in layer]
    groups: list[dict] = [{"params": weights, "weight_decay": DECAY}]
    if learn_share:
        groups.append({"params": [shares], "weight_decay": 0.0})
    optimiser = torch.optim.AdamW(groups, lr=RATE)
    best = torch.full((restarts,), -torch.inf, dtype=torch.float64)
    stored = [t.detach().clone() for t in [*weights, shares]]
    since = torch.zeros(restarts)
    # Judged on training and held-out answers together, minus the training part: the chance of the held-out
    # answers given what the same rater said before, which is what a latent is for.
    for epoch in range(EPOCHS):
        for part in _rater_batches(kept, BATCH, streams(f"epoch {epoch}")):
            optimiser.zero_grad()
            loss = -_panel(worth, layers, shares, z, rule, part).sum() / len(part)
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            both = _panel(worth, layers, shares, z, rule, data)
            score = (both - _panel(worth, layers, shares, z, rule, kept)) / max(1, len(held))
            if held is kept:
                score = both / len(data)
        better = score > best + 1e-5
        since = torch.where(better, 0.0, since + 1)
        best = torch.where(better, score, best)
        for old, new in zip(stored, [*weights, shares]):
            old[better] = new.detach()[better]
        if bool((since >= PATIENCE).all()):
            break
    top = int(best.argmax())
    chosen = [t[top] for t in stored]
    pairs = tuple((chosen[2 * k], chosen[2 * k + 1].reshape(-1)) for k in range(len(layers)))
    share = torch.softmax(chosen[-1], 0).detach()
    trained = copy.copy(worth)
    object.__setattr__(trained, "layers", pairs)
    return trained, share, {"epochs": epoch + 1, "held_out": [float(b) for b in best]}


def _restarts(worth: MLPWorth, k: int, restarts: int, streams: Streams) -> tuple[Tensor, Tensor]:
    weight, bias = worth.layers[k]
    copies = [weight]
    for s in range(1, restarts):
        noise = torch.randn(weight.shape, generator=streams("restart", s, k), dtype=weight.dtype)
        copies.append(noise * weight.std(correction=0))
    stacked = torch.stack(copies).clone().requires_grad_()
    return stacked, bias.expand(restarts, 1, -1).clone().requires_grad_()


def _rater_batches(data: Comparisons, size: int, generator: torch.Generator) -> list[Comparisons]:
    order = torch.randperm(data.raters, generator=generator)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(data.raters)
    rows = torch.argsort(rank[data.rater], stable=True)
    reach = data.counts[order].cumsum(0)
    cut = (reach // size)[rank[data.rater[rows]]]
    pieces = torch.unique_consecutive(cut, return_counts=True)[1].tolist()
    return [data.take(part) for part in rows.split(pieces)]


def _panel(
    worth: MLPWorth, layers: list, shares: Tensor, z: Tensor, rule: ChoiceRule, data: Comparisons
) -> Float[Tensor, " restarts"]:
    """Panel log-likelihood of `data` for every restart; each option met is scored once."""
    met, place = torch.unique(data.slate.clamp_min(0), return_inverse=True)
    options = data.options.take(met)
    value = worth.inner.steps(options.rows)
    shape = value.shape[:-1]
    value = value.reshape(1, -1, value.shape[-1]).expand(len(shares), -1, -1)
    for k, (weight, bias) in enumerate(layers):
        value = torch.baddbmm(bias, value, weight)
        if k + 1 < len(layers):
            value = torch.nn.functional.silu(value)
    basis = torch.stack([options.pool(v.reshape(*shape, -1), worth.inner.discount) for v in value])
    utility = torch.einsum("tnz,sz->tsn", basis, z)[:, :, place]  # (restarts, S, m, K)
    utility = utility.masked_fill(data.slate == ABSENT, -torch.inf)
    log = rule.log_prob(utility, data.label.double().expand(utility.shape))
    if data.weight is not None:
        log = log * data.weight
    who, rater = torch.unique(data.rater, return_inverse=True)
    per = torch.zeros(*log.shape[:2], len(who), dtype=log.dtype).index_add(2, rater, log)
    return torch.logsumexp(per + torch.log_softmax(shares, -1)[..., None], 1).sum(1)
