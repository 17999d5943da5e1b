"""`pluralign optimise METHOD FOLDER --backbone PATH`: a folder of answers about texts becomes a policy and a report."""

import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

pytest.importorskip("transformers")

from pluralign.cli import main
from pluralign.data import Comparisons, Texts, write
from pluralign.data.errors import DataError
from pluralign.lab.text_optimise import checked, optimise_texts, prompts_apart
from pluralign.language.imitation import tiny_writer
from pluralign.language.steering import load_language_policy
from pluralign.language.tiny import tiny_world, write_tiny_backbone

WORLD = {
    "prompts": 16,
    "answers": 4,
    "raters": 12,
    "per_rater": 20,
    "asked": 3,
    "share": (0.7, 0.3),
    "seed": 1,
}
SMALL = ["--most", "8", "--samples", "4"]
SHORT = ["--tune", "full", "--updates", "4", "--prompts", "4", "--answers", "3"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of answers, and beside it a small writer."""
    out, world = tmp_path_factory.mktemp("texts"), tiny_world(**WORLD)
    lines = "".join(json.dumps(row) + "\n" for row in world.records())
    (out / "prefs.jsonl").write_text(lines, "utf-8")
    assert main(["import", str(out / "prefs.jsonl"), "--out", str(out / "data")]) == 0
    writer = tiny_writer(world.prompt, world.answer, width=16, layers=1, most=8, updates=20)
    writer.save(out / "writer")
    return out


def words(method, place, out, *more):
    return [
        method,
        str(place / "data"),
        "--out",
        str(out),
        "--backbone",
        str(place / "writer"),
        *SMALL,
        *more,
    ]


@pytest.mark.parametrize(
    ("method", "more"),
    [("grpo", SHORT), ("dpo", [*SHORT[:4], "--every", "2"]), ("best-of-n", ["--answers", "4"])],
)
def test_a_folder_becomes_a_policy_and_a_report(method, more, place, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["optimise", *words(method, place, out, *more)]) == 0
    said = capsys.readouterr().out
    assert "worst-off camp" in said
    assert "nats per answer from the reference" in said
    policy = load_language_policy(out / "policy")
    answers = policy.write(["what is it ?"], 2, seed=3).answers
    assert answers == load_language_policy(out / "policy").write(["what is it ?"], 2, seed=3).answers
    page = (out / "report.html").read_text("utf-8")
    assert "Who prefers it" in page
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {"win rate", "gain", "kl"} <= {row["name"] for row in rows}
    facts = json.loads((out / "stages" / "judge" / "result.json").read_text())
    assert all(0 <= e["low"] <= e["value"] <= e["high"] <= 1 for e in facts["wins"])
    # The same command finds everything done, and another one is another run.
    assert main(["optimise", *words(method, place, out, *more)]) == 0
    assert main(["report", str(out)]) == 0
    assert main(["optimise", *words(method, place, out, *more, "--seed", "1")]) == 2
    assert "another config" in capsys.readouterr().err


def test_one_rater_and_adapters(place, tmp_path, capsys):
    out = tmp_path / "run"
    rater = tiny_world(**WORLD).data.rater_ids[-1]
    more = ["--rater", rater, "--updates", "2", "--every", "2", "--rank", "2", "--population", "pooled"]
    assert main(["optimise", *words("ipo", place, out, *more)]) == 0
    assert rater in capsys.readouterr().out
    assert (out / "policy" / "adapter_config.json").is_file()
    assert load_language_policy(out / "policy").write(["what is it ?"], seed=0).length <= 8


def test_a_judge_that_was_fitted_before(place, tmp_path, capsys):
    data, body, fitted = str(place / "data"), str(place / "writer"), str(tmp_path / "fit")
    assert (
        main(["fit", "camps", data, "--backbone", body, "--tune", "none", "--groups", "2", "--out", fitted])
        == 0
    )
    out = tmp_path / "run"
    more = ["--judge", fitted, "--answers", "3", "--welfare", "nash"]
    assert main(["optimise", *words("best-of-n", place, out, *more)]) == 0
    assert not (out / "stages" / "belief").exists()
    assert len(load_language_policy(out / "policy").voices) == 2
    capsys.readouterr()
    assert main(["optimise", *words("grpo", place, tmp_path / "b", "--judge", str(tmp_path))]) == 2
    assert "text.json is missing" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_bad_input_is_one_sentence(place, tmp_path, capsys, monkeypatch):
    def says(*argv):
        assert main(["optimise", *argv]) == 2
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    run = tmp_path / "run"
    assert "no rater 'r00' answered" in says(*words("dpo", place, run, "--rater", "r00"))
    assert "no welfare of texts is called 'gini'" in says(*words("grpo", place, run, "--welfare", "gini"))
    assert "no method for texts is called 'ppo'" in says(*words("ppo", place, run))
    lost = [*words("grpo", place, run)]
    lost[lost.index("--backbone") + 1] = "somebody/some-model"
    assert "no language model at 'somebody/some-model'" in says(*lost)
    headless = write_tiny_backbone(tmp_path / "headless", ["a b"], width=16)
    lost[lost.index("--backbone") + 1] = str(headless)
    assert "without a head that predicts tokens" in says(*lost)
    monkeypatch.chdir(tmp_path)
    assert "--backbone" in says("grpo", str(place / "data"))


def texts(rows, slate=((0, 1),)):
    store = Texts(tuple(f"{p}\n\n{a}" for p, a in rows), ids=tuple(f"t{k}" for k in range(len(rows))))
    count = len(slate)
    data = Comparisons(
        store, torch.tensor(slate), torch.zeros(count, dtype=torch.long), torch.tensor([[1.0, 0.0]] * count)
    )
    return data, [p for p, _ in rows], [a for _, a in rows]


def test_what_a_language_model_cannot_learn_from(tmp_path):
    with pytest.raises(DataError, match="compare a text with itself, first row 0: 'yes'"):
        checked(*texts([("q", "yes"), ("q", "yes")]), tmp_path)
    with pytest.raises(DataError, match="compare texts of two prompts"):
        checked(*texts([("q", "yes"), ("r", "yes")]), tmp_path)
    with pytest.raises(DataError, match="text 1 has no prompt"):
        checked(*texts([("q", "yes"), ("", "no")]), tmp_path)
    data, prompts, _ = texts([("q", "yes"), ("q", "no")])
    with pytest.raises(DataError, match="about 4 prompts at least, got 1"):
        prompts_apart(data, prompts, None, 0)
    write(data, tmp_path / "data")
    with pytest.raises(DataError, match="no prompt to answer"):
        optimise_texts("grpo", tmp_path / "data", tmp_path / "run", "nowhere")


def test_prompts_apart_are_of_no_answer_that_is_learnt_from():
    rows = [(f"q{k // 2}", f"a{k}") for k in range(20)]
    data, prompts, _ = texts(rows, tuple((2 * k, 2 * k + 1) for k in range(10)))
    train, apart = prompts_apart(data, prompts, None, 0)
    assert len(apart) == 2
    assert not {prompts[k] for k in train.slate.flatten().tolist()} & set(apart)
    role = torch.tensor([0] * 7 + [1] * 3).numpy().astype(object)
    role[:7], role[7:] = "train", "test_seen"
    train, apart = prompts_apart(data, prompts, role, 0)
    assert apart == ("q7", "q8", "q9")
    assert len(train) == 7
