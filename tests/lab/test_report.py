"""Pages: escaped, self-contained, the same for the same tables."""

import pandas as pd

from pluralign.lab.report import (
    INK,
    Report,
    bitmap,
    bullets,
    canvas,
    cell,
    code,
    figure,
    folded,
    frame,
    pairs,
    picture,
    svg,
    table,
    titled,
)


def drawing(label="a < b & c"):
    made, ax = canvas(4, 3)
    ax.plot([0, 1], [1, 0], color=INK)
    ax.fill_between([0, 1], 0, 1, alpha=0.2)
    titled(ax, label)
    return made


def test_texts_of_users_stay_texts():
    report = Report("<script>alert(1)</script>", "a & b")
    bad = '<img src=x onerror="alert(1)">'
    report.verdict(bad, [bad], [bad])
    report.section(
        bad, bad, bullets([bad]), pairs([(bad, bad)]), code(bad), table([bad], [[bad]], caption=bad)
    )
    report.section("more", folded(bad, bad), frame(pd.DataFrame({bad: [bad]})), figure(drawing(bad), bad))
    report.section("cells", table(["a", "b"], [["x", cell(bad, small=bad, mark="best", sort=1.0)]]))
    page = str(report)
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert "&lt;img src=x" in page


def test_pictures_take_the_colour_of_the_page():
    drawn = svg(drawing())
    assert drawn.startswith("<svg")
    assert INK not in drawn
    assert "currentColor" in drawn
    assert "a &lt; b" in drawn
    assert svg(drawing()) == drawn  # no dates, no random ids
    assert 'width="' not in drawn.split(">")[0]


def test_ids_of_two_pictures_do_not_meet():
    import re

    first, second = (set(re.findall(r'\bid="([^"]+)"', svg(drawing(label)))) for label in ("one", "two"))
    assert first
    assert not first & second
    drawn = svg(drawing())
    for name in re.findall(r"url\(#([^)]+)\)", drawn):
        assert f'id="{name}"' in drawn


def test_bitmaps_are_inside():
    page = picture(bitmap(drawing(), dots=30), "a picture")
    assert 'src="data:image/png;base64,' in page


def test_figures_and_tables_for_a_paper(tmp_path):
    report = Report("Title")
    rows = [
        ["a_b", cell("0.50", small="0.40 to 0.60", mark="best better", sort=0.5)],
        ["50 % & more", cell("0.70")],
    ]
    report.section("What it costs, in %", table(["name", "loss"], rows, caption="in nats"))
    report.section(
        "Seen", folded("more", figure(drawing(), "a picture")), picture(bitmap(drawing(), dots=30), "dots")
    )
    report.write(tmp_path / "report.html", tmp_path / "paper")
    report.write(tmp_path / "report.html", tmp_path / "again")
    names = sorted(path.name for path in (tmp_path / "paper").iterdir())
    assert names == ["01-what-it-costs-in.csv", "01-what-it-costs-in.tex", "02-seen.pdf", "02-seen.png",
                     "03-seen.pdf", "03-seen.png"]  # fmt: skip
    for name in names:  # no dates, no random ids
        assert (tmp_path / "paper" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    kept = pd.read_csv(tmp_path / "paper" / names[0])
    assert list(kept.columns) == ["name", "loss", "loss, 95 % interval"]
    assert kept.loss.tolist() == [0.5, 0.7]
    told = (tmp_path / "paper" / names[1]).read_text()
    assert r"a\_b & \textbf{0.50} {\scriptsize (0.40 to 0.60)} \\" in told
    assert r"50 \% \& more & 0.70 \\" in told


def test_a_page_is_written(tmp_path):
    path = Report("Title").write(tmp_path / "report.html")
    assert "viewport" in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
