"""Beliefs on disk: belief.json and belief.safetensors."""

from pathlib import Path
from typing import Any

from pluralign.saving import FORMAT, pack, read, same, unpack, write


def save(belief: Any, folder: str | Path) -> None:
    """Write `belief` to a new folder.

    Raises:
        FileExistsError: the folder exists.
    """
    write(belief, folder, "belief")


def load(folder: str | Path) -> Any:
    """A belief from a folder written by `Belief.save`.

    Raises:
        FileNotFoundError: no belief lies there.
        ValueError: the file is from another version, damaged, or names foreign classes.
    """
    from pluralign.population.belief import Belief

    belief = read(folder, "belief", "fit and save")
    if not isinstance(belief, Belief):
        raise ValueError(f"{folder} is damaged (it holds no belief); fit and save the belief again.")
    return belief


__all__ = ["FORMAT", "load", "pack", "same", "save", "unpack"]
