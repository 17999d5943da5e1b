"""Settings and results on disk: one JSON tree, and one safetensors file of numbers. Never pickle."""

import dataclasses
import importlib
import json
import math
import shutil
import sys
import types
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    if isinstance(value, types.FunctionType):
        return {"function": name_of(value, path)}
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
    if "function" in tree:
        return function_of(tree["function"])
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


def name_of(function: Callable[..., Any], path: str) -> str:
    """module:qualname of a function that can be found again by it.

    Raises:
        TypeError: it cannot: it is a lambda, was made inside another function, or lives in a script.
    """
    name = f"{getattr(function, '__module__', None)}:{getattr(function, '__qualname__', None)}"
    if name.startswith("__main__:") or _found(name) is not function:
        raise TypeError(
            f"{path} is the function {name}, which cannot be saved: put it under its own name in a module that can be "
            "imported (no lambda, no script)."
        )
    return name


def function_of(name: str) -> Callable[..., Any]:
    """The function called module:qualname, of a module that is imported already: a file makes no code run.

    Raises:
        Refused: there is none.
    """
    found = _found(name)
    if found is None:
        raise Refused(
            f"the file needs your function {name!r}; import its module first ({name.split(':')[0]}), then load."
        )
    return found


def _found(name: str) -> Callable[..., Any] | None:
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, types.FunctionType) else None


@contextmanager
def appearing(folder: str | Path) -> Iterator[Path]:
    """A folder to make and to fill, which becomes `folder` when all went well, and is gone when not.

    Raises:
        FileExistsError: `folder` exists.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; name a new folder or remove it first.")
    half = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield half
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def write(value: Any, folder: str | Path, name: str) -> None:
    """Write `value` into a new folder as name.json and name.safetensors, complete or not at all.

    Raises:
        FileExistsError: the folder exists.
        TypeError: the value holds something that is neither settings nor numbers.
    """
    from safetensors.torch import save_file

    with appearing(folder) as half:
        half.mkdir(parents=True)
        tensors: dict[str, Tensor] = {}
        tree = pack(value, tensors, name)
        (half / f"{name}.json").write_text(json.dumps({"format": FORMAT, name: tree}, indent=1) + "\n")
        save_file(tensors, half / f"{name}.safetensors")


def read(folder: str | Path, name: str, again: str) -> Any:
    """What `write` wrote; `again` says how to make it anew.

    Raises:
        FileNotFoundError: nothing of this name lies there.
        ValueError: the file is from another version, damaged, or names foreign classes.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    if not (folder / f"{name}.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no {name} ({name}.json is missing); give a folder written by {name}.save()."
        )
    try:
        tree = json.loads((folder / f"{name}.json").read_text())
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            found = tree.get("format") if isinstance(tree, dict) else tree
            raise Refused(
                f"{folder} was written in format {found!r}, this version reads format {FORMAT}; {again} again."
            )
        return unpack(tree[name], load_file(folder / f"{name}.safetensors"))
    except Refused:
        raise
    except Exception as problem:  # whatever a damaged file makes of the constructors
        what = next(iter(str(problem).splitlines()), "").rstrip(".")[:200]
        raise ValueError(
            f"{folder} is damaged ({type(problem).__name__}: {what}); {again} the {name} again."
        ) from None


def same(a: Any, b: Any) -> bool:
    """Whether two saved things are equal, tensors included."""
    left: dict[str, Tensor] = {}
    right: dict[str, Tensor] = {}
    if pack(a, left) != pack(b, right) or left.keys() != right.keys():
        return False
    return all(torch.equal(left[k], right[k]) for k in left)
