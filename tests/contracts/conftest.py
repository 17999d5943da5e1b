"""One set of answers, and one belief per member, for all tests that only look."""

import pytest
from people import asked, model


@pytest.fixture(scope="session")
def data():
    return asked()


@pytest.fixture(scope="session")
def fitted(data):
    """One belief per member, fitted once for all tests that only look."""
    beliefs = {}

    def get(name):
        if name not in beliefs:
            beliefs[name] = model(name).fit(data, seed=0)
        return beliefs[name]

    return get
