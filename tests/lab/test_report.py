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


def test_a_page_is_written(tmp_path):
    path = Report("Title").write(tmp_path / "report.html")
    assert "viewport" in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
