"""Voices: the rewards a population asks for, with how many people each speaks for."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.brief import brief
from pluralign.data.options import Options
from pluralign.utility import Worth


@dataclass(frozen=True)
class Voices:
    """G reward functions over one basis; voice g speaks for the share `weight[g]` of the people.

    Attributes:
        worth: turns options or steps into a basis.
        z: (G, Z) the taste of each voice. weight: (G,), sums to one.
        names: G names for tables and plots.
    """

    worth: Worth
    z: Float[Tensor, "G Z"]
    weight: Float[Tensor, " G"]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.z) != len(self.weight):
            raise ValueError(
                f"`weight` must have one share per voice: {len(self.z)}, got {len(self.weight)}."
            )
        if not abs(float(self.weight.sum()) - 1) < 1e-4 or bool((self.weight < 0).any()):
            raise ValueError(f"`weight` must be shares that sum to one, got {self.weight.tolist()}.")
        if not self.names:
            object.__setattr__(self, "names", tuple(f"voice {g}" for g in range(len(self.z))))

    def __len__(self) -> int:
        return len(self.z)

    def __repr__(self) -> str:
        return brief(self)

    def reward(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b G"]:
        """Utils per step, for each voice, of single rows (the factors an environment publishes)."""
        return self.worth.steps(rows) @ self.z.T

    def returns(self, options: Options) -> Float[Tensor, "N G"]:
        """Utils of whole options for each voice; for segments the discounted sum of the rewards."""
        return self.worth.basis(options) @ self.z.T

    def scaled(self, factor: Float[Tensor, " G"]) -> "Voices":
        """The same voices in other units: voice g times factor[g] (which changes no voice's best policy)."""
        return dataclasses.replace(self, z=self.z * factor[:, None])

    def mixed(self, weight: Float[Tensor, " G"]) -> Float[Tensor, " Z"]:
        """The taste of a crowd that counts voice g `weight[g]` times."""
        return weight @ self.z


def cluster(
    z: Float[Tensor, "S Z"],
    weight: Float[Tensor, " S"],
    metric: Float[Tensor, "Z Z"],
    count: int,
    *,
    generator: torch.Generator,
    sweeps: int = 50,
    starts: int = 8,
) -> tuple[Float[Tensor, "G Z"], Float[Tensor, " G"]]:
    """Weighted k-means of tastes, distances measured in worth: (z - c)' metric (z - c).

    All starts run side by side; the best by the spread that remains is returned.
    """
    count = min(count, len(torch.unique(z, dim=0)))
    size, side = torch.linalg.eigh(metric)
    flat = z @ (side * size.clamp_min(0.0).sqrt())
    pick = torch.stack(
        [torch.multinomial(weight.clamp_min(1e-12), count, generator=generator) for _ in range(starts)]
    )
    centre = flat[pick]  # (starts, G, Z)
    for _ in range(sweeps):
        distance = torch.cdist(flat.expand(starts, -1, -1), centre).square()
        mine = torch.nn.functional.one_hot(distance.argmin(-1), count).to(flat) * weight[:, None]
        mass = mine.sum(1)
        new = (mine.mT @ flat) / mass.clamp_min(1e-12)[..., None]
        centre = torch.where(mass[..., None] > 0, new, centre)
    distance = torch.cdist(flat.expand(starts, -1, -1), centre).square()
    best = int((distance.min(-1).values @ weight).argmin())
    group = torch.nn.functional.one_hot(distance[best].argmin(-1), count).to(flat) * weight[:, None]
    mass = group.sum(0)
    kept = mass > 0
    centres = (group.T @ z)[kept] / mass[kept, None]
    return centres, mass[kept] / mass.sum()
