"""Answers chosen and models tuned for camps: oracles, theorems, and the planted text world."""

import math
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

import pluralign
from pluralign.data import Items
from pluralign.language.candidates import Candidates, Chooser, best_of_n_kl, per_answer, ranked, win_rate
from pluralign.language.likelihood import answer_log_probs
from pluralign.language.robust import GroupRobust, among, camp_means
from pluralign.language.weighing import reweighed
from pluralign.policies import MaxMin, Single
from pluralign.policies.fair import Fair
from pluralign.rewards import known_voices
from pluralign.rewards.welfare import Mean, WorstOff


def test_minimum_of_averages_is_not_the_average_of_minima():
    """Two prompts; each has an answer for either camp and a poor one for both: taking turns beats the poor ones."""
    worth = Items(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.2, 0.2]] * 2))
    world, two = Candidates(worth, 3), known_voices([[1.0, 0.0], [0.0, 1.0]], [0.7, 0.3])
    lottery = MaxMin(scale="none").optimise(world, two)
    assert lottery.returns(world, two).mean(0).min() == pytest.approx(0.5, abs=1e-9)
    timid = per_answer(world, two, WorstOff())
    assert timid.chance.argmax(1).tolist() == [2, 2]
    assert world.returns(timid, two).mean(0).tolist() == pytest.approx([0.2, 0.2])
    single = Single().optimise(world, two)
    assert world.returns(single.policies[0], two).mean(0).tolist() == [1.0, 0.0]
    assert per_answer(world, two, Mean()).chance.argmax(1).tolist() == [0, 0]
    fair = Fair(WorstOff(), scale="none").optimise(world, two)
    assert fair.returns(world, two).mean(0).min() == pytest.approx(0.5, abs=1e-6)


def test_soft_choice_is_the_exact_optimum_and_best_of_n_is_its_limit():
    x = torch.randn(5 * 4, 2, generator=torch.Generator().manual_seed(0)).double()
    one = known_voices([[1.0, 0.5]], [1.0])
    soft = Candidates(Items(x), 4, temperature=0.7)
    policy = soft.improve(one, torch.ones(1))
    value = lambda chance: (chance * soft.worths(one)[..., 0]).sum(1) - 0.7 * Chooser(chance).kl()
    best = 0.7 * (torch.logsumexp(soft.worths(one)[..., 0] / 0.7, 1) - math.log(4))
    torch.testing.assert_close(value(policy.chance), best)
    hard = Candidates(Items(x), 4).improve(one, torch.ones(1))
    assert hard.chance.argmax(1).tolist() == ranked(soft.worths(one)[..., 0])[:, 0].tolist()
    assert float(hard.kl().mean()) == pytest.approx(math.log(4))
    assert float(soft.random().kl().abs().max()) < 1e-12
    assert best_of_n_kl(4) == pytest.approx(math.log(4) - 0.75)
    assert win_rate(soft.random(), soft, one).tolist() == pytest.approx([0.5])
    # The best of four beats a random one of the four: 3 of 4 times for sure, and ties with itself once.
    assert win_rate(hard, soft, one).tolist() == pytest.approx([0.875])
    with pytest.raises(ValueError, match="must be 3 answers to each prompt, got 20"):
        Candidates(Items(x), 3)


def test_weights_move_as_published():
    found = reweighed(torch.ones(3).double() / 3, torch.tensor([0.9, 0.5, 0.2]).double(), 0.5)
    assert found.tolist() == pytest.approx([0.39628776, 0.32445298, 0.27925926], abs=1e-8)
    means = camp_means(torch.tensor([1.0, 3.0, 5.0]), torch.eye(3)[[0, 0, 2]])
    assert means.tolist() == [2.0, 0.0, 5.0]
    log = torch.tensor([0.5, 0.5, 0.9, 0.1]).log()
    kl = among(torch.tensor([0.9, 0.1, 0.9, 0.1]).log(), log, torch.tensor([0, 0, 1, 1]))
    right = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert kl.tolist() == pytest.approx([right, 0.0], abs=1e-6)


def test_maxmin_on_learnt_camps_serves_the_smaller_camp_of_the_text_world():
    """Worst camp's win rate against the reference at least 30 % better than pooled, mean within 5 %."""
    pytest.importorskip("transformers")
    from pluralign.language.backbone import wrapped
    from pluralign.language.joint import Joint
    from pluralign.language.tiny import tiny_model, tiny_tokenizer, tiny_world

    world = tiny_world(
        prompts=60, answers=6, raters=60, per_rater=40, share=(0.7, 0.3),
        centres=((1.5, 1.5, 0.0, 0.0), (-1.5, 0.0, 1.5, 0.0)),
    )  # fmt: skip
    tokenizer = tiny_tokenizer([*world.prompt, *world.answer])
    body = wrapped(tiny_model(len(tokenizer)), tokenizer, "tiny", pooling="mean")
    found = Joint("none").fit(
        pluralign.Camps(groups=2, restarts=1), body, world.data, world.prompt, world.answer
    )
    texts = found.seen(world.data, world.prompt, world.answer).options
    options = Candidates(texts, 6)
    truth = Candidates(Items(world.factors, world.data.options.ids), 6)
    camps = known_voices([[1.5, 1.5, 0.0, 0.0], [-1.5, 0.0, 1.5, 0.0]], [0.7, 0.3])
    heard = found.belief.voices()
    fair, pooled = MaxMin().optimise(options, heard), Single().optimise(options, heard)
    rate = lambda lottery: sum(
        c * win_rate(p, truth, camps) for p, c in zip(lottery.policies, lottery.chance.tolist())
    )
    assert rate(fair).min() > 1.3 * rate(pooled).min()
    assert rate(fair).mean() > 0.95 * rate(pooled).mean()


def test_likelihoods_are_sums_over_the_answer_and_a_model_has_no_ratio_to_itself():
    pytest.importorskip("transformers")
    from pluralign.language.heads import density_ratio
    from pluralign.language.once import Pieces

    model, other = language_model(0), language_model(1)
    pieces = [Pieces((5, 6, 7), (8, 9)), Pieces((5,), (9, 3, 4, 2)), Pieces((), (4, 5, 6))]
    with torch.no_grad():
        found = answer_log_probs(model, pieces, at_once=12)
        for one, value in zip(pieces, found):
            ids = torch.tensor([[*one.prompt, *one.answer]])
            log = torch.log_softmax(model(input_ids=ids).logits[0], -1)
            first = max(len(one.prompt), 1)
            right = sum(log[t - 1, ids[0, t]] for t in range(first, ids.shape[1]))
            assert float(value) == pytest.approx(float(right), abs=1e-4)
    assert density_ratio(model, model, pieces).abs().max() == 0
    gap = density_ratio(model, other, pieces, beta=2.0)
    torch.testing.assert_close(gap, -density_ratio(other, model, pieces, beta=2.0))
    torch.testing.assert_close(
        density_ratio(model, other, pieces, mean=True) * 2, gap / torch.tensor([2.0, 4.0, 3.0])
    )


def language_model(seed, vocabulary=160):
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=128,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.AutoModelForCausalLM.from_config(config).float().eval()


def test_group_robust_tuning_lowers_the_worst_camps_loss():
    pytest.importorskip("transformers")
    from pluralign.language.tiny import tiny_tokenizer, tiny_world
    from pluralign.language.writer import writer_of

    world = tiny_world(
        prompts=12, answers=4, raters=20, per_rater=30, asked=3, sharpness=2.0, share=(0.8, 0.2),
        centres=((2.0, 0.0, 0.0, 0.0), (-2.0, 0.0, 1.0, 0.0)),
    )  # fmt: skip
    tokenizer = tiny_tokenizer([*world.prompt, *world.answer])
    writer = writer_of(language_model(0, len(tokenizer)), tokenizer, "tiny", most=12)
    member = torch.nn.functional.one_hot(world.group).double()
    common = {
        "by": "losses",
        "scale": 0.5,
        "rate": 3e-3,
        "updates": 60,
        "batch": 32,
        "tune": "full",
        "every": 30,
    }

    def losses(pace):
        settings = GroupRobust(pace=pace, prompts=4, answers=2, **common)
        found = settings.fit(writer, world.data, world.prompt, world.answer, member)
        pieces = writer.pieces(world.prompt, world.answer)
        with torch.no_grad():
            log, base = (answer_log_probs(one.model, pieces) for one in (found.writer, writer))
        each = settings.losses(log[world.data.slate], base[world.data.slate], world.data)
        return camp_means(each.double(), member[world.data.rater]), found

    (plain, before), (robust, after) = losses(0.0), losses(0.5)
    assert plain[0] < math.log(2) < plain[1]  # the larger camp is served at the smaller one's cost
    assert robust.max() < plain.max() - 0.05
    assert after.weight[1] > before.weight[1] == pytest.approx(0.2)
    assert before.curve[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert after.curve[30]["kl"] > 0
    with pytest.raises(ValueError, match="need `measure` and `reward`"):
        GroupRobust().fit(writer, world.data, world.prompt, world.answer, member)
