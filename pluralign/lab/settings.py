"""The fields of a frozen dataclass as options of a command: the settings are the object."""

import argparse
import dataclasses
import re
import types
import typing
from typing import Any

PLAIN = (int, float, str, bool)


def add_settings(parser: argparse.ArgumentParser, of: Any, title: str, without: tuple[str, ...] = ()) -> None:
    """An option for every field of a class, or of settings, that a word can say; `--groups 3`, `--hard`, `--share .7 .3`."""
    group = parser.add_argument_group(title)
    kind = of if isinstance(of, type) else type(of)
    abouts = told(kind.__doc__ or "")
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        kinds = _plain(hints[field.name])
        if not kinds or field.name in without:
            continue
        flag = "--" + field.name.replace("_", "-")
        default = getattr(of, field.name, None)
        about = abouts.get(field.name, "")
        shown = f"{about} (default: {default})" if default is not None else about
        more: dict[str, Any] = {
            "dest": field.name,
            "default": argparse.SUPPRESS,
            "help": shown.replace("%", "%%"),
        }
        if kinds == (bool,):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **more)
        elif isinstance(default, tuple) or typing.get_origin(hints[field.name]) is tuple:
            group.add_argument(flag, nargs="+", type=_reader(kinds), metavar="X", **more)
        else:
            group.add_argument(flag, type=_reader(kinds), metavar=_metavar(kinds), **more)


def settings_of(kind: type[Any], given: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, as arguments of `kind`."""
    names = {field.name for field in dataclasses.fields(kind)}
    found = {name: value for name, value in vars(given).items() if name in names}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _plain(hint: Any) -> tuple[type, ...]:
    """The plain types a field takes; none where it takes something a word cannot say."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [
            k for part in typing.get_args(hint) if part is not type(None) for k in _plain(part) or (object,)
        ]
    elif typing.get_origin(hint) is tuple:
        kinds = [
            k for part in typing.get_args(hint) if part is not Ellipsis for k in _plain(part) or (object,)
        ]
    elif typing.get_origin(hint) is typing.Literal:
        kinds = [type(value) for value in typing.get_args(hint)]
    else:
        kinds = [hint]
    return tuple(dict.fromkeys(kinds)) if all(k in PLAIN for k in kinds) else ()


def _reader(kinds: tuple[type, ...]) -> Any:
    """The first of int, float, str that a word can be, among those the field takes."""

    def read(word: str) -> Any:
        for kind in (int, float):
            if kind in kinds:
                try:
                    return kind(word)
                except ValueError:
                    continue
        if str in kinds:
            return word
        raise argparse.ArgumentTypeError(f"a number is expected, got {word!r}")

    return read


def _metavar(kinds: tuple[type, ...]) -> str:
    return "N" if int in kinds and str not in kinds else "X" if str not in kinds else "VALUE"


def told(doc: str) -> dict[str, str]:
    """What the "Attributes:" of a docstring say of each name."""
    out: dict[str, str] = {}
    inside = doc.partition("Attributes:")[2].split("\n\n")[0]
    name = ""
    for line in inside.splitlines():
        entry = re.match(r"^ {8}([a-z_, ]+): (.*)$", line) or re.match(r"^ {4}([a-z_, ]+): (.*)$", line)
        if entry:
            name = entry[1]
            out[name] = entry[2]
        elif name and line.strip():
            out[name] += " " + line.strip()
    found: dict[str, str] = {}
    for names, text in out.items():
        # Two fields on one line: "share: of the camps. spread: around them."
        first, *rest = re.split(r"(?<=\.) ([a-z_]+): ", text)
        pairs = [(names, first), *zip(rest[::2], rest[1::2])]
        found |= {one.strip(): about for many, about in pairs for one in many.split(",")}
    return found
