"""A policy read as a utility: what a segment is worth is how likely the policy is to do what was done."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Options, Segments
from pluralign.policies.learners.network import NetworkPolicy


@dataclass(frozen=True)
class PolicyWorth:
    """u(segment; g) = scale * sum_t discount^t log pi(a_t | s_t, g): scale times the optimal advantage that pi is best for.

    Attributes:
        network: with `log_std` among its numbers where actions are numbers on a scale.
        told: (G, Q) what the network is told of each taste; Q = 0 for one policy for all.
        average: the mean over the steps of a segment instead of the sum.
    """

    network: NetworkPolicy
    told: Float[Tensor, "G Q"]
    scale: float
    discount: float
    average: bool = False

    @property
    def width(self) -> int:
        """G."""
        return len(self.told)

    def basis(self, options: Options) -> Float[Tensor, "N G"]:
        """Utils of every segment to each taste.

        Raises:
            ValueError: the options are no segments with observations and actions.
        """
        if not isinstance(options, Segments) or options.observation is None or options.action is None:
            raise ValueError(
                "a policy judges segments with observations and actions; these options have none: a reward is needed to "
                "judge anything else."
            )
        mask = torch.ones(options.factors.shape[:2]) if options.mask is None else options.mask.float()
        fading = mask * self.discount ** torch.arange(mask.shape[1])
        if self.average:
            fading = fading / fading.sum(1, keepdim=True).clamp_min(1e-9)
        columns = []
        for one in self.told:
            x = (options.observation.float() - self.network.centre) / self.network.scale
            x = torch.cat([x, one.expand(*x.shape[:-1], len(one))], -1)
            log = self._log_prob(x, options.action.float())
            columns.append((torch.where(mask > 0, log, 0.0) * fading).sum(1))
        return self.scale * torch.stack(columns, 1).double()

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b G"]:
        """Policies pay nothing.

        Raises:
            TypeError: always.
        """
        raise TypeError("a policy learned without a reward has none to pay; play the policy itself.")

    def _log_prob(self, x: Float[Tensor, "N T X"], action: Float[Tensor, "N T A"]) -> Float[Tensor, "N T"]:
        state = self.network.state
        for k in range(len(self.network.hidden)):
            name = f"mlp_extractor.policy_net.{2 * k}"
            x = torch.tanh(torch.nn.functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"]))
        out = torch.nn.functional.linear(x, state["action_net.weight"], state["action_net.bias"])
        if "log_std" not in state:
            return torch.log_softmax(out, -1).gather(-1, action.long())[..., 0]
        gap = (action - out) / state["log_std"].exp()
        return -(gap.square() / 2 + state["log_std"] + 0.9189385332046727).sum(-1)  # log sqrt(2 pi)
