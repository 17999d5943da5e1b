"""Peak memory: what a piece of work took, not what was there before."""

import sys

import pytest
import torch

from pluralign.lab.memory import Peak


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' counters")
def test_a_peak_is_seen_after_it_is_gone():
    peak = Peak()
    block = torch.ones(32 << 20)  # 128 MiB
    assert float(block[0]) == 1
    del block
    assert 100 < peak.mebibytes() < 400
    assert Peak().mebibytes() < 50
