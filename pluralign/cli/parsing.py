"""What every verb is made of: its line in the help, its parser, the options that many share."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn


@dataclass(frozen=True)
class Verb:
    """`run` gets the words after the verb, and loads what is heavy only once they are understood."""

    usage: str
    run: Callable[[list[str]], None]
    about: str

    @property
    def name(self) -> str:
        return self.usage.split()[0]

    def line(self) -> str:
        """Its lines in `pluralign --help`."""
        return f"  {self.usage:<28}" + self.about.replace("\n", "\n" + " " * 30)


class Parser(argparse.ArgumentParser):
    """argparse with one sentence for an error."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; `{self.prog} --help` tells how it goes.")


def parser_of(verb: str, about: str) -> Parser:
    return Parser(f"pluralign {verb}", description=about)


def add_common(parser: Parser, *, out: str | None = None) -> None:
    if out is not None:
        parser.add_argument("--out", type=Path, help=out)
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")


def refuse_to_replace(file: Path | None, *, overwrite: bool) -> None:
    if file is not None and file.exists() and not overwrite:
        raise FileExistsError(f"{file} exists already; name a new file or give --overwrite.")


def add_answers(parser: Parser) -> None:
    parser.add_argument(
        "--answers",
        choices=("auto", "comparisons", "votes"),
        default="auto",
        help="which answers, where a folder has both (default: comparisons)",
    )


def add_covariates(parser: Parser) -> None:
    parser.add_argument(
        "--covariates",
        type=lambda text: tuple(name.strip() for name in text.split(",")),
        default=(),
        metavar="COLUMNS",
        help="columns of raters.csv that say something of the raters, with commas: country,age",
    )
