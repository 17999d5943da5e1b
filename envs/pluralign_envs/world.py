"""What a new world must say; everything else (stepping, batching, rendering) is written once."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np


class Factor(NamedTuple):
    """One measured quantity of a step. Raters decide what it is worth; the environment never does."""

    name: str
    unit: str
    description: str


@runtime_checkable
class World(Protocol):
    """A MuJoCo model and three pure functions, batched over any leading dimensions `*b`.

    Nothing here draws random numbers: `start` maps uniform numbers to a first state, so that copy i of a
    batch and a single environment with the same stream begin, to the last bit, in the same place.
    """

    @property
    def summary(self) -> str:
        """One sentence: who moves, and what people may disagree about."""
        ...

    @property
    def factors(self) -> tuple[Factor, ...]: ...

    @property
    def substeps(self) -> int:
        """Physics steps per environment step."""
        ...

    @property
    def horizon(self) -> int:
        """Steps after which an episode is truncated."""
        ...

    @property
    def draws(self) -> int:
        """Uniform numbers consumed by one reset."""
        ...

    @property
    def observation_size(self) -> int: ...

    @property
    def camera(self) -> str:
        """The named camera that frames are taken from."""
        ...

    @property
    def mjcf(self) -> str:
        """The model. Write `<flag warmstart="disable"/>`: without it batches differ from single copies."""
        ...

    def start(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(*b, draws) in [0, 1) -> qpos (*b, nq), qvel (*b, nv)."""
        ...

    def observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """-> (*b, observation_size)."""
        ...

    def measure(self, qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray) -> np.ndarray:
        """The state that a step led to, and the action applied in it -> factors (*b, F)."""
        ...
