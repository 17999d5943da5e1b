"""A rater who leaves a question out."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pluralign.choice.protocol import ChoiceRule, OutcomeRule

WHEN = ("poor", "close")


@dataclass(frozen=True)
class Skip:
    """No answer when nothing shown is worth more than the threshold (or the two best are too close), else `rule`.

    A skipped question is no answer: it has no row in `Comparisons` (as a pass has none among votes), and `sample`
    marks it by a row of zeros, to be dropped. Probabilities, shares and likelihoods are those of an answer given
    that there is one, so a fit to the answers that were given is the fit of `rule`: skipping and choosing are
    independent once the worths are known. What skipping itself tells is in `log_answered`.

    "poor" looks at the level of worths, which comparisons alone never tell; it is for simulated people. "close"
    looks at differences.

    Attributes:
        rule: what happens otherwise.
        threshold: utils.
        when: "poor", if the best option shown is worth at most the threshold; "close", if it leads the next by at
            most that.
        softness: utils; 0 skips for certain below the threshold, else the chance of it is logistic with this scale.

    Source: teacher "skip" of Lee et al., B-Pref, NeurIPS 2021: "poor", softness 0. "close" and softness are ours.
    """

    rule: OutcomeRule
    threshold: float
    when: str = "poor"
    softness: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise ValueError(f"`threshold` must be a finite number of utils, got {self.threshold}.")
        if self.when not in WHEN:
            raise ValueError(f"`when` must be one of {', '.join(WHEN)}, got {self.when!r}.")
        if not 0 <= self.softness < math.inf:
            raise ValueError(f"`softness` must be 0 or more utils, got {self.softness}.")

    def log_answered(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
        """Log-probability that there is an answer; a place with utility -inf was not shown."""
        excess = lead(utility, self.when) - self.threshold
        if self.softness:
            return torch.nn.functional.logsigmoid(excess / self.softness)
        return torch.where(excess > 0, 0.0, -torch.inf).to(utility)

    def log_outcomes(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b O"]:
        """Log-probability of each outcome of `rule`, given that there is an answer."""
        return self.rule.log_outcomes(utility)

    def log_prob(self, utility: Float[Tensor, "*b K"], label: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
        """Log-likelihood in nats of the share `label`, given that there is an answer."""
        return self.rule.log_prob(utility, label)

    def share(self, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b K"]:
        """Expected share of the choice per place, given that there is an answer."""
        return self.rule.share(utility)

    def sample(self, utility: Float[Tensor, "M K"], *, generator: torch.Generator) -> Float[Tensor, "M K"]:
        """One answer per row, as a share per place; zeros where the question was skipped."""
        label = self.rule.sample(utility, generator=generator)
        chance = torch.rand(len(utility), generator=generator, dtype=utility.dtype)
        return label * (chance < self.log_answered(utility).exp())[:, None].to(label)


def lead(utility: Float[Tensor, "*b K"], when: str) -> Float[Tensor, "*b"]:
    """Utils of the best option shown ("poor"), or by which it leads the next ("close")."""
    best = utility.topk(2, -1).values
    return best[..., 0] if when == "poor" else best[..., 0] - best[..., 1]


def log_answered(rule: ChoiceRule, utility: Float[Tensor, "*b K"]) -> Float[Tensor, "*b"]:
    """Log-probability that there is an answer; 0 under rules that always give one.

    Raises:
        ValueError: `Skip` is inside another wrapper, which would forget it.
    """
    if isinstance(rule, Skip):
        return rule.log_answered(utility)
    inner = getattr(rule, "rule", None)
    while inner is not None:
        if isinstance(inner, Skip):
            raise ValueError(
                f"`Skip` must be outermost, got {type(rule).__name__} around it; turn the two around."
            )
        inner = getattr(inner, "rule", None)
    return torch.zeros(utility.shape[:-1], dtype=utility.dtype, device=utility.device)


def skipped(label: Float[Tensor, "M K"]) -> Bool[Tensor, " M"]:
    """Rows of zeros: questions without an answer."""
    return (label == 0).all(-1)
