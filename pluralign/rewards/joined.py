"""Voices of different worths side by side, for example learned tastes and a cost that everybody agrees on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Options
from pluralign.population.voices import Voices
from pluralign.utility import Worth


@dataclass(frozen=True)
class JoinedWorth:
    """The bases of several worths next to each other."""

    parts: tuple[Worth, ...]

    @property
    def width(self) -> int:
        return sum(part.width for part in self.parts)

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b Z"]:
        return torch.cat([part.steps(rows).double() for part in self.parts], -1)

    def basis(self, options: Options) -> Float[Tensor, "N Z"]:
        return torch.cat([part.basis(options).double() for part in self.parts], -1)


def joined(voices: Sequence[Voices], weight: Float[Tensor, " G"]) -> Voices:
    """All voices as one set, in their order; `weight` says how many people stand behind each."""
    z = torch.block_diag(*[one.z.double() for one in voices])
    names = tuple(name for one in voices for name in one.names)
    return Voices(JoinedWorth(tuple(one.worth for one in voices)), z, weight.double(), names)
