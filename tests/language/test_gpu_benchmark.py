"""The benchmark for a GPU runs, at toy sizes on a CPU; what it measures there means nothing."""

import dataclasses
import importlib.util
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
    joint = found["joint"]["toy"]
    assert joint["parameters"] > 0
    for name in ("even", "one_rater", "overlapped"):
        part = {key: value for key, value in joint[name].items() if key != "trl"}
        assert all(math.isfinite(value) and value >= 0 for value in part.values())
    assert joint["even"]["useful_tokens"] == module.TOY.prompts * (module.TOY.prompt + 2 * module.TOY.answer)
    assert joint["one_rater"]["answers"] == module.TOY.prompts * 2
    assert joint["overlapped"]["answers"] == module.TOY.prompts * 2 * module.TOY.raters
    assert {row["head"] for row in found["heads"]["rows"]} == {"linear", "low rank"}
    assert all(math.isfinite(row["times_floor"]) for row in found["heads"]["rows"])
    if importlib.util.find_spec("trl") is not None:
        assert "trl" in joint["one_rater"]
        assert "times_trl" in joint["overlapped"]


def test_operations_are_those_of_its_matrices(module):
    """Counted by torch over a step of texts that nobody shares a prompt with."""
    from torch.utils.flop_counter import FlopCounterMode

    size = dataclasses.replace(module.TOY, prompts=1, prompt=64, answer=32)
    body = module.backbone(size, "cpu", torch.float32)
    body.model.config._attn_implementation = "eager"  # products that can be counted
    pieces, slate = module.data(size, 2, 0.0, 1)
    adam = torch.optim.AdamW(body.model.parameters(), lr=0.0)
    with FlopCounterMode(display=False) as counter:
        module.step(body, pieces, slate, adam)
    parameters = sum(p.numel() for n, p in body.model.named_parameters() if "embed" not in n)
    told = module.flops(size, parameters, pieces)
    attention = 12.0 * size.layers * size.hidden * 128**2  # of a full square, as it is computed
    dense = told - module.flops(size, 0, pieces)
    assert counter.get_total_flops() == pytest.approx(dense + attention, rel=0.02)
    assert module.flops(size, 0, pieces) < attention / 2


def test_our_step_and_the_padded_one_have_one_gradient(module, monkeypatch):
    body = module.backbone(module.TOY, "cpu", torch.float32)
    pieces, slate = module.data(module.TOY, 4, 0.75, 2)
    assert len({len(one) for one in pieces}) > 2
    adam = torch.optim.AdamW(body.model.parameters(), lr=0.0)
    kept = []
    for work in (module.step, module.padded_step):
        monkeypatch.setattr(body.model, "zero_grad", lambda: kept.append(
            {n: p.grad.clone() for n, p in body.model.named_parameters()}))  # fmt: skip
        work(body, pieces, slate, adam)
        for p in body.model.parameters():
            p.grad = None
    for name, value in kept[0].items():
        torch.testing.assert_close(value, kept[1][name], atol=1e-5, rtol=1e-3)
