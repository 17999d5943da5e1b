"""Published methods by their names: settings of our populations, with what differs from the paper and why."""

from pluralign.population.camps import Camps
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.routed import Routed


def micro(heads: int = 5) -> Routed:
    """MiCRo: a mixture of reward heads with a gate from the context, then Hedge for a few labelled answers.

    Published: 5 heads on HelpSteer2 (10 on RPR), a soft gate from the prompt by a network, Hedge at temperature
    1e-3 (1e-4 on RPR) on mean losses. What differs: gates are steps in the columns of `context`, with a threshold
    for every rater, so the mixture is over people as well as prompts and its likelihood is exact where the paper's
    is a bound; Hedge runs at pace 1, which is Bayes' rule, since at the published temperature a single answer
    decides for good and probabilities are no longer calibrated; no entropy term is needed to keep heads alive, for
    EM starts from several places. Heads are linear in the features given; there is no fine-tuned backbone.

    Source: MiCRo, EMNLP 2025, arXiv 2505.24846.
    """
    return Routed(heads=heads)


def mrm() -> Hierarchical:
    """MRM: a shared start of the weights over two base rewards, from which each person moves a little.

    Published: two base rewards, simplex weights, one inner gradient step (MAML), hard raters weighted up (ratio .5,
    slope .5). What differs: one gradient step from a learnt start is to first order the most probable taste under
    a normal prior (Grant et al. 2018), which is what is fitted, with the prior's spread learnt too instead of a
    step size; weights are free, not on a simplex, so that a person can dislike what a base reward likes; raters
    count equally, as the tail weighting trades the average for the worst-off, which is left to policies.
    `rank` holds for features wider than 64; narrow ones are their own base rewards.

    Source: MRM, SIGIR 2026, arXiv 2601.18731.
    """
    return Hierarchical(rank=2, temper=1.0, draws=1)


def maxmin_mixture(groups: int = 2) -> Camps:
    """The reward mixture of MaxMin-RLHF: every rater belongs to the one most likely camp.

    Published: two groups, hard assignment, a network per group. What differs: the released code starts from one
    fixed assignment, this from several, the best by likelihood being kept; rewards are linear in the features
    (give `utility=` for a network); predictions for a rater still average over camps by their chance.

    Source: Chakraborty et al., MaxMin-RLHF, ICML 2024, arXiv 2402.08925.
    """
    return Camps(groups=groups, hard=True)
