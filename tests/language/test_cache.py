"""The cache of hidden states: made once, resumed after a stop, refused where it is another's or damaged."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import pluralign
from pluralign.cli import main
from pluralign.data import DataError
from pluralign.data.preferences import import_preferences
from pluralign.language import cache
from pluralign.language.backbone import load_backbone
from pluralign.language.once import encode, pieces_of
from pluralign.language.tiny import tiny_world, write_tiny_backbone

WORLD = tiny_world(prompts=20, answers=4, raters=20, per_rater=20, asked=12)


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    return write_tiny_backbone(tmp_path_factory.mktemp("backbone"), [*WORLD.prompt, *WORLD.answer])


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "prefs.jsonl"
    path.write_text("\n".join(map(json.dumps, WORLD.records())))
    import_preferences(path, tmp_path / "data")
    return tmp_path / "data"


def test_states_stand_beside_their_items_and_populations_read_them(data, body):
    found = cache.encode_folder(data, body)
    assert found.fresh == found.texts
    back = pluralign.read(data)
    prompts, answers = cache.texts_of(data)
    loaded = load_backbone(body)
    with torch.no_grad():
        states = encode(loaded, pieces_of(loaded, prompts, answers)).states
    torch.testing.assert_close(back.options.embedding, states, atol=1e-5, rtol=0)
    again = cache.encode_folder(data, body)
    assert (again.fresh, again.computed) == (0, 0)
    belief = pluralign.Pooled().fit(back)
    assert belief.predict(back).shape == (len(back), 2)


def test_a_stopped_run_goes_on_where_it_was(data, body, monkeypatch):
    calls = []

    def stopping(*args, **more):
        calls.append(len(args[1]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(*args, **more)

    monkeypatch.setattr(cache, "encode", stopping)
    with pytest.raises(KeyboardInterrupt):
        cache.encode_folder(data, body, at_once=32)
    assert not (data / "embeddings.npy").exists()
    assert (data / "hidden.part").is_dir()
    monkeypatch.setattr(cache, "encode", encode)
    found = cache.encode_folder(data, body, at_once=32)
    assert found.fresh == found.texts - sum(calls[:2])
    stopped = np.load(data / "embeddings.npy")
    cache.encode_folder(data, body, overwrite=True)
    np.testing.assert_allclose(stopped, np.load(data / "embeddings.npy"), atol=1e-5)
    assert not list(data.glob("*.part"))


def test_new_texts_alone_are_encoded(data, body, tmp_path):
    cache.encode_folder(data, body)
    more = [
        *WORLD.records(),
        {"rater_id": "0", "prompt": "what", "chosen": "river moss", "rejected": "grim tram"},
    ]
    (tmp_path / "more.jsonl").write_text("\n".join(map(json.dumps, more)))
    import_preferences(tmp_path / "more.jsonl", tmp_path / "more")
    shutil.copytree(data / "hidden", tmp_path / "more" / "hidden")
    assert cache.encode_folder(tmp_path / "more", body).fresh == 2


def test_a_cache_of_another_kind_or_a_damaged_one_is_refused(data, body, tmp_path):
    cache.encode_folder(data, body)
    with pytest.raises(DataError, match="made with another layer \\(-1; this one: 1\\); give --overwrite"):
        cache.encode_folder(data, body, layer=1)
    other = write_tiny_backbone(tmp_path / "other", [*WORLD.prompt, *WORLD.answer], seed=1)
    with pytest.raises(DataError, match="made with another backbone"):
        cache.encode_folder(data, other)
    before = np.load(data / "embeddings.npy")
    cache.encode_folder(data, other, overwrite=True)
    assert np.abs(np.load(data / "embeddings.npy") - before).max() > 0.1
    whole = (data / "hidden" / "states.npy").read_bytes()
    (data / "hidden" / "states.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        cache.encode_folder(data, other)
    (data / "hidden" / "states.npy").write_bytes(whole)
    np.save(data / "hidden" / "done.npy", np.zeros(len(before), bool))
    with pytest.raises(DataError, match="half-written \\(0 of 80 texts\\)"):
        cache.encode_folder(data, other)
    (data / "hidden" / "cache.json").write_text("{")
    with pytest.raises(DataError, match=r"cache\.json cannot be read"):
        cache.encode_folder(data, other)
    shutil.rmtree(data / "hidden")
    with pytest.raises(DataError, match=r"embeddings\.npy from elsewhere"):
        cache.encode_folder(data, other)


def test_a_full_disk_costs_nothing(data, body, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    before = sorted(path.name for path in data.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(cache.os, "posix_fallocate", full, raising=False)
        with pytest.raises(
            DataError, match=r"needs room for 0.0 MB of hidden states .*No space left on device"
        ):
            cache.encode_folder(data, body)
    assert sorted(path.name for path in data.iterdir()) == before
    assert cache.encode_folder(data, body).fresh == 80


def test_the_commands_from_a_file_to_a_fit(data, body, tmp_path, capsys):
    prefs = str(tmp_path / "prefs.jsonl")
    assert main(["import", prefs, "--out", str(tmp_path / "again")]) == 0
    assert main(["encode", str(tmp_path / "again"), "--backbone", str(body), "--pooling", "mean"]) == 0
    told = capsys.readouterr().out
    assert "400 answers of 20 raters about 80 texts" in told
    assert "80 texts as 64 numbers each" in told
    assert main(["fit", "pooled", str(tmp_path / "again"), "--out", str(tmp_path / "run")]) == 0
    assert main(["encode", str(tmp_path / "again"), "--backbone", "nobody/nothing"]) == 2
    assert main(["import", prefs, "--out", str(tmp_path / "third"), "--rater", "who"]) == 2
    said = capsys.readouterr().err
    assert "no model of this name could be had from the hub" in said
    assert "has no column 'who'" in said
    assert not (tmp_path / "third").exists()
    with pytest.raises(DataError, match="should be a folder of answers with items that have a text"):
        cache.encode_folder(tmp_path / "nowhere", body)
