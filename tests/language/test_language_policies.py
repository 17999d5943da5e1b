"""Writers tuned and steered for camps: oracles on a bandit of three words, theorems, and a tiny llama."""

import dataclasses
import math
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from bigrams import WORDS, Bigrams, Words, bandit

import pluralign
from pluralign.choice import Luce
from pluralign.data import Comparisons, Items
from pluralign.language.belonging import belonging
from pluralign.language.candidates import Candidates
from pluralign.language.likelihood import answer_log_probs, batches, divergence
from pluralign.language.once import Pieces
from pluralign.language.online import Online
from pluralign.language.robust import GroupRobust
from pluralign.language.steering import weights_behind
from pluralign.language.steps import Steps
from pluralign.language.weighing import acting, moved, start, welfare_named
from pluralign.language.writer import Writer, continued, moving, tunable
from pluralign.language.yardstick import Yardstick, served, yardstick
from pluralign.population.belief import Belief
from pluralign.population.draws import Draws
from pluralign.population.prior import Atoms
from pluralign.rewards import known_voices
from pluralign.rewards.welfare import CVaR, EachOnce, Mean, Nash, WorstOff

PAYS = {"left": (1.0, 0.0), "right": (0.0, 1.0), "both": (0.2, 0.2)}


def reward(prompts, answers):
    return torch.tensor([PAYS[answer] for answer in answers]).double()


def chances(writer):
    """Of left, right, both."""
    return torch.softmax(writer.model.table[WORDS.index("ask")], -1)[3:].detach().double()


SHARE = torch.tensor([0.7, 0.3]).double()
QUICK = Online(prompts=4, answers=16, updates=50, rate=0.2, scale=0.0, tune="full", epochs=1)


@pytest.fixture(scope="module")
def measure():
    return yardstick(bandit(), ["ask"], reward, 256, scale="none")


def tuned(measure, **settings):
    return dataclasses.replace(QUICK, **settings).fit(bandit(), measure, reward, SHARE)


def test_the_worst_return_is_not_the_worst_answer(measure):
    """Half left, half right gives each camp 1/2; the minimum answer by answer is content with 1/5."""
    fair = tuned(measure, welfare="maxmin")
    assert (chances(fair.writer) @ torch.tensor(list(PAYS.values())).double()).min() > 0.4
    assert fair.weight.tolist() == pytest.approx([0.5, 0.5], abs=0.1)  # the dual solution
    timid = tuned(measure, per_answer=True)
    assert chances(timid.writer)[2] > 0.9
    mean = tuned(measure, welfare="mean")
    assert chances(mean.writer)[0] > 0.9
    assert mean.weight.tolist() == pytest.approx([0.7, 0.3])


def test_nash_gives_both_camps_something_and_a_strong_pull_gives_nothing(measure):
    bargain = tuned(measure, welfare="nash", memory=0.0)
    assert chances(bargain.writer)[:2].min() > 0.3
    held = tuned(measure, welfare="mean", scale=100.0, updates=10, rate=0.02)
    free = tuned(measure, welfare="mean", updates=10, rate=0.02)
    uniform = torch.full((3,), 1 / 3).double()
    away = lambda one: (chances(one.writer) - uniform).abs().max()
    assert away(held) < away(free) / 3


def test_served_counts_wins_and_nats_of_a_bandit(measure):
    writer = bandit()
    writer.model.table.data[WORDS.index("ask"), 3] = math.log(4.0)  # left 2/3, right and both 1/6
    found = served(writer, bandit(), measure, reward, 512)
    wins = (
        (2 / 3) * (5 / 6) + (1 / 6) * (1 / 6) + (1 / 6) * 0.5
    )  # left beats all but itself; both beats right
    error = 3 * (0.25 / 256 + 0.25 / 512) ** 0.5
    assert found.wins[0].value == pytest.approx(wins, abs=error)
    nats = 2 / 3 * math.log(2) + 1 / 3 * math.log(0.5)
    assert found.kl.value == pytest.approx(nats, abs=1e-5)
    assert found.length == 1


def test_scales_of_returns():
    worth = torch.tensor([[[0.0, 10.0], [2.0, 30.0]], [[5.0, 0.0], [7.0, 20.0]]]).double()
    found = Yardstick(("a", "b"), worth)(range(2), worth)
    assert found.flatten().tolist() == [-1, -1, 1, 1] * 2  # whatever the prompt and the unit
    wins = Yardstick(("a", "b"), worth, "wins")([1], torch.tensor([[[6.0, 10.0]]]).double())
    s = lambda x: 1 / (1 + math.exp(-x))
    assert wins[0, 0].tolist() == pytest.approx([(s(1) + s(-1)) / 2, (s(10) + s(-10)) / 2])
    with pytest.raises(ValueError, match="camp 1 values all answers of the reference alike"):
        Yardstick(("a",), torch.tensor([[[0.0, 1.0], [1.0, 1.0]]]).double())


def test_weights_move_as_each_welfare_asks():
    even, returns = torch.full((3,), 1 / 3).double(), torch.tensor([0.2, 0.5, 0.9]).double()
    hedge = moved(even, returns, even, WorstOff(), 1.0)
    assert hedge.tolist() == pytest.approx([0.44694665, 0.33110622, 0.22194714], abs=1e-8)
    torch.testing.assert_close(acting(even, returns, WorstOff(), 1.0), hedge)
    assert moved(even, returns, even, Mean(), 1.0).tolist() == even.tolist()
    inverse = 1 / returns
    torch.testing.assert_close(moved(even, returns, even, EachOnce(Nash()), 1.0), inverse / inverse.sum())
    assert moved(even, returns, even, CVaR(1 / 3), 0.5).tolist() == pytest.approx([2 / 3, 1 / 6, 1 / 6])
    assert start(torch.tensor([0.5, 0.5, 0.0]), WorstOff()).tolist() == [0.5, 0.5, 0.0]
    with pytest.raises(ValueError, match="no welfare of texts is called 'gini'"):
        welfare_named("gini")


def test_writing_follows_the_models_chances_and_stops():
    """A chain of words, by its table; prompts of unlike length stand beside each other."""
    table = torch.full((6, 6), -30.0)
    table[2, [3, 4]] = torch.tensor([0.25, 0.75]).log()
    table[3, 1] = table[4, 5] = table[5, 1] = 0.0
    found = continued(
        Bigrams(table), [(2,), (3, 4, 2)] * 400, most=5, stops={1}, temperature=1.0, padding=0, seed=0
    )
    assert set(found) == {(3, 1), (4, 5, 1)}
    left = sum(one == (3, 1) for one in found) / 800
    assert left == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 800) ** 0.5)
    cut = continued(Bigrams(table), [(2,)], most=1, stops={1}, temperature=1.0, padding=0, seed=0)
    assert len(cut[0]) == 1
    again = Writer(Bigrams(table), Words(end=1), "chain", most=5, longest=9).write(
        ["ask", "ask left"], 3, seed=1
    )
    assert again.prompts == ("ask",) * 3 + ("ask left",) * 3
    assert set(again.answers) <= {"left", "right both", ""}


def llama(seed=0, vocabulary=40):
    from pluralign.language.tiny import tiny_model

    return tiny_model(vocabulary, width=16, layers=1, head=True, seed=seed)


def test_writing_by_a_cache_is_what_the_whole_model_would_write():
    pytest.importorskip("transformers")
    model = llama()
    model.lm_head.weight.data *= 40
    prompts = [(5, 6, 7), (9,), (3, 4)]
    found = continued(model, prompts, most=6, stops={2}, temperature=1e-3, padding=0, seed=0)
    for prompt, answer in zip(prompts, found):
        ids = torch.tensor([[*prompt, *answer]])
        with torch.no_grad():
            best = model(input_ids=ids).logits[0].argmax(-1)
        assert best[len(prompt) - 1 : -1].tolist() == list(answer)


def test_adapters_share_what_stands_still_and_leave_the_reference_alone():
    pytest.importorskip("peft")
    writer = Writer(llama(), Words(end=1), "tiny", most=4, longest=20)
    made, pieces = tunable(writer, "lora", 2, 0), [Pieces((5, 6), (7, 8))]
    before = {name: value.clone() for name, value in writer.model.state_dict().items()}
    read = lambda one: answer_log_probs(one.model, pieces)
    torch.testing.assert_close(read(made), read(writer))  # adapters begin at nothing
    places = {value.data_ptr() for value in made.model.parameters()}
    assert {value.data_ptr() for value in writer.model.parameters()} <= places
    optimiser = torch.optim.SGD(moving(made), lr=10.0)
    for _ in range(2):
        (-read(made).sum()).backward()
        optimiser.step()
    assert read(made) > read(writer) + 0.01
    assert all(torch.equal(value, before[name]) for name, value in writer.model.state_dict().items())
    full = tunable(writer, "full", 2, 0)
    assert not {x.data_ptr() for x in full.model.parameters()} & {
        x.data_ptr() for x in writer.model.parameters()
    }


def test_divergence_is_the_mean_log_ratio_with_less_noise():
    pytest.importorskip("transformers")
    model, other = llama(0), llama(1)
    model.lm_head.weight.data *= 10
    heads = [(5, 6), (7,)] * 200
    tails = continued(model, heads, most=4, stops={2}, temperature=1.0, padding=0, seed=0)
    pieces = [Pieces(head, tail) for head, tail in zip(heads, tails)]
    exact = divergence(model, other, pieces, at_once=500)
    with torch.no_grad():
        ratio = answer_log_probs(model, pieces) - answer_log_probs(other, pieces)
    assert float((exact - ratio).mean()) == pytest.approx(
        0, abs=4 * float((exact - ratio).std()) / len(pieces) ** 0.5
    )
    assert exact.std() < ratio.std()
    assert divergence(model, model, pieces[:4]).abs().max() < 1e-6
    assert sorted(k for part in batches(pieces, 50) for k in part) == list(range(400))


def pairs(count=60):
    """Raters 0 to 6 prefer left, 7 to 9 right."""
    rater = torch.arange(10).repeat_interleave(count // 10)
    label = torch.where(rater[:, None] < 7, torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    words = Items(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), ("left", "right"))
    return Comparisons(words, torch.tensor([[0, 1]]).expand(count, 2), rater, label)


def test_direct_tuning_by_returns_keeps_what_the_smaller_camp_likes(measure):
    data = pairs()
    member = torch.nn.functional.one_hot((torch.arange(10) >= 7).long()).double()
    common = {
        "scale": 0.5,
        "tune": "full",
        "rate": 0.05,
        "updates": 100,
        "batch": 20,
        "answers": 16,
        "every": 2,
    }
    fit = lambda **more: GroupRobust(**common, **more).fit(
        bandit(), data, ["ask", "ask"], ["left", "right"], member, measure=measure, reward=reward
    )
    plain, fair = fit(welfare="mean"), fit(welfare="maxmin")
    # DPO on counts: the log-ratio of both is the log-odds of the votes over beta.
    odds = lambda one: float((chances(one.writer)[0] / chances(one.writer)[1]).log())
    assert odds(plain) == pytest.approx(math.log(7 / 3) / 0.5, abs=0.5)
    assert abs(odds(fair)) < odds(plain) / 2
    assert fair.weight[1] > 0.4 > plain.weight[1] == pytest.approx(0.3)


def test_texts_in_parts_give_the_same_step():
    writer = bandit()
    data, member = pairs(20), torch.ones(10, 1).double()
    ends = []
    for at_once in (8192, 3):
        settings = GroupRobust(
            "dpo", "mean", updates=3, tune="full", rate=0.1, at_once=at_once, every=5, prompts=1
        )
        ends.append(settings.fit(writer, data, ["ask", "ask"], ["left", "right"], member).writer.model.table)
    torch.testing.assert_close(ends[0], ends[1])
    with pytest.raises(ValueError, match="serve the worst off, not nash"):
        GroupRobust(welfare="nash", by="losses")


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path, measure):
    whole = tuned(measure, updates=30).writer
    settings = dataclasses.replace(QUICK, updates=30)

    class Stop(Exception):
        pass

    done = []

    def stop(count):
        done.append(count)
        if len(done) == 25:
            raise Stop

    with pytest.raises(Stop):
        settings.fit(bandit(), measure, reward, SHARE, folder=tmp_path, progress=stop)
    again = settings.fit(bandit(), measure, reward, SHARE, folder=tmp_path)
    assert torch.equal(again.writer.model.table, whole.model.table)
    assert len(again.curve) == 30
    assert Steps(3, 0.1).run([torch.zeros(1, requires_grad=True)], lambda k, descend: {}, {})[-1] == {
        "step": 2
    }


def test_camps_of_raters_by_bayes_rule():
    words = Items(torch.tensor([[1.0], [0.0]]), ("a", "b"))
    data = Comparisons(
        words, torch.tensor([[0, 1]] * 3), torch.tensor([0, 0, 1]),
        torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), rater_ids=("x", "y", "silent"),
    )  # fmt: skip
    voices = known_voices([[1.0], [-1.0]], [0.8, 0.2])
    draws = Draws(voices.z[:, None].expand(2, 3, 1), torch.full((2, 3), 0.5))
    belief = Belief(voices.worth, Luce(), Atoms(voices.z, voices.weight), draws, data.rater_ids, None)
    found = belonging(belief, voices, data)
    odds = lambda x: x / (1 + x)
    assert found[:, 0].tolist() == pytest.approx([odds(4 * math.e**2), odds(4 / math.e), 0.8])


def test_a_lottery_over_choices_is_told_by_its_weights(rng):
    texts = Items(torch.randn(40 * 8, 2, generator=rng).double())
    options, two = Candidates(texts, 8), known_voices([[1.0, 0.4], [-1.0, 0.4]], [0.7, 0.3])
    lottery = pluralign.MaxMin().optimise(options, two)
    for weight, policy in zip(weights_behind(lottery, options, two), lottery.policies, strict=True):
        assert torch.equal(options.improve(two, weight).chance, policy.chance)
    single = pluralign.policies.Single().optimise(options, two)
    assert weights_behind(single, options, two)[0].tolist() == pytest.approx([0.7, 0.3])
