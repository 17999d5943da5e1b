"""The benchmark for a GPU runs, at toy sizes on a CPU; what it measures there means nothing."""

import math
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

pytest.importorskip("transformers")

HERE = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    import language_gpu

    return language_gpu


def test_all_parts_run(module):
    found = module.gpu(toy=True)
    assert found["joint"]["parameters"] > 0
    for name in ("one_rater", "overlapped"):
        part = found["joint"][name]
        assert all(math.isfinite(value) and value >= 0 for value in part.values())
        assert part["useful_tokens"] == module.TOY.prompts * (module.TOY.prompt + 2 * module.TOY.answer)
    assert found["joint"]["overlapped"]["answers"] == module.TOY.prompts * module.TOY.raters
    assert [row["head"] for row in found["heads"]["rows"]] == ["linear", "low rank"]
    assert all(row["times_floor"] > 0 for row in found["heads"]["rows"])


def test_our_step_and_the_padded_one_have_one_gradient(module, monkeypatch):
    body = module.backbone(module.TOY, "cpu", torch.float32)
    pieces, slate = module.data(module.TOY, 2)
    kept = []
    for work in (
        lambda: module.step(body, pieces, slate),
        lambda: module.padded_step(body, pieces, slate, 4),
    ):
        monkeypatch.setattr(body.model, "zero_grad", lambda: kept.append(
            {n: p.grad.clone() for n, p in body.model.named_parameters()}))  # fmt: skip
        work()
        for p in body.model.parameters():
            p.grad = None
    for name, value in kept[0].items():
        torch.testing.assert_close(value, kept[1][name], atol=1e-5, rtol=1e-3)
