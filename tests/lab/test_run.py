"""Run folders: stages are done once, appear whole or not at all, and nothing is overwritten silently."""

import errno
import json

import pytest

import pluralign.lab.run as module
from pluralign.lab.run import Run, read_config, write_text


def count(calls, value):
    def work(stage):
        calls.append(value)
        (stage.folder / "data.csv").write_text("x\n1\n")
        stage.record("loss", 0.5, group="train", seed=0, step=3, standard_error=0.1)
        return {"value": value}

    return work


def test_a_stage_is_done_once(tmp_path):
    calls = []
    for _ in range(2):
        run = Run.open(tmp_path / "run", {"seed": 0})
        assert run.stage("first", count(calls, 1)) == {"value": 1}
        run.finish()
    assert calls == [1]
    assert run.resumed
    assert (run.files("first") / "data.csv").read_text() == "x\n1\n"
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == [
        {"name": "loss", "group": "train", "seed": 0, "step": 3, "value": 0.5, "standard_error": 0.1}
    ]
    assert "torch" in (run.folder / "versions.txt").read_text()


def test_a_file_in_no_folder_is_refused_by_the_name_that_was_given(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no does not exist; make it first, .* than .*no/where.csv"):
        write_text(tmp_path / "no" / "where.csv", "x")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError, OSError(errno.ENOSPC, "full")])
def test_a_stop_loses_the_running_stage_only(tmp_path, stop):
    calls = []
    run = Run.open(tmp_path / "run", {})
    run.stage("first", count(calls, 1))

    def dies(stage):
        (stage.folder / "half.csv").write_text("x\n")
        raise stop

    with pytest.raises(BaseException):  # noqa: B017
        run.stage("second", dies)
    assert [path.name for path in (run.folder / "stages").iterdir()] == ["first"]
    again = Run.open(tmp_path / "run", {})
    again.stage("first", count(calls, 1))
    again.stage("second", count(calls, 2))
    assert calls == [1, 2]


def test_leavings_of_a_killed_run_are_swept(tmp_path):
    run = Run.open(tmp_path / "run", {})
    (run.folder / "stages" / ".second.part").mkdir()
    Run.open(tmp_path / "run", {})
    assert not list((run.folder / "stages").iterdir())


def test_a_setting_that_came_later_and_is_not_given_is_no_other_config(tmp_path):
    Run.open(tmp_path / "run", {"seed": 0})
    assert Run.open(tmp_path / "run", {"seed": 0, "later": None}).resumed
    with pytest.raises(FileExistsError, match=r"later was .* and is now 2"):
        Run.open(tmp_path / "run", {"seed": 0, "later": 2})


def test_another_config_is_refused(tmp_path):
    Run.open(tmp_path / "run", {"seed": 0, "folder": "a"})
    with pytest.raises(FileExistsError, match=r"another config \(seed was 0 and is now 1\).*--overwrite"):
        Run.open(tmp_path / "run", {"seed": 1, "folder": "a"})
    run = Run.open(tmp_path / "run", {"seed": 1, "folder": "a"}, overwrite=True)
    assert not run.resumed
    assert read_config(run.folder)["seed"] == 1


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all of it")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="no run"):
            Run.open(tmp_path / "mine", {}, overwrite)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "all of it"
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError):
        Run.open(tmp_path / "file", {}, True)


def test_other_versions(tmp_path, monkeypatch):
    Run.open(tmp_path / "run", {})
    monkeypatch.setattr(module, "__version__", "9.9")
    with pytest.raises(ValueError, match=r"begun by pluralign .*, this is 9\.9"):
        Run.open(tmp_path / "run", {})
    monkeypatch.setattr(module, "FORMAT", 7)
    with pytest.raises(ValueError, match=r"a run of format 1, pluralign 9\.9 reads format 7"):
        read_config(tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        read_config(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="give a run folder"):
        read_config(tmp_path / "nowhere")


def test_numbers_that_are_none(tmp_path):
    run = Run.open(tmp_path / "run", {})
    assert run.stage("s", lambda stage: {"a": float("nan"), "b": (1, 2), "c": None}) == {
        "a": None,
        "b": [1, 2],
        "c": None,
    }
    run.record("time", 2.0, group="all")
    run.finish()
    assert json.loads((run.folder / "metrics.jsonl").read_text())["value"] == 2.0
    with pytest.raises(TypeError, match="a run can hold"):
        run.stage("t", lambda stage: {"a": object()})


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "new \udcff")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
