"""Tastes without a model: voices whose weights on the raw factors are known, and tastes of people to be served."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.options import Options
from pluralign.population.belief import Belief
from pluralign.population.voices import Voices
from pluralign.utility.linear import LinearWorth


def known_voices(
    z: Float[Tensor, "G F"] | Sequence[Sequence[float]],
    weight: Float[Tensor, " G"] | Sequence[float] | None = None,
    *,
    names: tuple[str, ...] = (),
    discount: float = 1.0,
) -> Voices:
    """Voices that pay z[g] @ factors per step: true tastes in a simulation, or tastes somebody wrote down.

    Args:
        z: (G, F) utils per unit of each factor. weight: shares of the people; even by default.
        discount: used when whole segments are judged.
    """
    taste = torch.as_tensor(z, dtype=torch.float64)
    count, width = taste.shape
    even = torch.full((count,), 1 / count, dtype=torch.float64)
    share = even if weight is None else torch.as_tensor(weight, dtype=torch.float64)
    still = torch.zeros(width, dtype=torch.float64)
    worth = LinearWorth(still, torch.ones_like(still), None, None, discount)
    return Voices(worth, taste, share, names)


@dataclass(frozen=True)
class MinWorth:
    """The smallest reward of all voices at each single step, as a basis of width one."""

    voices: Voices
    discount: float = 1.0

    @property
    def width(self) -> int:
        return 1

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b 1"]:
        return self.voices.reward(rows).amin(-1, keepdim=True)

    def basis(self, options: Options) -> Float[Tensor, "N 1"]:
        return options.pool(self.steps(options.rows), self.discount)


def per_step_min(voices: Voices) -> Voices:
    """One voice that pays the minimum of all rewards at each step.

    Its return is E[min], never more than the min E that MaxMin is about, and lower by as much as the rewards
    are large: where two camps take turns to be happy, it sees nobody ever being so.
    """
    one = torch.ones(1, dtype=torch.float64)
    return Voices(MinWorth(voices), one[:, None], one, ("worst at each step",))


def draw_tastes(people: Belief | Voices, count: int, *, generator: torch.Generator) -> Float[Tensor, "n Z"]:
    """Tastes of `count` people: of voices by their shares, of a belief a rater's draw (a newcomer's if none was met)."""
    if isinstance(people, Voices):
        return people.z[torch.multinomial(people.weight, count, replacement=True, generator=generator)]
    if not people.draws.raters:
        return people.sample(count, generator)
    rater = torch.randint(people.draws.raters, (count,), generator=generator)
    draw = torch.multinomial(people.draws.weight[:, rater].T, 1, generator=generator)[:, 0]
    return people.draws.z[draw, rater]
