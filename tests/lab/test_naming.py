"""Populations and recipes go by one list of names, on the command line and on leaderboards."""

import contextlib
import io
import json

import pytest

import pluralign
from pluralign import recipes
from pluralign.cli import main
from pluralign.lab.fitting import fit
from pluralign.lab.leaderboard import leaderboard
from pluralign.lab.listing import listing
from pluralign.lab.naming import RECIPES, model_named, official, paper_of
from pluralign.population.camps import Camps
from pluralign.population.registry import MODELS
from pluralign.utility import Ideal, Linear


def test_every_name_makes_a_model():
    for name in (*MODELS, *RECIPES):
        assert isinstance(model_named(name), pluralign.population.PopulationModel), name
    assert not set(MODELS) & set(RECIPES), "one name, one model"
    assert official("PAL-A") == "pal_a"
    assert model_named("maxmin-mixture", {"groups": 5}) == recipes.maxmin_mixture(groups=5)


def test_wrong_names_are_told_the_nearest():
    with pytest.raises(
        ValueError, match=r"no population is called 'loer'; there are pooled, .*; the nearest: lore"
    ):
        official("loer")
    with pytest.raises(ValueError, match=r"recipes .*lore.*; the nearest: hierarchical\."):
        official("hierarchic")
    with pytest.raises(ValueError, match=r"no population is called 'xyzzy'; there are pooled, [^;]*\.$"):
        official("xyzzy")
    with pytest.raises(ValueError, match="ensemble has no setting 'utility'; there are member, members"):
        model_named("ensemble", {"utility": Linear()})


def test_lists_name_every_recipe_and_its_paper():
    told = dict(listing("recipes"))
    assert set(told) == set(RECIPES)
    assert told["lore"].endswith("[Bose et al., LoRe, COLM 2025, arXiv 2504.14439]")
    assert {name: about for name, about in listing("populations") if name in told} == told
    for made in RECIPES.values():
        assert "arXiv" in paper_of(made)


def test_a_recipe_is_fitted_by_its_name(camps_folder, tmp_path):
    run = fit("maxmin_mixture", camps_folder, tmp_path / "run", {"ridge": 1.0, "restarts": 2})
    belief = pluralign.load(run / "model")
    assert belief.settings == model_named("maxmin_mixture", {"ridge": 1.0, "restarts": 2})
    assert belief.settings.hard
    assert "maxmin mixture fitted to" in (run / "report.html").read_text()
    # A recipe's own utility stands until another is asked for.
    assert isinstance(model_named("pal_a").utility, Ideal)
    told = fit("pooled", camps_folder, tmp_path / "bumps", {"ridge": 1.0}, utility="basis")
    assert json.loads((told / "config.json").read_text())["utility"] == "basis"
    assert "direction 1" in (told / "report.html").read_text()


def test_help_shows_the_settings_of_a_recipe():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["fit", "maxmin_mixture", "--help"]) == 0
    told = " ".join(out.getvalue().split())
    assert "settings of maxmin_mixture" in told
    assert "k-means style), not in shares. (default: True)" in told


def test_leaderboards_take_recipes(camps_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "maxmin_mixture", lambda: Camps(2, ridge=1.0, hard=True, restarts=2))
    board = leaderboard(camps_folder, tmp_path / "board", populations=["maxmin-mixture"], samples=100)
    assert set(board.table.population) == {"pooled", "maxmin_mixture", "shuffled_raters", "oracle"}
    assert board.verdict["chosen"] == "maxmin_mixture"
    assert "maxmin mixture" in (board.folder / "report.html").read_text()
