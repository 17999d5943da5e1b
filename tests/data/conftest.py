"""A small folder of answers that is right, for tests to break."""

import os
from pathlib import Path

import pytest

ITEMS = "item_id,price,speed\nv0,1,2\nv1,3,4\nv2,5,6.5\n"
COMPARISONS = "cmp_id,rater_id,item_a,item_b,label\nc0,ann,v0,v1,1\nc1,bob,v1,v2,0.5\nc2,ann,v2,v0,0\n"


@pytest.fixture
def folder(tmp_path):
    """Three options, two raters, three answers."""
    return fill(tmp_path / "answers")


def fill(path, items=ITEMS, comparisons=COMPARISONS, **files):
    """A folder of CSV files; `files` by name before .csv, None leaves one out."""
    path.mkdir(exist_ok=True)
    for name, text in {"items": items, "comparisons": comparisons, **files}.items():
        if text is not None:
            (path / f"{name}.csv").write_text(text)
    return path


@pytest.fixture(scope="session")
def shared():
    """Real data, where this machine has them."""
    beside = Path(__file__).parents[2].parent / "shared"
    found = Path(os.environ.get("PLURALIGN_SHARED", beside))
    if not (found / "data").is_dir():
        pytest.skip("needs the shared data sets: set PLURALIGN_SHARED")
    return found
