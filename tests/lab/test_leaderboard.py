"""The leaderboard from a folder of answers to a verdict."""

import json
import re

import pandas as pd
import pytest

import pluralign.lab.leaderboard as module
from pluralign.lab.leaderboard import fingerprint, leaderboard, load_leaderboard
from pluralign.lab.leaderboard_report import write_report
from pluralign.lab.results import FIXED
from pluralign.population import registry
from pluralign.population.camps import Camps
from pluralign.population.pooled import Pooled


class TwoCamps:
    """Camps without a search for settings."""

    def fit(self, data, seed=0, *, held=None):
        return Camps(groups=2, ridge=1.0, restarts=2).fit(data, seed)


QUICK = {"pooled": Pooled, "camps": TwoCamps}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(registry, "MODELS", QUICK)


@pytest.fixture(scope="module")
def board(camps_folder, tmp_path_factory):
    """Every registered population on two camps."""
    return leaderboard(camps_folder, tmp_path_factory.mktemp("runs") / "board", samples=200)


def test_two_camps_are_told_apart(board):
    assert board.verdict["chosen"] == "camps"
    against = board.verdict["against_pooled"]
    assert 0 < against["low"] <= against["value"] <= against["high"]
    assert (against["metric"], against["raters"], against["answers"]) == ("log_loss", "unseen", "all")
    assert "telling them apart pays" in board.verdict["words"][0]


def test_files_are_as_promised(board):
    table = pd.read_csv(board.folder / "leaderboard.csv")
    assert list(table.columns[: len(FIXED)]) == [
        "population", "raters", "answers", "metric", "value", "low", "high", "seconds",
    ]  # fmt: skip
    assert set(table.population) == {*registry.MODELS, "shuffled_raters", "oracle"}
    assert set(table.raters) == {"seen", "unseen"}
    assert {"0", "1", "2", "4", "8", "all"} <= set(table.answers)
    assert {"accuracy", "log_loss", "brier", "calibration_error", "accuracy_worst_decile"} <= set(
        table.metric
    )
    assert table.value.notna().all()
    assert (table.seconds >= 0).all()
    told = json.loads((board.folder / "verdict.json").read_text())
    assert {"chosen", "against_pooled", "warnings"} <= set(told)
    config = json.loads((board.folder / "config.json").read_text())
    assert config["command"] == "leaderboard"
    line = json.loads((board.folder / "metrics.jsonl").read_text().splitlines()[0])
    assert list(line) == ["name", "group", "seed", "step", "value", "standard_error"]


def test_controls(board):
    table = board.table[(board.table.metric == "log_loss") & (board.table.answers == "all")]
    value = table.set_index(["population", "raters"]).value
    assert value["camps", "unseen"] < value["pooled", "unseen"] - 0.1
    # Twelve new raters with twelve answers each: the oracle may lose to luck, by no more than a standard error or two.
    assert value["oracle", "unseen"] < value["camps", "unseen"] + 0.02
    assert value["shuffled_raters", "seen"] == pytest.approx(value["pooled", "seen"], abs=0.02)


def test_the_report_needs_nothing_else(board):
    page = (board.folder / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    # Addresses are names of XML dialects alone: nothing is fetched.
    assert set(re.findall(r"https?://[^\s\"'<>)]+", page)) <= {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink", "http://purl.org/dc/elements/1.1/",
        "http://creativecommons.org/ns#", "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "http://purl.org/dc/dcmitype/StillImage", "https://matplotlib.org/",
    }  # fmt: skip
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "prefers-color-scheme:dark" in page
    for word in ("Be careful", "What was run", "pluralign leaderboard", "camps"):
        assert word in page or word == "Be careful"
    (board.folder / "report.html").unlink()
    assert write_report(board.folder).read_text() == page


def test_shown_in_a_terminal_and_a_notebook(board):
    assert "* camps" in str(board)
    assert "<table" in board._repr_html_()
    assert board.summary("accuracy").loc["camps", "seen"] > 0.6


def test_people_who_are_alike_get_pooled(alike_folder, tmp_path):
    found = leaderboard(alike_folder, tmp_path / "run", samples=100)
    assert found.verdict["chosen"] == "pooled"
    assert found.verdict["against_pooled"]["value"] == 0
    assert (
        "these data show no differences between raters beyond noise: use pooled." in found.verdict["warnings"]
    )
    assert found.verdict["best_personal"]["population"] != "pooled"


def test_a_stopped_leaderboard_goes_on(camps_folder, tmp_path, monkeypatch, quick):
    judged, real = [], module.judge

    def stops(name, *rest, **more):
        judged.append(name)
        if judged.count("camps") == 1 and name == "camps":
            raise KeyboardInterrupt
        return real(name, *rest, **more)

    monkeypatch.setattr(module, "judge", stops)
    with pytest.raises(KeyboardInterrupt):
        leaderboard(camps_folder, tmp_path / "run", samples=50, populations=["camps"])
    assert not (tmp_path / "run" / "leaderboard.csv").exists()
    with pytest.raises(FileNotFoundError, match="run the same command again"):
        load_leaderboard(tmp_path / "run")
    found = leaderboard(camps_folder, tmp_path / "run", samples=50, populations=["camps"])
    assert judged == ["pooled", "camps", "camps", "shuffled_raters"]
    whole = leaderboard(camps_folder, tmp_path / "other", samples=50, populations=["camps"])
    same = [c for c in found.table.columns if "seconds" not in c and c != "memory_mib"]
    pd.testing.assert_frame_equal(found.table[same], whole.table[same])


def test_a_member_that_fails_is_told_and_left_out(camps_folder, tmp_path, monkeypatch):
    class Broken:
        def fit(self, data, seed=0, *, held=None):
            raise ValueError("the matrix\nis singular")

    monkeypatch.setattr(registry, "MODELS", {"pooled": Pooled, "broken_one": Broken})
    found = leaderboard(camps_folder, tmp_path / "run", samples=50)
    assert "broken one could not be fitted: the matrix is singular" in found.verdict["warnings"]
    assert found.verdict["chosen"] == "pooled"
    assert "broken_one" not in set(found.table.population)


def test_a_member_that_predicts_nonsense_is_told(camps_folder, tmp_path, monkeypatch):
    class Nonsense:
        def fit(self, data, seed=0, *, held=None):
            belief = Pooled(ridge=1.0).fit(data, seed)
            object.__setattr__(belief.prior, "z", belief.prior.z * float("nan"))
            object.__setattr__(belief.draws, "z", belief.draws.z * float("nan"))
            return belief

    monkeypatch.setattr(registry, "MODELS", {"pooled": Pooled, "nonsense": Nonsense})
    found = leaderboard(camps_folder, tmp_path / "run", samples=50)
    assert any("nonsense could not be fitted" in w for w in found.verdict["warnings"])


def test_other_answers_are_another_run(camps_folder, tmp_path, quick):
    import shutil

    folder = tmp_path / "answers"
    shutil.copytree(camps_folder, folder)
    leaderboard(folder, tmp_path / "run", samples=20, populations=["pooled"])
    before = fingerprint(folder)
    path = folder / "truth.csv"
    path.write_text(path.read_text() + "\n")
    assert fingerprint(folder) != before
    with pytest.raises(FileExistsError, match="another config"):
        leaderboard(folder, tmp_path / "run", samples=20, populations=["pooled"])


def test_few_raters(tmp_path, quick):
    from pluralign.lab.simulate import Simulate

    folder = Simulate(raters=4, answers=12, options=12, features=2, strength=4.0).write(tmp_path / "few")
    found = leaderboard(folder, tmp_path / "run", samples=20, populations=["camps"])
    assert any(w.startswith("4 raters are few") for w in found.verdict["warnings"])
    assert {"seen", "unseen"} == set(found.table.raters)


def test_one_rater_alone(tmp_path, quick):
    from pluralign.lab.simulate import Simulate

    folder = Simulate("alike", raters=1, answers=40, options=20, features=2).write(tmp_path / "one")
    found = leaderboard(folder, tmp_path / "run", samples=20)
    assert found.verdict["chosen"] == "pooled"
    assert any(w.startswith("one rater only") for w in found.verdict["warnings"])
    assert any(w.startswith("camps could not be fitted") for w in found.verdict["warnings"])
