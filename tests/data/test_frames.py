"""Frames, datasets and JSON lines."""

import gzip
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from pluralign.data import DataError, Items, Texts, from_frame, from_records, read_jsonl, to_frame

ANSWERS = pd.DataFrame(
    {"rater_id": ["b", "a"], "item_a": ["x", "y"], "item_b": ["y", "z"], "label": [1.0, 0.25]}
)
ITEMS = pd.DataFrame({"item_id": ["x", "y", "z"], "price": [1, 2, 3]})


class Dataset:
    """What a Hugging Face dataset looks like from here."""

    def __init__(self, frame):
        self.frame = frame

    def to_pandas(self):
        return self.frame


@pytest.mark.parametrize(
    "wrap", [lambda f: f, lambda f: pa.Table.from_pandas(f), Dataset, lambda f: f.set_index("rater_id")]
)
def test_frames_of_many_kinds(wrap):
    data = from_frame(wrap(ANSWERS), ITEMS)
    assert data.rater_ids == ("a", "b")
    assert data.rater.tolist() == [1, 0]
    assert data.slate.tolist() == [[0, 1], [1, 2]]
    assert data.label.tolist() == [[1, 0], [0.25, 0.75]]
    assert data.options.features[:, 0].tolist() == [1, 2, 3]
    pd.testing.assert_frame_equal(
        to_frame(data).astype({"label": float}), ANSWERS, check_dtype=False, check_categorical=False
    )


def test_other_names_embeddings_and_stores():
    renamed = ANSWERS.rename(columns={"rater_id": "user", "item_a": "left"})
    data = from_frame(
        renamed, ITEMS, columns={"user": "rater_id", "left": "item_a"}, embedding=np.eye(3), raters=["b", "a"]
    )
    assert data.options.blocks == (1, 3)
    assert data.rater.tolist() == [0, 1]
    assert from_frame(ANSWERS, data.options).options is data.options
    assert from_frame(ANSWERS).options.ids == ("x", "y", "z")
    whole = from_frame(
        pd.DataFrame({"rater_id": [2, 10], "item_a": [0, 1], "item_b": [1, 0], "label": [0, 1]}),
        Items(torch.zeros(2, 1)),
    )
    assert whole.rater_ids == ("10", "2")  # names, so they sort as texts
    assert whole.slate.tolist() == [[0, 1], [1, 0]]


def test_wrong_frames():
    with pytest.raises(
        DataError,
        match=r"the frame of answers, row 1 \(counted from 0\), column 'item_b': 'q' is not an item_id of `items`",
    ):
        from_frame(ANSWERS.assign(item_b=["y", "q"]), ITEMS)
    with pytest.raises(DataError, match=r"row 0 .* an option is compared with itself"):
        from_frame(ANSWERS.assign(item_b=["x", "z"]), ITEMS)
    with pytest.raises(DataError, match=r"needs a column 'user', it has 'rater_id'"):
        from_frame(ANSWERS, ITEMS, columns={"user": "rater_id"})
    with pytest.raises(DataError, match=r"`embedding` must be \(N, D\) with N = 3.* got \(2, 2\)"):
        from_frame(ANSWERS, ITEMS, embedding=np.eye(2))
    with pytest.raises(DataError, match=r"`embedding` needs `items` as a frame"):
        from_frame(ANSWERS, embedding=np.eye(2))
    with pytest.raises(DataError, match=r"should be a pandas or Arrow frame, .* got list"):
        from_frame([1, 2])
    with pytest.raises(DataError, match=r"at least one record"):
        from_frame(ANSWERS[:0])
    with pytest.raises(DataError, match=r"one type in each column .*price"):
        from_frame(ANSWERS, ITEMS.assign(price=[1, "a", 2.5]))
    with pytest.raises(DataError, match=r"'label' comes twice"):
        from_frame(pd.concat([ANSWERS, ANSWERS[["label"]]], axis=1))


RECORDS = [
    {"prompt": "Hi", "chosen": "Hello!", "rejected": "What?", "rater_id": "ann", "response_time": 2},
    {"prompt": "Hi", "chosen": "What?", "rejected": "Hello!", "rater_id": "bob", "response_time": 3.5},
    {
        "prompt": [{"role": "user", "content": "Hi"}],
        "chosen": [{"role": "assistant", "content": "Hello!"}],
        "rejected": [{"role": "assistant", "content": "Go away"}],
        "rater_id": "ann",
        "response_time": 1,
    },
]


def test_preference_records_become_texts():
    data = from_records(RECORDS)
    assert isinstance(data.options, Texts)
    assert (
        data.options.texts
        == ("Hi\n\nHello!", "Hi\n\nWhat?", "user: Hi\n\nassistant: Hello!", "user: Hi\n\nassistant: Go away")[
            :1
        ]
        + data.options.texts[1:]
    )
    assert set(data.options.texts) == {
        "Hi\n\nHello!",
        "Hi\n\nWhat?",
        "user: Hi\n\nassistant: Hello!",
        "user: Hi\n\nassistant: Go away",
    }
    chosen = [data.options.texts[i] for i in data.slate.gather(1, data.label.argmax(1, keepdim=True))[:, 0]]
    assert chosen == ["Hi\n\nHello!", "Hi\n\nWhat?", "user: Hi\n\nassistant: Hello!"]
    assert data.slate[0].tolist() == data.slate[1].tolist()  # the same question in the same places
    assert data.rater_ids == ("ann", "bob")
    assert data.response_time.tolist() == [2, 3.5, 1]


@pytest.mark.parametrize("end", [".jsonl", ".jsonl.gz"])
def test_json_lines(tmp_path, end):
    text = "\n".join(json.dumps(record) for record in RECORDS) + "\n\n"
    path = tmp_path / f"answers{end}"
    path.write_bytes(gzip.compress(text.encode()) if end.endswith("gz") else text.encode())
    data = read_jsonl(path)
    assert data.options == from_records(RECORDS).options
    if end.endswith("gz"):
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataError, match="cut short"):
            read_jsonl(path)


def test_records_that_name_their_items():
    data = from_records(ANSWERS.to_dict("records"), items=ITEMS)
    assert data.slate.tolist() == [[0, 1], [1, 2]]
    other = from_records(
        ANSWERS.rename(columns={"rater_id": "user"}).to_dict("records"), items=ITEMS, rater="user"
    )
    assert other.rater_ids == ("a", "b")


def test_wrong_records(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps(RECORDS[0]) + '\n\n{"prompt": \n')
    with pytest.raises(DataError, match=r"answers.jsonl, line 3: a JSON object is expected"):
        read_jsonl(path)
    path.write_text(json.dumps(RECORDS[0]) + "\n[1]\n")
    with pytest.raises(
        DataError, match=r"answers.jsonl, line 2: an object with named fields is expected, got list"
    ):
        read_jsonl(path)
    with pytest.raises(DataError, match=r"is not a file"):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="empty"):
        from_records([])
    without = {name: value for name, value in RECORDS[0].items() if name != "rater_id"}
    with pytest.raises(
        DataError, match=r'record 1 \(counted from 0\): a field \'rater_id\' is expected.*rater="\.\.\."'
    ):
        from_records([RECORDS[0], without])
    with pytest.raises(DataError, match=r"field 'chosen': a string or a list of messages .* got '\[1, 2\]'"):
        from_records([RECORDS[0] | {"chosen": [1, 2]}])
    with pytest.raises(DataError, match=r"field 'rejected': is the same text as 'chosen'"):
        from_records([RECORDS[0] | {"rejected": "Hello!"}])
    with pytest.raises(DataError, match=r"field 'response_time': a finite number is expected, got None"):
        from_records([RECORDS[0], RECORDS[1] | {"response_time": None}])
