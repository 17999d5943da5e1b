"""For all tests: one thread, no global random stream moves, hypothesis without a deadline."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded

import importlib
import random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
# A deadline would make tests fail on a busy machine; the same examples each time make a red test stay red.
settings.register_profile(
    "pluralign", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("pluralign")

EXEMPT = "moves_global_random"
# The checker of annotations picks the elements of tuples that it looks at by the global `random`; give it a stream of
# its own, before the first module of the package is loaded.
for home in ("beartype._check.code.codemain", "beartype._util.kind.integer.utilintget"):
    importlib.import_module(home).getrandbits = random.Random(0).getrandbits


LIBRARIES = {"test_stable_baselines.py": "stable_baselines3.common.utils.set_random_seed seeds all three"}


def _aside(check):
    """A check of gradients whose random directions come from the global stream, which is put back."""

    def checked(*args, **more):
        with torch.random.fork_rng(devices=[]):
            return check(*args, **more)

    return checked


torch.autograd.gradcheck = _aside(torch.autograd.gradcheck)
torch.autograd.gradgradcheck = _aside(torch.autograd.gradgradcheck)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.name in LIBRARIES:
            item.add_marker(getattr(pytest.mark, EXEMPT)(reason=LIBRARIES[item.path.name]))


def pytest_configure(config):
    config.addinivalue_line(
        "markers", f"{EXEMPT}: another library seeds a global random stream; say which in the reason."
    )


@pytest.fixture(autouse=True)
def no_global_random(request):
    """Fail a test after which a global random stream of torch, numpy or random stands elsewhere."""
    if request.node.get_closest_marker(EXEMPT):
        yield
        return
    before = _streams()
    yield
    after = _streams()
    moved = [name for name in before if before[name] != after[name]]
    if moved:
        pytest.fail(
            f"the global random stream of {' and '.join(moved)} moved; draw from Streams.of(seed)(name), or mark "
            f"the test {EXEMPT}(reason=...) where a library gives no choice."
        )


def _streams():
    name, key, *rest = np.random.get_state()  # noqa: NPY002 - looked at, not used
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (name, key.tobytes(), *rest),
        "random": random.getstate(),
    }


@pytest.fixture
def rng():
    """A torch generator of the test's own."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def np_rng():
    """A numpy generator of the test's own."""
    return np.random.default_rng(0)
