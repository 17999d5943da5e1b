"""Policies on disk: a JSON tree of settings and one safetensors file of numbers. Never pickle."""

import json
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from pluralign.population.saving import pack, unpack

FORMAT = 1


def save_policy(policy: Any, folder: str | Path) -> None:
    """Write a policy or a lottery into a new folder, complete or not at all.

    Raises:
        FileExistsError: the folder exists.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; name a new folder or remove it first.")
    half = folder.with_name(folder.name + ".part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        tensors: dict[str, Tensor] = {}
        tree = pack(policy, tensors, "policy")
        text = json.dumps({"format": FORMAT, "policy": tree}, indent=1) + "\n"
        (half / "policy.json").write_text(text)
        save_file(tensors, half / "policy.safetensors")
        half.rename(folder)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise


def load_policy(folder: str | Path) -> Any:
    """A policy or a lottery from a folder written by its `save`.

    Raises:
        FileNotFoundError: no policy lies there.
        ValueError: it is from another version, damaged, or names classes that are not of this package.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    if not (folder / "policy.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no policy (policy.json is missing); give a folder written by policy.save()."
        )
    try:
        tree = json.loads((folder / "policy.json").read_text())
        found = tree.get("format") if isinstance(tree, dict) else tree
        if found != FORMAT:
            raise ValueError(
                f"{folder} was written in format {found!r}, this version reads format {FORMAT}; save it again."
            )
        return unpack(tree["policy"], load_file(folder / "policy.safetensors"))
    except (json.JSONDecodeError, SafetensorError, KeyError) as problem:
        raise ValueError(f"{folder} is damaged ({problem}); save the policy again.") from None
