"""The main job: small, stopped in the middle, gone on with, and what it writes."""

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("stable_baselines3")

from pluralign.lab import maze as module
from pluralign.lab.maze import KNOWN, Maze
from pluralign.lab.maze_people import JUDGED, POOL, TASTES, WORLD, ask
from pluralign.lab.maze_report import interval, read, screen
from pluralign.policies.learners.ppo import PPO
from pluralign.streams import Streams

SMALL = {"people": 12, "asked": 12, "newcomers": 6, "segments": 120, "quick": True}


class Tiny(Maze):
    """The same, with policies that hardly train."""

    def learner(self) -> PPO:
        return PPO(WORLD, steps=4096, again=2048, personal=4096, episodes=16)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, stopped once by Ctrl-C after the populations were fitted, and gone on with."""
    out = tmp_path_factory.mktemp("runs") / "maze"
    real, calls = module._trained, []

    def stopped(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*given)

    patch = pytest.MonkeyPatch()
    patch.setattr(module, "_trained", stopped)
    with pytest.raises(KeyboardInterrupt):
        Tiny(**SMALL).run(out)
    assert (out / "stages" / "beliefs-0" / "result.json").is_file()
    assert not (out / "report.html").exists()
    before = (out / "stages" / "red-0" / "result.json").read_bytes()
    patch.undo()
    Tiny(**SMALL).run(out)
    assert (out / "stages" / "red-0" / "result.json").read_bytes() == before  # done once
    return out


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_reports(finished, capsys):
    page = (finished / "report.html").read_text("utf-8")
    assert page.count("<svg") >= 5
    for asks in ('src="http', 'href="http', "url(http", "@import"):
        assert asks not in page  # it needs nothing from outside
    told = screen(finished)
    for word in ("pooled", "MaxMin", "personalised", "camps (EM)", "adjusted Rand index"):
        assert word in told
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert {"name", "group", "seed", "step", "value", "standard_error"} == set(rows[0])
    assert {row["step"] for row in rows if row["name"] == "accuracy" and "never" in row["group"]} == set(
        KNOWN
    )


@pytest.mark.slow
def test_the_scale_is_zero_for_random_and_one_for_the_own_best(finished):
    told = read(finished)
    for camp in range(2):
        assert interval(told, "random", camp)[0] == pytest.approx(0, abs=1e-9)
    assert interval(told, "red's own", 0)[0] == pytest.approx(1, abs=1e-9)
    assert interval(told, "blue's own", 1)[0] == pytest.approx(1, abs=1e-9)
    assert told["twin"]["value"] == pytest.approx(0.4991, abs=1e-3)


@pytest.mark.slow
def test_another_config_is_refused(finished):
    with pytest.raises(FileExistsError, match="asked was 12 and is now 13"):
        Tiny(**{**SMALL, "asked": 13}).run(finished)


def small_world(seed=0, **more):
    given = {"people": 20, "newcomers": 10, "share": 0.7, "asked": 10, "segments": 100, "steps": 20}
    given |= {"rationality": 0.6, "lapse": 0.05}
    return ask(**{**given, **more}, streams=Streams(seed))


def test_people_are_asked_what_was_planned():
    answers = small_world()
    assert torch.bincount(answers.met.group).tolist() == [14, 6]
    assert torch.bincount(answers.new.group).tolist() == [7, 3]
    assert (len(answers.train), len(answers.test)) == (200, 20 * JUDGED)
    assert (len(answers.pool), len(answers.fresh)) == (10 * POOL, 10 * JUDGED)
    assert set(answers.train.rater_ids).isdisjoint(answers.pool.rater_ids)
    key = lambda data: {(int(r), *sorted(s)) for r, s in zip(data.rater, data.slate.tolist())}
    assert key(answers.train).isdisjoint(key(answers.test))  # nobody is judged on what was learned from
    again = small_world()
    assert torch.equal(again.train.label, answers.train.label)
    assert torch.equal(again.train.options.factors, answers.train.options.factors)


def test_people_prefer_their_own_goal():
    """With hardly any noise each camp's answers follow its own factor and not the other's."""
    answers = small_world(rationality=50.0, lapse=0.0)
    worth = answers.train.options.factors.sum(1).double() @ torch.tensor(list(TASTES.values())).double().T
    gap = worth[answers.train.slate[:, 0]] - worth[answers.train.slate[:, 1]]
    mine = gap.gather(1, answers.met.group[answers.train.rater][:, None])[:, 0]
    clear = mine.abs() > 0.5
    assert (torch.sign(mine) == torch.sign(answers.train.label[:, 0] - 0.5))[clear].all()


@pytest.mark.parametrize(("name", "value"), [("people", 1), ("asked", 0), ("seeds", 0), ("share", 1.0)])
def test_settings_that_make_no_sense_are_one_sentence(name, value, tmp_path):
    with pytest.raises(ValueError, match=name) as caught:
        Maze(**{name: value}).answers(0)
    assert "\n" not in str(caught.value)
