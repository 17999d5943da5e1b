"""A trained network as a policy: frozen numbers, no trainer needed to act or to load."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.learners.actor import Actor
from pluralign.policies.saving import save_policy
from pluralign.rewards.transforms import Gauge


@dataclass(frozen=True)
class NetworkPolicy:
    """An actor-critic with tanh layers, named as Stable-Baselines3 names them, so that training can go on.

    Acts greedily: the mean of a normal distribution, clipped to the range, or the likeliest of the actions.

    Attributes:
        state: parameters by name. hidden: widths of the layers.
        centre, scale: (O,) an observation x is read as (x - centre) / scale.
        low, high: (A,) the range of each number of an action; empty where actions are counted.
        taste: (Q,) what the network is told about whom it serves, after the observation; None if nothing.
        world: the id of the one it was trained in; empty where that is not known.
    """

    state: Mapping[str, Tensor]
    hidden: tuple[int, ...]
    centre: Float[Tensor, " O"]
    scale: Float[Tensor, " O"]
    low: Float[Tensor, " A"]
    high: Float[Tensor, " A"]
    taste: Float[Tensor, " Q"] | None = None
    world: str = ""

    @property
    def width(self) -> int:
        """O, the numbers in an observation."""
        return len(self.centre)

    def act(self, observation: np.ndarray, *, generator: np.random.Generator | None = None) -> np.ndarray:
        """(B, O) to (B, A) within the range, or to (B,) numbers of actions; the generator is not needed."""
        del generator
        x = torch.as_tensor(np.asarray(observation), dtype=torch.float32)
        if x.dim() != 2 or x.shape[1] != self.width:
            raise ValueError(
                f"observations must be (B, {self.width}), got {tuple(x.shape)}; the policy belongs to another world."
            )
        x = (x - self.centre) / self.scale
        if self.taste is not None:
            x = torch.cat([x, self.taste.to(x).expand(len(x), -1)], 1)
        return self.forward(x)

    def forward(self, x: Float[Tensor, "B X"]) -> np.ndarray:
        """Actions for what the network reads."""
        for k in range(len(self.hidden)):
            name = f"mlp_extractor.policy_net.{2 * k}"
            x = torch.tanh(
                torch.nn.functional.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])
            )
        out = torch.nn.functional.linear(x, self.state["action_net.weight"], self.state["action_net.bias"])
        if not len(self.low):
            return out.argmax(1).numpy()
        return torch.minimum(torch.maximum(out, self.low), self.high).numpy()

    def save(self, folder: str | Path) -> None:
        """Write JSON + safetensors into a new folder."""
        save_policy(self, folder)


@dataclass(frozen=True)
class PersonalNetwork:
    """One network for every taste: it reads the taste's direction next to the observation.

    Attributes:
        network: with a taste of zeros. gauge: turns a taste into what the network reads.
    """

    network: NetworkPolicy | Actor
    gauge: Gauge

    def act(
        self,
        observation: np.ndarray,
        z: Float[Tensor, "*B Z"],
        *,
        generator: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Serve taste z, (Z,) for all or (B, Z) for each observation. The size of z does not matter."""
        if z.dim() == 1:
            return self.of(z).act(observation, generator=generator)
        if len(z) != len(observation):
            raise ValueError(
                f"`z` must be one taste or one for each of the {len(observation)} observations, got {len(z)}."
            )
        x = torch.as_tensor(np.asarray(observation), dtype=torch.float32)
        x = (x - self.network.centre) / self.network.scale
        return self.network.forward(torch.cat([x, self.gauge.direction(z).to(x)], 1))

    def of(self, z: Float[Tensor, " Z"]) -> NetworkPolicy | Actor:
        """The policy for one taste."""
        return dataclasses.replace(self.network, taste=self.gauge.direction(z).float())

    def save(self, folder: str | Path) -> None:
        """Write JSON + safetensors into a new folder."""
        save_policy(self, folder)
