"""Reports: one HTML file that needs nothing else, readable by day and by night, on paper and on a phone.

    report = Report("Who likes which card?", subtitle="946 customers")
    report.verdict("Use camps.", ["Four camps predict better than one taste for all."])
    report.section("Scores", table(frame), figure(drawing, "What the picture shows."))
    report.write(folder / "report.html")

Pictures are SVG whose ink follows the page's colour. Every text is escaped; `Markup` is what was built here.
"""

import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from pluralign.lab.paper import Cell, PaperTable, Piece, write_paper
from pluralign.lab.run import write_text

INK = "#3b4754"  # drawn in this colour, shown in the page's
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7b5ea7", "#e07b91", "#4c8c4a")
GREY = "#8a939c"


class Markup(str):
    """HTML that was built by this module, as against text of a user; `kept` is what it shows, for a paper."""

    kept: tuple[Any, ...] = ()


def _keeping(content: str, *kept: Any) -> Markup:
    found = Markup(content)
    found.kept = kept
    return found


def text(*sentences: str) -> Markup:
    """Paragraphs."""
    return Markup("".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences))


def bullets(items: Sequence[str]) -> Markup:
    """A list."""
    return Markup("<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>")


def pairs(rows: Sequence[tuple[str, str]]) -> Markup:
    """Names and what they are."""
    lines = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in rows)
    return Markup(f"<dl>{lines}</dl>")


def code(content: str) -> Markup:
    """Something to copy."""
    return Markup(f"<pre><code>{html.escape(content)}</code></pre>")


def folded(summary: str, *blocks: str) -> Markup:
    """Details that open on a click."""
    inside = "".join(map(_block, blocks))
    kept = (piece for block in blocks for piece in getattr(block, "kept", ()))
    return _keeping(f"<details><summary>{html.escape(summary)}</summary>{inside}</details>", *kept)


def cell(value: str, *, small: str = "", mark: str = "", sort: float | int | None = None) -> Markup:
    """A table cell's inside: a value, smaller print below, a mark ("best", "better", "worse"), a key to sort by."""
    key = "" if sort is None else f' data-sort="{sort:.9g}"'
    below = f"<small>{html.escape(small)}</small>" if small else ""
    inside = f'<span class="{html.escape(mark)}"{key}>{html.escape(value)}{below}</span>'
    return _keeping(inside, Cell(value, small, "best" in mark.split()))


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, strong: Sequence[int] = (), caption: str = ""
) -> Markup:
    """A table that sorts by a click on its head.

    Args:
        head: column names.
        rows: cells, texts or `cell`s; the first column names the row.
        strong: rows that stand out.
        caption: below the table.
    """
    top = "".join(f'<th scope="col" tabindex="0">{html.escape(name)}</th>' for name in head)
    lines = []
    for number, row in enumerate(rows):
        first, *rest = row
        cells = f'<th scope="row">{_inline(first)}</th>' + "".join(f"<td>{_inline(c)}</td>" for c in rest)
        lines.append(f"<tr{' class=strong' if number in strong else ''}>{cells}</tr>")
    note = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    body = f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    plain = tuple(tuple((*getattr(c, "kept", ()), Cell(str(c)))[0] for c in row) for row in rows)
    kept = PaperTable(tuple(head), plain, caption)
    return _keeping(f'<figure class="wide"><div class="scroll">{body}</div>{note}</figure>', kept)


def frame(data: pd.DataFrame, *, digits: int = 3, caption: str = "") -> Markup:
    """A pandas frame as a table; the first column names the rows."""
    show: Callable[[Any], str] = lambda x: f"{x:.{digits}f}" if isinstance(x, float) else str(x)
    rows = [[show(x) for x in row] for row in data.itertuples(index=False)]
    return table([str(c).replace("_", " ") for c in data.columns], rows, caption=caption)


def figure(drawing: Figure, caption: str, *, wide: bool = True) -> Markup:
    """A matplotlib figure as inline SVG; what is drawn in `INK` takes the colour of the page's text."""
    return picture(svg(drawing), caption, wide=wide)


def picture(drawn: str, caption: str, *, wide: bool = True) -> Markup:
    """SVG text, or a data: address of a bitmap, with what it shows."""
    inside = (
        drawn if drawn.lstrip().startswith("<svg") else f'<img alt="{html.escape(caption)}" src="{drawn}">'
    )
    size = "wide" if wide else "narrow"
    inside = f'<div class="scroll">{inside}</div>'
    inside = f'<figure class="{size}">{inside}<figcaption>{html.escape(caption)}</figcaption></figure>'
    return _keeping(inside, *getattr(drawn, "kept", ()))


def bitmap(drawing: Figure, *, dots: int = 150) -> str:
    """A figure as a data: address of a PNG, for pictures with many points."""
    import base64

    out = io.BytesIO()
    drawing.savefig(out, format="png", dpi=dots, transparent=True)
    return _keeping("data:image/png;base64," + base64.b64encode(out.getvalue()).decode(), drawing)


def svg(drawing: Figure) -> str:
    """A figure as SVG that can stand inside HTML, beside others."""
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pluralign"}):
        drawing.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    drawn = out.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    # Ids of two figures must not meet in one page.
    mark = f"f{abs(hash_text(drawn)):x}-"
    drawn = re.sub(r'\bid="([^"]+)"', rf'id="{mark}\1"', drawn)
    drawn = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}\1)", drawn)
    drawn = re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{mark}\1"', drawn)
    drawn = re.sub(r'(<svg [^>]*?)\swidth="[^"]+"', r"\1", drawn, count=1)
    drawn = re.sub(r'(<svg [^>]*?)\sheight="[^"]+"', r"\1", drawn, count=1)
    return _keeping(drawn.replace(INK, "currentColor"), drawing)


def hash_text(content: str) -> int:
    """The same number for the same text, in every process."""
    import zlib

    return zlib.crc32(content.encode())


def canvas(
    width: float | int, height: float | int, columns: int = 1, rows: int = 1, **more: Any
) -> tuple[Figure, Any]:
    """An empty figure in the report's style and its axes; no global state of matplotlib is touched."""
    style: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.grid": True,
        "grid.color": GREY,
        "grid.alpha": 0.25,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
    }
    with matplotlib.rc_context(style):
        drawing = Figure(figsize=(width, height), layout="constrained")
        axes = drawing.subplots(rows, columns, **more)
    return drawing, axes


def titled(ax: Any, title: str) -> None:
    """A heading over a picture, in the report's style."""
    ax.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK, fontfamily="DejaVu Sans")


@dataclass
class Report:
    """A page in the making: a title, a verdict, sections."""

    title: str
    subtitle: str = ""
    parts: list[Markup] = field(default_factory=list)
    kept: list[tuple[str, Piece]] = field(default_factory=list)

    def verdict(self, headline: str, sentences: Sequence[str] = (), warnings: Sequence[str] = ()) -> None:
        """What to take home, in plain words, and what to be careful about."""
        body = "".join(f"<p>{html.escape(s)}</p>" for s in sentences)
        notes = bullets(warnings) if warnings else ""
        careful = f'<div class="careful"><b>Be careful</b>{notes}</div>' if warnings else ""
        self.parts.append(
            Markup(f'<section class="verdict"><h2>{html.escape(headline)}</h2>{body}{careful}</section>')
        )

    def section(self, title: str, *blocks: str) -> None:
        """A heading and what stands under it."""
        inside = "".join(map(_block, blocks))
        self.parts.append(Markup(f"<section><h2>{html.escape(title)}</h2>{inside}</section>"))
        self.kept += [(title, piece) for block in blocks for piece in getattr(block, "kept", ())]

    def __str__(self) -> str:
        below = f'<p class="subtitle">{html.escape(self.subtitle)}</p>' if self.subtitle else ""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style></head><body><main>"
            f"<header><h1>{html.escape(self.title)}</h1>{below}</header>{''.join(self.parts)}"
            f"<footer>Written by pluralign.</footer></main><script>{_SCRIPT}</script></body></html>\n"
        )

    def write(self, path: str | Path, paper: Path | None = None) -> Path:
        """Write the page, whole or not at all; its pictures and tables into the folder `paper`, too."""
        write_text(Path(path), str(self))
        if paper is not None:
            write_paper(paper, self.kept)
        return Path(path)


def _block(block: str) -> str:
    return block if isinstance(block, Markup) else text(block)


def _inline(content: str) -> str:
    return content if isinstance(content, Markup) else html.escape(str(content))


_STYLE = """
:root{--paper:#fdfdfb;--ink:#1f2933;--soft:#5f6b76;--line:#dfe3e6;--card:#f3f5f4;--accent:#0b6e4f;--warn:#9a5b00;
--good:#0b6e4f;--bad:#b3372a;--tint:#e7f3ee}
@media(prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e3e7ea;--soft:#9aa5af;--line:#2c343b;--card:#1b2126;
--accent:#5fc9a0;--warn:#e5b567;--good:#5fc9a0;--bad:#f08b7d;--tint:#1c2f28}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:1000px;margin:0 auto;padding:32px 20px 48px}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .2em;letter-spacing:-.01em}
h2{font-size:1.2rem;margin:2.2em 0 .5em}
p{margin:.5em 0;max-width:70ch}
.subtitle{color:var(--soft);margin-top:0}
.verdict{background:var(--tint);border-left:4px solid var(--accent);border-radius:6px;padding:14px 20px;margin:22px 0}
.verdict h2{margin:.1em 0 .3em;font-size:1.3rem}
.careful{margin-top:12px;padding-top:10px;border-top:1px solid var(--line);font-size:.92rem}
.careful b{color:var(--warn)}
ul{margin:.3em 0;padding-left:1.2em}
figure{margin:14px 0 20px}
figure.narrow{max-width:520px}
figure svg,figure img{width:100%;height:auto;display:block}
svg text{font-family:inherit!important;fill:currentColor}
figcaption{color:var(--soft);font-size:.88rem;margin-top:6px;max-width:85ch}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:top}
thead th{color:var(--soft);font-weight:600;cursor:pointer;border-bottom:2px solid var(--line);vertical-align:bottom;
white-space:normal;min-width:5em}
thead th[aria-sort=ascending]::after{content:" \\2191"}
thead th[aria-sort=descending]::after{content:" \\2193"}
th:first-child,td:first-child{text-align:left}
tbody th{font-weight:500}
tr.strong{background:var(--tint)}
tr.strong th{font-weight:700}
td small{display:block;font-weight:400;color:var(--soft);font-size:.76rem}
.best{font-weight:700}
.better::before{content:"\\25B2";color:var(--good);font-size:.65em;margin-right:4px;vertical-align:.15em}
.worse::before{content:"\\25BC";color:var(--bad);font-size:.65em;margin-right:4px;vertical-align:.15em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:.5em 0}
dt{color:var(--soft)}dd{margin:0}
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:10px 14px;overflow-x:auto;
font-size:.85rem}
details{margin:10px 0}summary{cursor:pointer;color:var(--soft)}
footer{margin-top:48px;color:var(--soft);font-size:.85rem}
@media(max-width:600px){figure.wide svg,figure.wide img{min-width:640px}main{padding:18px 14px}h1{font-size:1.4rem}dl{grid-template-columns:1fr;gap:0 0}dd{margin-bottom:6px}
tbody th{white-space:normal;min-width:8em}th:first-child{position:sticky;left:0;background:var(--paper)}
tr.strong th:first-child{background:var(--tint)}}
@media print{body{background:#fff;color:#000}thead th{cursor:auto}}
"""

_SCRIPT = """
document.querySelectorAll("thead th").forEach(function(head){
function go(){
var row=head.parentNode,at=Array.prototype.indexOf.call(row.children,head),body=row.closest("table").tBodies[0];
var up=head.getAttribute("aria-sort")!=="ascending";
Array.prototype.forEach.call(row.children,function(h){h.removeAttribute("aria-sort")});
head.setAttribute("aria-sort",up?"ascending":"descending");
function key(line){var c=line.children[at],s=c.querySelector("[data-sort]");
return s?parseFloat(s.dataset.sort):c.textContent.trim()}
Array.prototype.slice.call(body.rows).sort(function(a,b){var x=key(a),y=key(b),
n=parseFloat(x)-parseFloat(y),d=isNaN(n)?String(x).localeCompare(String(y)):n;return up?d:-d}).forEach(
function(line){body.appendChild(line)})}
head.addEventListener("click",go);
head.addEventListener("keydown",function(e){if(e.key==="Enter")go()})});
"""
