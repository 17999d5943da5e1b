"""A study in which every rater is asked what tells most about them, as one more design among those of the raters."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Options
from pluralign.elicitation.loop import Answering, interview
from pluralign.population.belief import Belief
from pluralign.raters.questions import questions
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Active:
    """Each question is the one of `pool` that is expected to tell most, after the answers so far.

    Attributes:
        belief: a fitted population, to which the raters are new.
        pool: random pairs that each rater may be asked.
    """

    belief: Belief
    pool: int = 40

    def ask(
        self, people: Answering, options: Options, each: int | Int[Tensor, " R"], seed: Seed
    ) -> Comparisons:
        """One question of everybody a round; raters who are to be asked less leave earlier.

        Raises:
            ValueError: more questions than the pool holds.
        """
        raters = len(people)  # type: ignore[arg-type]
        count = torch.full((raters,), each) if isinstance(each, int) else each
        if int(count.max()) > self.pool:
            raise ValueError(
                f"`pool` must hold all {int(count.max())} questions of a rater, got {self.pool}."
            )
        streams = Streams.of(seed)
        slate, rater = questions(len(options), self.pool, raters, streams.below("pool"))
        label = torch.full(slate.shape, 0.5)
        ids = tuple(str(r) for r in range(raters))
        candidates = Comparisons(options, slate, rater, label, rater_ids=ids)
        talk = interview(self.belief, people, candidates, int(count.max()), streams)
        return talk.answers.take(talk.round < count[talk.answers.rater])
