"""A policy for every taste, instead of one for all."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.policies.learner import Personal, Policy, Progress, Start, several
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.voices import Voices, cluster
from pluralign.rewards.tastes import draw_tastes
from pluralign.streams import Seed, Streams
from pluralign.utility.scores import Nonlinear


@dataclass(frozen=True)
class Personalised:
    """A policy that is told whom it serves: `policy.act(observation, z)`, or `policy.of(z)` for one person.

    Training serves people in turn, each by their own reward. It begins by imitating the best policies of a few
    voices, so that no taste's goal is missed because another one's was found first. Only directions of tastes are read:
    who reports in units ten times as large gets the same policy, and takes no attention from others.

    Attributes:
        people: how many tastes are drawn from a belief to train for; voices serve for themselves, evenly, as
            a minority is no easier to serve than a majority.
        voices: how many groups of like tastes a belief's people are put in: each is trained for as much as any other,
            and their centres are the voices whose policies are begun with.
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
        some, tastes = self._whom(people, streams)
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

    def _whom(self, people: Belief | Voices, streams: Streams) -> tuple[Voices, Tensor]:
        """A few voices to begin with, and all tastes to train for, as directions."""
        if isinstance(people, Voices):
            some = dataclasses.replace(people, z=_direction(people.z))
            return some, some.z
        drawn = _direction(draw_tastes(people, self.people, generator=streams("people")))
        if isinstance(people.worth, Nonlinear):
            some = people.voices(self.voices, streams.number("voices"))
            return some, torch.cat([some.z, drawn])
        even = torch.full((len(drawn),), 1 / len(drawn), dtype=torch.float64)
        metric = torch.eye(drawn.shape[1], dtype=torch.float64)
        centre, share = cluster(drawn, even, metric, self.voices, generator=streams("voices"))
        group = torch.cdist(drawn, centre).argmin(1)
        even = 1 / torch.bincount(group, minlength=len(centre)).double()[group]
        served = torch.multinomial(even, self.people, replacement=True, generator=streams("served"))
        return Voices(people.worth, centre, share), torch.cat([centre, drawn[served]])


def serve(personal: Personal, draws: Draws) -> tuple[Policy, ...]:
    """A policy for each rater in `draws`, from however many answers: `belief.adapt(answers)` for raters never met.

    Reward is linear in the taste, so the policy for the expected taste has the largest expected return over what is
    not known of the rater.

    Args:
        personal: what `Personalised` or `Portfolio` answered with.
    """
    return tuple(personal.of(z.double()) for z in draws.mean)


def _direction(z: Float[Tensor, "*b Z"]) -> Float[Tensor, "*b Z"]:
    # In single precision, so that no rounding tells how large a taste was.
    length = z.double().norm(dim=-1, keepdim=True)
    return torch.where(length > 0, z.double() / length, z.double()).float().double()
