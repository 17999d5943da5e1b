"""What every choice rule promises, and closed-form values (derivations in the comments)."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from pluralign.choice import (
    RULES,
    ChoiceRule,
    Davidson,
    EqualThreshold,
    Lapse,
    LeftBias,
    Luce,
    Mistake,
    Ordinal,
    OutcomeRule,
    RaoKupper,
    Skip,
    Thurstone,
    rule_from_json,
    rule_to_json,
)
from pluralign.choice.outcomes import answers
from pluralign.choice.skip import log_answered, skipped

PAIRS = [
    Luce(),
    Luce(0.3),
    Thurstone(),
    Thurstone(2.0),
    Davidson(),
    Davidson(0.2, 0.5),
    RaoKupper(),
    RaoKupper(2.0, 0.5),
    Ordinal(),
    Ordinal((0.0, 1.0)),
    Lapse(Luce(), 0.1),
    Lapse(Davidson(), 0.3, bias=0.8),
    Mistake(RaoKupper(), 0.7),
    EqualThreshold(Luce(), 0.5),
    EqualThreshold(Lapse(Davidson(), 0.1), 0.5),
    LeftBias(Ordinal(), 0.4),
]
SKIPS = [
    Skip(Davidson(), 0.5),
    Skip(Luce(), 0.5, "poor", 0.7),
    Skip(Lapse(Luce(), 0.1), 0.5, "close"),
    Skip(Luce(), 0.5, "close", 0.7),
]
SYMMETRIC = [r for r in PAIRS if not isinstance(r, LeftBias) and getattr(r, "bias", 0.5) == 0.5]
SLATES = [Luce(), Luce(0.3), Lapse(Luce(), 0.2), LeftBias(Luce(), 0.4)]
LABELS = [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
everyone = pytest.mark.parametrize("rule", PAIRS, ids=repr)


def pair(d):
    return torch.tensor([d, 0.0], dtype=torch.float64)


def chances(rule, d):
    return rule.log_outcomes(pair(d)).exp().tolist()


def likelihood(rule, d, first):
    return rule.log_prob(pair(d), torch.tensor([first, 1 - first], dtype=torch.float64)).exp().item()


# Oracles at d = 0.7, computed from the formulas of the papers in float64.
@pytest.mark.parametrize(
    ("rule", "first", "expected"),
    [
        (Luce(), 1.0, 0.6681877722),
        (Lapse(Luce(), 0.1), 1.0, 0.6513689950),
        (Lapse(Luce(), 0.2), 1.0, 0.6345502177),
        (Mistake(Luce(), 0.1), 1.0, 0.6345502177),
        (Davidson(0.5), 1.0, 0.5408535490),
        (Davidson(0.5), 0.5, 0.1905665271),
        (Davidson(0.5), 0.0, 0.2685799239),
        (Davidson(1.0), 1.0, 0.4542825089),
        (Davidson(1.0), 0.5, 0.3201274734),
        (Davidson(1.0), 0.0, 0.2255900177),
        (RaoKupper(1.5), 1.0, 0.5731059853),
        (RaoKupper(1.5), 0.5, 0.1781767158),
        (RaoKupper(1.5), 0.0, 0.2487172989),
        (RaoKupper(2.0), 1.0, 0.5017131982),
        (RaoKupper(2.0), 0.5, 0.2993809992),
        (RaoKupper(2.0), 0.0, 0.1989058027),
    ],
)
def test_published_formulas_at_seven_tenths(rule, first, expected):
    assert likelihood(rule, 0.7, first) == pytest.approx(expected, abs=1e-10)


def test_probit_is_the_normal_distribution():
    assert likelihood(Thurstone(2.0), 0.7, 1.0) == pytest.approx(norm.cdf(0.35), abs=1e-14)
    assert float(Thurstone().log_prob(pair(-40.0), pair(1.0))) == pytest.approx(norm.logcdf(-40), rel=1e-12)


def test_probit_and_logit_are_alike():
    """s(1.702 x) and the normal distribution differ by .0095 at most, a classic."""
    d = torch.linspace(-6, 6, 2401, dtype=torch.float64)
    worth = torch.stack([d, torch.zeros_like(d)], -1)
    gap = (Luce(1 / 1.702).share(worth) - Thurstone().share(worth)).abs().max()
    assert 0.0094 < float(gap) < 0.0095


def test_ordinal_grades_are_differences_of_logistic_curves():
    s = lambda x: 1 / (1 + math.exp(-x))
    cuts = [-1.5, -0.5, 0.5, 1.5]
    below = [0.0, *(s(c - 0.7) for c in cuts), 1.0]
    grades = [b - a for a, b in zip(below[:-1], below[1:])]  # from "clearly the second" up
    assert chances(Ordinal((0.5, 1.5)), 0.7)[::-1] == pytest.approx(grades, abs=1e-14)
    for grade, share in zip(grades, [0, 0.25, 0.5, 0.75, 1]):
        assert likelihood(Ordinal((0.5, 1.5)), 0.7, share) == pytest.approx(grade, abs=1e-14)
    assert len(chances(Ordinal((0.0, 1.0)), 0.7)) == 4  # an even ladder


def test_equal_options_tie_with_the_textbook_chance():
    assert likelihood(Davidson(0.4), 0.0, 0.5) == pytest.approx(0.4 / 2.4, abs=1e-15)


@pytest.mark.parametrize(
    "rule", [Davidson(0.0), RaoKupper(1.0), Ordinal((0.0,)), EqualThreshold(Luce(), 0.0)]
)
@pytest.mark.parametrize("d", [-3.0, 0.0, 0.7])
def test_without_ties_they_are_bradley_terry(rule, d):
    assert rule.share(pair(d)).tolist() == pytest.approx(Luce().share(pair(d)).tolist(), abs=1e-15)
    for first in (0.0, 1.0):
        assert likelihood(rule, d, first) == pytest.approx(likelihood(Luce(), d, first), abs=1e-15)


def test_rao_kupper_is_an_ordinal_rule_with_cuts_at_the_logarithm():
    for d in (-2.0, 0.0, 0.7):
        assert chances(RaoKupper(1.7), d) == pytest.approx(chances(Ordinal((math.log(1.7),)), d), abs=1e-15)


@given(st.floats(0, 0.5), st.floats(-5, 5), st.sampled_from(SYMMETRIC))
@settings(deadline=None)
def test_a_mistake_is_two_lapses(rate, d, rule):
    # With ties a guess is never one, so the two part; without they cannot be told apart.
    if len(chances(rule, d)) == 2:
        assert chances(Mistake(rule, rate), d) == pytest.approx(chances(Lapse(rule, 2 * rate), d), abs=1e-12)


def test_plackett_luce_is_a_run_of_choices_from_the_rest():
    utility = torch.tensor([0.5, -0.2, 1.0, 0.0], dtype=torch.float64)
    total, runs = 0.0, []
    for best in (2, 0, 3, 1):
        total += float(Luce().log_prob(utility, torch.eye(4, dtype=torch.float64)[best]))
        runs.append(total)
        utility[best] = -math.inf  # no longer shown
    assert runs[1] == pytest.approx(-1.5656656863, abs=1e-10)
    assert runs[3] == pytest.approx(-2.1638045557, abs=1e-10)


def test_graded_labels_tie_by_their_distance_from_certainty():
    rule, d = Davidson(0.5), 0.7
    win, tie, _ = rule.log_outcomes(pair(d)).tolist()
    label = torch.tensor([0.7, 0.3], dtype=torch.float64)
    assert float(rule.log_prob(pair(d), label)) == pytest.approx(0.4 * win + 0.6 * tie, abs=1e-12)
    assert float(Davidson(0.0).log_prob(pair(d), label)) == -math.inf  # a rule without ties excludes it
    third = torch.tensor([[1 / 3, 2 / 3]])  # float32: not exactly a grade, and still no other grade
    sharp = EqualThreshold(Ordinal((0.2, 0.5, 2.0)), 0.1)  # seven grades, thirds among them
    assert math.isfinite(sharp.log_prob(pair(1.0).float()[None], third).item())


@everyone
def test_outcomes_are_a_distribution_and_the_share_is_their_mean(rule):
    assert isinstance(rule, ChoiceRule)
    assert isinstance(rule, OutcomeRule)
    utility = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    chance = rule.log_outcomes(utility).exp()
    torch.testing.assert_close(chance.sum(-1), torch.ones(4, 3, dtype=torch.float64), atol=1e-12, rtol=0)
    label = answers(2, chance.shape[-1])
    torch.testing.assert_close(rule.share(utility), chance @ label, atol=1e-12, rtol=0)
    torch.testing.assert_close(rule.share(utility).sum(-1), torch.ones(4, 3, dtype=torch.float64))
    got = torch.stack([rule.log_prob(utility, row.expand(4, 3, 2)) for row in label], -1)
    torch.testing.assert_close(got.exp(), chance, atol=1e-12, rtol=0)


@pytest.mark.parametrize("rule", PAIRS + SLATES, ids=repr)
@given(shift=st.integers(-64, 64))
@settings(deadline=None, max_examples=20)
def test_a_constant_changes_nothing(rule, shift):
    utility = torch.tensor(
        [[0.75, 0.0], [-2.0, 1.5], [0.25, 0.25]], dtype=torch.float64
    )  # eighths: no rounding
    torch.testing.assert_close(
        rule.log_outcomes(utility + shift), rule.log_outcomes(utility), atol=1e-12, rtol=1e-12
    )


@pytest.mark.parametrize("rule", SYMMETRIC, ids=repr)
def test_swapping_a_pair_swaps_the_answer(rule):
    utility = torch.randn(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # Exact but for the order in which log_softmax adds three numbers near 1.
    torch.testing.assert_close(
        rule.log_outcomes(utility.flip(-1)), rule.log_outcomes(utility).flip(-1), atol=4e-15, rtol=0
    )


@everyone
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_utils_are_no_trouble(rule, dtype):
    utility = torch.tensor([[1000.0, 0.0], [0.0, 1000.0]], dtype=dtype, requires_grad=True)
    label = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=dtype)
    value = rule.log_prob(utility, label)
    assert value.dtype == dtype
    assert not value.isnan().any()
    assert value.isfinite().all()
    (slope,) = torch.autograd.grad(value.sum(), utility, create_graph=True)
    assert slope.isfinite().all()
    (bend,) = torch.autograd.grad(slope[:, 0].sum(), utility)  # Newton's method needs it
    assert bend.isfinite().all()


@everyone
def test_gradients(rule):
    utility = torch.tensor([[0.7, 0.1], [-1.3, 0.4], [2.0, 2.0]], dtype=torch.float64)[:, None].expand(
        3, 3, 2
    )
    label = torch.tensor(LABELS, dtype=torch.float64).expand(3, 3, 2)
    allowed = rule.log_prob(utility, label).isfinite()  # the gradient of an impossible answer is none
    for u, y in zip(utility[allowed], label[allowed]):
        leaf = u.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, y=y: rule.log_prob(x, y), (leaf,))
        assert torch.autograd.gradgradcheck(lambda x, y=y: rule.log_prob(x, y), (leaf,))


@everyone
def test_simulated_frequencies_lie_in_exact_binomial_limits(rule):
    count, draw = 4000, torch.Generator().manual_seed(0)
    utility = pair(0.7).expand(count, 2)
    got = rule.sample(utility, generator=draw)
    label = answers(2, rule.log_outcomes(utility).shape[-1])
    for row, chance in zip(label, chances(rule, 0.7)):
        hits = int((got == row).all(-1).sum())
        assert binomtest(hits, count, min(chance, 1.0)).pvalue > 1e-3


@pytest.mark.parametrize("rule", SLATES, ids=repr)
def test_places_that_were_not_shown_get_nothing_and_give_no_nan(rule):
    utility = torch.tensor([[0.3, -0.2, -math.inf], [0.1, 0.4, 0.2]], dtype=torch.float64, requires_grad=True)
    label = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    share = rule.share(utility)
    assert share[0, 2].item() == 0
    assert share.sum(-1).tolist() == pytest.approx([1, 1])
    torch.testing.assert_close(share[:1, :2], rule.share(utility[:1, :2]))  # as if it were a pair
    rule.log_prob(utility, label).sum().backward()
    assert utility.grad is not None
    assert not utility.grad.isnan().any()
    finite = torch.tensor([0.1, 0.4, 0.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: rule.log_prob(x, label[1]), (finite,))
    drawn = rule.sample(utility.detach()[:1].expand(500, 3), generator=torch.Generator().manual_seed(0))
    assert drawn[:, 2].sum() == 0


def test_thresholds_exclude_what_they_exclude():
    rule = EqualThreshold(Luce(), 0.5)
    assert [likelihood(rule, 0.3, f) for f in (1.0, 0.5, 0.0)] == [0, 1, 0]
    assert likelihood(rule, 0.7, 0.5) == 0
    assert likelihood(rule, 0.7, 1.0) == pytest.approx(likelihood(Luce(), 0.7, 1.0))
    assert likelihood(rule, 0.5, 0.5) == 0  # strictly below
    # Equal wins over the lapse when it is the outer one, as in the B-Pref teachers.
    assert likelihood(EqualThreshold(Lapse(Luce(), 0.2), 0.5), 0.3, 0.5) == 1


def test_left_bias_and_biased_guesses():
    assert likelihood(LeftBias(Luce(), 0.4), 0.3, 1.0) == pytest.approx(likelihood(Luce(), 0.7, 1.0))
    assert likelihood(Lapse(Luce(), 1.0, bias=0.8), -9.0, 1.0) == pytest.approx(0.8)
    assert likelihood(Lapse(Davidson(), 1.0), -9.0, 0.5) == 0  # nobody guesses a tie


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Luce(0.0), "`temperature` must be positive"),
        (lambda: Davidson(-1.0), "`nu` must be 0"),
        (lambda: RaoKupper(0.9), "`theta` must be 1"),
        (lambda: Ordinal((1.0, 0.5)), "`cuts` must be ascending"),
        (lambda: Ordinal(()), "`cuts` must be ascending"),
        (lambda: Lapse(Luce(), 1.1), "`rate` must be a probability"),
        (lambda: Lapse(Luce(), 0.1, bias=2.0), "`bias` must be a probability"),
        (lambda: Mistake(Luce(), -0.1), "`rate` must be a probability"),
        (lambda: EqualThreshold(Luce(), -1.0), "`threshold` must be 0"),
        (lambda: LeftBias(Luce(), math.inf), "`bias` must be a finite"),
        (lambda: Skip(Luce(), math.inf), "`threshold` must be a finite"),
        (lambda: Skip(Luce(), 0.0, "bored"), "`when` must be one of poor, close, got 'bored'"),
        (lambda: Skip(Luce(), 0.0, softness=-1.0), "`softness` must be 0"),
        (
            lambda: log_answered(Lapse(Skip(Luce(), 0.0), 0.1), torch.zeros(1, 2)),
            "`Skip` must be outermost, got Lapse",
        ),
        (lambda: Davidson().share(torch.zeros(1, 3)), "Davidson judges pairs, got slates of 3"),
        (lambda: Lapse(Luce(), 0.1, bias=0.7).share(torch.zeros(1, 3)), "wrap the rule in LeftBias"),
        (lambda: EqualThreshold(Ordinal((0.0, 1.0)), 0.1).share(torch.zeros(1, 2)), "no middle for a tie"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("rule", PAIRS + SKIPS, ids=repr)
def test_rules_go_through_json_and_back(rule):
    assert rule_from_json(json.loads(json.dumps(rule_to_json(rule)))) == rule


def test_json_of_a_nested_rule_and_its_errors():
    rule = EqualThreshold(Lapse(Luce(0.5), 0.1), 0.2)
    assert rule_to_json(rule) == {
        "name": "EqualThreshold",
        "rule": {
            "name": "Lapse",
            "rule": {"name": "Luce", "temperature": 0.5},
            "rate": 0.1,
            "bias": 0.5,
        },
        "threshold": 0.2,
    }
    assert {type(r).__name__ for r in PAIRS + SKIPS} == set(RULES)  # every registered rule is tested above
    with pytest.raises(ValueError, match="unknown rule 'Lucy'; known are"):
        rule_from_json({"name": "Lucy"})
    with pytest.raises(ValueError, match="Luce has no setting 'heat'"):
        rule_from_json({"name": "Luce", "heat": 1.0})


def answered(rule, *worth):
    return rule.log_answered(torch.tensor(worth, dtype=torch.float64)).exp().item()


def test_the_teacher_who_skips():
    """B-Pref: segments worth 3.5 and 3.4 are dropped when the better is worth at most the threshold."""
    assert [answered(Skip(Luce(), t), 3.5, 3.4) for t in (3.49, 3.5)] == [1, 0]
    given = Skip(Luce(), 3.0)
    label = torch.tensor([1.0, 0.0], dtype=torch.float64)
    worth = torch.tensor([3.5, 3.4], dtype=torch.float64)
    assert float(given.log_prob(worth, label).exp()) == pytest.approx(0.5249791875, abs=1e-10)
    assert [answered(Skip(Luce(), t, "close"), 3.5, 3.4) for t in (0.05, 0.2)] == [1, 0]
    assert answered(Skip(Luce(), 3.0, softness=0.5), 3.5, 3.4) == pytest.approx(1 / (1 + math.exp(-1)))
    assert answered(Skip(Luce(), 0.0, "close", 0.1), 0.3, -math.inf, 0.1) == pytest.approx(
        1 / (1 + math.exp(-2))
    )


@pytest.mark.parametrize("rule", SKIPS, ids=repr)
def test_an_answer_that_was_given_is_judged_as_if_nothing_could_be_skipped(rule):
    utility = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    label = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(50, 2)
    assert isinstance(rule, OutcomeRule)
    torch.testing.assert_close(rule.log_prob(utility, label), rule.rule.log_prob(utility, label))
    torch.testing.assert_close(rule.share(utility), rule.rule.share(utility))
    torch.testing.assert_close(rule.log_outcomes(utility), rule.rule.log_outcomes(utility))
    torch.testing.assert_close(log_answered(rule, utility), rule.log_answered(utility))
    assert bool((log_answered(rule.rule, utility) == 0).all())
    if rule.when == "close":  # only the level is more than comparisons tell
        torch.testing.assert_close(rule.log_answered(utility + 3), rule.log_answered(utility))


@pytest.mark.parametrize("rule", [r for r in SKIPS if r.softness], ids=repr)
def test_gradients_of_skipping(rule):
    for worth in ([0.7, 0.1], [-1.3, 0.4], [2.0, 0.3]):
        leaf = torch.tensor(worth, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(rule.log_answered, (leaf,))
        assert torch.autograd.gradgradcheck(rule.log_answered, (leaf,))


@pytest.mark.parametrize("rule", SKIPS, ids=repr)
@pytest.mark.parametrize("d", [0.2, 0.7])
def test_skipped_and_given_answers_come_as_often_as_told(rule, d):
    count, draw = 4000, torch.Generator().manual_seed(0)
    got = rule.sample(pair(d).expand(count, 2), generator=draw)
    given = got[~skipped(got)]
    chance = float(rule.log_answered(pair(d)).exp())
    assert binomtest(len(given), count, chance).pvalue > 1e-3
    if len(given):
        first = int((given[:, 0] == 1).sum())
        assert binomtest(first, len(given), chances(rule, d)[0]).pvalue > 1e-3
