"""Populations as files, TOML or JSON: settings by name, tastes by factor.

kind = "camps"                                  preset = "ten-camps"
share = [0.7, 0.3]                              strength = 3.0
centres = [{ red = 1.0 }, { blue = 1.0 }]       faults = { lapse = 0.1 }
faults = { rationality = 2.0, mistake = 0.05 }
"""

import dataclasses
import json
import math
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pluralign.choice import rule_from_json, rule_to_json
from pluralign.raters.changes import Drift, Fatigue, Moods, Swing, Switch
from pluralign.raters.changing import ChangingPeople
from pluralign.raters.factors import Attention, Factors
from pluralign.raters.faults import TEACHERS, Faults
from pluralign.raters.file import PeopleFromFile
from pluralign.raters.ideal import IdealPeople, Squares
from pluralign.raters.mixed import MixedPeople
from pluralign.raters.people import CampPeople, GaussianPeople
from pluralign.raters.presets import People, preset
from pluralign.raters.ranked import RankedPeople

KINDS: dict[str, type] = {
    "camps": CampPeople,
    "gaussian": GaussianPeople,
    "ideal": IdealPeople,
    "ranked": RankedPeople,
    "mixed": MixedPeople,
    "changing": ChangingPeople,
    "table": PeopleFromFile,
}
CHANGES: dict[str, type] = {
    "drift": Drift,
    "swing": Swing,
    "switch": Switch,
    "fatigue": Fatigue,
    "moods": Moods,
}
WORTHS: dict[str, type] = {"factors": Factors, "attention": Attention, "squares": Squares}
BY_FACTOR = ("centres", "points", "mean", "care", "spread", "margin", "sign", "step")
PRESET = ("preset", "strength", "scales", "faults", "rule", "worth")


def population(name: str, factors: Mapping[str, float], strength: float = 2.0) -> People:
    """A preset by its name, a population out of a .toml or .json file, or a table of tastes (.csv, .parquet).

    Args:
        name: as above.
        factors: typical differences by factor, as in `preset`.
        strength: of presets, utils.
    """
    if name.endswith((".toml", ".json")):
        return read_population(name, factors)
    if name.endswith((".csv", ".csv.gz", ".parquet")):
        return PeopleFromFile(name, tuple(factors))
    return preset(name, factors, strength)


def read_population(path: str | Path, factors: Mapping[str, float]) -> People:
    """The people of a configuration file; see `write_population` for its form.

    Args:
        path: .toml or .json.
        factors: names in the order of the options' numbers, with the typical differences that presets need.

    Raises:
        FileNotFoundError: there is none.
        ValueError: what is wrong with it: no such kind, setting or factor (those that exist are listed), shares that do not
            sum to one, a camp with nobody.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no population at {path}; give a .toml or .json file, or the name of a preset."
        )
    try:
        text = path.read_text("utf-8")
        tree = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        if not isinstance(tree, dict):
            raise ValueError(f"settings by name are expected, got a {type(tree).__name__}.")
        return _people(tree, factors)
    except (ValueError, TypeError) as problem:  # a TOML or JSON file that cannot be read is a ValueError, too
        raise ValueError(f"{path.name}: {problem}") from problem


def write_population(
    people: People, path: str | Path, factors: Mapping[str, float] | tuple[str, ...] = ()
) -> Path:
    """Write the settings of a population, complete: a .toml or .json file from which `read_population` makes equal ones.

    Args:
        people: any kind; a rule or worth of your own cannot be written.
        path: a new file.
        factors: names, so that tastes are written by factor.

    Raises:
        FileExistsError: it exists.
    """
    path = Path(path)
    if path.suffix not in (".toml", ".json"):
        raise ValueError(f"{path} must end in .toml or .json.")
    if path.exists():
        raise FileExistsError(f"{path} exists already; name a new file or remove it.")
    tree = _tree(people, tuple(factors))
    lines = (f"{key} = {_toml(value, top=True)}" for key, value in tree.items())
    text = json.dumps(tree, indent=1) if path.suffix == ".json" else "\n".join(lines)
    path.write_text(text + "\n", "utf-8")
    return path


def _people(tree: dict[str, Any], factors: Mapping[str, float]) -> People:
    tree = dict(tree)
    if "preset" in tree:
        _refuse_unknown("a preset", tree, PRESET)
        scales = dict(factors) | _known(tree.get("scales", {}), tuple(factors), "scales")
        people = preset(tree["preset"], scales, float(tree.get("strength", 2.0)))
        own = {k: v for k, v in _settings(tree, tuple(factors)).items() if k in ("faults", "rule", "worth")}
        settled: People = with_settings(people, **own) if own else people
        return settled
    name = tree.pop("kind", None)
    if name not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)} (or give a `preset`), got {name!r}.")
    found: People = _made(KINDS[name], name, _settings(tree, tuple(factors)) | {
        key: value for key, value in (
            ("people", _people(tree["people"], factors) if "people" in tree else None),
            ("kinds", tuple(_people(kind, factors) for kind in tree.get("kinds", ()))),
        ) if value
    })  # fmt: skip
    width = {CampPeople: "centres", IdealPeople: "points", RankedPeople: "orders"}.get(type(found))
    if width and len(getattr(found, width)[0]) != len(factors):
        raise ValueError(
            f"`{width}` must have a number for each of the {len(factors)} factors {', '.join(factors)}, got "
            f"{len(getattr(found, width)[0])}."
        )
    return found


def with_settings(people: Any, **settings: Any) -> Any:
    """The same people with other `faults`, `rule` or `worth`; for those who change or are mixed, of all of them."""
    if isinstance(people, ChangingPeople):
        return dataclasses.replace(people, people=with_settings(people.people, **settings))
    if isinstance(people, MixedPeople):
        return dataclasses.replace(
            people, kinds=tuple(with_settings(kind, **settings) for kind in people.kinds)
        )
    names = {field.name for field in dataclasses.fields(people)}
    if missing := sorted(set(settings) - names):
        raise ValueError(f"{type(people).__name__} takes no `{missing[0]}`; leave it out.")
    return dataclasses.replace(people, **settings)


def _settings(tree: dict[str, Any], factors: tuple[str, ...]) -> dict[str, Any]:
    """Values of plain settings as the classes want them."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if key in ("people", "kinds"):
            continue
        if key == "faults":
            found[key] = _faults(value)
        elif key == "rule":
            found[key] = rule_from_json(value)
        elif key == "worth":
            found[key] = _named(value, WORTHS, "worth", factors)
        elif key == "changes":
            found[key] = tuple(_named(change, CHANGES, "change", factors) for change in value)
        elif key == "orders":
            found[key] = tuple(tuple(_place(f, factors, key) for f in order) for order in value)
        else:
            found[key] = _value(value, key, factors)
    return found


def _value(value: Any, key: str, factors: tuple[str, ...]) -> Any:
    if isinstance(value, dict) and key in BY_FACTOR:
        known = _known(value, factors, key)
        return tuple(float(known.get(factor, 0.0)) for factor in factors)
    if isinstance(value, list):
        return tuple(_value(item, key, factors) for item in value)
    return float(value) if value in ("inf", "-inf") else value


def _known(value: dict[str, Any], factors: tuple[str, ...], key: str) -> dict[str, Any]:
    for factor in value:
        _place(factor, factors, key)
    return value


def _place(factor: Any, factors: tuple[str, ...], key: str) -> int:
    if isinstance(factor, int) and 0 <= factor < len(factors):
        return factor
    if factor not in factors:
        raise ValueError(
            f"`{key}` names a factor {factor!r} that does not exist; there are {', '.join(factors)}."
        )
    return factors.index(factor)


def _faults(value: Any) -> Faults:
    if isinstance(value, str):
        if value not in TEACHERS:
            raise ValueError(f"there is no teacher {value!r}; there are {', '.join(TEACHERS)}.")
        return TEACHERS[value]
    found: Faults = _made(Faults, "faults", {key: _value(number, key, ()) for key, number in value.items()})
    return found


def _named(value: dict[str, Any], kinds: dict[str, type], what: str, factors: tuple[str, ...]) -> Any:
    settings = dict(value)
    name = settings.pop("name", None)
    if name not in kinds:
        raise ValueError(f"there is no {what} {name!r}; there are {', '.join(kinds)}.")
    return _made(kinds[name], name, {key: _value(item, key, factors) for key, item in settings.items()})


def _made(kind: type, name: str, settings: dict[str, Any]) -> Any:
    fields = dataclasses.fields(kind)
    _refuse_unknown(f"{name!r}", settings, tuple(f.name for f in fields))
    for f in fields:
        if f.name not in settings and f.default is f.default_factory is dataclasses.MISSING:
            raise ValueError(f"{name!r} needs `{f.name}`; add it.")
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            key: _decimal(value) if not re.search(r"\bint\b", str(hints[key])) else value
            for key, value in settings.items()
        }
    )


def _decimal(value: Any) -> Any:
    """Whole numbers where decimal ones are meant."""
    if isinstance(value, tuple):
        return tuple(_decimal(item) for item in value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _refuse_unknown(what: str, settings: dict[str, Any], names: tuple[str, ...]) -> None:
    if extra := [key for key in settings if key not in names]:
        raise ValueError(f"{what} has no setting {extra[0]!r}; it has {', '.join(names)}.")


def _tree(value: Any, factors: tuple[str, ...]) -> dict[str, Any]:
    kind = next((n for n, k in KINDS.items() if k is type(value)), None)
    if kind is None:
        raise ValueError(f"a {type(value).__name__} cannot be written; the kinds are {', '.join(KINDS)}.")
    return {"kind": kind} | _fields(value, factors)


def _fields(value: Any, factors: tuple[str, ...]) -> dict[str, Any]:
    """Settings that differ from the defaults."""
    found = {}
    for f in dataclasses.fields(value):
        item = getattr(value, f.name)
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        if type(item) is not type(default) or item != default:
            found[f.name] = _written(item, f.name, factors)
    return found


def _written(item: Any, key: str, factors: tuple[str, ...]) -> Any:
    if key == "rule":
        return rule_to_json(item)
    if isinstance(item, Faults):
        return _fields(item, ())
    for kinds in (WORTHS, CHANGES):
        for name, kind in kinds.items():
            if type(item) is kind:
                return {"name": name} | _fields(item, factors)
    if isinstance(item, tuple(KINDS.values())):
        return _tree(item, factors)
    if dataclasses.is_dataclass(item) or callable(item):
        raise ValueError(f"`{key}` is a {type(item).__name__} of your own, which a file cannot hold.")
    if isinstance(item, tuple):
        if key == "orders" and factors:
            return [[factors[place] for place in order] for order in item]
        plain = bool(item) and all(isinstance(x, int | float) for x in item)
        if key in BY_FACTOR and plain and len(item) == len(factors):
            return {factor: _written(x, key, ()) for factor, x in zip(factors, item, strict=True)}
        return [_written(x, key, factors) for x in item]
    if isinstance(item, float) and math.isinf(item):
        return str(item)
    return str(item) if isinstance(item, Path) else item


def _toml(value: Any, *, top: bool = False) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items())
        return "{ " + inside + " }" if inside else "{}"
    if isinstance(value, list):
        parts = [_toml(item) for item in value]
        if top and value and isinstance(value[0], dict | list):
            return "[\n" + "".join(f"  {part},\n" for part in parts) + "]"
        return "[" + ", ".join(parts) + "]"
    return json.dumps(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
