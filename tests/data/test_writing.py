"""What is written is read back, and a folder is there whole or not at all."""

import errno
import os
import string

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pluralign.data.writing as writing
from pluralign.data import (
    Comparisons,
    DataError,
    Items,
    Segments,
    Texts,
    from_frame,
    read,
    read_folder,
    to_frame,
    write,
)

# Everything Unicode but surrogates, which no file can hold, and NUL, at which C libraries stop.
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r\n"), min_size=1, max_size=6
)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
floats = st.floats(-1e6, 1e6, width=32)


def unique(count):
    return st.lists(names, min_size=count, max_size=count, unique=True).map(tuple)


def array(draw, *shape, of=floats, dtype=torch.float32):
    size = int(np.prod(shape))
    return torch.tensor(draw(st.lists(of, min_size=size, max_size=size)), dtype=dtype).reshape(shape)


@st.composite
def stores(draw, count):
    ids = draw(st.none() | unique(count))
    kind = draw(st.sampled_from(["items", "texts", "segments"]))
    width = draw(st.integers(0, 3))
    number = draw(st.sampled_from([torch.float32, torch.float64]))
    if kind == "texts":
        texts = draw(st.lists(words, min_size=count, max_size=count))
        embedding = array(draw, count, width, dtype=number) if width else None
        return Texts(tuple(texts), embedding, ids)
    if kind == "segments":
        steps = draw(st.integers(1, 3))
        mask = torch.arange(steps) < array(draw, count, 1, of=st.integers(0, steps))
        known = draw(st.booleans())
        return Segments(
            array(draw, count, steps, width + 1, dtype=number),
            mask if draw(st.booleans()) else None,
            draw(st.floats(0.001, 10)),
            array(draw, count, steps, 2) if known else None,
            array(draw, count, steps, 1) if known else None,
            ids,
            draw(st.just(()) | unique(width + 1)),
        )
    features = array(draw, count, width, dtype=number)
    columns = st.lists(
        st.text(string.ascii_lowercase, min_size=5, max_size=7), min_size=width, max_size=width, unique=True
    )
    called = draw(st.just(()) | columns.map(tuple)) if width else ()
    return Items(features, ids, called, embedding=draw(st.integers(0, width)))


@st.composite
def answers(draw):
    count, raters = draw(st.integers(4, 6)), draw(st.integers(1, 4))
    rows, places = draw(st.integers(1, 6)), draw(st.integers(2, 4))
    slate = torch.tensor([draw(st.permutations(range(count)))[:places] for _ in range(rows)])
    form = draw(st.sampled_from(["chosen", "graded", "any"]))
    if form == "chosen":
        label = torch.eye(places)[[draw(st.integers(0, places - 1)) for _ in range(rows)]]
    else:
        label = array(draw, rows, places, of=st.integers(1, 99))
        label = label / label.sum(1, keepdim=True)
        label = label if form == "any" else (label * 8).round() / 8
        label[:, -1] = 1 - label[:, :-1].sum(1) if form == "graded" else label[:, -1]
        label = label.clamp(0, 1) / label.clamp(0, 1).sum(1, keepdim=True)
    if places > 2 and draw(st.booleans()):
        slate[0, -1], label[0] = -1, torch.eye(places)[0]
    optional = lambda *shape, **more: array(draw, *shape, **more) if draw(st.booleans()) else None
    return Comparisons(
        draw(stores(count)),
        slate,
        array(draw, rows, of=st.integers(0, raters - 1), dtype=torch.long),
        label.to(draw(st.sampled_from([torch.float32, torch.float64]))),
        context=optional(rows, draw(st.integers(1, 3)))
        if draw(st.booleans())
        else optional(rows, of=st.integers(0, 5), dtype=torch.long),
        weight=optional(rows, of=st.floats(0, 1e6, width=32)),
        time=optional(rows, of=st.floats(0, 2e9), dtype=torch.float64),
        response_time=optional(rows),
        rater_ids=draw(unique(raters)),
        kind=draw(st.sampled_from(["choice", "ranking", "rating"])),
    )


def check_same(one, two):
    """Equal in every field, numbers and their formats included."""
    assert type(one) is type(two)
    for name in one.__dataclass_fields__:
        first, second = getattr(one, name), getattr(two, name)
        if isinstance(first, torch.Tensor):
            assert first.dtype == second.dtype, name
            if (
                name == "label"
            ):  # of a pair one share is written, the other is one minus it: the last bit may differ
                torch.testing.assert_close(first, second, rtol=0, atol=6e-8)
            else:
                assert torch.equal(first, second), name
        elif name == "options":
            check_same(first, second)
        else:
            assert first == second, name


@pytest.mark.parametrize("form", ["parquet", "csv.gz"])
@settings(max_examples=60)
@given(data=answers())
def test_read_undoes_write(tmp_path_factory, form, data):
    check_same(read(write(data, tmp_path_factory.mktemp("w") / "folder", form=form)), data)


@settings(max_examples=30)
@given(data=answers().filter(lambda data: data.options.ids is not None and data.label.dtype == torch.float32))
def test_from_frame_undoes_to_frame(data):
    again = from_frame(to_frame(data), data.options, raters=data.rater_ids, kind=data.kind)
    assert torch.equal(again.slate, data.slate)
    # Of a pair one share is written: the other is one minus it, to the rounding of float32.
    torch.testing.assert_close(again.label, data.label, rtol=0, atol=6e-8)
    assert torch.equal(again.rater, data.rater)
    if data.weight is not None:
        assert torch.equal(again.weight, data.weight)


@pytest.fixture
def data():
    store = Items(torch.tensor([[1.0, 2], [3, 4], [5, 6]]), ("a", "b", "c"), ("price", "speed"))
    return Comparisons.pairs(
        store, torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([0, 1]), torch.tensor([1, 0.5])
    )


def test_columns_beside_the_answers(data, tmp_path):
    folder = write(
        data,
        tmp_path / "f",
        extra=pd.DataFrame({"role": ["train", "test"], "note": ["x", None]}),
        item_attributes=pd.DataFrame({"maker": ["m", "n", "m"]}),
        rater_attributes=pd.DataFrame({"age": [30, 40]}),
    )
    found = read_folder(folder)
    assert found.role.tolist() == ["train", "test_unseen"]
    assert found.extra["note"].tolist() == ["x", None]
    assert found.item_attributes["maker"].tolist() == ["m", "n", "m"]
    assert found.rater_attributes["age"].tolist() == [30, 40]
    check_same(found.data, data)


def test_equal_answers_are_equal_files(data, tmp_path):
    one, two = (write(data, tmp_path / name, form="csv.gz") for name in "ab")
    assert all((one / path.name).read_bytes() == path.read_bytes() for path in two.iterdir())


def test_a_folder_that_exists_is_kept(data, tmp_path):
    folder = write(data, tmp_path / "f")
    with pytest.raises(DataError, match=r"exists already; name a new folder, or give overwrite=True"):
        write(data, folder)
    other = data.take(torch.tensor([1]))
    check_same(read(write(other, folder, overwrite=True)), other)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_folder_of_something_else_is_never_replaced(data, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years")
    with pytest.raises(DataError, match=r"no folder of answers, so it is not replaced"):
        write(data, tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years"


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize(
    ("fault", "raised"),
    [(OSError(errno.ENOSPC, "No space left on device"), DataError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
@pytest.mark.parametrize("stage", ["first table", "later table", "array", "rename"])
def test_a_full_disk_or_an_interrupt_leaves_nothing_behind(
    data, tmp_path, monkeypatch, before, fault, raised, stage
):
    if before:
        write(data, tmp_path / "f")
    calls = []

    def broken(*args, **kwargs):
        calls.append(args)
        if stage == "first table" or len(calls) > 1 or stage in ("array", "rename"):
            raise fault
        return pq_write(*args, **kwargs)

    pq_write = pq.write_table
    if "table" in stage:
        monkeypatch.setattr(writing.pq, "write_table", broken)
    elif stage == "array":
        monkeypatch.setattr(writing.np, "save", broken)
    else:
        monkeypatch.setattr(writing.Path, "rename", broken)
    wide = Items(torch.zeros(3, 2), data.options.ids, embedding=2)
    with pytest.raises(raised) as caught:
        write(Comparisons(wide, data.slate, data.rater, data.label), tmp_path / "f", overwrite=before)
    monkeypatch.undo()
    if raised is DataError:
        assert "the disk is full" in str(caught.value)
    assert calls
    assert [path.name for path in tmp_path.iterdir()] == (["f"] if before else [])
    if before:
        check_same(read(tmp_path / "f"), data)


def test_a_failed_replacement_puts_the_old_folder_back(data, tmp_path, monkeypatch):
    folder = write(data, tmp_path / "f")
    rename, calls = writing.Path.rename, []

    def second_fails(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "input/output error")
        return rename(self, target)

    monkeypatch.setattr(writing.Path, "rename", second_fails)
    with pytest.raises(DataError, match="input/output error"):
        write(data.take(torch.tensor([0])), folder, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    check_same(read(folder), data)


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0, reason="needs a user whom the file system can refuse"
)
def test_a_place_that_may_not_be_written(data, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="could not be written"):
        write(data, tmp_path / "f")


def test_what_tables_cannot_tell_is_refused(data, tmp_path):
    refused = lambda match: pytest.raises(DataError, match=match)
    with refused("at least one answer"):
        write(data.take(torch.tensor([], dtype=torch.long)), tmp_path / "f")
    swap = lambda **more: Comparisons(
        **({"options": data.options, "slate": data.slate, "rater": data.rater, "label": data.label} | more)
    )
    with refused(r"'maker_id' would be read back as something else"):
        write(swap(options=Items(data.options.features, None, ("maker_id", "speed"))), tmp_path / "f")
    with refused(r"an empty rater_id"):
        write(swap(rater_ids=("", "b")), tmp_path / "f")
    with refused(r"`extra` must have 2 rows"):
        write(data, tmp_path / "f", extra=pd.DataFrame({"role": ["train"]}))
    with refused(r"`extra` must bring new columns, 'label' exist"):
        write(data, tmp_path / "f", extra=pd.DataFrame({"label": [1, 2]}))
    with refused(r"`item_attributes` 'stars' are numbers"):
        write(data, tmp_path / "f", item_attributes=pd.DataFrame({"stars": [1, 2, 3]}))
    assert not list(tmp_path.iterdir())


def test_a_damaged_description(data, tmp_path):
    folder = write(data, tmp_path / "f")
    (folder / "pluralign.json").write_text('{"format": 2, "widths": {}}')
    with pytest.raises(DataError, match=r"must be of format 1, got 2; upgrade pluralign"):
        read(folder)
    (folder / "pluralign.json").write_text('{"format": 1, "wid')
    with pytest.raises(DataError, match=r"pluralign.json cannot be read .* delete it"):
        read(folder)
    (folder / "pluralign.json").unlink()
    assert torch.equal(read(folder).label, data.label)


def test_damaged_segments(tmp_path, data):
    store = Segments(torch.zeros(3, 4, 2), ids=("a", "b", "c"))
    folder = write(Comparisons(store, data.slate, data.rater, data.label), tmp_path / "f")
    whole = (folder / "segments.npz").read_bytes()
    (folder / "segments.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"segments.npz cannot be read as segments"):
        read(folder)
