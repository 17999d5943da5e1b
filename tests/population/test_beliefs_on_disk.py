"""Beliefs on disk: complete or not at all, and what is damaged or foreign is refused in one sentence."""

import dataclasses
import json
import os
import pickle

import pytest
import torch

from pluralign.choice import Lapse, Luce
from pluralign.data import Items
from pluralign.population import load
from pluralign.population.camps import Camps
from pluralign.population.pooled import Pooled
from pluralign.population.saving import FORMAT, pack, same, unpack
from pluralign.raters import CampPeople, questions
from pluralign.utility import MLP


@pytest.fixture(scope="module")
def data():
    people = CampPeople(((2.0, 0.0), (-2.0, 1.0)), (0.5, 0.5)).draw(6, 0)
    items = Items(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    return people.answer(items, *questions(8, 8, 6, 0), 0)


@pytest.fixture
def saved(data, tmp_path):
    Camps(groups=2, ridge=1.0, restarts=2, rule=Lapse(Luce(0.5), 0.1)).fit(data).save(tmp_path / "belief")
    return tmp_path / "belief"


def edit(folder, change):
    tree = json.loads((folder / "belief.json").read_text())
    change(tree)
    (folder / "belief.json").write_text(json.dumps(tree))


def one_sentence(caught, *parts):
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400
    for part in parts:
        assert part in text


def test_settings_and_rules_come_back(saved, data):
    belief = load(saved)
    assert belief.settings == Camps(groups=2, ridge=1.0, restarts=2, rule=Lapse(Luce(0.5), 0.1))
    assert belief.rule == Lapse(Luce(0.5), 0.1)
    assert belief.rater_ids == data.rater_ids
    assert sorted(p.name for p in saved.iterdir()) == ["belief.json", "belief.safetensors"]
    assert same(load(str(saved)), belief)


def test_atoms_shared_by_all_raters_are_stored_once(saved):
    belief = load(saved)
    assert belief.draws.shared
    assert (saved / "belief.safetensors").stat().st_size < 4000


def test_a_network_comes_back(data, tmp_path):
    belief = Pooled(utility=MLP((3,))).fit(data)
    belief.save(tmp_path / "net")
    assert same(load(tmp_path / "net"), belief)


@pytest.mark.parametrize(
    "name", ["os:system", "builtins:eval", "pluralignment.evil:Camps", "torch:Tensor", "subprocess:Popen"]
)
def test_classes_of_others_are_refused(saved, name):
    edit(saved, lambda tree: tree["belief"].update({"class": name}))
    with pytest.raises(ValueError, match="not of this package; not loaded") as caught:
        load(saved)
    one_sentence(caught, name)


@pytest.mark.parametrize("name", ["pluralign.population.saving:load", "pluralign.data.comparisons:ABSENT"])
def test_what_is_no_value_of_ours_is_refused(saved, name):
    edit(saved, lambda tree: tree["belief"].update({"class": name}))
    with pytest.raises(ValueError, match="not a settings or result class; not loaded") as caught:
        load(saved)
    one_sentence(caught, name)


def truncate(path, size=100):
    path.write_bytes(path.read_bytes()[:size])


DAMAGE = {
    "half the settings": lambda f: truncate(f / "belief.json"),
    "no settings": lambda f: (f / "belief.json").write_text(""),
    "half the numbers": lambda f: truncate(f / "belief.safetensors"),
    "no numbers": lambda f: (f / "belief.safetensors").unlink(),
    "empty numbers": lambda f: (f / "belief.safetensors").write_bytes(b""),
    "a pickle for numbers": lambda f: (f / "belief.safetensors").write_bytes(pickle.dumps({"a": 1})),
    "settings in another alphabet": lambda f: (f / "belief.json").write_bytes(b"\xff\xfe\x00{"),
    "a class that is gone": lambda f: edit(
        f, lambda t: t["belief"]["fields"]["settings"].update({"class": "pluralign.population.camps:Camp"})
    ),
    "a module that is gone": lambda f: edit(
        f, lambda t: t["belief"]["fields"]["settings"].update({"class": "pluralign.population.camping:Camps"})
    ),
    "a class without a name": lambda f: edit(f, lambda t: t["belief"].update({"class": "pluralign"})),
    "a field too many": lambda f: edit(
        f, lambda t: t["belief"]["fields"]["settings"]["fields"].update({"colour": "red"})
    ),
    "a field too few": lambda f: edit(f, lambda t: t["belief"]["fields"].pop("worth")),
    "a tensor too few": lambda f: edit(
        f, lambda t: t["belief"]["fields"]["prior"]["fields"]["z"].update(tensor="?")
    ),
    "a shape that does not fit": lambda f: edit(
        f, lambda t: t["belief"]["fields"]["prior"]["fields"]["z"].update(shape=[7, 7])
    ),
    "a list for a belief": lambda f: edit(f, lambda t: t.update(belief=[1, 2])),
    "an empty belief": lambda f: edit(f, lambda t: t.update(belief={})),
    "no belief": lambda f: edit(f, lambda t: t.pop("belief")),
}


@pytest.mark.parametrize("case", list(DAMAGE))
def test_damage_is_one_sentence(saved, case):
    DAMAGE[case](saved)
    with pytest.raises(ValueError, match="fit and save") as caught:
        load(saved)
    one_sentence(caught, str(saved))


@pytest.mark.parametrize("number", [FORMAT + 1, 0, "1", None])
def test_other_formats_are_refused(saved, number):
    edit(saved, lambda tree: tree.update(format=number))
    with pytest.raises(ValueError, match=f"this version reads format {FORMAT}; fit and save again") as caught:
        load(saved)
    one_sentence(caught, repr(number))


def test_a_tree_that_is_a_list_is_another_format(saved):
    (saved / "belief.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="this version reads format"):
        load(saved)


def test_nothing_there(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"holds no belief \(belief.json is missing\); give a folder"
    ) as caught:
        load(tmp_path / "nowhere")
    one_sentence(caught, "nowhere")


def test_an_error_leaves_nothing_behind(saved, data, tmp_path, monkeypatch):
    belief = load(saved)
    bad = dataclasses.replace(belief, diagnostics={"what": object()})
    with pytest.raises(
        TypeError, match=r"belief.diagnostics.what holds a object, which a belief cannot save"
    ):
        bad.save(tmp_path / "new")

    def full(*_):
        raise OSError(28, "No space left on device")

    import safetensors.torch

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        belief.save(tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["belief"]
    monkeypatch.setattr(safetensors.torch, "save_file", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        belief.save(tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["belief"]


def test_a_folder_that_exists_is_left_alone(saved):
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    with pytest.raises(FileExistsError, match="exists already; name a new folder"):
        load(saved).save(saved)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before


def test_folders_above_are_made(saved, tmp_path):
    load(saved).save(tmp_path / "a" / "b" / "c")
    assert same(load(tmp_path / "a" / "b" / "c"), load(saved))


def test_numbers_that_json_has_not(tmp_path):
    tensors = {}
    value = {"a": (1, 2.5, [None, True]), "b": float("inf"), "c": torch.arange(3)}
    tree = json.loads(json.dumps(pack(value, tensors)))
    back = unpack(tree, tensors)
    assert back["a"] == (1, 2.5, [None, True])
    assert back["b"] == float("inf")
    assert torch.equal(back["c"], torch.arange(3))
    assert same(value, back)
    assert not same(value, {**back, "c": torch.arange(3) + 1})
