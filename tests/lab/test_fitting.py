"""Fit, judge, adapt: the verbs on folders."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import pluralign
from pluralign.data import Comparisons, Items, write
from pluralign.lab.fitting import adapt_run, evaluate_run, fit
from pluralign.lab.listing import KINDS, listing
from pluralign.lab.simulate import Simulate
from pluralign.lab.tastes import write_tastes


@pytest.fixture(scope="module")
def run(camps_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "camps"
    return fit("camps", camps_folder, out, {"groups": 2, "ridge": 1.0, "restarts": 2})


def test_a_fit_can_be_loaded_and_finds_the_camps(run, camps_folder):
    belief = pluralign.load(run / "model")
    truth = pd.read_csv(camps_folder / "truth.csv").set_index("rater_id")
    found = belief.draws.weight.argmax(0).numpy()
    agree = np.mean(found == truth.loc[list(belief.rater_ids)].group.to_numpy())
    assert max(agree, 1 - agree) > 0.95
    page = (run / "report.html").read_text()
    assert "What each voice wants" in page
    assert "Raters speak with 2 voices" in page
    # Everybody is listed, the likelier camp marked.
    who = page[page.index("Who is in which camp") : page.index("How far raters are told apart")]
    assert [f'<th scope="row">{name}</th>' in who for name in belief.rater_ids] == [True] * 60
    assert who.count('class="best"') == 60
    assert "x0" in page


def test_a_report_of_people_alike_says_so_first(alike_folder, tmp_path):
    settings = {"groups": "auto", "ridge": 1.0, "restarts": 2}
    page = (fit("camps", alike_folder, tmp_path / "alike", settings) / "report.html").read_text()
    assert "<h2>No differences between raters beyond noise</h2>" in page
    assert "gains" in page
    assert "Who is in which camp" not in page


def test_a_fit_is_not_done_twice(run, camps_folder):
    before = (run / "model" / "belief.json").stat().st_mtime_ns
    assert fit("camps", camps_folder, run, {"groups": 2, "ridge": 1.0, "restarts": 2}) == run
    assert (run / "model" / "belief.json").stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="settings was"):
        fit("camps", camps_folder, run, {"groups": 3})


def test_the_fitted_answers_flatter(run, camps_folder):
    with pytest.warns(UserWarning, match="flatter"):
        tables = evaluate_run(run, camps_folder)
    assert tables["all"]["accuracy"].value > 0.7


def test_new_raters_are_placed_in_their_camp(run, tmp_path):
    world = Simulate(raters=60, answers=24, options=40, features=3, strength=3.0, spread=0.0, seed=1)
    # The same options and camps, other people's answers: seeds differ by stream, so draw the world and ask again.
    data, people, _ = world.answer()
    fresh = people.answer(data.options, data.slate, data.rater, 99)
    fresh = dataclasses.replace(fresh, rater_ids=tuple(f"new{r}" for r in range(60)))
    pluralign.write(fresh, tmp_path / "new")
    found = adapt_run(run, tmp_path / "new")
    assert list(found.columns) == ["rater_id", "answers", "kind", "name", "mean", "low", "high"]
    assert set(found.name) == {"x0", "x1", "x2", "camp 1", "camp 2"}
    camp = (
        found[found.name == "camp 1"].set_index("rater_id")["mean"].loc[list(fresh.rater_ids)].to_numpy()
        > 0.5
    )
    agree = np.mean(camp == people.group.numpy().astype(bool))
    assert max(agree, 1 - agree) > 0.95
    taste = found[found.kind == "taste"]
    assert ((taste.low <= taste["mean"] + 1e-9) & (taste["mean"] <= taste.high + 1e-9)).all()
    write_tastes(found, tmp_path / "draws.json")
    assert len(json.loads((tmp_path / "draws.json").read_text())) == len(found)
    with pytest.raises(FileExistsError):
        write_tastes(found, tmp_path / "draws.json")
    with pytest.raises(ValueError, match=r"\.csv or \.json"):
        write_tastes(found, tmp_path / "draws.txt")


def test_other_features_are_refused(run, tmp_path):
    Simulate(raters=3, answers=3, options=5, features=2).write(tmp_path / "other")
    with pytest.raises(ValueError, match=r"first that is missing is 'x2'"):
        adapt_run(run, tmp_path / "other")


def test_features_without_names_are_known_by_their_number(tmp_path):
    draw = torch.Generator().manual_seed(0)
    plain = Items(torch.randn(12, 3, generator=draw))
    named = dataclasses.replace(plain, names=("a", "b", "c"))
    turned = dataclasses.replace(plain, names=("b", "a", "c"))
    wide = Items(torch.randn(12, 4, generator=draw))
    slate = torch.randint(12, (60, 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % 12, slate[:, 1])
    rater, label = torch.arange(60) % 6, torch.eye(2)[torch.randint(2, (60,), generator=draw)]
    for name, items in {"plain": plain, "named": named, "turned": turned, "wide": wide}.items():
        write(Comparisons(items, slate, rater, label), tmp_path / name)
    quick = {"ridge": 1.0}
    first = fit("pooled", tmp_path / "plain", tmp_path / "first", quick)
    other = fit("pooled", tmp_path / "named", tmp_path / "other", quick)
    assert len(evaluate_run(first, tmp_path / "named"))
    assert len(evaluate_run(other, tmp_path / "plain"))
    with pytest.raises(
        ValueError, match="must have the 3 features of the training answers, got 4; give the same"
    ):
        evaluate_run(first, tmp_path / "wide")
    with pytest.raises(
        ValueError, match="must stand in the order of the training answers, a, b, c; they are b"
    ):
        evaluate_run(other, tmp_path / "turned")


def test_a_split_is_honoured(tmp_path, camps_folder):
    data = pluralign.read(camps_folder)
    role = np.where(np.arange(len(data)) % 24 < 16, "train", "test_seen").astype(object)
    role[data.rater.numpy() >= 50] = "test_unseen"
    role[(data.rater.numpy() >= 50) & (np.arange(len(data)) % 24 < 6)] = "adapt"
    pluralign.write(data, tmp_path / "split", extra=pd.DataFrame({"role": role}))
    made = fit("pooled", tmp_path / "split", tmp_path / "run", {"ridge": 1.0})
    belief = pluralign.load(made / "model")
    assert int((belief.draws.weight.sum(0) > 0).sum()) == 60
    tables = evaluate_run(made, tmp_path / "split")
    assert set(tables) == {"seen", "unseen"}
    assert tables["unseen"].at(4)["accuracy"].n == 10


def test_simulated_people(tmp_path):
    world = Simulate(raters=20, answers=10, options=15, features=4, lapse=0.2, seed=5)
    world.write(tmp_path / "a")
    world.write(tmp_path / "b")
    same = lambda name: (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert all(same(path.name) for path in (tmp_path / "a").iterdir())
    data = pluralign.read(tmp_path / "a")
    share = np.load(tmp_path / "a" / "truth_share.npy")
    assert (len(data), data.raters, len(share)) == (200, 20, 200)
    assert share.min() >= 0.1 - 1e-9  # a fifth of the answers are guesses
    assert share.max() <= 0.9 + 1e-9
    truth = pd.read_csv(tmp_path / "a" / "truth.csv")
    assert list(truth.columns) == ["rater_id", "group", "x0", "x1", "x2", "x3"]
    # Answers follow the chances: the sum of 200 of them within four standard errors.
    gap = data.label[:, 0].numpy().sum() - share.sum()
    assert abs(gap) < 4 * np.sqrt((share * (1 - share)).sum())
    assert Simulate("gaussian", raters=5).people().group is None
    assert len({tuple(t) for t in Simulate("alike", raters=5).people().taste.tolist()}) == 1
    with pytest.raises(FileExistsError):
        world.write(tmp_path / "a")
    with pytest.raises(ValueError, match="camps, gaussian, alike"):
        Simulate("clans")


@pytest.mark.parametrize("kind", KINDS)
def test_lists(kind):
    if kind == "worlds":
        pytest.importorskip("pluralign_envs")
    found = listing(kind)
    assert found
    assert all(name and "\n" not in about for name, about in found)


def test_lab_is_light():
    code = "import sys, pluralign.lab, pluralign.cli, pluralign.lab.run; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_fit_says_what_the_answers_cannot_tell(run, alike_folder, tmp_path):
    page = (run / "report.html").read_text()
    assert "Raters differ beyond noise" in page
    assert "camps have no names" in page.lower()
    names = [json.loads(line)["name"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"effective_camps", "active_directions", "flip", "gain", "beyond"} <= set(names)
    alike = fit("camps", alike_folder, tmp_path / "alike", {"groups": 2, "ridge": 1.0, "restarts": 2})
    assert "no differences between raters beyond noise: use pooled" in (alike / "report.html").read_text()


def test_strict_refuses_raters_that_were_never_met(run, camps_folder, tmp_path):
    with pytest.warns(UserWarning, match="flatter"):
        known = evaluate_run(run, camps_folder, strict=True)
    assert known["all"]["accuracy"].n == 60
    others = pluralign.read(camps_folder)
    others = dataclasses.replace(others, rater_ids=tuple(f"other {r}" for r in range(60)))
    pluralign.write(others, tmp_path / "others")
    assert evaluate_run(run, tmp_path / "others")["all"]["accuracy"].n == 60
    with pytest.raises(KeyError, match="60 raters were never met in training"):
        evaluate_run(run, tmp_path / "others", strict=True)
