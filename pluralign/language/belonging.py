"""Who is of which camp, and whose rewards a writer is to follow."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.language.text_belief import TextBelief
from pluralign.language.writer import Reward
from pluralign.population.belief import Belief
from pluralign.population.voices import Voices
from pluralign.utility.scores import AtTastes, Nonlinear


def belonging(belief: Belief, voices: Voices, data: Comparisons) -> Float[Tensor, "R G"]:
    """Chance that each rater speaks with each voice, by Bayes' rule from all answers; the shares where there are none."""
    worth = voices.returns(data.options)[data.slate].movedim(-1, 0)
    log = belief.rule.log_prob(worth, data.label.to(worth).expand(worth.shape)).T
    prior = voices.weight.to(worth).clamp_min(1e-12).log().expand(data.raters, -1)
    return torch.softmax(prior.index_add(0, data.rater, log), -1)


def voice_of(judge: TextBelief, rater: str) -> Voices:
    """One voice: the expected worth of texts to one rater.

    Raises:
        KeyError: the rater was never met.
    """
    draws, worth = judge.of(rater), judge.belief.worth
    one = torch.ones(1)
    if isinstance(worth, Nonlinear):
        return Voices(AtTastes(worth, draws.z[:, 0]), draws.weight[:, 0][None], one, (rater,))
    return Voices(worth, draws.mean, one, (rater,))


def heard(judge: TextBelief, voices: Voices) -> Reward:
    """What texts are worth to voices, read by the judge's backbone."""

    def reward(prompts: Sequence[str], answers: Sequence[str]) -> Float[Tensor, "N G"]:
        return voices.returns(judge.texts(prompts, answers))

    return reward
