"""Backbone and population trained together: gradients, what is kept, what is saved, and what it costs."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import dataclasses
import json

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

import pluralign
from pluralign.cli import main
from pluralign.data.preferences import import_preferences
from pluralign.language.backbone import load_backbone
from pluralign.language.joint import Joint, encoded, expected, prompt_of, steps
from pluralign.language.once import pieces_of
from pluralign.language.text_belief import load_text_belief
from pluralign.language.tiny import tiny_world, write_tiny_backbone

WORLD = tiny_world(prompts=60, answers=4, raters=40, per_rater=40, sharpness=1.0)
CAMPS = pluralign.Camps(groups=2, restarts=1)


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joint") / "tiny"
    return load_backbone(write_tiny_backbone(folder, [*WORLD.prompt, *WORLD.answer]))


@pytest.fixture(scope="module")
def split():
    return WORLD.data.split(by="item", share=0.7, seed=0)


def texts_of(data):
    place = {name: n for n, name in enumerate(WORLD.data.options.ids)}
    rows = [place[name] for name in data.options.ids]
    return [WORLD.prompt[n] for n in rows], [WORLD.answer[n] for n in rows]


def log_loss(found, data):
    share = found.belief.predict(found.seen(data, *texts_of(data))).clamp_min(1e-9)
    return -(data.label * share.log()).sum(1)


@pytest.fixture(scope="module")
def tuned(body, split):
    return Joint("lora", rounds=1).fit(CAMPS, body, split[0], *texts_of(split[0]))


def test_tuning_predicts_new_texts_better_than_the_backbone_as_it_came(body, split):
    tuned = Joint("full", rounds=2).fit(CAMPS, body, split[0], *texts_of(split[0]))
    frozen = Joint("none").fit(CAMPS, body, split[0], *texts_of(split[0]))
    gain = log_loss(frozen, split[1]) - log_loss(tuned, split[1])
    assert gain.mean() > 2 * gain.std() / len(gain) ** 0.5
    assert tuned.notes["kept_round"] > 0
    assert frozen.notes["tokens"] == 0
    assert frozen.notes["held_out"][0] == pytest.approx(tuned.notes["held_out"][0], abs=1e-4)
    assert tuned.notes["pairwise_tokens"] > 10 * tuned.notes["tokens"]


def test_training_that_cannot_help_is_not_used(body):
    noise = torch.Generator().manual_seed(0)
    first = torch.randint(2, (len(WORLD.data),), generator=noise).float()
    data = WORLD.data.with_labels(torch.stack([first, 1 - first], 1)).take(torch.arange(400))
    found = Joint("lora", rounds=1).fit(pluralign.Pooled(ridge=10.0), body, data, WORLD.prompt, WORLD.answer)
    assert found.notes["held_out"][found.notes["kept_round"]] <= found.notes["held_out"][0]
    share = found.belief.predict(found.seen(data, WORLD.prompt, WORLD.answer))
    assert (share - 0.5).abs().mean() < 0.2


def test_the_step_follows_the_gradient_of_the_marginal_likelihood(body):
    """Fisher: with q the posterior of the camps, the gradient of E_q[log p] is that of log sum_g share_g p_g."""
    data = WORLD.data
    texts = encoded(body, data, pieces_of(body, WORLD.prompt, WORLD.answer))
    belief = CAMPS.fit(dataclasses.replace(data, options=dataclasses.replace(texts)))
    x = texts.embedding.clone().requires_grad_()
    given = dataclasses.replace(data, options=dataclasses.replace(texts, embedding=x))
    z, share = belief.prior.z, belief.prior.share
    worth = (belief.worth.basis(given.options) @ z.T)[data.slate]
    each = belief.rule.log_prob(worth.movedim(-1, 0), data.label.to(worth).expand(len(z), -1, -1))
    rater = torch.zeros(len(z), data.raters, dtype=each.dtype).index_add(1, data.rater, each)
    marginal = torch.logsumexp(rater + share.log()[:, None], 0).sum()
    right = torch.autograd.grad(marginal, x)[0]
    posterior = torch.softmax(rater + share.log()[:, None], 0).detach()
    belief = dataclasses.replace(belief, draws=dataclasses.replace(belief.draws, weight=posterior))
    ours = torch.autograd.grad(expected(belief, given).sum(), x)[0]
    torch.testing.assert_close(ours, right, atol=1e-5, rtol=1e-4)


def test_steps_hold_every_answer_once_and_a_prompt_in_one_step(body):
    pieces = pieces_of(body, WORLD.prompt, WORLD.answer)
    group = prompt_of(WORLD.data, pieces)
    parts = steps(WORLD.data, group, 64, torch.Generator().manual_seed(0))
    assert sum(map(len, parts)) == len(WORLD.data)
    met = [set(group[part.slate].flatten().tolist()) for part in parts]
    assert sum(map(len, met)) == len(set().union(*met))
    assert all(len(part) >= 64 for part in parts[:-1])


def test_a_saved_belief_scores_as_before_and_peft_reads_it(tuned, body, tmp_path):
    import peft
    import transformers

    before = body.facts()["fingerprint"]
    scores = tuned.reward(WORLD.prompt[:6], WORLD.answer[:6], "3")
    tuned.save(tmp_path / "model")
    back = load_text_belief(tmp_path / "model")
    torch.testing.assert_close(back.reward(WORLD.prompt[:6], WORLD.answer[:6], "3"), scores)
    assert not torch.allclose(back.reward(WORLD.prompt[:6], WORLD.answer[:6]), scores)
    base = transformers.AutoModel.from_pretrained(body.name)
    with torch.random.fork_rng(devices=[]):
        adapted = peft.PeftModel.from_pretrained(base, tmp_path / "model")
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        same = (
            adapted(input_ids=ids).last_hidden_state - tuned.backbone.model(input_ids=ids).last_hidden_state
        )
    assert same.abs().max() < 1e-5
    assert body.facts()["fingerprint"] == before  # the backbone that was given is as it was
    with pytest.raises(KeyError, match=r"no rater '33x' was met in training \(did you mean '33'"):
        tuned.reward(["a"], ["b"], "33x")
    with pytest.raises(FileExistsError):
        tuned.save(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match=r"text\.json is missing"):
        load_text_belief(tmp_path)


def test_a_fully_tuned_model_is_one_that_transformers_reads(body, tmp_path):
    import transformers

    found = Joint("full", rounds=1, rate=1e-3).fit(
        pluralign.Pooled(), body, WORLD.data, WORLD.prompt, WORLD.answer
    )
    found.save(tmp_path / "model")
    read = transformers.AutoModel.from_pretrained(tmp_path / "model")
    for name, value in read.state_dict().items():
        torch.testing.assert_close(value, found.backbone.model.state_dict()[name])
    torch.testing.assert_close(
        load_text_belief(tmp_path / "model").reward(["what"], ["river"]), found.reward(["what"], ["river"])
    )


def test_the_command_fits_and_goes_on(body, tmp_path, capsys):
    (tmp_path / "prefs.jsonl").write_text("\n".join(map(json.dumps, WORLD.records()[:400])))
    import_preferences(tmp_path / "prefs.jsonl", tmp_path / "data")
    words = ["fit", "pooled", str(tmp_path / "data"), "--backbone", body.name, "--tune", "none", "--out",
             str(tmp_path / "run")]  # fmt: skip
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "held-out loss" in told
    found = load_text_belief(tmp_path / "run" / "stages" / "fit" / "model")
    assert found.reward(["what"], ["river"]).shape == (1,)
    assert main(words) == 0
    assert capsys.readouterr().out == told
    assert main(["report", str(tmp_path / "run")]) == 0
    run, data = str(tmp_path / "run"), str(tmp_path / "data")
    capsys.readouterr()
    assert main(["evaluate", run, data]) == 0
    told = capsys.readouterr()
    assert "accuracy" in told.out
    assert "flatter" in told.err
    assert main(["adapt", run, data, "--out", str(tmp_path / "tastes.csv")]) == 0
    assert (tmp_path / "tastes.csv").read_text().startswith("rater_id,answers,kind,name,mean,low,high\n")
