"""Published methods by their published names: settings of our populations, alphabetical, one function each.

A recipe implements the method, not the released code: where that has a defect, or the method needs a language model
that our options have been through already, the docstring says what differs and why.
"""

from dataclasses import replace

from pluralign.population.camps import Camps
from pluralign.population.hierarchical import Hierarchical
from pluralign.population.in_context import InContext
from pluralign.population.low_rank import LowRank
from pluralign.population.prototypes import Prototypes
from pluralign.population.routed import Routed
from pluralign.population.variational import Variational
from pluralign.utility import MLP, Ideal, TasteMLP


def gpo() -> InContext:
    """GPO: a transformer reads a group's answered comparisons and predicts its other answers, without any fitting.

    Published and kept: no positions, what is judged attends to the context alone, trained across groups on contexts of
    random size, width 128, no simulated raters. What differs: 6 layers of self-attention over language-model embeddings
    put out chances; here seeds attend to the answers once, on top of Newton's normal guess, and put out draws of a
    taste over a basis, so that worths, voices and questions to ask come from the same call. The basis is learnt by
    `Variational` first.

    Source: Zhao et al., GPO, ICLR 2024, arXiv 2310.11523.
    """
    return InContext(simulated=0, steps=300, hidden=128, temper=1.0, rate=1e-3)


def lore(rank: int | str = "auto") -> LowRank:
    """LoRe: linear rewards on frozen embeddings, each rater a point on the simplex of K reward directions.

    Published: Adam on all numbers at once, 1,000 full-batch steps at rate .5, worths divided by 100, no prior; K 1 to 50
    by hand; a newcomer's weights by 500 more steps. What differs: singular vectors as start, both halves solved in
    turn, a ridge, a Dirichlet prior on the weights that newcomers start from, and a posterior in place of a point. Their
    pairs always put the chosen option first; ours need not.

    Source: Bose et al., LoRe, COLM 2025, arXiv 2504.14439.
    """
    return LowRank(rank, "simplex")


def maxmin_mixture(groups: int = 2) -> Camps:
    """The reward mixture of MaxMin-RLHF: every rater belongs to the one most likely camp.

    Published: two groups, hard assignment, a network per group. What differs: the released code starts from one
    fixed assignment, this from several, the best by likelihood being kept; rewards are linear in the features
    (give `utility=` for a network); predictions for a rater still average over camps by their chance.

    Source: Chakraborty et al., MaxMin-RLHF, ICML 2024, arXiv 2402.08925.
    """
    return Camps(groups=groups, hard=True)


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


def pal_a(prototypes: int | str = 2) -> Prototypes:
    """PAL-A: fixed ideal points, every rater's a mix of K = 1 or 2 prototypes.

    Published: distance (not squared) after a two-layer projector, hinge loss with margin 1 on its difference, Adam at
    5e-3 on weights and 1e-4 on the projector, batches of 4 pairs, one epoch, no prior on weights. What differs: squared
    distance over the given features, as in the paper's theory, which makes each half convex; a likelihood with a scale,
    since a hinge gives no probabilities; a Dirichlet prior, so that one answer moves a newcomer a little and not to a
    corner. For features that need a projector, `Prototypes(2, utility=MLP())`.

    Source: Chen et al., PAL, ICLR 2025, arXiv 2406.08469.
    """
    return Prototypes(prototypes, utility=Ideal())


def pal_b(prototypes: int = 2) -> Prototypes:
    """PAL-B: prototypes conditioned on the prompt; score = f(response) . sum_k w_k g_k(prompt).

    Published: cosine of a shared projector f and K networks g_k of the prompt, times a learned scale, cross-entropy.
    What differs: prompt and response come as one option, so K outputs of one network with two hidden layers,
    r_k(prompt, response), stand for f . g_k; mixed by weights on the simplex. The scale is free, not clamped. The
    Dirichlet prior has concentration 1.

    Source: Chen et al., PAL, ICLR 2025, arXiv 2406.08469.
    """
    return Prototypes(prototypes, utility=MLP(), concentration=1.0)


def pref(rank: int | str = "auto") -> LowRank:
    """PReF: reward factorisation, r_i = lambda_i . phi(x) with free weights.

    Published: singular vectors of the sparse rater x pair matrix as start, then gradient steps through a language model
    with 16 outputs; newcomers by logistic regression with a Laplace covariance, asked where their answer is least sure
    (`next_question`). What differs: ridge estimates fill in for the pairs that a rater has not seen; the steps are
    solved; the prior covariance of lambda is fitted, and the rank chosen. Accuracy is never a maximum over thresholds.

    Source: Shenfeld et al., PReF, 2025, arXiv 2503.06358.
    """
    return LowRank(rank, "free")


def spl() -> Variational:
    """SPL, swap-guided preference learning: VPL with cures for collapse.

    Published and kept: a FiLM decoder, one nat per rater for free. What differs: the mean latent of an answer set with
    winners and losers exchanged should be the negative; the paper asks for it by a penalty (weight 1e-5), here every
    answer's push is odd in its label by construction. The inverse-autoregressive posterior is replaced by importance
    weights under the exact posterior. The weight of the divergence is 1, not 3e-6: a bound is only one with its whole
    divergence. Width 32 instead of 1,024, for our posterior keeps a full covariance.

    Source: swap-guided preference learning, ICLR 2026, arXiv 2603.12595.
    """
    utility = TasteMLP((256, 256), way="film")
    return Variational(utility=utility, width=32, temper=1.0, free=1.0, ridge=0.0, rate=1e-3, draws=32)


def vpl() -> Variational:
    """VPL, variational preference learning, control version.

    Published and kept: latent width 32, a decoder on (x, z) with three hidden layers of 256 and concatenation, Adam at
    1e-3, weight 1 on the divergence, one draw per rater and step; predictions by the encoder alone. What differs: the
    encoder takes any number of answers in any order (theirs flattens a fixed number, and moves by more than half its
    norm when they are shuffled, or swapped with their labels); the divergence has its factor of one half; half
    of the raters show only some of their answers, so that few are read as well as many; held-out answers stop the
    training (theirs keeps the best annealed loss, which favours epochs of small weight); a learnt normal prior
    changes nothing where the first layer reads the latent. The pooled model is not offered as a way out, so a
    collapse is seen: `diagnostics["active_units"]`.

    Source: Poddar et al., NeurIPS 2024, arXiv 2408.10075.
    """
    return Variational(
        utility=TasteMLP((256, 256, 256), way="concatenation"),
        width=32,
        temper=1.0,
        rounds=1,
        ridge=0.0,
        rate=1e-3,
        samples=1,
        draws=16,
        weighted=False,
    )


def vpl_spo() -> Variational:
    """VPL-SPO: VPL whose rewards are chances to win, so that all raters' rewards have one scale.

    Published: a decoder of both options, and as reward the mean chance to win against 1,000 states of the data. What
    differs: the decoder reads one option at a time, so that its preferences cannot go in circles; 100 rivals, whose
    mean has a standard error of .05 at most. Answers are explained by the utils themselves.

    Source: Poddar et al., NeurIPS 2024, arXiv 2408.10075; Swamy et al., SPO, ICML 2024.
    """
    settings = vpl()
    assert isinstance(settings.utility, TasteMLP)
    return replace(settings, utility=replace(settings.utility, rivals=100))
