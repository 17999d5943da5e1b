"""A text is encoded once and a shared prompt once; the states are those of each text alone, and the work is counted."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import dataclasses

import pytest
import torch

pytest.importorskip("transformers")

from pluralign.language.backbone import load_backbone, wrapped
from pluralign.language.once import Pieces, batches_of, encode, packs_of, padded_pairs, pieces_of, work
from pluralign.language.tiny import tiny_model, tiny_tokenizer, tiny_world, write_tiny_backbone

WORLD = tiny_world(prompts=12, answers=4, raters=6, per_rater=10, asked=20)


def backbone(kind, **more):
    tokenizer = tiny_tokenizer([*WORLD.prompt, *WORLD.answer])
    return wrapped(tiny_model(len(tokenizer), kind), tokenizer, "tiny", **more)


def alone(body, pieces):
    """Each text in a sequence of its own, without padding, by the model itself."""
    found = []
    for one in pieces:
        with torch.no_grad():
            out = body.model(input_ids=torch.tensor([[*one.prompt, *one.answer]]), output_hidden_states=True)
        states = out.hidden_states[body.layer][0] if body.layer != -1 else out.last_hidden_state[0]
        found.append(states[-1] if body.pooling == "last" else states.mean(0))
    return torch.stack(found)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert"])
@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("layer", [-1, 1])
def test_states_are_those_of_each_text_alone(kind, pooling, layer):
    body = backbone(kind, pooling=pooling, layer=layer)
    assert body.causal == body.sharing == (kind != "bert")
    pieces = pieces_of(body, WORLD.prompt, WORLD.answer)
    with torch.no_grad():
        found = encode(body, pieces, at_once=300)
    torch.testing.assert_close(found.states, alone(body, pieces), atol=1e-5, rtol=0)
    assert found.counts == work(pieces, sharing=body.sharing, at_once=300)
    if body.sharing:
        prompts = {one.prompt for one in pieces}
        assert found.counts.tokens == sum(map(len, prompts)) + sum(len(one.answer) for one in pieces)


def test_a_mask_that_lets_answers_see_each_other_is_found_out():
    body = backbone("llama")
    pieces = pieces_of(body, WORLD.prompt[:4], WORLD.answer[:4])
    merged = Pieces(pieces[0].prompt + pieces[0].answer, pieces[1].answer)
    with torch.no_grad():
        states = encode(body, [pieces[1], merged]).states
    assert (states[0] - states[1]).norm() > 0.1 * states[0].norm()


def test_gradients_are_those_of_each_text_alone():
    body = backbone("gpt2")
    pieces = pieces_of(body, WORLD.prompt[:8], WORLD.answer[:8])
    side = torch.randn(8, body.width, generator=torch.Generator().manual_seed(0))
    parameters = [p for p in body.model.parameters() if p.requires_grad]
    loss = (encode(body, pieces).states * side).sum()
    shared = torch.autograd.grad(loss, parameters, allow_unused=True)
    single = dataclasses.replace(body, sharing=False)
    loss = (encode(single, pieces, at_once=64).states * side).sum()
    for one, other in zip(shared, torch.autograd.grad(loss, parameters, allow_unused=True)):
        if one is not None:
            torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


def test_equal_texts_are_encoded_once_and_come_back_in_order():
    body = backbone("llama")
    pieces = pieces_of(body, WORLD.prompt, WORLD.answer)
    order = torch.randint(len(pieces), (100,), generator=torch.Generator().manual_seed(1)).tolist()
    with torch.no_grad():
        every, some = encode(body, pieces), encode(body, [pieces[k] for k in order])
    torch.testing.assert_close(some.states, every.states[order], atol=1e-5, rtol=0)
    assert some.counts.texts == len(set(order))
    assert encode(body, []).states.shape == (0, body.width)


def test_work_against_the_padded_pairwise_trainer():
    """One rater per pair: shared prompts alone save more than half; 25 raters per item: more than nine tenths."""
    body = backbone("llama")
    world = tiny_world(prompts=32, answers=4, raters=2, per_rater=1, asked=40, seed=3)
    pieces = pieces_of(body, world.prompt, world.answer)
    length = torch.tensor([len(one) for one in pieces])
    once = torch.arange(128).reshape(-1, 2)
    for slate, least in ((once, 2.0), (once.repeat_interleave(25, 0), 10.0)):
        ours = work(pieces, sharing=True)
        assert padded_pairs(length, slate, batch=8) / ours.computed >= least
        assert ours.computed <= 1.12 * ours.tokens
    length = torch.tensor([3, 5, 4, 9])
    assert padded_pairs(length, torch.tensor([[0, 1], [2, 3]]), batch=1) == 2 * 5 + 2 * 9
    assert padded_pairs(length, torch.tensor([[0, 1], [2, 3]]), batch=2) == 4 * 9


def test_sequences_hold_every_text_once_within_their_limit():
    pieces = [Pieces((1,) * (k % 3 + 1), (k,) * (k % 5 + 1)) for k in range(40)]
    packs = packs_of(pieces, sharing=True, most=12)
    assert sorted(n for pack in packs for n in pack.member) == list(range(40))
    assert max(map(len, packs)) <= 12
    for batch in batches_of(packs, 30):
        assert len(batch) * max(map(len, batch)) <= 30


def test_long_texts_are_cut_on_the_chosen_side_counted_and_said():
    left, right = (backbone("llama", longest=10, side=side) for side in ("left", "right"))
    prompt, answer = ["a of in the", "a of"], ["it is was for on as at by to", "it is"]
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 10 tokens and were cut on the left"):
        one, other = pieces_of(left, prompt, answer)
    whole = pieces_of(backbone("llama"), prompt, answer)
    assert [*one.prompt, *one.answer] == [*whole[0].prompt, *whole[0].answer][-10:]
    assert other == whole[1]
    with pytest.warns(UserWarning, match="cut on the right"):
        one, _ = pieces_of(right, prompt, answer)
    assert [*one.prompt, *one.answer] == [*whole[0].prompt, *whole[0].answer][:10]
    with pytest.raises(ValueError, match="nothing of its answer would be left"):
        pieces_of(right, ["a " * 11], ["it"])


def test_backbones_from_folders_and_what_is_none(tmp_path):
    texts = [*WORLD.prompt, *WORLD.answer]
    folder = write_tiny_backbone(tmp_path / "tiny", texts, chat=True)
    body = load_backbone(folder)
    assert body.facts()["chat"]
    assert body.longest == 512
    chat = pieces_of(body, ["of", '[{"role": "user", "content": "of"}]'], ["it", "it"])
    assert chat[0] == chat[1]
    assert body.tokenizer.decode(chat[0].prompt) == "<user> of <end> <assistant>"
    assert body.facts() == load_backbone(folder).facts()
    other = load_backbone(write_tiny_backbone(tmp_path / "other", texts, chat=True, seed=1))
    assert other.facts()["fingerprint"] != body.facts()["fingerprint"]
    with pytest.raises(ValueError, match="no model of this name could be had from the hub"):
        load_backbone("somebody/no-such-model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no model and tokenizer"):
        load_backbone(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"`layer` must be in -3\.\.2"):
        load_backbone(folder, layer=7)


def test_a_hub_that_has_no_address_is_asked_once(monkeypatch, caplog):
    asked = []

    def nobody(host, *rest, **more):
        asked.append(host)
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", nobody)
    monkeypatch.setattr("pluralign.language.backbone.getproxies", dict)
    with pytest.raises(ValueError, match="no backbone at 'somebody/no-such-model': there is no such folder"):
        load_backbone("somebody/no-such-model")
    assert len(asked) == 1
    assert not caplog.records
