"""Worths with a few parameters of their own, shared by all camps: the panel likelihood, climbed by L-BFGS."""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.choice import ChoiceRule
from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Options
from pluralign.streams import Streams

LOOK = 15  # rounds in which every start is tried; the best two go on
NEEDED = 1e-7  # nats per answer by which a round must gain


@runtime_checkable
class Jointly(Protocol):
    """A worth whose basis has a column for every camp, and parameters that all columns share."""

    @property
    def width(self) -> int: ...

    @property
    def parameters(self) -> tuple[Tensor, ...]: ...

    def at(self, parameters: tuple[Tensor, ...]) -> Any: ...

    def penalty(self) -> Tensor: ...

    def basis(self, options: Options) -> Float[Tensor, "N G"]: ...


def fit_jointly(
    worth: Any,
    z: Float[Tensor, "S G"],
    rule: ChoiceRule,
    data: Comparisons,
    streams: Streams,
    *,
    learn_share: bool = False,
    restarts: int = 1,
    rounds: int = 150,
) -> tuple[Any, Float[Tensor, " S"], dict[str, object]]:
    """Parameters, and shares of the S tastes, that explain each rater's answers together; the best of several starts.

    Returns:
        the worth, shares (S,), and notes: the panel log-likelihood, and the names of what columns stand for.
    """
    met, place = torch.unique(data.slate.clamp_min(0), return_inverse=True)
    options, hole = data.options.take(met), data.slate == ABSENT
    label = data.label.double()

    def panel(now: Any, share: Tensor) -> Tensor:
        utility = (now.basis(options) @ z.T).T[:, place].masked_fill(hole, -torch.inf)
        log = rule.log_prob(utility, label.expand(utility.shape))
        log = log if data.weight is None else log * data.weight
        per = torch.zeros(len(z), data.raters, dtype=log.dtype).index_add(1, data.rater, log)
        return torch.logsumexp(per + torch.log_softmax(share, 0)[:, None], 0).sum()

    def climb(values: list[Tensor], most: int) -> tuple[list[Tensor], float]:
        leaves = [v.detach().clone().requires_grad_(v is not values[-1] or learn_share) for v in values]
        moving = [v for v in leaves if v.requires_grad]
        optimiser = torch.optim.LBFGS(
            moving, max_iter=most, history_size=30, tolerance_change=NEEDED, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimiser.zero_grad()
            now = worth.at(tuple(leaves[:-1]))
            value = (now.penalty() - panel(now, leaves[-1])) / len(data)
            value.backward()
            return value

        optimiser.step(loss)
        with torch.no_grad():
            now = worth.at(tuple(leaves[:-1]))
            return [v.detach() for v in leaves], float(panel(now, leaves[-1]) - now.penalty())

    begun = []
    for k in range(restarts):
        shaken = [
            v
            if not k
            else v
            + 0.7
            * v.square().mean().sqrt()
            * torch.randn(v.shape, generator=streams("start", k, p), dtype=v.dtype)
            for p, v in enumerate(worth.parameters)
        ]
        begun.append([*shaken, torch.zeros(len(z), dtype=torch.float64)])
    tried = [climb(values, LOOK) for values in begun] if restarts > 1 else [(begun[0], 0.0)]
    best = sorted(tried, key=lambda pair: -pair[1])[:2]
    values, total = max((climb(start, rounds) for start, _ in best), key=lambda pair: pair[1])
    fitted = worth.at(tuple(values[:-1]))
    notes: dict[str, object] = {"panel_log_likelihood": total + float(fitted.penalty())}
    share = torch.softmax(values[-1], 0)
    for name, part in zip(getattr(fitted, "names", ()), share.tolist()):
        key = f"judge by {name}"
        notes[key] = float(str(notes.get(key, 0.0))) + part
    return fitted, share, notes
