"""What is given in place of another kind of thing: one sentence. In a process of its own, where no test checks types first."""

import subprocess
import sys

WRONG = """
import torch
from pluralign import Camps, MaxMin
from pluralign.data import Comparisons, Items
from pluralign.policies import Tabular

items = Items(torch.eye(4))
data = Comparisons.pairs(items, torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([0, 1]), torch.ones(2).double())
belief = Camps(1, ridge=1.0).fit(data)
for call in (
    lambda: MaxMin().optimise(None, belief.voices()),
    lambda: MaxMin().optimise(object.__new__(Tabular), belief),
    lambda: belief.utility(torch.eye(4), belief.draws),
):
    try:
        call()
    except TypeError as problem:
        print(problem)
"""


def test_each_wrong_kind_is_one_sentence():
    told = subprocess.run([sys.executable, "-c", WRONG], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == [
        "`learner` must train policies, as Tabular, PPO and SAC do, got NoneType.",
        "`voices` must be Voices, got Belief; give belief.voices().",
        "`options` must be Items, Segments or Texts, got Tensor; give Items(features).",
    ]
