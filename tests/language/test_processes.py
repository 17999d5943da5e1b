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
from pluralign.language.backbone import load_backbone
from pluralign.language.joint import Joint, steps
from pluralign.language.processes import Processes
from pluralign.language.text_belief import load_text_belief
from pluralign.language.tiny import tiny_world, write_tiny_backbone

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


def one_of_two(rank, work, out, more):
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    } | more
    found = work()
    if rank == 0:
        out.write_text(json.dumps(told(found)))


def by_two(work, out, **more):
    """What the first of two processes found, started as a launcher starts them."""
    more |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    torch.multiprocessing.start_processes(one_of_two, (work, out, more), 2, start_method="fork")
    return json.loads(out.read_text())


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
    for more in ({}, SLICES):
        found = by_two(lambda: fitted(body, tune), tmp_path / "found.json", **more)
        assert found[0] == pytest.approx(losses, abs=1e-5)
        assert found[1] == pytest.approx(worth, abs=1e-4)


def test_the_first_version_of_slices_is_refused(monkeypatch):
    for name, value in {**SLICES, "FSDP_VERSION": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError, match="version 2, and this launch asks for version 1; add --fsdp_version 2"
    ):
        Processes.here()


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
