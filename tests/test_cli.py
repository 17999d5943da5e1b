"""The command line: it teaches, it is quick to help, and it fails in one sentence."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from pluralign.cli import VERBS, main, sentence

ITEMS = "item_id,price\nv0,1\nv1,3\nv2,5\nv3,4\n"
ROWS = [f"r{r},v{n},v{n + 1},{(r + n) % 2}" for r in range(8) for n in range(3)]


def fill(path, items=ITEMS, comparisons=None):
    path.mkdir()
    if items is not None:
        (path / "items.csv").write_text(items)
    text = "\n".join(["rater_id,item_a,item_b,label", *ROWS]) + "\n" if comparisons is None else comparisons
    (path / "comparisons.csv").write_text(text)
    return path


def go(line):
    return main(line.split())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_comes_at_once_and_without_torch(tmp_path):
    code = (
        "import sys; from pluralign.cli import main; main(['--help']);"
        "heavy = {'torch', 'pyro', 'transformers', 'mujoco', 'stable_baselines3', 'pandas'} & set(sys.modules);"
        "print(heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"
    for verb in VERBS:
        assert f"\n  {verb} " in done.stdout


def test_python_m(here):
    done = subprocess.run([sys.executable, "-m", "pluralign", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("pluralign ")


@pytest.mark.parametrize("verb", [v for v in VERBS if v != "experiment"])
def test_every_verb_helps(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert f"pluralign {verb}" in capsys.readouterr().out


def test_the_settings_of_a_population_are_options(capsys):
    assert go("fit camps --help") == 0
    told = capsys.readouterr().out
    assert "--groups" in told
    assert "--hard" in told
    assert "restarts" in told


def test_the_way_of_the_help(here, capsys):
    assert go("simulate --out a --raters 30 --answers 16 --options 20 --features 2 --strength 4") == 0
    assert go("fit camps a --out run --groups 2 --ridge 1.0 --restarts 2") == 0
    config = json.loads((here / "run" / "config.json").read_text())
    assert config["settings"] == {"groups": 2, "ridge": 1, "restarts": 2}
    assert go("evaluate run a --out scores.csv") == 0
    assert go("adapt run a --out draws.csv") == 0
    assert (here / "draws.csv").read_text().startswith("rater_id,answers,kind,name,mean,low,high\n")
    assert go("report run") == 0
    assert go("leaderboard a --populations camps --out board") == 0
    told = capsys.readouterr()
    assert "* " in told.out
    assert "flatter" in told.err
    assert go("report board") == 0
    assert go("leaderboard a --populations camps --out board") == 0  # finished: read again
    assert go("list populations") == 0
    assert "camps" in capsys.readouterr().out


BAD = {
    "no verb": ("leaderbord a", "did you mean 'leaderboard'"),
    "no folder": ("leaderboard nowhere", "nowhere does not exist"),
    "no population": ("fit clans a", "no population is called 'clans'; there are pooled"),
    "option first": ("fit --seed 1 camps a", "--seed comes before the population"),
    "of texts": ("optimise cpl a --rater r1", "--backbone and --rater are of texts"),
    "texts, option first": ("optimise --backbone tiny dpo a", "write `pluralign optimise METHOD FOLDER"),
    "no setting": ("fit camps a --gruops 3", "unrecognized arguments: --gruops 3"),
    "bad setting": ("fit camps a --groups 0", "`groups` must be a positive number"),
    "bad number": ("fit camps a --restarts many", "a number is expected, got 'many'"),
    "too many camps": ("fit camps a --groups 99 --ridge 1", "must not exceed the number of raters"),
    "no kind": ("list planets", "nothing called 'planets'"),
    "no run": ("report nowhere", "nowhere does not exist"),
    "no out": ("simulate", "--out"),
    "folder there": ("simulate --out a", "a exists already"),
    "bad world": ("simulate --out b --share .5 .6", "must sum to 1"),
    "not a run": ("evaluate a a", "is no run"),
    "no rule": ("fit camps a --choice coin", "no rule is called 'coin'"),
    "no member": ("leaderboard a --populations clans", "no population is called 'clans'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_words_end_in_one_sentence(here, capsys, name):
    fill(here / "a")
    words, message = BAD[name]
    before = sorted(path.name for path in here.rglob("*"))
    assert go(words) == 2
    told = capsys.readouterr().err.strip()
    assert message in told
    assert "Traceback" not in told
    assert len(told.splitlines()) == 1
    assert sorted(path.name for path in here.rglob("*")) == before


HEAD = "rater_id,item_a,item_b,label\n"
ANSWERS = {
    "empty": ("", "empty"),
    "no column": ("rater_id,item_a,item_b\nr0,v0,v1\n", "label"),
    "misnamed": ("rater,item_a,item_b,label\nr0,v0,v1,1\n", "rater_id"),
    "unknown item": (HEAD + "r0,v0,v9,1\n", "'v9'"),
    "label": (HEAD + "r0,v0,v1,1\nr0,v1,v2,1.5\n", "1.5"),
    "one answer": (HEAD + "r0,v0,v1,1\n", "two decided answers"),
    "ties": (HEAD + "r0,v0,v1,.5\nr1,v0,v2,.5\n", "two decided answers"),
    "with itself": (HEAD + "r0,v0,v0,1\n", "no answer left"),
    "two answers": (HEAD + "r0,v0,v1,1\nr0,v1,v2,1\n", "too few|needs two"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_bad_answers_end_in_one_sentence(here, capsys, name):
    import re

    text, message = ANSWERS[name]
    fill(here / "bad", comparisons=text)
    assert go("leaderboard bad") == 2
    told = capsys.readouterr().err.strip()
    assert re.search(message, told), told
    assert "Traceback" not in told
    assert not (here / "runs").exists()


def test_infinite_features_and_a_truncated_parquet(here, capsys):
    fill(here / "inf", items="item_id,price\nv0,1\nv1,inf\nv2,5\nv3,4\n")
    assert go("leaderboard inf") == 2
    assert "row 3" in capsys.readouterr().err
    fill(here / "cut", items=None)
    (here / "cut" / "items.parquet").write_bytes(b"PAR1 and no more")
    assert go("fit pooled cut") == 2
    assert "items.parquet" in capsys.readouterr().err
    assert not (here / "runs").exists()


def test_one_rater_with_a_few_answers(here, capsys):
    rows = [f"r0,v{a},v{b},{int(a < b)}" for a in range(4) for b in range(4) if a != b]
    fill(here / "one", comparisons=HEAD + "\n".join(rows) + "\n")
    assert go("leaderboard one --populations per_rater --out run") == 0
    assert "one rater only" in capsys.readouterr().out


def test_runs_that_are_there(here, capsys):
    fill(here / "a")
    assert go("fit pooled a --out run --ridge 1.0") == 0
    assert go("fit pooled a --out run --ridge 2.0") == 2
    assert "another config" in capsys.readouterr().err
    assert go("fit pooled a --out run --ridge 2.0 --overwrite") == 0
    config = json.loads((here / "run" / "config.json").read_text())
    (here / "run" / "config.json").write_text(json.dumps(config | {"format": 99}))
    assert go("report run") == 2
    assert "format 99" in capsys.readouterr().err
    assert go("leaderboard a --out a") == 2
    assert "no run" in capsys.readouterr().err


def test_a_full_disk(here, capsys, monkeypatch):
    import pluralign.lab.run as run

    fill(here / "a")

    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run, "write_text", full)
    assert go("leaderboard a --out run --populations pooled") == 2
    assert "the disk is full" in capsys.readouterr().err
    assert not list(here.rglob("*.part"))


def test_ctrl_c(here, capsys, monkeypatch):
    import pluralign.lab.leaderboard as module

    fill(here / "a")
    monkeypatch.setattr(module, "judge", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    assert go("leaderboard a --out run") == 130
    assert "type the same command again" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert go("leaderboard a --out run --populations per_rater") == 2  # another config
    shutil.rmtree(here / "run")


def test_debug_shows_where(here, monkeypatch):
    from pluralign.data import DataError

    monkeypatch.setenv("PLURALIGN_DEBUG", "1")
    with pytest.raises(DataError):
        go("leaderboard nowhere")


def test_a_bug_is_called_one(here, capsys, monkeypatch):
    monkeypatch.setitem(VERBS, "list", replace(VERBS["list"], run=lambda words: 1 / 0))
    assert go("list populations") == 1
    assert "this should not happen: division by zero" in capsys.readouterr().err


def test_sentences():
    assert sentence(KeyError("no such thing")) == "no such thing"
    assert sentence(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "x.csv")) == (
        "x.csv: No such file or directory; name a place that is there."
    )
    half = "runs/..tastes.csv.0a1b2c3d.part.99887766.part"  # a file on its way has another name
    assert sentence(PermissionError(errno.EACCES, os.strerror(errno.EACCES), half)) == (
        "runs/tastes.csv: Permission denied; change its permissions, or name another place."
    )
    assert sentence(ValueError(".answers.0a1b2c3d.part is lost")) == "answers is lost"
    assert "memory" in sentence(MemoryError())
    for number in (errno.ENOSPC, errno.EFBIG):
        assert "the disk is full" in sentence(OSError(number, os.strerror(number)))
    assert "the disk is full" in sentence(OSError("problem writing element 3072 to file"))
    lost = "Error while serializing: I/O error: No space left on device (os error 28)"
    assert "the disk is full" in sentence(RuntimeError(lost))


@pytest.mark.parametrize("verb", ["simulate", "experiment"])
def test_a_world_is_named_once(verb, capsys):
    assert main([verb, "cheetah", "--help"]) == 0
    assert "--world" not in capsys.readouterr().out


def test_ways_to_be_fair_and_to_optimise_are_listed(capsys):
    from pluralign.policies.direct import TRAINERS
    from pluralign.policies.registry import WELFARE

    for kind, names in (("welfare", WELFARE), ("methods", [*TRAINERS, "iql", "bc", "grpo", "best-of-n"])):
        assert main(["list", kind]) == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(names)


def test_an_unfinished_run_has_no_report(here, capsys):
    from pluralign.lab.run import Run

    Run.open(here / "run", {"command": "optimise"}, False)
    assert go("report run") == 2
    assert "the run has not ended" in capsys.readouterr().err


def test_missing_rewards_are_found_before_a_world_is_sampled(here, capsys, monkeypatch):
    monkeypatch.setattr("pluralign.lab.starc.find_world", lambda *_, **__: pytest.fail("sampled"))
    assert go("starc a.json b.json --env maze") == 2
    assert "a.json does not exist" in capsys.readouterr().err
