"""The page of worlds: every factor with its unit, a picture each, or what to install."""

import pytest

from pluralign.cli import main
from pluralign.lab import worlds_page as module
from pluralign.lab.beds import BEDS


def test_every_world_and_factor_is_on_the_page(tmp_path, monkeypatch, capsys):
    from pluralign_envs.catalogue import WORLDS

    monkeypatch.setattr(module, "_frame", lambda world: f"data:image/png;base64,{world}")
    page = tmp_path / "worlds.html"
    assert main(["list", "worlds", "--page", str(page)]) == 0
    assert "reacher     pluralign/Reacher-v0" in capsys.readouterr().out
    text = page.read_text("utf-8")
    for name, bed in BEDS.items():
        assert f"data:image/png;base64,{bed.world}" in text
        assert f"pluralign experiment {name}" in text
        for factor in WORLDS[bed.world].factors:
            assert factor.unit in text
    assert main(["list", "worlds", "--page", str(page)]) == 2
    assert "exists already; name a new file" in capsys.readouterr().err
    assert main(["list", "rules", "--page", str(tmp_path / "x")]) == 2
    assert "--page is for worlds" in capsys.readouterr().err


def test_without_graphics_the_page_says_what_to_install_and_has_the_rest(tmp_path, monkeypatch):
    def blind(world):
        raise RuntimeError("No graphics for rendering; run `apt-get install libegl1`.")

    monkeypatch.setattr(module, "_frame", blind)
    text = module.write_page(tmp_path / "worlds.html").read_text("utf-8")
    assert text.count("No graphics for rendering") == 1
    assert "pluralign experiment pusher" in text


def test_a_picture_is_the_same_again():
    pytest.importorskip("mujoco.egl")
    first = module._frame("pluralign/PointMaze-v0")
    assert first == module._frame("pluralign/PointMaze-v0")
    assert len(first) > 5000
