"""A basis of one's own, or of bumps: kernel logistic regression, worths that bend, and what a file can hold."""

import math

import pytest
import torch

from pluralign import Basis, Camps, Linear, Pooled, load
from pluralign.data import Comparisons, Items, Segments
from pluralign.population.held_out import log_loss
from pluralign.saving import same
from pluralign.utility.basis import kernel


def rings(rows):
    """Worth depends on the distance from the middle alone."""
    far = rows.square().sum(1).sqrt()
    return torch.stack([torch.cos(2 * far), torch.sin(2 * far), far], 1)


def together(rows):
    return rows - rows.mean(0)


def asked(worth, features, raters=10, per_rater=60, seed=0):
    """Answers of raters who all value option n at `worth[n]`, or rater r at `worth[r, n]`."""
    draw = torch.Generator().manual_seed(seed)
    rater = torch.arange(raters).repeat_interleave(per_rater)
    first = torch.randint(len(features), (len(rater),), generator=draw)
    second = (first + torch.randint(1, len(features), (len(rater),), generator=draw)) % len(features)
    worth = worth.expand(raters, -1)
    gap = worth[rater, first] - worth[rater, second]
    said = (torch.rand(len(rater), generator=draw) < torch.sigmoid(gap)).float()
    return Comparisons.pairs(Items(features), first, second, rater, said)


def plane(rng, count=40):
    return torch.rand(count, 2, generator=rng).double() * 4 - 2


def test_bumps_at_every_option_are_kernel_logistic_regression(rng):
    """min sum log(1 + exp(-s gap)) + ridge/2 a' K a over worths K a, solved here over a by Newton."""
    features = plane(rng, 30)
    data = asked(3 * torch.sin(2 * features[:, 0]), features, raters=4)
    ridge = 0.7
    belief = Pooled(utility=Basis.bumps(count=99), ridge=ridge).fit(data)
    lift = belief.worth.lift
    x = (features - belief.worth.centre) * belief.worth.scale
    gram = kernel(x, x, lift.width) * float(lift.scale[0]) ** 2
    rows = torch.eye(30).double()
    shows = rows[data.slate[:, 0]] - rows[data.slate[:, 1]]
    label = data.label[:, 0].double()
    a = torch.zeros(30).double()
    for _ in range(30):
        share = torch.sigmoid(shows @ gram @ a)
        slope = gram @ (shows.T @ (label - share)) - ridge * gram @ a
        bend = gram @ (shows.T @ ((share * (1 - share))[:, None] * shows)) @ gram + ridge * gram
        a = a + torch.linalg.lstsq(bend, slope, driver="gelsd").solution
    truth = gram @ a
    found = belief.utility(data.options, belief.draws)[0]
    torch.testing.assert_close(found - found.mean(), truth - truth.mean(), atol=1e-5, rtol=0)
    # With a landmark for every third option the same worth is met nearly, not exactly.
    few = Pooled(utility=Basis.bumps(count=12), ridge=ridge).fit(data)
    other = few.utility(data.options, few.draws)[0]
    assert float((other - other.mean() - truth + truth.mean()).abs().max()) > 1e-4


def test_a_worth_that_bends_is_found_by_bumps_alone(rng):
    features = plane(rng, 80)
    worth = 2.5 * torch.sin(2 * features[:, 0]) * torch.cos(features[:, 1])
    kept, held = asked(worth, features, raters=20, per_rater=200).split(by="answer", share=0.8, seed=0)
    bent = Pooled(utility=Basis()).fit(kept, seed=0)
    gap = log_loss(Pooled().fit(kept, seed=0), held) - log_loss(bent, held)
    assert float(gap.mean()) > 4 * float(gap.std()) / len(gap) ** 0.5
    found = bent.utility(kept.options, bent.draws)[0]
    # Every option is in about 80 answers: its worth is told to 1 / sqrt(80 / 5) utils, where worths spread by 1.3.
    assert float(torch.corrcoef(torch.stack([found, worth]))[0, 1]) > 0.95
    # Where worth is a plane, bumps have nothing to win.
    kept, held = asked(features @ torch.tensor([1.5, -1.0]).double(), features).split(
        by="answer", share=0.8, seed=0
    )
    gap = log_loss(Pooled().fit(kept, seed=0), held) - log_loss(
        Pooled(utility=Basis()).fit(kept, seed=0), held
    )
    assert float(gap.mean()) < 2 * float(gap.std()) / len(gap) ** 0.5


def test_camps_bend_apart(rng):
    features = plane(rng, 60)
    wave = 3 * torch.sin(2 * features[:, 0])
    data = asked(torch.stack([wave, -wave]).repeat(10, 1), features, raters=20, per_rater=60)
    belief = Camps(groups=2, ridge=1.0, utility=Basis.bumps(40), restarts=4).fit(data, seed=0)
    camp = belief.draws.weight.argmax(0)
    assert bool((camp[::2] == camp[0]).all() & (camp[1::2] == camp[1]).all() & (camp[0] != camp[1]))


def test_a_function_is_the_basis(rng, tmp_path):
    features = plane(rng)
    data = asked(3 * rings(features)[:, 0], features)
    belief = Pooled(utility=Basis(rings), ridge=1e-6).fit(data)
    # The same as telling the numbers as features.
    told = Comparisons(Items(rings(features)), data.slate, data.rater, data.label)
    same_worth = Pooled(ridge=1e-6).fit(told)
    torch.testing.assert_close(belief.predict(data), same_worth.predict(told), atol=1e-4, rtol=0)
    belief.save(tmp_path / "rings")
    again = load(tmp_path / "rings")
    assert same(again, belief)
    torch.testing.assert_close(again.predict(data), belief.predict(data), atol=0, rtol=0)


def test_what_a_file_cannot_hold_is_said(rng, tmp_path, monkeypatch):
    data = asked(torch.zeros(40).double(), plane(rng))
    belief = Pooled(utility=Basis(lambda rows: rows), ridge=1.0).fit(data)
    with pytest.raises(
        TypeError, match=r"is the function .*<lambda>, which cannot be saved: put it under its own"
    ):
        belief.save(tmp_path / "new")
    assert not list(tmp_path.iterdir())
    Pooled(utility=Basis(rings), ridge=1.0).fit(data).save(tmp_path / "rings")
    monkeypatch.delitem(globals(), "rings")
    with pytest.raises(ValueError, match=r"needs your function '.*:rings'; import its module first"):
        load(tmp_path / "rings")
    place = tmp_path / "rings" / "belief.json"
    place.write_text(place.read_text().replace(f"{__name__}:rings", "builtins:eval"))
    with pytest.raises(ValueError, match="needs your function 'builtins:eval'"):
        load(tmp_path / "rings")


def test_wide_values_are_rotated_to_what_was_shown(rng):
    features = plane(rng, 30)
    cells = torch.randn(2, 200, generator=rng).double()
    data = asked(features[:, 0], features)
    utility = Basis(lambda rows: torch.sin(rows @ cells))
    worth = utility.start(data, width=None, generator=rng)
    assert worth.width <= 29
    basis = worth.basis(data.options)
    raw = torch.sin(features @ cells)
    raw = raw - raw.mean(0)
    raw = raw / raw.square().sum(1).mean().sqrt()
    torch.testing.assert_close(basis @ basis.T, raw @ raw.T, atol=1e-8, rtol=0)


def test_steps_add_up_to_segments(rng):
    factors = torch.randn(8, 5, 2, generator=rng).double()
    mask = torch.ones(8, 5, dtype=torch.bool)
    mask[0, 3:] = False
    options = Segments(factors, mask)
    slate = torch.arange(8).reshape(-1, 2)
    label = torch.tensor([[1.0, 0.0]]).double().expand(4, -1)
    data = Comparisons(options, slate, torch.zeros(4, dtype=torch.long), label)
    for utility in (Basis.bumps(6), Basis(rings)):
        worth = utility.start(data, width=None, generator=rng)
        total = (worth.steps(factors) * mask[..., None]).sum(1)
        torch.testing.assert_close(worth.basis(options), total)


def test_landmarks_cover_what_was_shown(rng):
    """A far cluster of a hundredth of the options gets a bump; of 12 options drawn evenly it would in one of ten."""
    features = torch.cat([torch.randn(200, 2, generator=rng), torch.randn(2, 2, generator=rng) + 30]).double()
    data = asked(torch.zeros(202).double(), features, per_rater=200)
    met = 0
    for seed in range(10):
        draw = torch.Generator().manual_seed(seed)
        worth = Basis.bumps(12).start(data, width=None, generator=draw)
        mark = worth.lift.landmarks / worth.scale + worth.centre
        assert len(mark) <= 12
        met += bool((mark[:, 0] > 20).any())
    assert met >= 8  # by even draws this has a chance of one in a million


def test_what_it_cannot_do_is_said_in_one_sentence(rng):
    data = asked(torch.zeros(40).double(), plane(rng))
    start = lambda function: Basis(function).start(data, width=None, generator=rng)
    with pytest.raises(ValueError, match=r"`count` must be at least 1 landmark, got 0"):
        Basis.bumps(0)
    with pytest.raises(ValueError, match="`width` must be a positive number"):
        Basis.bumps(width=math.nan)
    with pytest.raises(ValueError, match=r"must turn \(40, 2\) features into \(40, L\) numbers, got \(40,\)"):
        start(lambda rows: rows[:, 0])
    with pytest.raises(ValueError, match=r"must give finite numbers; \d+ of 40 rows have others, first row"):
        start(lambda rows: rows.log())
    with pytest.raises(ValueError, match="must treat each row by itself"):
        start(together)
    nameless = Items(torch.zeros(4, 0), ("a", "b", "c", "d"))
    with pytest.raises(ValueError, match=r"a basis needs features.*use Linear\(\)"):
        Basis().start(
            Comparisons.pairs(
                nameless, torch.tensor([0]), torch.tensor([1]), torch.tensor([0]), torch.tensor([1.0])
            ),
            width=None,
            generator=rng,
        )
    assert Linear().start(data, width=None, generator=rng).width == 2
