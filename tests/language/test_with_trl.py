"""TRL's trainer takes the step that ours takes, and serves the smaller camp; left out where TRL is not installed."""

import dataclasses
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from pluralign.language.imitation import tiny_writer
from pluralign.language.online import Online
from pluralign.language.processes import Processes
from pluralign.language.steps import Steps
from pluralign.language.tiny import measured, tiny_world
from pluralign.language.with_trl import tuned_by_trl
from pluralign.language.writer import Written, moving, tunable
from pluralign.language.yardstick import served, yardstick

WORLD = tiny_world(prompts=12, answers=4, raters=4, per_rater=6, seed=0)
SETTINGS = Online(prompts=4, answers=4, epochs=2, scale=0.3, rate=1e-2, tune="full")


@pytest.fixture(scope="module")
def reference():
    return tiny_writer(WORLD.prompt, WORLD.answer, width=16, layers=1, most=10, updates=40)


def test_without_it_one_sentence_says_what_to_install(reference, monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    reward = lambda prompts, answers: torch.tensor([[float(len(a)), 1.0 / (1 + len(a))] for a in answers])
    measure = yardstick(reference, WORLD.prompts[:2], reward, 4)
    with pytest.raises(ImportError, match=r"need trl.*the extra `trl`"):
        dataclasses.replace(SETTINGS, trainer="trl").fit(reference, measure, reward, torch.ones(2) / 2)


@pytest.mark.parametrize("tune", ["full", "lora"])
@pytest.mark.parametrize("at_once", [8192, 150])
def test_a_step_of_trl_is_ours(reference, tune, at_once):
    pytest.importorskip("trl")
    pytest.importorskip("datasets")
    settings = dataclasses.replace(SETTINGS, tune=tune, at_once=at_once)
    prompts = WORLD.prompts[:4]
    said = reference.write(prompts, 4, seed=1)
    worth = torch.randn(4, 4, generator=torch.Generator().manual_seed(2))
    loop = Steps(3, 1e-3, momentum=0.5, average=1 / 3)  # small steps: no ratio near where it is clipped

    def asked(number, place):
        """The same answers whatever the step."""
        rows = [4 * k + j for k in place for j in range(4)]
        pick = lambda values: tuple(values[k] for k in rows)
        written = Written(pick(said.prompts), pick(said.answers), pick(said.pieces))
        return written, worth[place], {"weight": [1.0]}

    theirs = tunable(reference, tune, 4, seed=0)
    rows = tuned_by_trl(settings, loop, theirs, reference, prompts, asked, seed=3)
    ours = tunable(reference, tune, 4, seed=0)
    before = [value.detach().clone() for value in moving(ours)]
    ahead = ((worth - worth.mean(1, keepdim=True)) / worth.std(1, keepdim=True)).reshape(-1)

    def step(number, descend):
        return {"kl": settings._improve(ours, reference, said.pieces, ahead, descend, Processes())}

    right = loop.run(moving(ours), step, {})
    assert [row["kl"] for row in rows] == pytest.approx([row["kl"] for row in right], abs=2e-3)
    for value, other, first in zip(moving(theirs), moving(ours), before, strict=True):
        assert (value - other).norm() <= 0.05 * (other - first).norm() + 1e-6


def test_weights_by_returns_serve_the_smaller_camp(reference):
    """Two camps want long answers, and short ones; the larger alone is followed by the mean, not by the worst-off."""
    pytest.importorskip("trl")
    pytest.importorskip("datasets")
    taste = torch.tensor([[1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    reward = lambda prompts, answers: measured(answers, WORLD.answer) @ taste.T
    share, measure = torch.tensor([0.8, 0.2]).double(), yardstick(reference, WORLD.prompts[:8], reward, 8)
    settings = dataclasses.replace(SETTINGS, trainer="trl", updates=12, answers=8, rate=2e-2)
    wins = {}
    for welfare in ("mean", "maxmin"):
        tuned = dataclasses.replace(settings, welfare=welfare).fit(reference, measure, reward, share, seed=0)
        assert [row["step"] for row in tuned.curve] == list(range(12))
        assert tuned.curve[0]["kl"] == pytest.approx(0.0, abs=1e-5)
        found = served(tuned.writer, reference, measure, reward, 16, seed=5)
        wins[welfare] = [one.value for one in found.wins]
    assert wins["mean"][0] > 0.6
    assert wins["mean"][1] < 0.4
    assert min(wins["maxmin"]) > wins["mean"][1] + 0.05
