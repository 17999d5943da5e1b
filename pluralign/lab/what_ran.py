"""What every report of a run ends with, and what reports of experiments have in common."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.lab.report import Markup, bullets, code, folded, pairs, picture
from pluralign.lab.run import read_config

NO_SETTINGS = ("format", "version", "command", "population_sha256")


def settings_and_versions(run: Path) -> Markup:
    """Everything that the run was told, folded away."""
    config, versions = read_config(run), (run / "versions.txt").read_text("utf-8")
    return folded("Settings and versions", code(json.dumps(config, indent=1)), code(versions))


def how_it_was_run(
    told: Mapping[str, Any],
    words: Sequence[str],
    *,
    without: Sequence[str] = (),
    more: Sequence[tuple[str, str]] = (),
) -> list[str]:
    """What was done in words, every setting, and the command that does it again.

    Args:
        told: the `config` of an experiment and its `versions`. without: settings that are not to be shown.
        more: what to show after the settings.
    """
    settings = {
        k: v for k, v in told["config"].items() if k not in (*NO_SETTINGS, *without) and v is not None
    }
    flags = " ".join(_flag(k, v) for k, v in settings.items() if k != "world" and v is not False)
    return [
        bullets(words),
        pairs([*((k, str(v)) for k, v in settings.items()), *more]),
        code(f"pluralign experiment {settings.get('world', 'maze')} {flags}"),
        folded("versions", code(told["versions"])),
    ]


def _flag(name: str, value: Any) -> str:
    flag = f"--{name.replace('_', '-')}"
    return flag if value is True else f"{flag} {value}"


def cautions(config: Mapping[str, Any], seeds: int) -> list[str]:
    """What makes the numbers of an experiment less sure than they look."""
    out = []
    if seeds < 3:
        out.append(
            "Few seeds: intervals say little, or with one seed nothing, of how much another training would change."
        )
    if config["quick"]:
        out.append("A quick run: policies were trained for two fifths of the usual steps.")
    return out


def film(folder: Path, world: str, words: str) -> list[str]:
    """The moving picture of a run and its caption, or why there is none."""
    films = folder / "films"
    if (films / "film.gif").is_file():
        source = "data:image/gif;base64," + base64.b64encode((films / "film.gif").read_bytes()).decode()
        more = " The same as a film: films/film.mp4." if (films / "film.mp4").is_file() else ""
        return [picture(source, words + more)]
    problem = films / "problem.txt"
    return [problem.read_text("utf-8") if problem.is_file() else f"No film of the {world} was asked for."]


def by_person(row: Sequence[float | None]) -> Float[Tensor, " R"]:
    """(R,) a number for each person, NaN where there is none."""
    return torch.tensor([np.nan if x is None else x for x in row], dtype=torch.float64)
