"""What a report shows, once more for a paper: pictures as PDF and PNG, tables as CSV and LaTeX.

    pluralign report RUN --paper FOLDER

Tables need the package `booktabs`; \\input{...} takes them in.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from pluralign.lab.run import write_text

DOTS = 300  # per inch, of a PNG


@dataclass(frozen=True)
class Cell:
    """A value, the interval printed below it, and whether it is the best of its column."""

    value: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class PaperTable:
    """Columns, rows of cells, and what they show."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""

    def csv(self) -> str:
        """A column for each column, and one more for its intervals where it has some."""
        columns = []
        for place, name in enumerate(self.head):
            cells = [row[place] for row in self.rows]
            columns.append([name, *(cell.value for cell in cells)])
            if any(cell.interval for cell in cells):
                columns.append([f"{name}, 95 % interval", *(cell.interval for cell in cells)])
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(zip(*columns, strict=True))
        return out.getvalue()

    def latex(self) -> str:
        """A `tabular` with `booktabs` rules; the best of a column is bold, intervals stand small beside values."""
        lines = [rf"\begin{{tabular}}{{l{'r' * (len(self.head) - 1)}}}", r"\toprule"]
        lines += [" & ".join(map(escaped, self.head)) + r" \\", r"\midrule"]
        lines += [" & ".join(map(_latex, row)) + r" \\" for row in self.rows]
        note = [f"% {line}" for line in self.caption.splitlines()]
        return "\n".join([*note, *lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


Piece = Figure | PaperTable


def write_paper(folder: Path, pieces: Sequence[tuple[str, Piece]]) -> Path:
    """Write every piece under a number and the heading it stands below; returns `folder`.

    Args:
        folder: made where it is missing; files of the same name are replaced.
        pieces: heading and figure or table, in the order of the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, (title, piece) in enumerate(pieces, 1):
        stem = f"{number:02}-{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')[:60]}"
        if isinstance(piece, PaperTable):
            write_text(folder / f"{stem}.csv", piece.csv())
            write_text(folder / f"{stem}.tex", piece.latex())
        else:
            with matplotlib.rc_context({"pdf.fonttype": 42}):  # text that an editor can still change
                piece.savefig(folder / f"{stem}.pdf", metadata={"CreationDate": None})
            piece.savefig(folder / f"{stem}.png", dpi=DOTS, facecolor="white")
    return folder


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--"}
    return "".join(special.get(sign, rf"\{sign}" if sign in "&%$#_{}" else sign) for sign in text)


def _latex(cell: Cell) -> str:
    value = rf"\textbf{{{escaped(cell.value)}}}" if cell.best else escaped(cell.value)
    return value + (rf" {{\scriptsize ({escaped(cell.interval)})}}" if cell.interval else "")
