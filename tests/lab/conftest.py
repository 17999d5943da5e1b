"""Small worlds with a known answer."""

import pytest

from pluralign.lab.simulate import Simulate


@pytest.fixture(scope="session")
def camps_folder(tmp_path_factory):
    """Sixty people in two camps that want opposite things."""
    world = Simulate(raters=60, answers=24, options=40, features=3, strength=3.0, spread=0.0, seed=1)
    return world.write(tmp_path_factory.mktemp("answers") / "camps")


@pytest.fixture(scope="session")
def alike_folder(tmp_path_factory):
    """Sixty people with one taste."""
    world = Simulate("alike", raters=60, answers=24, options=40, features=3, strength=2.0, seed=3)
    return world.write(tmp_path_factory.mktemp("answers") / "alike")
