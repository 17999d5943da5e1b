"""Every notebook runs from top to bottom, small, as a script of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(notebook, tmp_path):
    env = os.environ | {"PLURALIGN_QUICK": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(notebook)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_cells_that_begin_with_a_question(notebook):
    cells = notebook.read_text("utf-8").split("\n# %%")
    text = notebook.read_text("utf-8")
    assert "# %% [markdown]" in text, "a notebook is a py:percent script"
    assert len(cells) > 2
    title = next(line for line in text.splitlines() if line.startswith("# # "))
    assert title.endswith("?"), f"one question per notebook; the title is {title!r}"
