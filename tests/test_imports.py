"""What is loaded when, who may import whom, and that every public name is there."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import pluralign

ROOT = Path(pluralign.__file__).parent
# A folder imports only from folders before it; `streams`, `saving` and the package's own face are for all.
FOLDERS = (
    "data",
    "choice",
    "tabular",
    "utility",
    "population",
    "recipes",
    "raters",
    "rewards",
    "policies",
    "metrics",
    "elicitation",
    "language",
    "lab",
    "cli",
)
FREE = ("streams", "saving")
HEAVY = (
    "torch",
    "pyro",
    "transformers",
    "mujoco",
    "stable_baselines3",
    "gymnasium",
    "pandas",
    "scipy",
    "matplotlib",
)
# Read the module that defines a value, not the folder's face: what is imported below stays to the left.
MODULES = sorted(p for p in ROOT.rglob("*.py") if "__pycache__" not in p.parts)


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def loaded(code):
    done = python(
        "-c", f"import sys\n{code}\nprint('loaded:', *sorted({{m.split('.')[0] for m in sys.modules}}))"
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].removeprefix("loaded:").split())


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded("import pluralign; dir(pluralign); pluralign.__version__") & set(HEAVY)


def test_help_loads_nothing_heavy():
    code = (
        "import runpy\nsys.argv = ['pluralign', '--help']\n"
        "try:\n    runpy.run_module('pluralign', run_name='__main__')\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert not loaded(code) & {"torch", "pyro", "transformers", "mujoco", "stable_baselines3"}


def test_populations_load_without_the_extras():
    """Pyro, the simulators and the language models are loaded by those who need them."""
    code = "import pluralign.population.registry, pluralign.raters, pluralign.metrics, pluralign.elicitation"
    assert not loaded(code) & {"pyro", "transformers", "mujoco", "stable_baselines3", "gymnasium"}


def folder(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(tree):
    """(line, module) of every import, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the whole name of the module"
            yield node.lineno, node.module
            if node.module == "pluralign":
                yield from ((node.lineno, f"pluralign.{alias.name}") for alias in node.names)


def rightwards(home, source):
    """Imports of `source`, in folder `home`, that the rule forbids."""
    wrong = []
    for line, module in imports(ast.parse(source)):
        head, *rest = module.split(".")
        if head == "pluralign_envs" and home not in ("lab", "cli"):
            wrong.append((line, module))
        if head != "pluralign" or not rest or rest[0] in FREE or rest[0] not in FOLDERS:
            continue
        if home in FREE or FOLDERS.index(rest[0]) > FOLDERS.index(home):
            wrong.append((line, module))
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_folder_imports_only_from_folders_to_its_left(path):
    home = folder(path)
    if home in ("__init__", "__main__"):
        return  # the face of the package names everything, lazily
    assert home in (*FOLDERS, *FREE), f"{home} has no place in the order of DESIGN; give it one here"
    assert not rightwards(home, path.read_text())


def test_the_rule_can_be_broken():
    assert rightwards("data", "from pluralign.choice import Luce")
    assert rightwards("choice", "def f():\n    import pluralign.population.belief")
    assert rightwards("population", "from pluralign import lab")
    assert rightwards("raters", "import pluralign_envs")
    assert rightwards("streams", "from pluralign.data import Items")
    assert not rightwards("lab", "import pluralign_envs\nfrom pluralign.data import Items")
    assert not rightwards(
        "data", "from pluralign.streams import Seed\nfrom pluralign.data.options import Items"
    )


def test_environments_know_nothing_of_the_package():
    for path in (ROOT.parent / "envs" / "pluralign_envs").rglob("*.py"):
        heads = {module.split(".")[0] for _, module in imports(ast.parse(path.read_text()))}
        assert "pluralign" not in heads, path


@pytest.mark.parametrize("name", pluralign.__all__)
def test_every_public_name_is_there(name):
    value = getattr(pluralign, name)
    assert name in dir(pluralign)
    if name != "__version__":
        assert value.__doc__
        assert value.__doc__.strip()


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(AttributeError, match=r"pluralign has no 'Campus'; it has .*Camps"):
        _ = pluralign.Campus


def test_lazy_names_are_those_that_type_checkers_see():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If))
    seen = {(alias.name, node.module) for node in block.body for alias in node.names}
    lazy = {(name, home) for home, names in pluralign._HOME.items() for name in names}
    assert seen == lazy | {("recipes", "pluralign")}


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=lambda p: p.parent.name)
def test_every_folder_offers_what_it_lists(path):
    name = ".".join(path.parent.relative_to(ROOT.parent).parts)
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public), f"{name} lists {public}"
