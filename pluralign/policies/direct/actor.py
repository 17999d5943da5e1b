"""A small network's chances of the actions that segments show, conditioned on whom it serves."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pluralign.data.options import Options, Segments

QUIET, LOUD = (
    -3.0,
    1.0,
)  # logarithm of the standard deviation of actions, least and most, in units of their spread


class Shown:
    """What segments show a learner without a reward: observations, actions, which steps exist.

    Attributes:
        observation: (N, T, O) standardised by centre, scale (O,). action: (N, T, A) as given.
        reached: (N, O) like observations, where known.
        mask: (N, T). counted: how many actions there are to choose from, 0 where actions are numbers on a scale.
        middle, spread: (A,) of the actions shown.
    """

    def __init__(self, options: Options, counted: int | None = None) -> None:
        """Read segments; actions are taken as counted where they are one whole number each and few differ.

        Raises:
            ValueError: observations or actions are missing, or not finite.
        """
        if not isinstance(options, Segments):
            raise ValueError(
                f"learning without a reward needs Segments with observations and actions, got {type(options).__name__}; "
                "`pluralign simulate WORLD` writes a folder of such answers."
            )
        missing = [n for n in ("observation", "action") if getattr(options, n) is None]
        if missing:
            raise ValueError(
                f"learning without a reward needs segments with observations and actions; {' and '.join(missing)} are "
                "missing: write the segments again with them."
            )
        assert options.observation is not None
        assert options.action is not None
        self.mask: Bool[Tensor, "N T"] = (
            torch.ones(options.factors.shape[:2], dtype=torch.bool) if options.mask is None else options.mask
        )
        for name, value in (("observation", options.observation), ("action", options.action)):
            off = (~torch.isfinite(value).all(-1) & self.mask).nonzero()
            if len(off):
                raise ValueError(
                    f"`{name}` must be finite; {len(off)} steps are not, first segment {int(off[0, 0])}, step "
                    f"{int(off[0, 1])}: leave such segments out."
                )
        real = options.observation[self.mask].float()
        self.centre: Float[Tensor, " O"] = real.mean(0)
        spread = real.std(0, correction=0)
        self.scale: Float[Tensor, " O"] = torch.where(spread > 1e-6, spread, torch.ones_like(spread))
        hole = ~self.mask[..., None]
        self.observation = ((options.observation.float() - self.centre) / self.scale).masked_fill(hole, 0.0)
        self.reached: Float[Tensor, "N O"] | None = (
            None if options.reached is None else (options.reached.float() - self.centre) / self.scale
        )
        self.action = options.action.float().masked_fill(hole, 0.0)
        acted = self.action[self.mask]
        whole = acted.shape[1] == 1 and bool(((acted == acted.round()) & (acted >= 0)).all())
        few = whole and len(torch.unique(acted)) <= 32
        self.counted = (int(acted.max()) + 1 if few else 0) if counted is None else counted
        if self.counted and (not whole or int(acted.max()) >= self.counted):
            raise ValueError(
                f"actions must be whole numbers below {self.counted}, got up to {float(acted.max()):g}; they belong to "
                "another world."
            )
        self.middle: Float[Tensor, " A"] = acted.mean(0)
        around = acted.std(0, correction=0)
        self.spread: Float[Tensor, " A"] = torch.where(around > 1e-6, around, torch.ones_like(around))


def layers(shown: Shown, told: int, hidden: tuple[int, ...], generator: torch.Generator) -> dict[str, Tensor]:
    """Random layers under the names of `NetworkPolicy`; the last is quiet and starts at the mean action."""
    sizes = (shown.observation.shape[-1] + told, *hidden)
    state: dict[str, Tensor] = {}
    for k, (fan, out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        state[f"mlp_extractor.policy_net.{2 * k}.weight"] = (
            torch.randn(out, fan, generator=generator) / fan**0.5
        )
        state[f"mlp_extractor.policy_net.{2 * k}.bias"] = torch.zeros(out)
    out = shown.counted or shown.action.shape[-1]
    state["action_net.weight"] = 0.01 * torch.randn(out, sizes[-1], generator=generator) / sizes[-1] ** 0.5
    state["action_net.bias"] = torch.zeros(out) if shown.counted else shown.middle.clone()
    if not shown.counted:
        state["log_std"] = shown.spread.log().clone()
    return state


def outputs(
    state: Mapping[str, Tensor],
    depth: int,
    observation: Float[Tensor, "*n T O"],
    told: Float[Tensor, "*n Q"],
) -> Float[Tensor, "*n T C"]:
    """What the network says of each step: the mean action, or the logits of counted ones."""
    x = torch.cat([observation, told[..., None, :].expand(*observation.shape[:-1], told.shape[-1])], -1)
    for k in range(depth):
        name = f"mlp_extractor.policy_net.{2 * k}"
        x = torch.tanh(torch.nn.functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"]))
    return torch.nn.functional.linear(x, state["action_net.weight"], state["action_net.bias"])


def log_prob(
    state: Mapping[str, Tensor],
    shown: Shown,
    out: Float[Tensor, "*n T C"],
    action: Float[Tensor, "*n T A"],
) -> Float[Tensor, "*n T"]:
    """log pi(action), given what the network says: of counted actions, or a proper normal density in their unit."""
    if shown.counted:
        return torch.log_softmax(out, -1).gather(-1, action.long())[..., 0]
    wide = noise(shown, state["log_std"])
    gap = (action - out) / wide.exp()
    return -(gap.square() / 2 + wide + 0.9189385332046727).sum(-1)  # log sqrt(2 pi)


def divergence(
    shown: Shown,
    state: Mapping[str, Tensor],
    out: Float[Tensor, "*n T C"],
    before: Mapping[str, Tensor],
    then: Float[Tensor, "*n T C"],
) -> Float[Tensor, "*n T"]:
    """KL(before || now) in nats at every step, in closed form; `out` is what the network says now, `then` said before."""
    if shown.counted:
        log = torch.log_softmax(then, -1)
        return (log.exp() * (log - torch.log_softmax(out, -1))).sum(-1)
    now, was = noise(shown, state["log_std"]), noise(shown, before["log_std"])
    square = (2 * was).exp() + (out - then).square()
    return (now - was + square / (2 * (2 * now).exp()) - 0.5).sum(-1)


def noise(shown: Shown, log_std: Float[Tensor, " A"]) -> Float[Tensor, " A"]:
    """The logarithm of the standard deviation of actions, kept within bounds."""
    return (log_std - shown.spread.log()).clamp(QUIET, LOUD) + shown.spread.log()
