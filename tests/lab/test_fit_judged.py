"""A fit whose report says what people judge by."""

import dataclasses

import torch

from pluralign.cli import main
from pluralign.data import Comparisons, Segments, write


def test_the_report_says_who_judges_by_what(tmp_path, capsys):
    draw = torch.Generator().manual_seed(0)
    cell = torch.randint(5, (120, 1), generator=draw)
    for _ in range(4):
        step = torch.where(torch.rand(120, generator=draw) < 0.6, 1, -1)
        here = cell[:, -1]
        cell = torch.cat([cell, torch.where(here == 5, 5, (here + step).clamp(min=0))[:, None]], 1)
    left = cell[:, :-1]
    walks = Segments(
        torch.nn.functional.one_hot(left, 6).float(),
        left != 5,
        observation=left[..., None].float(),
        reached=cell[:, -1:].float(),
        names=tuple(f"cell {n}" for n in range(6)),
        ids=tuple(f"walk {n}" for n in range(120)),
    )
    slate = torch.randint(120, (400, 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % 120, slate[:, 1])
    end = cell[:, -1].double()  # everybody looks at the end
    first = (
        torch.rand(400, generator=draw) < torch.sigmoid(1.5 * (end[slate[:, 0]] - end[slate[:, 1]]))
    ).double()
    data = Comparisons(walks, slate, torch.arange(400) % 10, torch.stack([first, 1 - first], 1))
    write(data, tmp_path / "data")
    out = tmp_path / "run"
    words = ["fit", "pooled", str(tmp_path / "data"), "--utility", "judged", "--out", str(out)]
    assert main(words) == 0
    page = (out / "report.html").read_text("utf-8")
    assert "What people judge by" in page
    assert "way 1: end value" in page
    plain = dataclasses.replace(data, options=dataclasses.replace(walks, reached=None))
    write(plain, tmp_path / "plain")
    words[2], words[-1] = str(tmp_path / "plain"), str(tmp_path / "other")
    capsys.readouterr()
    assert main(words) == 2
    assert "`reached`" in capsys.readouterr().err
