"""What the README and the documentation say is true: code runs, links lead somewhere, commands and names exist."""

import contextlib
import functools
import io
import os
import re
import subprocess
from pathlib import Path

import pytest

import pluralign
from pluralign.cli import VERBS, main
from pluralign.population.registry import MODELS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if not {"_build", "_generated"} & set(page.parts)]
README = PAGES[0].read_text("utf-8")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def fences(page: Path, *languages: str) -> list[tuple[int, str]]:
    """The line number and content of each fenced block in one of these languages."""
    text = page.read_text("utf-8")
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: m.start(2)].count("\n"), m[2]) for m in found if m[1] in languages]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def answers(tmp_path_factory):
    """What `pluralign simulate --out answers` writes, once for all pages."""
    folder = tmp_path_factory.mktemp("docs") / "answers"
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["simulate", "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("page", [p for p in PAGES if fences(p, "python")], ids=name)
def test_code_runs_from_top_to_bottom(page, answers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    (tmp_path / "answers").symlink_to(answers)
    space: dict = {"__name__": "page"}
    for line, code in fences(page, "python"):
        # Blank lines in front make a traceback point at the line of the page.
        exec(compile("\n" * line + code, str(page), "exec"), space)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for link in LINK.findall(text):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{name(page)} links to {link}, which is not there"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
            assert anchor in slugs, f"{name(page)} links to {link}, which has no such heading"


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for _, block in fences(page, "console", "bash"):
            parts = [part.strip() for line in block.splitlines() for part in line.split("&&")]
            found += [(name(page), part.split("#")[0]) for part in parts if part.startswith("pluralign ")]
    return found


@functools.cache
def told(*words: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*words, "--help"]) == 0
    return out.getvalue()


@pytest.mark.parametrize(("page", "command"), commands())
def test_commands_exist_with_their_options(page, command):
    words = command.split()[1:]
    if words[0] in ("--help", "VERB"):
        return
    assert words[0] in VERBS, f"{page}: {command}"
    plain = (
        [w for w in words[:2] if not w.startswith("-")]
        if words[0] in ("fit", "experiment", "simulate")
        else words[:1]
    )
    text = told(*plain)
    for word in words:
        if word.startswith("--"):
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text), f"{page}: {command}: no {word}"


def test_readme_first_screen_has_the_two_commands():
    block = fences(ROOT / "README.md", "console")[0][1].splitlines()
    assert len(block) == 2
    assert README.index(block[1]) < README.index("\n## ")
    assert len(README[: README.index("```python")].splitlines()) < 40
    assert block[0].endswith('pip install -c constraints.txt -e ".[dev]" && pluralign experiment maze')
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert f"\n{block[1]}\n" in script, "CI runs the README's second command as it stands"


def test_readme_names_populations_that_exist():
    rows = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    assert len(rows) >= 4
    assert set(rows) <= set(MODELS)


@pytest.mark.parametrize("name", sorted(pluralign.__all__))
def test_every_public_name_exists_and_is_told_of(name):
    value = getattr(pluralign, name)
    if name != "__version__":
        assert (value.__doc__ or "").strip(), f"pluralign.{name} has no docstring"


def test_reference_has_every_folder():
    told = "\n".join(p.read_text("utf-8") for p in (ROOT / "docs" / "reference").glob("*.md"))
    for folder in sorted((ROOT / "pluralign").iterdir()):
        if (folder / "__init__.py").is_file():
            assert f"automodule:: pluralign.{folder.name}" in told, f"docs/reference lacks {folder.name}"
    for home in set(vars(pluralign)["_HOME"]):
        assert f"automodule:: {home}\n" in told, f"docs/reference lacks {home}"


def test_versions_agree():
    for file in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md", "README.md"):
        assert pluralign.__version__ in (ROOT / file).read_text("utf-8"), file


def test_every_page_is_in_a_table_of_contents():
    listed = {"docs/index.md"}
    for page in PAGES[1:]:
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            entries = [e.strip() for e in block.splitlines() if e.strip() and not e.startswith(":")]
            listed |= {name((page.parent / f"{entry}.md").resolve()) for entry in entries}
    assert {name(page) for page in PAGES[1:]} == listed


def test_scripts_are_sound():
    assert subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=False).returncode == 0
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
