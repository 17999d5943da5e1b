"""Moves that help every voice at once, until there are none: the min-norm point of the voices' gradients."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.fair import check_settings, prepared
from pluralign.policies.game import Mix
from pluralign.policies.learner import Learner, Progress
from pluralign.policies.lottery import Lottery
from pluralign.population.voices import Voices
from pluralign.rewards.welfare import Mean
from pluralign.streams import Seed, Streams


def min_norm(gradients: Float[Tensor, "G D"]) -> Float[Tensor, " G"]:
    """Weights, not negative and summing to one, of the shortest vector weight @ gradients.

    That vector has a product with each gradient no smaller than its own squared length, so following it helps
    everybody; where it is zero nothing does.

    Source: Desideri, MGDA, 2012; Sener and Koltun 2018. Solved exactly as non-negative least squares.
    """
    from scipy.optimize import nnls

    size = float(gradients.double().norm(dim=1).max()) or 1.0
    table = torch.cat([gradients.double().T / size, torch.ones(1, len(gradients), dtype=torch.float64)])
    right = torch.zeros(len(table), dtype=torch.float64)
    right[-1] = 1.0
    # The row of ones only fixes the length of the solution, not its direction.
    weight = torch.as_tensor(nnls(table.numpy(), right.numpy())[0])
    return weight / weight.sum()


def climb(
    matrix: Float[Tensor, "P G"], start: Float[Tensor, " P"], steps: int = 5000
) -> tuple[Float[Tensor, " P"], Float[Tensor, " G"]]:
    """A lottery that no move improves for all voices, reached from `start` without any voice losing on the way.

    Chances follow the natural gradient (replicator dynamics), whose products between voices are covariances of their
    returns under the lottery. Returns the chances and the last weights.
    """
    matrix, chance = matrix.double(), start.double()
    size = float((matrix.amax(0) - matrix.amin(0)).max()) or 1.0
    pace, weight = 1.0, torch.full((matrix.shape[1],), 1 / matrix.shape[1], dtype=torch.float64)
    for _ in range(steps):
        gap = (matrix - chance @ matrix) / size
        weight = min_norm((gap * chance.sqrt()[:, None]).T)
        rise = gap @ weight
        if float(chance @ rise.square()) < 1e-14:
            break
        here = chance @ matrix
        while pace > 1e-9:
            there = chance * torch.exp(pace * rise)
            there = there / there.sum()
            if bool((there @ matrix >= here - 1e-13 * size).all()):
                break
            pace /= 2
        else:
            break
        chance, pace = there, min(2 * pace, 1e3)
    return chance, weight


@dataclass(frozen=True)
class MinNorm:
    """From "a policy for one voice, drawn by shares of the people" upwards, with nobody ever losing, to the frontier.

    It takes no side and compares no units: what it improves is improved for all. So where it ends depends on where it
    began, and a crowd that began unfairly stays so; `Leximin` and `Fair` choose an end on purpose.

    Attributes:
        rounds: policies asked for at most, besides the voices' own best ones. scale, tolerance: as in `MaxMin`.
        spread: chance given to policies other than the voices' own best at the start, so that they can grow.
    """

    rounds: int = 20
    scale: Literal["relative", "none"] = "relative"
    tolerance: float | None = None
    spread: float = 0.01

    def __post_init__(self) -> None:
        check_settings(self.rounds, self.scale)
        if not 0 < self.spread < 1:
            raise ValueError(f"`spread` must be in (0, 1), got {self.spread}.")

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery:
        """A lottery over policies; `diagnostics` as of `MaxMin`, and `start` (G,), what voices got at the beginning."""
        field = prepared(learner, voices, self.scale, Streams.of(seed).below("min norm"), progress)
        share = voices.weight.double()
        field.find(share)

        def first(policies: int) -> Float[Tensor, " P"]:
            even = torch.full((policies,), self.spread / policies, dtype=torch.float64)
            return even + (1 - self.spread) * torch.nn.functional.pad(share, (0, policies - len(share)))

        def solve(matrix: Float[Tensor, "P G"]) -> Mix:
            chance, weight = climb(matrix, first(len(matrix)))
            return Mix(chance, chance @ matrix, float(chance @ matrix @ weight), weight)

        field.close(lambda matrix: [solve(matrix)], self.rounds, self.tolerance)
        lottery = field.lottery(Mean(), solve)
        start = first(len(lottery.diagnostics["matrix"])) @ lottery.diagnostics["matrix"]
        return Lottery(lottery.policies, lottery.chance, {**lottery.diagnostics, "start": start})
