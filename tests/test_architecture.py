"""The walls of the house: a folder imports only from folders above it, and docs/architecture.md shows them all."""

import ast
import builtins
import re
import symtable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "data", "choice", "tabular", "utility", "population", "raters", "rewards", "policies", "metrics", "elicitation", "language",
    "lab", "cli",
)  # fmt: skip
HEAVY = {"pyro", "transformers", "peft", "mujoco", "stable_baselines3", "gymnasium"}
MODULES = sorted((ROOT / "pluralign").rglob("*.py"))
WORLDS = sorted((ROOT / "envs" / "pluralign_envs").rglob("*.py"))


def imported(path: Path, *, at_import: bool = False) -> set[str]:
    """Modules that a file imports, anywhere in it or at import time alone."""
    tree = ast.parse(path.read_text("utf-8"))
    found = set()
    nodes = list(tree.body) if at_import else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def unknown(source: str) -> set[str]:
    """Names that functions look for in their module, and would not find. Shapes are strings, which linters take for names."""
    top = symtable.symtable(source, "module", "exec")
    there = {
        s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()
    }
    there |= set(dir(builtins)) | {"__file__", "__name__", "__doc__"}
    tables, found = [top], set[str]()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        # What a function called "top" binds is global to symtable.
        bound = lambda s: s.is_assigned() or s.is_parameter() or s.is_imported()
        used = [s for s in table.get_symbols() if s.is_referenced() and s.is_global()]
        found |= {s.get_name() for s in used if table is top or not bound(s)}
    return found - there


def test_every_name_that_is_used_is_there():
    assert unknown("def f(x):\n    return g(x)") == {"g"}
    assert unknown("import re\ndef f(x: 'B Z') -> int:\n    return re.compile(x) or f(x) or len(x)") == set()
    benches = sorted((ROOT / "benchmarks").rglob("*.py"))
    assert {name(p): unknown(p.read_text("utf-8")) for p in (*MODULES, *WORLDS, *benches)} == {
        name(p): set() for p in (*MODULES, *WORLDS, *benches)
    }


def test_every_folder_has_its_place():
    folders = {p.name for p in (ROOT / "pluralign").iterdir() if (p / "__init__.py").is_file()}
    assert folders <= set(FOLDERS)


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent != ROOT / "pluralign"], ids=name)
def test_a_folder_imports_only_from_folders_above_it(path):
    mine = FOLDERS.index(path.relative_to(ROOT / "pluralign").parts[0])
    for module in imported(path):
        parts = module.split(".")
        if parts[0] == "pluralign" and len(parts) > 1 and parts[1] in FOLDERS:
            assert FOLDERS.index(parts[1]) <= mine, f"{name(path)} imports {module}, which is below it"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_worlds_are_known_to_the_lab_alone(path):
    if "lab" not in path.parts:
        assert not [m for m in imported(path) if m.split(".")[0] == "pluralign_envs"]


@pytest.mark.parametrize("path", WORLDS, ids=name)
def test_worlds_know_nothing_of_people(path):
    roots = {m.split(".")[0] for m in imported(path)}
    assert not roots & {"pluralign", "torch", "pyro"}
    assert "stable_baselines3" not in roots or path.name == "sb3.py"


def test_architecture_page_shows_every_folder():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for folder in FOLDERS:
        there = (ROOT / "pluralign" / folder / "__init__.py").is_file()
        assert bool(re.search(rf"^    {folder}/ ", page, re.MULTILINE)) == there, folder
