"""Folders that are right, and every way we know in which one can be wrong."""

import gzip
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import COMPARISONS, ITEMS, fill

from pluralign.data import DataError, Items, Segments, Texts, read, read_folder


def test_a_folder_becomes_comparisons(folder):
    data = read(folder)
    assert data.options.ids == ("v0", "v1", "v2")
    assert data.options.names == ("price", "speed")
    assert data.rater_ids == ("ann", "bob")
    assert data.slate.tolist() == [[0, 1], [1, 2], [2, 0]]
    assert data.label.tolist() == [[1, 0], [0.5, 0.5], [0, 1]]
    assert data.rater.tolist() == [0, 1, 0]
    assert data.options.features[2].tolist() == [5, 6.5]


def test_names_that_look_like_numbers_or_gaps_stay_names(tmp_path):
    items = "item_id,x\n007,1\nNA,2\nnan,3\n"
    data = read(fill(tmp_path / "f", items, "rater_id,item_a,item_b,label\n01,007,NA,1\nnull,NA,nan,0\n"))
    assert data.options.ids == ("007", "NA", "nan")
    assert data.rater_ids == ("01", "null")


def test_integer_ids_of_a_parquet_file_become_names(tmp_path):
    (tmp_path / "f").mkdir()
    pd.DataFrame({"item_id": [10, 9], "x": [0.0, 1.0]}).to_parquet(tmp_path / "f" / "items.parquet")
    answers = pd.DataFrame({"rater_id": [7, 7], "item_a": [9, 10], "item_b": [10, 9], "label": [1, 0]})
    answers.to_parquet(tmp_path / "f" / "comparisons.parquet")
    data = read(tmp_path / "f")
    assert data.options.ids == ("10", "9")
    assert data.slate.tolist() == [[1, 0], [0, 1]]
    assert data.rater_ids == ("7",)


def test_letters_shares_and_short_slates(tmp_path):
    letters = "rater_id,item_a,item_b,item_c,label\nann,v0,v1,v2,c\nann,v2,v1,,A\n"
    data = read(fill(tmp_path / "letters", comparisons=letters))
    assert data.slate.tolist() == [[0, 1, 2], [2, 1, -1]]
    assert data.label.tolist() == [[0, 0, 1], [1, 0, 0]]
    shares = (
        "rater_id,item_a,item_b,item_c,label_a,label_b,label_c\nann,v0,v1,v2,.5,.25,.25\nann,v2,v1,,1,0,\n"
    )
    data = read(fill(tmp_path / "shares", comparisons=shares))
    assert data.label.tolist() == [[0.5, 0.25, 0.25], [1, 0, 0]]


def test_known_columns_and_the_rest(tmp_path):
    text = (
        "rater_id,item_a,item_b,label,context,weight,time,response_time,session_id,mood\n"
        "ann,v0,v1,1,0.5,2,1700000000.25,3.5,s1,calm\nann,v1,v2,0,1.5,1,1700000001.25,4.5,s2,\n"
    )
    found = read_folder(fill(tmp_path / "f", comparisons=text))
    assert found.data.context.tolist() == [0.5, 1.5]
    assert found.data.weight.tolist() == [2, 1]
    assert found.data.time.tolist() == [1700000000.25, 1700000001.25]  # float32 would round to 128 seconds
    assert found.data.response_time.tolist() == [3.5, 4.5]
    assert found.session.tolist() == ["s1", "s2"]
    assert list(found.extra) == ["session_id", "mood"]


def test_texts_keep_numbers_as_attributes(tmp_path):
    items = 'item_id,topic,text,votes\nv0,a,"one, two\nthree",5\nv1,b,,6\nv2,b,123,7\n'
    found = read_folder(fill(tmp_path / "f", items))
    assert isinstance(found.data.options, Texts)
    assert found.data.options.texts == ("one, two\nthree", "", "123")
    assert found.item_attributes["votes"].tolist() == [5, 6, 7]
    assert found.item_attributes.index.tolist() == ["v0", "v1", "v2"]


@pytest.mark.parametrize("name", ["embeddings.npy", "encoder.float16.npy"])
def test_an_embedding_joins_the_features_as_one_block(folder, name):
    np.save(folder / name, np.arange(12).reshape(3, 4).astype(np.float16))
    np.save(folder / "truth_share.npy", np.zeros((3, 2)))  # what models must not see
    options = read(folder).options
    assert isinstance(options, Items)
    assert options.blocks == (1, 1, 4)
    assert options.features[1].tolist() == [3, 4, 4, 5, 6, 7]


def test_options_without_a_table_are_known_by_name(tmp_path):
    data = read(fill(tmp_path / "f", items=None))
    assert data.options.ids == ("v0", "v1", "v2")
    assert data.options.rows.shape == (3, 0)


def test_trajectories_become_segments(tmp_path):
    steps = "item_id,t,x\nv0,0.1,2\nv0,0.0,1\nv1,0,3\nv2,0,4\nv2,0.1,5\n"
    options = read(fill(tmp_path / "f", "item_id\nv0\nv1\nv2\n", trajectories=steps)).options
    assert isinstance(options, Segments)
    assert options.factors[..., 0].tolist() == [[1, 2], [3, 0], [4, 5]]
    assert options.mask.tolist() == [[True, True], [True, False], [True, True]]
    assert options.dt == 0.1
    with pytest.raises(DataError, match="evenly spaced"):
        read(fill(tmp_path / "g", "item_id\nv0\nv1\nv2\n", trajectories=steps + "v2,0.3,1\n"))


def test_votes_meet_an_outside_option(tmp_path):
    text = "vote_id,rater_id,item_id,vote\na,ann,v0,1\nb,bob,v1,0\nc,bob,v2,-1\n"
    split = "vote_id,split\na,train\nb,train\nc,test\n"
    path = fill(tmp_path / "f", comparisons=None, votes=text, split=split)
    with pytest.warns(UserWarning, match=r"1 of 3 votes are passes"):
        found = read_folder(path)
    assert found.data.kind == "vote"
    assert found.data.options.ids[-1] == "(disagree)"
    assert found.data.slate.tolist() == [[0, 3], [2, 3]]
    assert found.data.label.tolist() == [[1, 0], [0, 1]]
    assert found.extra["vote_id"].tolist() == ["a", "c"]
    # Bob's pass stands under train, and so does not count as a rater's place in the test.
    assert found.role.tolist() == ["train", "test_seen"]


def test_raters_table_gives_order_attributes_and_silent_raters(folder):
    fill(folder, raters="rater_id,age\nbob,30\ncat,40\nann,50\n")
    found = read_folder(folder)
    assert found.data.rater_ids == ("bob", "cat", "ann")
    assert found.data.rater.tolist() == [2, 0, 2]
    assert found.rater_attributes["age"].tolist() == [30, 40, 50]


def test_roles_from_a_file_in_any_order(folder):
    fill(folder, splits="cmp_id,split,adapt_order\nc2,test_seen,-1\nc0,train,-1\nc1,adapt,3\n")
    found = read_folder(folder)
    assert found.role.tolist() == ["train", "adapt", "test_seen"]
    assert found.adapt_order.tolist() == [-1, 3, -1]


def test_planted_roles_and_their_order(tmp_path):
    text = "rater_id,item_a,item_b,label,role\n" + "".join(
        f"{who},v0,v1,1,{role}\n"
        for who, role in [("a", "train"), ("b", "adapt"), ("a", "query"), ("b", "query"), ("b", "adapt")]
    )
    found = read_folder(fill(tmp_path / "f", comparisons=text))
    assert found.role.tolist() == ["train", "adapt", "test_seen", "test_unseen", "adapt"]
    assert found.adapt_order.tolist() == [-1, 0, -1, -1, 1]


def test_order_counts_sessions_where_there_are_some(tmp_path):
    text = "rater_id,set_id,item_a,item_b,label,role\n" + "".join(
        f"a,{group},v0,v1,1,{role}\n"
        for group, role in [("s", "adapt"), ("s", "adapt"), ("t", "adapt"), ("u", "query")]
    )
    assert read_folder(fill(tmp_path / "f", comparisons=text)).adapt_order.tolist() == [0, 0, 1, -1]


def test_folds_and_order_by_pair(tmp_path):
    text = "rater_id,pair_id,item_a,item_b,label\nann,p,v0,v1,1\nbob,p,v0,v1,0\nbob,q,v1,v2,0\n"
    found = read_folder(
        fill(
            tmp_path / "f",
            comparisons=text,
            pair_folds="pair_id,fold\nq,1\np,0\n",
            adapt="rater_id,pair_id,adapt_order\nbob,q,0\nann,p,0\n",
        )
    )
    assert found.fold.tolist() == [0, 0, 1]
    assert found.adapt_order.tolist() == [0, -1, 0]
    assert found.role is None


def test_an_option_compared_with_itself_is_left_out_with_a_warning(tmp_path):
    text = COMPARISONS + "c3,ann,v1,v1,1\n"
    split = "cmp_id,split\nc0,train\nc1,train\nc2,val\nc3,val\n"
    with pytest.warns(UserWarning, match=r"comparisons.csv, row 5 .*compared with itself; 1 of 4"):
        found = read_folder(fill(tmp_path / "f", comparisons=text, split=split))
    assert len(found.data) == 3
    assert found.role.tolist() == ["train", "train", "val"]
    assert len(found.extra) == 3


def test_one_answer_of_one_rater_can_be_read(tmp_path):
    data = read(fill(tmp_path / "f", comparisons="rater_id,item_a,item_b,label\nann,v0,v1,1\n"))
    assert (len(data), data.raters) == (1, 1)


HEAD = "rater_id,item_a,item_b,label\n"
WRONG = {
    "misnamed column": (
        {"comparisons": "rater_id,item_a,item_bb,label\nann,v0,v1,1\n"},
        r"comparisons.csv needs a column 'item_b', it has 'rater_id', 'item_a', 'item_bb', 'label' \(did you mean 'item_bb'",
    ),
    "semicolons": ({"comparisons": "rater_id;item_a;item_b;label\nann;v0;v1;1\n"}, r"separated by ';'"),
    "no label": ({"comparisons": "rater_id,item_a,item_b\nann,v0,v1\n"}, r"needs a column 'label'"),
    "no item_id": ({"items": "id,x\nv0,1\n"}, r"items.csv needs a column 'item_id'"),
    "a place left out": (
        {"comparisons": "rater_id,item_a,item_b,item_d,label\na,v0,v1,v2,a\n"},
        r"without 'item_c'",
    ),
    "column twice": (
        {"comparisons": "rater_id,item_a,item_b,item_b,label\na,v0,v1,v2,1\n"},
        r"'item_b' comes twice",
    ),
    "unknown item": (
        {"comparisons": HEAD + "ann,v0,v1,1\nann,v0,v9,1\n"},
        r"comparisons.csv, row 3 \(the header is row 1\), column 'item_b': 'v9' is not an item_id of items.csv; "
        r"add the item or correct the id",
    ),
    "no item": (
        {"comparisons": HEAD + "ann,v0,,1\n"},
        r"row 2 .*column 'item_b': an item is expected, got an empty",
    ),
    "no rater": ({"comparisons": HEAD + ",v0,v1,1\n"}, r"row 2 .*column 'rater_id': a rater is expected"),
    "unknown rater": (
        {"comparisons": HEAD + "anne,v0,v1,1\n", "raters": "rater_id\nann\n"},
        r"row 2 .*column 'rater_id': 'anne' is not a rater_id of the raters' table \(did you mean 'ann'",
    ),
    "label above one": (
        {"comparisons": HEAD + "a,v0,v1,1\na,v0,v1,4\na,v0,v1,5\n"},
        r"row 3 .*column 'label': a share in \[0, 1\] is expected, got 4; .*\(2 such rows\)",
    ),
    "label missing": (
        {"comparisons": HEAD + "a,v0,v1,\na,v0,v1,1\n"},
        r"row 2 .*column 'label': a number is expected",
    ),
    "label not a number": (
        {"comparisons": HEAD + "a,v0,v1,1\na,v0,v1,left\n"},
        r"row 3 .*'label'.*got 'left'",
    ),
    "label is infinite": (
        {"comparisons": HEAD + "a,v0,v1,inf\n"},
        r"row 2 .*column 'label': a finite number",
    ),
    "label is no place": (
        {"comparisons": "rater_id,item_a,item_b,item_c,label\na,v0,v1,v2,d\n"},
        r"row 2 .*the letter of the chosen place \('a', 'b', 'c'\) is expected, got 'd'",
    ),
    "chosen place is empty": (
        {"comparisons": "rater_id,item_a,item_b,item_c,label\na,v0,v1,,c\na,v0,v1,v2,c\n"},
        r"row 2 .*the chosen place is empty",
    ),
    "shares do not sum": (
        {"comparisons": "rater_id,item_a,item_b,label_a,label_b\na,v0,v1,.5,.6\n"},
        r"row 2 .*shares of a row must sum to 1, got 1.1",
    ),
    "a feature is missing": (
        {"items": "item_id,x\nv0,1\nv1,\nv2,3\n"},
        r"items.csv, row 3 .*column 'x': a number is expected, got an empty field",
    ),
    "a feature is NaN": (
        {"items": "item_id,x\nv0,1\nv1,NaN\nv2,3\n"},
        r"items.csv, row 3 .*column 'x'.*NaN",
    ),
    "a feature is infinite": (
        {"items": "item_id,x\nv0,1\nv1,-inf\nv2,3\n"},
        r"row 3 .*column 'x': a finite number",
    ),
    "a word among numbers": (
        {"items": 'item_id,x\nv0,1\nv1,"2,5"\nv2,3\n'},
        r"row 3 .*column 'x'.*got '2,5'",
    ),
    "an empty feature": ({"items": "item_id,x\nv0,\nv1,\nv2,\n"}, r"column 'x': is empty throughout"),
    "item twice": (
        {"items": ITEMS + "v1,8,9\n"},
        r"items.csv, row 5 .*column 'item_id': every id must come once, 'v1' came before",
    ),
    "item without name": (
        {"items": "item_id,x\nv0,1\n,2\n"},
        r"row 3 .*column 'item_id': an id is expected",
    ),
    "rater twice": ({"raters": "rater_id\nann\nbob\nann\n"}, r"raters.csv, row 4 .*'ann' came before"),
    "empty file": (
        {"comparisons": ""},
        r"comparisons.csv should start with a line of column names, it is empty",
    ),
    "header only": ({"comparisons": HEAD}, r"comparisons.csv should have at least one record"),
    "ragged row": (
        {"comparisons": HEAD + "a,v0,v1\n"},
        r"comparisons.csv, row 2 \(the header is row 1\): 4 fields are expected, as in the header, got 3; add what is missing",
    ),
    "a comma in a name": (
        {"comparisons": HEAD + "a,v0,v1,1\nSmith, Ann,v0,v1,1\n"},
        r"comparisons.csv, row 3 .*: 4 fields are expected, .*got 5; quote a text that has a comma",
    ),
    "a quotation mark left open": (
        {"comparisons": HEAD + 'a,v0,v1,1\n"a,v0,v1,1\na,v0,v1,0\n'},
        r"comparisons.csv, row 3 .*: 4 fields are expected, .*got 1; close the quotation mark",
    ),
    "a label is an option's name": (
        {"comparisons": HEAD + "a,v0,v1,v1\na,v1,v2,v1\n"},
        r"row 2 .*column 'label': the share of item_a is expected, got the option's name 'v1'; write 1",
    ),
    "marks for thousands": (
        {"items": 'item_id,x,price\nv0,1,"1,200"\nv1,2,950\nv2,3,"2,000"\n'},
        r"items.csv, row 2 .*column 'price': a number is expected as 1200.5, .*got '1,200'",
    ),
    "units": (
        {"items": "item_id,x,price\nv0,1,3 €\nv1,2,4 €\nv2,3,5 €\n"},
        r"items.csv, row 2 .*column 'price': a number is expected as 1200.5, .*got '3 €'",
    ),
    "too large for a float": (
        {"items": "item_id,x\nv0,1\nv1,1e300\nv2,3\n"},
        r"items.csv, row 3 .*column 'x': a number up to 3.4e\+38 is expected, got 1e\+300; use larger units",
    ),
    "split of unknown answer": (
        {"split": "cmp_id,split\nc0,train\nc1,train\nc2,val\nc9,val\n"},
        r"split.csv, row 5 .*column 'cmp_id': 'c9' is not in comparisons.csv; drop the row",
    ),
    "split twice": (
        {"split": "cmp_id,split\nc0,train\nc0,val\n"},
        r"split.csv, row 3 .*this key came before",
    ),
    "split without key": (
        {"split": "number,split\n0,train\n"},
        r"split.csv must be keyed by columns of comparisons",
    ),
    "unknown role": (
        {"split": "cmp_id,split\nc0,train\nc1,tran\nc2,val\n"},
        r"split.csv, for comparisons.csv, row 3 .*a role among .* is expected, got 'tran' \(did you mean 'train'",
    ),
    "near item": (
        {
            "items": "item_id,x\nstatement1,1\nstatement2,2\n",
            "comparisons": HEAD + "a,statement1,statment2,1\n",
        },
        r"'statment2' is not an item_id of items.csv \(did you mean 'statement2'\?\)",
    ),
    "negative weight": (
        {"comparisons": "rater_id,item_a,item_b,label,weight\na,v0,v1,1,-2\n"},
        r"row 2 .*column 'weight': a weight of 0 or more",
    ),
    "two columns of roles": (
        {"comparisons": "rater_id,item_a,item_b,label,role,split\na,v0,v1,1,train,val\n"},
        r"'role' and a column 'split'; keep one",
    ),
    "role twice": (
        {
            "comparisons": "cmp_id,rater_id,item_a,item_b,label,role\nc,a,v0,v1,1,train\n",
            "split": "cmp_id,split\nc,val\n",
        },
        r"comparisons.csv and split.csv both give roles",
    ),
    "context is words": (
        {"comparisons": "rater_id,item_a,item_b,label,context\na,v0,v1,1,rain\n"},
        r"row 2 .*column 'context': a number is expected, got 'rain'",
    ),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_what_is_wrong_is_said(tmp_path, case):
    files, message = WRONG[case]
    with pytest.raises(DataError, match=message) as caught:
        read(fill(tmp_path / "f", **files))
    assert "\n" not in str(caught.value).strip()


def test_words_are_kept_and_said_to_be_no_features(tmp_path):
    items = "item_id,x,colour,name\n" + "".join(
        f"v{n},{n},{'red' if n % 2 else 'blue'},n{n}\n" for n in range(6)
    )
    with pytest.warns(
        UserWarning, match=r"items.csv: 'colour' is kept, and no model sees words: give each kind"
    ):
        data = read(fill(tmp_path / "f", items=items, comparisons=HEAD + "a,v0,v1,1\na,v2,v1,0\n"))
    assert data.options.names == ("x",)


def test_two_files_of_one_table(folder):
    (folder / "items.csv.gz").write_bytes(gzip.compress(ITEMS.encode()))
    with pytest.raises(DataError, match=r"items.csv.gz and items.csv; keep one"):
        read(folder)


def test_votes_of_another_scale(tmp_path):
    text = "rater_id,item_id,vote\nann,v0,1\nann,v1,5\n"
    with pytest.raises(DataError, match=r"votes.csv, row 3 .*column 'vote': 1 \(agree\).*got 5"):
        read(fill(tmp_path / "f", comparisons=None, votes=text))


@pytest.mark.parametrize("rows", [2, 4])
@pytest.mark.parametrize("name", ["embeddings.npy", "mini.float16.npy"])
def test_embeddings_with_the_wrong_number_of_rows(folder, rows, name):
    np.save(folder / name, np.zeros((rows, 4), np.float16))
    with pytest.raises(DataError, match=rf"{name} must be .* one row for each of the 3 rows of items.csv"):
        read(folder)


def test_embeddings_with_nan_of_objects_or_cut_short(folder):
    np.save(folder / "embeddings.npy", np.array([[1, 2], [3, np.nan], [5, 6]]))
    with pytest.raises(DataError, match=r"embeddings.npy, row 1 \(counted from 0\), column 1"):
        read(folder)
    np.save(folder / "embeddings.npy", np.array([["a"], [2], [3]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"embeddings.npy cannot be read as an array"):
        read(folder)
    np.save(folder / "embeddings.npy", np.zeros((3, 40)))
    whole = (folder / "embeddings.npy").read_bytes()
    (folder / "embeddings.npy").write_bytes(whole[:-9])
    with pytest.raises(DataError, match=r"embeddings.npy cannot be read as an array"):
        read(folder)


def test_two_embeddings_that_fit(folder):
    np.save(folder / "a.npy", np.zeros((3, 2)))
    np.save(folder / "b.npy", np.zeros((3, 2)))
    with pytest.raises(DataError, match=r"'a.npy', 'b.npy' fit; rename one"):
        read(folder)


@pytest.mark.parametrize("kept", [0, 1, 20, -9, -1])
def test_gz_cut_short(tmp_path, kept):
    rows = "".join(f"r{n},v{n % 3},v{(n + 1) % 3},1\n" for n in range(2000))
    path = fill(tmp_path / "f", comparisons=None)
    whole = gzip.compress((HEAD + rows).encode())
    (path / "comparisons.csv.gz").write_bytes(whole[:kept] if kept else b"")
    with pytest.raises(DataError, match=r"comparisons.csv.gz (cannot be read|should start)"):
        read(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_parquet_cut_short(tmp_path, share):
    path = fill(tmp_path / "f", comparisons=None)
    frame = pd.DataFrame(
        {"rater_id": ["a"] * 500, "item_a": "v0", "item_b": "v1", "label": np.linspace(0, 1, 500)}
    )
    frame.to_parquet(path / "comparisons.parquet")
    whole = (path / "comparisons.parquet").read_bytes()
    (path / "comparisons.parquet").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"comparisons.parquet cannot be read as parquet"):
        read(path)


def test_not_utf8(folder):
    (folder / "items.csv").write_bytes("item_id,x\nv0,1\nv1,2\nv2é,3\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"items.csv cannot be read as csv .*UTF-8"):
        read(folder)


def test_folder_not_found_or_a_file_or_empty(folder, tmp_path):
    with pytest.raises(DataError, match=r"does not exist \(did you mean 'answers'\?\)"):
        read(tmp_path / "answer")
    with pytest.raises(DataError, match="it is a file"):
        read(folder / "items.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"needs a table of comparisons or votes .* it holds nothing"):
        read(tmp_path / "empty")
    with pytest.raises(DataError, match=r"needs a table of votes"):
        read(folder, answers="votes")


def test_a_misnamed_file_is_not_passed_over(folder):
    (folder / "items.csv").rename(folder / "item.csv")
    with pytest.raises(DataError, match=r"items.csv or items.parquet \(did you mean 'item'"):
        read(folder)
    (folder / "item.csv").rename(folder / "items.csv")
    (folder / "comparisons.csv").rename(folder / "comparison.csv")
    with pytest.raises(DataError, match=r"\(did you mean 'comparison'"):
        read(folder)


def test_answers_without_a_role_are_unused_and_said(folder):
    fill(folder, split="cmp_id,split\nc0,train\nc2,test\n")
    with pytest.warns(
        UserWarning, match=r"split.csv names no role for 1 of 3 answers, first comparisons.csv, row 3"
    ):
        assert read_folder(folder).role.tolist() == ["train", "unused", "test_seen"]


def test_reading_moves_no_global_stream_and_warns_of_nothing(folder):
    before = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(folder)
    assert torch.equal(before, torch.random.get_rng_state())
