"""A text's worth: what its features say, drawn together by evidence, and what is its own."""

import math

import pytest
import torch

import pluralign
from pluralign.data import Comparisons, Items, Texts
from pluralign.utility import Linear
from pluralign.utility.evidence import Unsaid, pairs_of, variances
from pluralign.utility.style import STYLE, style


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def compared(worth, part, count, seed=0):
    """Answers about pairs within parts."""
    noise = torch.Generator().manual_seed(seed)
    one = torch.randint(len(worth), (count,), generator=noise)
    size = int((part == 0).sum())
    other = part[one] * size + (one % size + torch.randint(1, size, (count,), generator=noise)) % size
    chance = torch.sigmoid(worth[one] - worth[other])
    return torch.stack([one, other], 1), (torch.rand(count, generator=noise) < chance).double()


def stored(features, pair, first, raters=20):
    texts = Texts(
        tuple(f"text {n}" for n in range(len(features))),
        features.float(),
        tuple(f"t{n}" for n in range(len(features))),
    )
    return Comparisons.pairs(texts, pair[:, 0], pair[:, 1], torch.arange(len(pair)) % raters, first.float())


def test_planted_variances_are_found():
    """Standard errors of log-variances of 60 weights and 200 own worths: sqrt(2/60), sqrt(2/200), and noise of answers."""
    x = draw(200, 60) / 60**0.5
    for seed, (shared, own) in enumerate([(1.0, 0.5), (0.2, 1.5)]):
        worth = x @ (shared**0.5 * draw(60, seed=10 + seed)) + own**0.5 * draw(200, seed=20 + seed)
        pair, first = compared(worth, torch.zeros(200).long(), 12_000, seed)
        kernels = torch.stack([torch.eye(200).double(), x @ x.T])
        found, _ = variances(pair, first, torch.ones(len(pair)).double(), kernels)
        assert abs(math.log(found[0] / own)) < 4 * (2 / 200 + 0.005) ** 0.5
        assert abs(math.log(found[1] / shared)) < 4 * (2 / 60 + 0.02) ** 0.5
    nothing, _ = variances(
        pair, first, torch.ones(len(pair)).double(), torch.stack([kernels[0], kernels[1]])[[0, 1]]
    )
    torch.testing.assert_close(nothing, found)


def test_repeated_answers_count_as_often_as_they_come():
    pair, first = compared(draw(30), torch.zeros(30).long(), 800)
    data = Comparisons.pairs(
        Items(draw(30, 2).float()), pair[:, 0], pair[:, 1], torch.zeros(800).long(), first.float()
    )
    some, share, weight = pairs_of(data)
    assert weight.sum() == pytest.approx(800)
    assert (some[:, 0] < some[:, 1]).all()
    eye = torch.eye(30).double()[None]
    once, _ = variances(some, share, weight, eye)
    often, _ = variances(pair, first, torch.ones(800).double(), eye)
    torch.testing.assert_close(once, often)


def test_what_features_mean_in_one_debate_alone_is_not_carried_to_another():
    """Sixteen debates of 20 texts; the same features mean something else in each."""
    part = torch.arange(320) // 20
    x = draw(320, 72) / 72**0.5
    worth = (x * (2.0 * draw(16, 72, seed=3))[part]).sum(1)
    pair, first = compared(worth, part, 9_000)
    new = part[pair[:, 0]] >= 12
    data, rest = stored(x, pair[~new], first[~new]), stored(x, pair[new], first[new])
    loss = {}
    for described in ("auto", 0.3, 3.0):
        model = pluralign.Pooled(Linear(described=described, style=False), ridge=1.0)
        belief = model.fit(data)
        share = belief.predict(rest).clamp_min(1e-9)
        loss[described] = -(rest.label * share.log()).sum(1)
        if described == "auto":
            shared = float(belief.worth.scale[1:].square().mean())  # log_length is the first
            assert shared < 0.1 * belief.worth.unsaid.own
            assert (share - 0.5).abs().mean() < 0.1
    gap = loss[3.0] - loss["auto"]
    assert gap.mean() > 3 * gap.std() / len(gap) ** 0.5
    assert loss["auto"].mean() < loss[0.3].mean()


def test_a_text_nobody_spoke_of_is_predicted_with_doubt():
    x, own = draw(240, 70), 1.2 * draw(240, seed=5)
    worth = 0.15 * x.sum(1) / 70**0.5 + own
    pair, first = compared(worth, torch.zeros(240).long(), 12_000)
    new = (pair >= 160).any(1)
    both = (pair >= 160).all(1)
    data, rest = stored(x, pair[~new], first[~new]), stored(x, pair[both], first[both])
    belief = pluralign.Pooled(Linear(style=False), ridge=1.0).fit(data)
    unsaid = belief.worth.unsaid
    assert abs(math.log(unsaid.own / 1.44)) < 4 * (2 / 160 + 0.005) ** 0.5
    share = belief.predict(rest)[:, 0]
    cover = belief.worth.doubt(rest)
    gap = torch.diff(
        -belief.utility(rest.options, belief.draws.take(torch.zeros(1).long()))[0][rest.slate], dim=1
    )
    spread = (cover[:, 0, 0] + cover[:, 1, 1] - 2 * cover[:, 0, 1]).sqrt()[:, None]
    z = torch.linspace(-6, 6, 601).double()
    mass = torch.exp(-z.square() / 2)
    right = (torch.sigmoid(gap + spread * z) * mass).sum(1) / mass.sum()
    assert (share - right).abs().max() < 0.02  # points stand for the normal
    assert (share - 0.5).abs().mean() < (torch.sigmoid(gap[:, 0]) - 0.5).abs().mean()
    assert belief.worth.doubt(data) is None
    torch.testing.assert_close(belief.predict(rest).sum(1), torch.ones(len(rest)).double())


def test_covariance_of_a_slate():
    unsaid = Unsaid(0.5, torch.tensor([[1.0], [2.0]]).double())
    rows = torch.tensor([[[1.0, 0], [0, 1], [1, 1]]]).double()
    found = unsaid.covariance(rows, torch.tensor([[True, False, True]]))
    assert found[0].tolist() == [[1.5, 0, 3], [0, 0, 0], [3, 0, 9.5]]


def test_numbers_of_style():
    first, empty = style(("Why? BECAUSE I said so, twice: 12 times. See http://x.y", ""))
    told = dict(zip(STYLE, first.tolist(), strict=True))
    log = lambda n: pytest.approx(math.log(n))
    assert told["words"] == log(1 + 12)
    assert told["sentences"] == log(2)
    assert (told["questions"], told["commas"], told["numbers"]) == (log(2), log(2), log(2))
    assert (told["links"], told["starts_large"], told["ends_closed"]) == (1, 1, 0)
    assert told["shouted_words"] == pytest.approx(1 / 12)
    assert (told["reasons"], told["self"], told["reader"]) == (log(3), log(2), 0)
    assert torch.isfinite(empty).all()
    assert style(()).shape == (0, len(STYLE))


def test_style_tells_texts_apart_that_nobody_met():
    """Worth is the number of questions in a text; there is no embedding."""
    marks = torch.arange(60) % 4
    texts = Texts(
        tuple(f"Nothing new here{'?' * int(k)} no {'x' * (n % 7)}" for n, k in enumerate(marks)),
        None,
        tuple(f"t{n}" for n in range(60)),
    )
    pair, first = compared(2.0 * marks.double(), torch.zeros(60).long(), 3000)
    kept = (pair < 40).all(1)
    data = Comparisons.pairs(texts, pair[:, 0], pair[:, 1], torch.zeros(3000).long(), first.float())
    train, rest = data.take(kept), data.take((pair >= 40).all(1))
    right = lambda **more: float(
        ((pluralign.Pooled(Linear(**more)).fit(train).predict(rest)[:, 0] > 0.5) == (rest.label[:, 0] > 0.5))
        .double()
        .mean()
    )
    assert right() > 0.8 > 0.65 > right(style=False)
    worth = Linear().start(train, width=1, generator=torch.Generator())
    with pytest.raises(ValueError, match="options must be texts, as in training, got Items"):
        worth.basis(Items(torch.zeros(2, 1)))
    with pytest.raises(ValueError, match="`described` must be a positive number"):
        Linear(described=-1.0)
    with pytest.raises(ValueError, match="`style` must be True, False"):
        Linear(style="maybe")


def test_a_store_without_texts_has_the_columns_of_one_with_some():
    store = Texts(("a word", "another"), torch.eye(2, 3), ("a", "b"))
    none = store.take(torch.zeros(0, dtype=torch.long))
    assert none.rows.shape == (0, 4)
    data = Comparisons.pairs(store, torch.tensor([0]), torch.tensor([1]), torch.tensor([0]), torch.ones(1))
    belief = pluralign.Pooled(ridge=1.0).fit(data)
    silent = data.take(torch.zeros(0, dtype=torch.long))
    assert belief.worth.basis(none).shape == (0, belief.worth.width)
    torch.testing.assert_close(belief.predict(data, belief.adapt(silent)), belief.predict(data))
