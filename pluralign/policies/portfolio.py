"""A few policies for everybody: each person is served by the best of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.policies.fair import Field, check_settings, prepared
from pluralign.policies.learner import Learner, Policy, Progress
from pluralign.policies.saving import save_policy
from pluralign.population.voices import Voices
from pluralign.streams import Seed, Streams
from pluralign.utility import Worth


@dataclass(frozen=True)
class Menu:
    """K policies; a person with taste z gets the one whose expected return is best for z.

    Attributes:
        policies: K of one world. basis: (K, Z) what each is worth in the directions of taste: returns = basis @ z.
        serves: (G,) the place of the policy that each voice is served by.
        diagnostics: numbers about how the menu was found.
    """

    policies: tuple[Policy, ...]
    basis: Float[Tensor, "K Z"]
    serves: Int[Tensor, " G"]
    diagnostics: Mapping[str, Any] = dataclass_field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.policies) != len(self.basis):
            raise ValueError(
                f"`basis` must have one row for each of the {len(self.policies)} policies, got {len(self.basis)}."
            )

    def __len__(self) -> int:
        return len(self.policies)

    def choice(self, z: Float[Tensor, "*B Z"]) -> Int[Tensor, "*B"]:
        """The place of the policy that serves each taste best; the size of a taste does not matter."""
        return (z.to(self.basis) @ self.basis.T).argmax(-1)

    def of(self, z: Float[Tensor, " Z"]) -> Policy:
        """The policy for one taste."""
        return self.policies[int(self.choice(z))]

    def act(
        self,
        observation: np.ndarray,
        z: Float[Tensor, "*B Z"],
        *,
        generator: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Serve taste z, (Z,) for all or (B, Z) for each observation."""
        observation = np.asarray(observation)
        if z.dim() == 1:
            return self.of(z).act(observation, generator=generator)
        if len(z) != len(observation):
            raise ValueError(
                f"`z` must be one taste or one for each of the {len(observation)} observations, got {len(z)}."
            )
        mine, action = self.choice(z).numpy(), None
        for k in np.unique(mine):
            done = self.policies[int(k)].act(observation[mine == k], generator=generator)
            action = (
                np.zeros((len(observation), *done.shape[1:]), dtype=done.dtype) if action is None else action
            )
            action[mine == k] = done
        assert action is not None
        return action

    def save(self, folder: str | Path) -> None:
        """Write JSON + safetensors into a new folder."""
        save_policy(self, folder)


def greedy(matrix: Float[Tensor, "P G"], share: Float[Tensor, " G"], k: int) -> list[int]:
    """K policies, each the one that adds most to what people get from the best of those before it.

    What people get is a submodular function of the set, so greed is worth at least 1 - 1/e of the best set, counted
    from the worst that each person meets in `matrix` (Nemhauser, Wolsey and Fisher 1978).
    """
    have, chosen = matrix.amin(0), list[int]()
    for _ in range(min(k, len(matrix))):
        gain = (torch.maximum(matrix, have) - have) @ share
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
        have = torch.maximum(have, matrix[chosen[-1]])
    return chosen


@dataclass(frozen=True)
class Portfolio:
    """K policies such that people, each served by the best of the K, get as much as possible.

    Greedy choice among the policies known, then turns of two steps as in k-means: everybody moves to the policy
    that is best for them, and each policy is trained anew for those who came. A turn that does not help ends the search,
    so the menu is a local optimum, never worse than the greedy one.

    Attributes:
        k: policies at most; as many as voices give everybody their own best one.
        rounds: turns at most. scale: as in `MaxMin`; on the relative scale a gap is the part of the own best lost.
        within: a person counts as covered whose gap is at most this.
    """

    k: int = 3
    rounds: int = 10
    scale: Literal["relative", "none"] = "relative"
    within: float = 0.1

    def __post_init__(self) -> None:
        check_settings(self.rounds, self.scale)
        if self.k < 1:
            raise ValueError(f"`k` must be at least 1, got {self.k}.")

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Menu:
        """A menu; `diagnostics` has `gaps` (G,) of the voices to their own best policy, the `gap` of the worst served and
        on average over the people (`mean_gap`), and `coverage`, the share of the people within `within`."""
        streams = Streams.of(seed).below("portfolio")
        field = prepared(learner, voices, self.scale, streams, progress)
        share = voices.weight.double()
        field.find(share)
        chosen = greedy(field.matrix, share, self.k)
        for _ in range(self.rounds):
            better = self._turn(field, chosen, share)
            if better is None:
                break
            chosen = better
        # Chosen on some episodes, judged on others.
        number = streams.number("held out")
        fresh = lambda p: learner.returns(field.policies[p], voices, seed=number).double().mean(0)
        matrix = field.scale(torch.stack([fresh(p) for p in chosen]))
        # The best policy known of each voice, which need not be the one that was trained for it alone.
        own = field.scale(torch.stack([fresh(p) for p in field.matrix.argmax(0).tolist()])).diagonal()
        place = field.matrix[chosen].argmax(0)
        gaps = own - matrix.gather(0, place[None])[0]
        heard = share > 0
        diagnostics = {
            "matrix": matrix,
            "gaps": gaps,
            "gap": float(gaps[heard].max()),
            "mean_gap": float(gaps @ share),
            "coverage": float(share[gaps <= self.within].sum()),
            "asked": torch.stack(field.asked),
        }
        return Menu(
            tuple(field.policies[p] for p in chosen),
            basis_returns(learner, voices.worth, [field.policies[p] for p in chosen], number),
            place,
            diagnostics,
        )

    def _turn(self, field: Field, chosen: list[int], share: Float[Tensor, " G"]) -> list[int] | None:
        """The next choice, if it is better."""
        before = float(field.matrix[chosen].amax(0) @ share)
        mine = field.matrix[chosen].argmax(0)
        for k in range(len(chosen)):
            who = share * (mine == k)
            if float(who.sum()) > 0 and not any(torch.equal(who / who.sum(), old) for old in field.asked):
                field.find(who / who.sum())
        matrix = field.matrix
        after = [int((matrix @ (share * (mine == k))).argmax()) for k in range(len(chosen))]
        again = greedy(matrix, share, self.k)
        size = 1e-9 * (1 + float(matrix.abs().max()))
        best = max((after, again), key=lambda some: float(matrix[some].amax(0) @ share))
        return best if float(matrix[best].amax(0) @ share) > before + size else None


def basis_returns(
    learner: Learner, worth: Worth, policies: list[Policy], seed: Seed = 0
) -> Float[Tensor, "K Z"]:
    """(K, Z) expected discounted sums of the basis, from which the return for any taste follows."""
    width = worth.width
    each = torch.full((width,), 1 / width, dtype=torch.float64)
    directions = Voices(worth, torch.eye(width, dtype=torch.float64), each)
    return torch.stack([learner.returns(p, directions, seed=seed).double().mean(0) for p in policies])
