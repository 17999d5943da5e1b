"""`pluralign optimise`: a folder of answers about segments becomes a policy and a report."""

import json

import numpy as np
import pytest
import torch

import pluralign
from pluralign.cli import main
from pluralign.data import Comparisons, Items, Segments, write
from pluralign.data.answers import rankings
from pluralign.lab.beds import world_named
from pluralign.lab.optimise import actions_of, optimise
from pluralign.policies import load_policy, serve


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Half of twelve people would push right, half left."""
    draw = torch.Generator().manual_seed(0)
    action = torch.rand(80, 4, 2, generator=draw) * 2 - 1
    seen = torch.rand(80, 4, 4, generator=draw)
    shown = Segments(
        action,
        observation=seen,
        action=action,
        names=("right", "up"),
        ids=tuple(f"s{n}" for n in range(80)),
        reached=seen[:, -1],
    )
    rater = torch.arange(12).repeat_interleave(25)
    slate = torch.randint(80, (300, 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % 80, slate[:, 1])
    gap = action.sum(1)[slate][..., 0].diff(dim=1)[:, 0] * torch.where(rater % 2 == 0, 1.0, -1.0)
    data = Comparisons(shown, slate, rater, torch.stack([(gap < 0).double(), (gap > 0).double()], 1))
    out = tmp_path_factory.mktemp("answers") / "data"
    write(data, out)
    return out


QUICK = ["--imitation", "50", "--updates", "150", "--hidden", "16", "--rate", "0.005"]


def test_a_folder_becomes_policies_for_two_camps(folder, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["optimise", "cpl", str(folder), "--out", str(out), "--population", "camps", *QUICK]) == 0
    assert "the policy is in" in capsys.readouterr().out
    served = load_policy(out / "policy")
    here = np.full((1, 4), 0.5, dtype=np.float32)
    push = [served.of(name).act(here)[0, 0] for name in served.rater_ids[:2]]
    assert push[0] > 0.1
    assert push[1] < -0.1
    assert "told apart by camps" in (out / "report.html").read_text("utf-8")
    assert json.loads((out / "config.json").read_text())["method"] == "cpl"
    assert main(["report", str(out)]) == 0
    again = ["optimise", "dpo", str(folder), "--out", str(out)]
    assert main(again) == 2
    assert "another config" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["ipl", "oppo", "dppo"])
def test_kin_of_direct_methods_take_the_same_folder(method, folder, tmp_path):
    out = tmp_path / "run"
    words = [method, str(folder), "--out", str(out), "--population", "camps", "--updates", "200"]
    assert main(["optimise", *words, "--hidden", "16", "--rate", "0.01"]) == 0
    served = load_policy(out / "policy")
    push = [
        served.of(name).act(np.full((1, 4), 0.5, dtype=np.float32))[0, 0] for name in served.rater_ids[:2]
    ]
    assert push[0] > 0.1
    assert push[1] < -0.1


def test_rankings_of_a_folder_train_a_policy(tmp_path, capsys):
    """Everybody ranks four segments by how far right they push."""
    draw = torch.Generator().manual_seed(1)
    action = torch.rand(60, 3, 1, generator=draw) * 2 - 1
    shown = Segments(
        action, observation=torch.rand(60, 3, 2, generator=draw), action=action, names=("right",)
    )
    slate = torch.rand(150, 60, generator=draw).argsort(1)[:, :4]
    order = slate.gather(1, action.sum((1, 2))[slate].argsort(1, descending=True))
    write(rankings(shown, order, torch.arange(150) % 5), tmp_path / "ranked")
    here = np.full((1, 2), 0.5, dtype=np.float32)
    for method in ("pro", "lipo"):
        words = [method, str(tmp_path / "ranked"), "--out", str(tmp_path / method), *QUICK, "--scale", "0.5"]
        assert main(["optimise", *words]) == 0
        assert load_policy(tmp_path / method / "policy").policy.act(here)[0, 0] > 0.3
    assert main(["optimise", "cpl", str(tmp_path / "ranked"), "--out", str(tmp_path / "no")]) == 2
    assert "take pro or lipo" in capsys.readouterr().err


def test_segments_keep_what_they_reached(folder):
    import pluralign

    found = pluralign.read(folder).options
    torch.testing.assert_close(found.reached, found.observation[:, -1])


def test_worlds_and_their_actions():
    assert world_named("pointmaze") == world_named("pluralign/PointMaze-v0") == "pluralign/PointMaze-v0"
    count, low, high = actions_of("pluralign/PointMaze-v0")
    assert count == 0
    assert bool((low < high).all())


def test_bad_input(folder, tmp_path, capsys):
    with pytest.raises(ValueError, match="`method` must be one of cpl"):
        optimise("copl", folder, tmp_path / "a")
    with pytest.raises(ValueError, match="there is no world 'moon'"):
        optimise("cpl", folder, tmp_path / "a", env="moon")
    with pytest.raises(ValueError, match="no population is called"):
        optimise("cpl", folder, tmp_path / "a", population="camp us")
    items = tmp_path / "items"
    write(
        Comparisons(
            Items(torch.eye(3)), torch.tensor([[0, 1]]), torch.tensor([0]), torch.tensor([[1.0, 0.0]])
        ),
        items,
    )
    assert main(["optimise", "cpl", str(items), "--out", str(tmp_path / "b")]) == 2
    assert "needs Segments with observations and actions" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("method", ["iql", "bc"])
def test_offline_learners_take_the_same_folder(method, folder, tmp_path, capsys):
    out = tmp_path / "run"
    words = [
        method,
        str(folder),
        "--out",
        str(out),
        "--updates",
        "300",
        "--hidden",
        "16",
        "--population",
        "camps",
    ]
    more = ["--learning-rate", "0.005", *(["--sharpness", "4"] if method == "iql" else ["--best", "0.25"])]
    assert main(["optimise", *words, *more]) == 0
    belief, personal = pluralign.load(out / "model"), load_policy(out / "policy")
    here = np.full((1, 4), 0.5, dtype=np.float32)
    push = [policy.act(here)[0, 0] for policy in serve(personal, belief.draws)[:2]]
    assert push[0] > 0.1
    assert push[1] < -0.1
    assert "A reward was learned" in (out / "report.html").read_text("utf-8")
    assert main(["optimise", *words, "--welfare", "maxmin"]) == 2
    assert "name a world with `--env`" in capsys.readouterr().err
