"""A network with rectified layers as a policy: frozen numbers, whichever learner trained them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.saving import save_policy

Layers = Sequence[tuple[Tensor, Tensor]]  # weight (out, in) and bias (out,) of each layer


def rectified(layers: Layers, x: Float[Tensor, "*b I"]) -> Float[Tensor, "*b O"]:
    """Linear layers with rectifiers between them."""
    for k, (weight, bias) in enumerate(layers):
        x = torch.nn.functional.linear(torch.relu(x) if k else x, weight, bias)
    return x


@dataclass(frozen=True)
class Actor:
    """Acts greedily: the middle of the distribution over actions, or the likeliest of them.

    Attributes:
        layers: of the network. centre, scale: (O,) an observation x is read as (x - centre) / scale.
        low, high: (A,) the range of each number of an action, which the network's tanh spans; empty where actions are
            counted. taste: (Q,) what the network is told about whom it serves; None if nothing.
        world: the id of the one it was trained in; empty where that is not known.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    centre: Float[Tensor, " O"]
    scale: Float[Tensor, " O"]
    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]
    taste: Float[Tensor, " Q"] | None = None
    world: str = ""

    def act(self, observation: np.ndarray, *, generator: np.random.Generator | None = None) -> np.ndarray:
        """(B, O) to (B, A) within the range, or to (B,) numbers of actions; the generator is not needed."""
        del generator
        x = torch.as_tensor(np.asarray(observation), dtype=torch.float32)
        if x.dim() != 2 or x.shape[1] != len(self.centre):
            raise ValueError(
                f"observations must be (B, {len(self.centre)}), got {tuple(x.shape)}; the policy belongs to another "
                "world."
            )
        x = (x - self.centre) / self.scale
        if self.taste is not None:
            x = torch.cat([x, self.taste.to(x).expand(len(x), -1)], 1)
        return self.forward(x)

    def forward(self, x: Float[Tensor, "B X"]) -> np.ndarray:
        """Actions for what the network reads."""
        out = rectified(self.layers, x)
        if not len(self.low):
            return out.argmax(1).numpy()
        return (self.low + (self.high - self.low) * (torch.tanh(out) + 1) / 2).numpy()

    def save(self, folder: str | Path) -> None:
        """Write JSON + safetensors into a new folder."""
        save_policy(self, folder)
