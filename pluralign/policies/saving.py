"""Policies on disk: policy.json and policy.safetensors."""

from pathlib import Path
from typing import Any

from pluralign.saving import read, write


def save_policy(policy: Any, folder: str | Path) -> None:
    """Write a policy or a lottery into a new folder, complete or not at all.

    Raises:
        FileExistsError: the folder exists.
    """
    write(policy, folder, "policy")


def load_policy(folder: str | Path) -> Any:
    """A policy or a lottery from a folder written by its `save`.

    Raises:
        FileNotFoundError: no policy lies there.
        ValueError: it is from another version, damaged, or names classes that are not of this package.
    """
    return read(folder, "policy", "save")
