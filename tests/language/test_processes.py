"""Two processes do what one does: the same model, each text read by one of them."""

import json
import os
import socket
import subprocess
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")
pytest.importorskip("accelerate")

import pluralign
from pluralign.cli import main
from pluralign.data.preferences import import_preferences
from pluralign.lab.text_optimise import optimise_texts
from pluralign.language.backbone import load_backbone
from pluralign.language.imitation import tiny_writer
from pluralign.language.joint import Joint, steps
from pluralign.language.likelihood import answer_log_probs
from pluralign.language.online import Online
from pluralign.language.processes import Processes
from pluralign.language.text_belief import load_text_belief
from pluralign.language.tiny import tiny_world, write_tiny_backbone
from pluralign.language.writer import load_writer, moving, tunable

WORLD = tiny_world(prompts=20, answers=3, raters=12, per_rater=25, sharpness=1.0)


def test_every_answer_is_in_one_process_and_a_prompt_in_one():
    group = torch.arange(len(WORLD.data.options)) // 3
    for step in steps(WORLD.data, group, 64, torch.Generator().manual_seed(0)):
        parts = [Processes(rank, 3).part(step, group) for rank in range(3)]
        assert sum(map(len, parts)) == len(step)
        met = [set(group[part.slate].flatten().tolist()) for part in parts]
        assert sum(map(len, met)) == len(set().union(*met))
    alone = Processes.here()
    assert (alone.count, alone.first, alone.total(3), alone.agreed("x")) == (1, True, 3, "x")
    assert torch.equal(alone.gathered(torch.arange(4)), torch.arange(4))


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def told(belief):
    worth = belief.reward(WORLD.prompt[:8], WORLD.answer[:8])
    return belief.notes["held_out"], (worth - worth.mean()).tolist()


def fitted(body, tune):
    return Joint(tune, rounds=2).fit(
        pluralign.Pooled(), load_backbone(body, device="cpu"), WORLD.data, WORLD.prompt, WORLD.answer
    )


def one_of_two(rank, work, more):
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ |= {name: str(value) for name, value in here.items()} | more
    work()


def by_two(work, **more):
    """Do work in two processes, started as a launcher starts them."""
    more |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    torch.multiprocessing.start_processes(one_of_two, (work, more), 2, start_method="fork")


SLICES = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
}


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_two_processes_fit_what_one_does_with_weights_whole_or_in_slices(tmp_path, tune):
    body = write_tiny_backbone(tmp_path / "tiny", [*WORLD.prompt, *WORLD.answer])
    losses, worth = told(fitted(body, tune))
    assert max(worth) - min(worth) > 0.05

    def work():
        belief = fitted(body, tune)
        if os.environ["RANK"] == "0":
            (tmp_path / "found.json").write_text(json.dumps(told(belief)))

    for more in ({}, SLICES):
        by_two(work, **more)
        found = json.loads((tmp_path / "found.json").read_text())
        assert found[0] == pytest.approx(losses, abs=1e-5)
        assert found[1] == pytest.approx(worth, abs=1e-4)


def test_the_first_version_of_slices_is_refused(monkeypatch):
    for name, value in {**SLICES, "FSDP_VERSION": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError, match="version 2, and this launch asks for version 1; add --fsdp_version 2"
    ):
        Processes.here()
    with pytest.raises(ValueError, match="held whole by every process"):
        Processes.whole_models()


@pytest.mark.slow
def test_two_processes_tune_the_policy_that_one_does(tmp_path):
    (tmp_path / "prefs.jsonl").write_text("\n".join(map(json.dumps, WORLD.records())))
    import_preferences(tmp_path / "prefs.jsonl", tmp_path / "data")
    writer = tiny_writer(WORLD.prompt, WORLD.answer, width=16, layers=1, most=8, updates=20)
    writer.save(tmp_path / "writer")
    small = {"tune": "full", "updates": 4, "prompts": 5}

    def tuned(method, out, **settings):
        optimise_texts(
            method, tmp_path / "data", tmp_path / out, tmp_path / "writer", {**small, **settings}, welfare="mean", most=8,
            samples=4,
        )  # fmt: skip
        return json.loads((tmp_path / out / "stages" / "policy" / "curve.json").read_text())

    alone = tuned("dpo", "one", batch=31, rate=1e-2)
    by_two(lambda: tuned("dpo", "two", batch=31, rate=1e-2))
    again = tuned("dpo", "two", batch=31, rate=1e-2)  # one process reads what two did
    for mine, other in zip(alone, again, strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], abs=1e-5)
    pieces = writer.pieces(WORLD.prompt[:6], WORLD.answer[:6])
    told = lambda found: answer_log_probs(found.model, pieces).detach()
    one, two = (told(load_writer(tmp_path / name / "policy")) for name in ("one", "two"))
    assert (one - told(writer)).abs().max() > 0.01
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)
    by_two(lambda: tuned("grpo", "online", answers=3))
    rows = tuned("grpo", "online", answers=3)
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert rows[-1]["kl"] != 0


def test_a_step_on_what_was_written_is_the_same_when_it_is_shared(tmp_path):
    writer = tiny_writer(WORLD.prompt, WORLD.answer, width=16, layers=1, most=8, updates=20)
    pieces = writer.write(WORLD.prompt[:5], 3, seed=0).pieces
    ahead = torch.linspace(-1, 1, len(pieces))

    def slopes(group):
        mine, found = tunable(writer, "full", 1, 0), []

        def descend(losses):
            for part in losses:
                part.backward()
            group.added(moving(mine))
            found.extend(one.grad.norm().item() for one in moving(mine))

        return [Online(epochs=1, at_once=40)._improve(mine, writer, pieces, ahead, descend, group), *found]

    def work():
        found = slopes(Processes.here())
        if os.environ["RANK"] == "1":
            (tmp_path / "found.json").write_text(json.dumps(found))

    by_two(work)
    alone = slopes(Processes())
    assert max(alone) > 1e-3
    assert json.loads((tmp_path / "found.json").read_text()) == pytest.approx(alone, rel=1e-3, abs=1e-6)


@pytest.mark.slow
def test_accelerate_launches_the_command_and_one_process_goes_on(tmp_path, capsys):
    (tmp_path / "prefs.jsonl").write_text("\n".join(map(json.dumps, WORLD.records())))
    import_preferences(tmp_path / "prefs.jsonl", tmp_path / "data")
    body = write_tiny_backbone(tmp_path / "tiny", [*WORLD.prompt, *WORLD.answer])
    launch = ["-m", "accelerate.commands.accelerate_cli", "launch", "--num_machines", "1", "--num_processes", "2",
              "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", free_port(), "--multi_gpu"]  # fmt: skip
    asked = ["fit", "pooled", str(tmp_path / "data"), "--backbone", str(body), "--tune", "lora", "--out"]
    main([*asked, str(tmp_path / "one")])
    subprocess.run(
        [sys.executable, *launch, "-m", "pluralign", *asked, str(tmp_path / "two")],
        check=True, timeout=600, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    file = lambda name: tmp_path / name / "stages" / "fit" / "result.json"
    facts = [json.loads(file(name).read_text()) for name in ("one", "two")]
    assert facts[0]["held_out"] == pytest.approx(facts[1]["held_out"], abs=1e-5)
    assert facts[0]["kept_round"] == facts[1]["kept_round"]
    one, two = (load_text_belief(tmp_path / n / "stages" / "fit" / "model") for n in ("one", "two"))
    assert told(one)[1] == pytest.approx(told(two)[1], abs=1e-4)
    before = file("two").stat().st_mtime_ns
    capsys.readouterr()
    main([*asked, str(tmp_path / "two")])  # nothing is left to do
    assert file("two").stat().st_mtime_ns == before
    assert "held-out loss" in capsys.readouterr().out
