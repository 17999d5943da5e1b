"""Random numbers by address."""

import math

import torch
from scipy.stats import chisquare, kstest

from pluralign.raters.numbers import bits, normal, uniform


def test_the_mixing_function_is_splitmix64():
    # First outputs of SplitMix64 with seed 0, as published with its reference code.
    got = [hex(int(x)) for x in bits(0, torch.arange(3))]
    assert got == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


def test_numbers_are_uniform_and_neighbours_do_not_know_each_other():
    u = uniform(7, torch.arange(300)[:, None], torch.arange(300))
    assert kstest(u.flatten().numpy(), "uniform").pvalue > 1e-3
    cells = torch.bincount((u.flatten() * 64).long(), minlength=64)
    assert chisquare(cells.numpy()).pvalue > 1e-3
    for a, b in (
        (u[1:], u[:-1]),
        (u[:, 1:], u[:, :-1]),
        (u, uniform(8, torch.arange(300)[:, None], torch.arange(300))),
    ):
        r = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
        assert abs(float(r)) < 4 / math.sqrt(a.numel())


def test_normals_are_normal_and_never_infinite():
    z = normal(1, torch.arange(20_000))
    assert kstest(z.numpy(), "norm").pvalue > 1e-3
    assert z.isfinite().all()
