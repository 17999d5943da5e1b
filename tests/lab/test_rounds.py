"""An experiment in rounds: what it counts as regret, what it refuses, and once from questions to the report."""

import json

import pandas as pd
import pluralign_envs
import pytest
import torch

pytest.importorskip("stable_baselines3.ppo")

from pluralign.cli import main
from pluralign.lab import rounds as module
from pluralign.lab.experiment import Experiment
from pluralign.lab.rounds import Heard, Rounds
from pluralign.lab.rounds_report import estimates, read, screen
from pluralign.policies import Tabular
from pluralign.rewards import known_voices

SMALL = {
    "people": 6,
    "asked": 8,
    "segments": 40,
    "episodes": 16,
    "training": 0.03,
    "seeds": 1,
    "films": False,
}


def test_regret_by_hand():
    """The best known for the first person came in the second round, for the second from their camp; the third gains nothing."""
    people = pd.DataFrame(
        {
            "round": [0, 0, 0, 1, 1, 1],
            "rater": [0, 1, 2, 0, 1, 2],
            "policy": [1.0, 0.0, 0.0, 3.0, 2.0, 0.0],
            "choice": [2.0, 4.0, 0.0, 5.0, 1.0, 0.0],
            "best": [2.0, 4.0, 0.0, 5.0, 2.0, 0.0],
            "random": [1.0, 0.0, 1.0] * 2,
            "own": [3.0, 8.0, 1.0] * 2,
        }
    )
    found = module._regrets(people)
    assert found["lottery"][:, :2].tolist() == [[1.0, 1.0], [0.5, 0.75]]
    assert found["own"][:, :2].tolist() == [[0.75, 0.5], [0.0, 0.875]]
    assert found["own"][:, 2].isnan().all()


def test_a_voice_that_nothing_helps_has_no_say():
    """On the maze's twin: whoever cares for nothing is as well off by chance; where nobody gains, chance it is."""
    learner = Tabular(pluralign_envs.twin("pluralign/PointMaze-v0"))
    pair = known_voices([[1.0, 0.0, -0.02], [0.0, 1.0, -0.02]])
    lottery = Heard("maxmin").optimise(learner, pair)
    assert lottery.diagnostics["silent"] == ()
    assert min(lottery.returns(learner, pair)[0]) > 0.4 * float(
        learner.returns(learner.improve(pair, torch.eye(2).double()[0]), pair)[0, 0]
    )
    some = known_voices([[1.0, 0.0, -0.02], [0.0, 0.0, 0.0]], names=("goer", "nobody"))
    assert Heard("maxmin").optimise(learner, some).diagnostics["silent"] == ("nobody",)
    none = Heard("maxmin").optimise(learner, known_voices([[0.0, 0.0, 0.0]], names=("nobody",)))
    assert none.diagnostics["silent"] == ("nobody",)
    assert torch.equal(none.policies[0].chance, learner.random().chance)


BAD = {
    ("--rounds", "1"): "`rounds` must be at least 2, got 1; for one round leave `--rounds` away",
    ("--rounds", "50"): "`asked` must be at least 50 for 50 rounds, got 40",
    ("--rounds", "30", "--segments", "80"): "`segments` must be at least 90 for 30 rounds, got 80",
    (
        "--rounds",
        "2",
        "--pick",
        "best",
    ): "`pick` must be one of random, information, disagreement, got 'best'",
    ("--rounds", "2", "--explore", "2"): "`explore` must be a share in [0, 1], got 2",
    ("--rounds", "2", "--questions", "uniform"): "--questions is for experiments without rounds",
    ("--pick", "random"): "--pick is for experiments in rounds; give --rounds N, too",
}


@pytest.mark.parametrize("words", BAD)
def test_settings_that_make_no_sense_are_one_sentence(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", "reacher", *words]) == 2
    told = capsys.readouterr().err.strip()
    assert BAD[words] in told
    assert len(told.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_questions_and_pieces_are_shared_out_over_rounds():
    loop = Rounds(Experiment("reacher", asked=40, segments=400), rounds=4, pick="random").settings(15)
    assert (loop.asked, loop.pieces, loop.length, loop.rounds, loop.pick) == (10, 100, 15, 4, "random")


@pytest.mark.slow
def test_from_questions_to_the_report_and_from_where_it_stopped(tmp_path, monkeypatch, capsys):
    out, settings = tmp_path / "run", Rounds(Experiment("reacher", **SMALL), rounds=2)
    whole = module.summary

    def stops(row):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "summary", stops)
    with pytest.raises(KeyboardInterrupt):
        settings.run(out)
    monkeypatch.setattr(module, "summary", whole)
    kept = out / "loops" / "seed-0" / "stages" / "round-1" / "result.json"
    before = kept.stat().st_mtime_ns
    settings.run(out)
    assert kept.stat().st_mtime_ns == before  # done once
    told = read(out)
    assert told["loops"][0]["table"]["questions"] == [24, 48]
    for way in ("lottery", "own"):
        for found in estimates(told, way, "interquartile mean"):
            assert found.low <= found.value <= found.high
    assert "by what they seem to like best" in screen(out)
    page = (out / "report.html").read_text("utf-8")
    assert "Regret by round" in page
    assert page.count("<svg") == 1
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {row["step"] for row in rows if row["name"] == "regret, worst decile"} == {0, 1}
    capsys.readouterr()
    assert main(["report", str(out)]) == 0
    with pytest.raises(FileExistsError, match="rounds was 2 and is now 3"):
        Rounds(Experiment("reacher", **{**SMALL, "asked": 8}), rounds=3).run(out)
