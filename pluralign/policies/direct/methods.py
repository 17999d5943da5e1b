"""The direct methods by name: which loss, and what it looks at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from pluralign.policies.direct import losses


class Scored(NamedTuple):
    """B answers as a policy sees them; K places, 2 where a method needs pairs.

    Attributes:
        log: (B, K) discounted sums of log-probabilities. ratio: the same against the reference policy, with `value` in
            its unit.
        label: (B, K) shares of the choice, or grades where a method takes whole lists.
        there: (B, K) which places show an option.
        distance: (B, K) mean distance between the policy's actions and those shown, in their unit.
        strayed: (B, K) discounted sums of KL(reference || policy), in nats. Both 0 where no method asks for them.
        value: (B, K) V(first state) - V(last), in utils; 0 where people judge by regret.
    """

    log: Float[Tensor, "B K"]
    ratio: Float[Tensor, "B K"]
    label: Float[Tensor, "B K"]
    there: Bool[Tensor, "B K"]
    distance: Float[Tensor, "B K"]
    strayed: Float[Tensor, "B K"]
    value: Float[Tensor, "B K"]

    @property
    def first(self) -> Float[Tensor, " B"]:
        """Share of the choice of the first place."""
        return self.label[:, 0]


@dataclass(frozen=True)
class Method:
    """A loss per answer, given the settings of `Direct`.

    Attributes:
        reference: whether it compares with a reference policy.
        slates: "pairs", "choices" among any number of options, or whole "lists".
        distance, strayed: whether the loss looks at them.
    """

    loss: Callable[[Scored, Any], Float[Tensor, " B"]]
    about: str
    reference: bool = True
    slates: str = "pairs"
    distance: bool = False
    strayed: bool = False


METHODS: dict[str, Method] = {
    "cpl": Method(
        lambda s, m: losses.cpl(
            s.log, s.first, scale=m.scale, bias=m.bias, ahead=s.value[:, 0] - s.value[:, 1]
        ),
        "contrastive preference learning: log-probabilities as advantages",
        reference=False,
    ),
    "dpo": Method(
        lambda s, m: losses.logistic(s.ratio, s.first, scale=m.scale), "direct preference optimisation"
    ),
    "ipo": Method(
        lambda s, m: losses.ipo(s.ratio, s.first, scale=m.scale), "a squared loss that stops at its margin"
    ),
    "slic": Method(
        lambda s, m: losses.slic(s.log + s.value / m.scale, s.first, scale=m.scale),
        "a hinge on likelihoods",
        reference=False,
    ),
    "rso": Method(lambda s, m: losses.slic(s.ratio, s.first, scale=m.scale), "a hinge on log-ratios"),
    "f_dpo": Method(
        lambda s, m: losses.f_dpo(s.ratio, s.first, scale=m.scale),
        "direct preference optimisation under the divergence of Jensen and Shannon",
    ),
    "rpo": Method(
        lambda s, m: losses.rpo(s.ratio, s.log, s.first, scale=m.scale),
        "direct preference optimisation plus imitation of what was preferred",
    ),
    "robust_dpo": Method(
        lambda s, m: losses.flipped(s.ratio, s.first, scale=m.scale), "unbiased under flipped answers"
    ),
    "irepo": Method(
        lambda s, m: losses.difference(s.ratio, s.first, scale=m.scale, least=0.05),
        "regression on the log-odds of graded answers",
    ),
    "tdpo": Method(
        lambda s, m: losses.tdpo(s.ratio, s.strayed, s.first, scale=m.scale),
        "direct preference optimisation by steps, which straying along the way counts against",
        strayed=True,
    ),
    "dppo": Method(
        lambda s, m: losses.dppo(s.distance, s.first, scale=m.scale, bias=m.bias),
        "a contrast of distances between actions, where these are numbers",
        reference=False,
        distance=True,
    ),
    "pro": Method(
        lambda s, m: losses.picked(s.log + s.value / m.scale, s.label, scale=m.scale),
        "rankings and choices among many, by likelihoods",
        reference=False,
        slates="choices",
    ),
    "lipo": Method(
        lambda s, m: losses.lipo(s.ratio, s.label, scale=m.scale, there=s.there),
        "whole rankings, weighted by what a swap costs",
        slates="lists",
    ),
}
