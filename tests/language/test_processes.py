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

from pluralign.data.preferences import import_preferences
from pluralign.language.joint import steps
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


@pytest.mark.slow
def test_two_processes_train_the_same_model(tmp_path):
    (tmp_path / "prefs.jsonl").write_text("\n".join(map(json.dumps, WORLD.records())))
    import_preferences(tmp_path / "prefs.jsonl", tmp_path / "data")
    body = write_tiny_backbone(tmp_path / "tiny", [*WORLD.prompt, *WORLD.answer])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    for name, words in (("one", []), ("two", launch)):
        subprocess.run(
            [sys.executable, *words, "-m", "pluralign", "fit", "pooled", str(tmp_path / "data"), "--backbone", str(body),
             "--tune", "full", "--out", str(tmp_path / name)],
            check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
    facts = [
        json.loads((tmp_path / n / "stages" / "fit" / "result.json").read_text()) for n in ("one", "two")
    ]
    assert facts[0]["held_out"] == pytest.approx(facts[1]["held_out"], abs=1e-3)
    assert facts[0]["kept_round"] == facts[1]["kept_round"] > 0
    one, two = (load_text_belief(tmp_path / n / "stages" / "fit" / "model") for n in ("one", "two"))
    score = [b.reward(WORLD.prompt[:8], WORLD.answer[:8]) for b in (one, two)]
    torch.testing.assert_close(score[0] - score[0].mean(), score[1] - score[1].mean(), atol=2e-2, rtol=2e-2)
