"""The best return for the worst-off voice, as a lottery over policies."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pluralign.policies.fair import Field, prepared
from pluralign.policies.learner import Learner, Progress
from pluralign.policies.lottery import Lottery
from pluralign.population.voices import Voices
from pluralign.rewards.welfare import WorstOff
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class MaxMin:
    """Largest smallest return over voices: voices are weighed, a learner answers, the weights move.

    The answer is a lottery over the policies found; the last one alone can be unfair. Chances are those of the
    matrix game "which policy against which voice" on fresh episodes, which no other weighing of the same policies
    beats. How the weights move is `play`:

    - "oracle" (default): to the worst weights for the policies so far, the dual of that game (double oracle,
      McMahan et al. 2003; the same as column generation for the linear programme). Starts from every voice's own
      best policy, stops once a best response is no better than the lottery. A few rounds, so right for learners
      that take long; exact ones end at the exact optimum.
    - "hedge": multiplicative weights. With exact best responses the average over all rounds is within `gap` of
      the optimum (Freund & Schapire 1999; the constant is in Cesa-Bianchi & Lugosi 2006, theorem 2.2), and the
      matrix game only improves on the average. Hundreds of rounds, but steady with many voices.

    Attributes:
        rounds: best responses at most, besides the voices' own best policies.
        scale: "relative" puts each voice on 0 = a random policy, 1 = its own best policy. Voices come in
            units that nobody can compare; "none" takes them as they are, and then the smallest unit decides.
        play: see above.
        tolerance: a best response must be better than the lottery by this, on the scale used, beyond its standard
            error; None: by rounding where returns are exact, by a hundredth of their spread where sampled.
        spread: largest minus smallest return of a voice, on the scale used, for "hedge"; None measures it on the
            random policy and the voices' own best ones.
    """

    rounds: int = 100
    scale: Literal["relative", "none"] = "relative"
    play: Literal["oracle", "hedge"] = "oracle"
    tolerance: float | None = None
    spread: float | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"`rounds` must be at least 1, got {self.rounds}.")
        if self.spread is not None and not self.spread > 0:
            raise ValueError(f"`spread` must be positive, got {self.spread}; None measures it.")

    def gap(self, voices: int, spread: float | None = None) -> float:
        """How far "hedge" can be from the optimum at most, on the scale used, if `spread` holds."""
        spread = (1.0 if self.spread is None else self.spread) if spread is None else spread
        return spread * math.sqrt(math.log(voices) / (2 * self.rounds))

    def optimise(
        self, learner: Learner, voices: Voices, seed: Seed = 0, progress: Progress | None = None
    ) -> Lottery:
        """A lottery over policies; `diagnostics` has the scale, the returns of all policies and the voice weights.

        Args:
            learner: finds policies. voices: who is to be served; their shares do not matter.
            seed: of everything random. progress: told 1 after each policy found.
        """
        streams = Streams.of(seed).below("maxmin")
        field = prepared(learner, voices, self.scale, streams, progress)
        if self.play == "hedge":
            self._hedge(field)
        else:
            field.respond(WorstOff(), self.rounds, self.tolerance)
        return field.lottery(WorstOff())

    def _hedge(self, field: Field) -> None:
        spread = self.spread
        if spread is None:
            known = torch.cat([field.scale(field.random.mean(0, keepdim=True)), field.matrix])
            spread = float((known.amax(0) - known.amin(0)).max())
        step = math.sqrt(8 * math.log(max(len(field.voices), 2)) / self.rounds) / spread
        total: Tensor = torch.zeros(len(field.voices), dtype=torch.float64)
        for _ in range(self.rounds):
            total = total + field.find(torch.softmax(-step * total, 0))
