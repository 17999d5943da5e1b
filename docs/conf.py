"""Sphinx: pages in Markdown, the reference from docstrings, tables from the registries."""

import re
from pathlib import Path

import pluralign

project = "pluralign"
author = copyright = "The pluralign authors"
version = release = pluralign.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_generated"]
suppress_warnings = ["ref.python"]  # a word in backquotes may name a field of several classes
html_theme = "furo"
html_title = f"pluralign {version}"
html_theme_options = {"navigation_with_keys": True}

default_role = "code"  # docstrings use single backquotes
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_use_ivar = True
napoleon_use_rtype = False
maximum_signature_line_length = 90

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises):$")


def plain_docstring(app, what, name, obj, options, lines):
    """Our docstrings are prose with Google's sections: stars are stars, and indented lines are code."""
    out, quoted, section = [], False, False
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith(" "):
            section, quoted = bool(SECTION.match(line)), False
        elif (
            line.startswith("    ")
            and not section
            and not quoted
            and (number == 0 or not lines[number - 1].strip())
        ):
            quoted = True
            out += ["::", ""]
        out.append(line if quoted and line.startswith(" ") else escaped(line))
    lines[:] = out


def escaped(line):
    """Stars, bars and trailing underscores outside backquotes mean themselves."""
    parts = line.split("`")
    parts[::2] = [re.sub(r"([*|])", r"\\\1", re.sub(r"(\w)_(?=\W|$)", r"\1\\_", part)) for part in parts[::2]]
    return "`".join(parts)


def tables(app):
    """What the command line lists, as a table of the reference."""
    from pluralign.choice import RULES
    from pluralign.population.registry import MODELS

    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    for file, members in (("populations", MODELS), ("rules", RULES)):
        rows = [
            f"| `{name}` | {{py:class}}`{kind.__name__} <{home(kind)}>` | {first(kind)} |"
            for name, kind in members.items()
        ]
        text = "\n".join(["| name | class | |", "|---|---|---|", *rows]) + "\n"
        written(folder / f"{file}.md", text)
    written(folder / "worlds.md", worlds())


def written(path, text):
    if not path.is_file() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def worlds():
    """A section for each world: its sentence, how long a step and an episode are, its factors."""
    from pluralign_envs.catalogue import WORLDS
    from pluralign_envs.physics import Physics

    text = ""
    for name, world in WORLDS.items():
        seconds = Physics(world, copies=1, nthread=0).seconds
        twin = " It has a tabular twin." if hasattr(world, "twin") else ""
        rows = [
            f"| `{f.name}` | {f.unit} | {f.description.replace('^', chr(92) + '^')} |" for f in world.factors
        ]
        text += (
            f"### {name}\n\n{world.summary} An episode is {world.horizon} steps of {seconds:.3g} s.{twin}\n\n"
            + "\n".join(["| factor | unit | |", "|---|---|---|", *rows])
            + "\n\n"
        )
    return text


def home(kind):
    return (
        f"pluralign.choice.{kind.__name__}"
        if ".choice." in kind.__module__
        else f"{kind.__module__}.{kind.__name__}"
    )


def first(kind):
    text = " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split())
    return text.replace("|", "\\|").replace("*", "\\*")


def setup(app):
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
    app.connect("builder-inited", tables)
    return {"parallel_read_safe": True}
