"""Beliefs on disk: one JSON tree of settings, one safetensors file of numbers. Never pickle."""

import dataclasses
import importlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FORMAT = 1
HOME = "pluralign."  # only classes of this package are ever built from a file


class Refused(ValueError):
    """A file that is whole but not for this package to read."""


def pack(value: Any, tensors: dict[str, Tensor], path: str = "belief") -> Any:
    """A JSON tree for `value`; tensors go to `tensors` under their path."""
    if isinstance(value, Tensor):
        # An expanded axis (atoms shared by all raters) is stored once.
        thin = value
        for axis, stride in enumerate(value.stride()):
            if stride == 0 and value.shape[axis] > 1:
                thin = thin.narrow(axis, 0, 1)
        tensors[path] = thin.contiguous().clone()
        return {"tensor": path, "shape": list(value.shape)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: pack(getattr(value, f.name), tensors, f"{path}.{f.name}")
            for f in dataclasses.fields(value)
        }
        return {"class": f"{type(value).__module__}:{type(value).__qualname__}", "fields": fields}
    if isinstance(value, tuple | list):
        items = [pack(item, tensors, f"{path}.{k}") for k, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {"dict": {str(k): pack(v, tensors, f"{path}.{k}") for k, v in value.items()}}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{path} holds a {type(value).__name__}, which a belief cannot save; use tensors and numbers."
    )


def unpack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `pack`."""
    if isinstance(tree, list):
        return [unpack(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        return tensors[tree["tensor"]].expand(tree["shape"])
    if "tuple" in tree:
        return tuple(unpack(item, tensors) for item in tree["tuple"])
    if "dict" in tree:
        return {k: unpack(v, tensors) for k, v in tree["dict"].items()}
    if "float" in tree:
        return float(tree["float"])
    module, name = tree["class"].split(":")
    if not module.startswith(HOME) or not name.isidentifier():
        raise Refused(
            f"the file names the class {tree['class']!r}, which is not of this package; not loaded."
        )
    kind = getattr(importlib.import_module(module), name)
    if not dataclasses.is_dataclass(kind):
        raise Refused(f"{tree['class']!r} is not a settings or result class; not loaded.")
    fields = {k: unpack(v, tensors) for k, v in tree["fields"].items()}
    return kind(**fields)  # type: ignore[operator]


def save(belief: Any, folder: Path) -> None:
    """Write `belief` to a new folder.

    Raises:
        FileExistsError: the folder exists.
    """
    from safetensors.torch import save_file

    if folder.exists():
        raise FileExistsError(f"{folder} exists already; name a new folder or remove it first.")
    half = folder.with_name(folder.name + ".part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    try:
        tensors: dict[str, Tensor] = {}
        tree = pack(belief, tensors)
        (half / "belief.json").write_text(json.dumps({"format": FORMAT, "belief": tree}, indent=1) + "\n")
        save_file(tensors, half / "belief.safetensors")
        half.rename(folder)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise


def load(folder: str | Path) -> Any:
    """A belief from a folder written by `Belief.save`.

    Raises:
        FileNotFoundError: no belief lies there.
        ValueError: the file is from another version, damaged, or names foreign classes.
    """
    from safetensors.torch import load_file

    from pluralign.population.belief import Belief

    folder = Path(folder)
    if not (folder / "belief.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no belief (belief.json is missing); give a folder written by belief.save()."
        )
    try:
        tree = json.loads((folder / "belief.json").read_text())
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            found = tree.get("format") if isinstance(tree, dict) else tree
            raise Refused(
                f"{folder} was written in format {found!r}, this version reads format {FORMAT}; fit and save again."
            )
        belief = unpack(tree["belief"], load_file(folder / "belief.safetensors"))
    except Refused:
        raise
    except Exception as problem:  # whatever a damaged file makes of the constructors
        what = next(iter(str(problem).splitlines()), "").rstrip(".")[:200]
        raise ValueError(
            f"{folder} is damaged ({type(problem).__name__}: {what}); fit and save the belief again."
        ) from None
    if not isinstance(belief, Belief):
        raise ValueError(f"{folder} is damaged (it holds no belief); fit and save the belief again.")
    return belief


def same(a: Any, b: Any) -> bool:
    """Whether two saved things are equal, tensors included."""
    left: dict[str, Tensor] = {}
    right: dict[str, Tensor] = {}
    if pack(a, left) != pack(b, right) or left.keys() != right.keys():
        return False
    return all(torch.equal(left[k], right[k]) for k in left)
