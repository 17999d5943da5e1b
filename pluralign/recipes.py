"""Published methods by their published names: each is a few lines of settings, alphabetical, one function each.

A recipe implements the method, not the released code: where that has a defect, or the method needs a language model
that our options have been through already, the docstring says what differs and why.
"""

from pluralign.population.low_rank import LowRank
from pluralign.population.prototypes import Prototypes
from pluralign.utility import MLP, Ideal


def lore(rank: int | str = "auto") -> LowRank:
    """LoRe: Bose et al. (COLM 2025, arXiv 2504.14439). Linear rewards on frozen embeddings, weights on the simplex.

    Published: Adam on all numbers at once, 1,000 full-batch steps at rate .5, worths divided by 100, no prior; K 1 to 50
    by hand; a newcomer's weights by 500 more steps. Here: singular vectors as start, both halves solved in turn, a
    ridge, a Dirichlet prior on the weights that newcomers start from, and a posterior in place of a point. Their
    pairs always put the chosen option first; ours need not.
    """
    return LowRank(rank, "simplex")


def pal_a(prototypes: int | str = 2) -> Prototypes:
    """PAL-A: Chen et al. (ICLR 2025, arXiv 2406.08469). Fixed ideal points, mixes of K = 1 or 2 prototypes.

    Published: distance (not squared) after a two-layer projector, hinge loss with margin 1 on its difference, Adam at
    5e-3 on weights and 1e-4 on the projector, batches of 4 pairs, one epoch, no prior on weights. Here: squared distance
    over the given features, as in the paper's theory, which makes each half convex; a likelihood with a scale, since a
    hinge gives no probabilities; a Dirichlet prior, so that one answer moves a newcomer a little and not to a corner.
    For features that need a projector, `Prototypes(2, utility=MLP())`.
    """
    return Prototypes(prototypes, utility=Ideal())


def pal_b(prototypes: int = 2) -> Prototypes:
    """PAL-B: the same paper's prompt-conditioned prototypes: score = f(response) . sum_k w_k g_k(prompt).

    Published: cosine of a shared projector f and K networks g_k of the prompt, times a learned scale, cross-entropy.
    Here: prompt and response come as one option, so K outputs of one network with two hidden layers, r_k(prompt,
    response), stand for f . g_k; mixed by weights on the simplex. The scale is free, not clamped. The Dirichlet
    prior has concentration 1.
    """
    return Prototypes(prototypes, utility=MLP(), concentration=1.0)


def pref(rank: int | str = "auto") -> LowRank:
    """PReF: Shenfeld et al. (2025). Reward factorisation r_i = lambda_i . phi(x), free weights.

    Published: singular vectors of the sparse rater x pair matrix as start, then gradient steps through a language model
    with 16 outputs; newcomers by logistic regression with a Laplace covariance, asked where their answer is least sure
    (`next_question`). Here: ridge estimates fill in for the pairs that a rater has not seen; the steps are solved; the
    prior covariance of lambda is fitted, and the rank chosen. Accuracy is never a maximum over thresholds.
    """
    return LowRank(rank, "free")
