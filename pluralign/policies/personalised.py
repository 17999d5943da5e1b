"""A policy for every taste, instead of one for all."""

from dataclasses import dataclass
from typing import Any

import torch

from pluralign.policies.learner import Personal, Policy, Progress, Start, several
from pluralign.population.belief import Belief
from pluralign.population.voices import Voices
from pluralign.rewards.tastes import draw_tastes
from pluralign.streams import Seed, Streams


@dataclass(frozen=True)
class Personalised:
    """A policy that is told whom it serves: `policy.act(observation, z)`, or `policy.of(z)` for one person.

    Training serves people in turn, each by their own reward. It begins by imitating the best policies of a few
    voices, so that no taste's goal is missed because another one's was found first.

    Attributes:
        people: how many tastes are drawn from a belief to train for; voices serve for themselves, evenly, as
            a minority is no easier to serve than a majority.
        voices: how many voices sum up a continuous population, for the policies to begin with.
    """

    people: int = 512
    voices: int = 4

    def optimise(
        self,
        learner: Any,
        people: Belief | Voices,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> Personal:
        """A policy conditioned on a taste.

        Args:
            learner: one that can `personalise`: Tabular and PPO can.
            people: whom to serve; a belief's raters are drawn with their uncertainty.
            start: policies to begin with, for example those of a MaxMin lottery; by default each voice's own best
                policy is trained first.
            progress: told 1 after each policy.
        """
        if not hasattr(learner, "personalise"):
            raise TypeError(
                f"{type(learner).__name__} cannot serve tastes by one policy; use Tabular or PPO, or give a learner "
                "the method personalise(worth, tastes, *, seed, start, progress)."
            )
        streams = Streams.of(seed).below("personalised")
        some = people if isinstance(people, Voices) else people.voices(self.voices, streams.number("voices"))
        tastes = some.z
        if not isinstance(people, Voices):
            tastes = torch.cat([tastes, draw_tastes(people, self.people, generator=streams("people"))])
        begin: tuple[Policy, ...] = several(start)
        if not begin:
            for g, one in enumerate(torch.eye(len(some), dtype=torch.float64)):
                begin = (*begin, learner.improve(some, one, seed=streams.number("own", g)))
                if progress is not None:
                    progress(1)
        policy = learner.personalise(some.worth, tastes, seed=streams.number("serve"), start=begin)
        if progress is not None:
            progress(1)
        return policy
