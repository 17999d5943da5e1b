"""Covariates from raters.csv to the report, and coded alike in the next folder."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from pluralign import leaderboard, read, write
from pluralign.cli import main
from pluralign.data import Comparisons, Items
from pluralign.data.errors import DataError
from pluralign.lab.fitting import evaluate_run, fit, open_run


def told_folder(folder, raters=60, each=10, seed=0, ages=(20, 60)):
    """The old like the second feature, the young do not."""
    draw = np.random.default_rng(seed)
    age = draw.uniform(*ages, raters).round()
    features = torch.from_numpy(draw.normal(size=(40, 3)))
    rater = torch.arange(raters).repeat_interleave(each)
    pair = torch.from_numpy(np.stack([draw.choice(40, 2, replace=False) for _ in range(len(rater))]))
    taste = torch.from_numpy(np.stack([np.full(raters, 0.5), (age - 40) / 6, np.zeros(raters)], 1))
    gap = ((features[pair[:, 0]] - features[pair[:, 1]]) * taste[rater]).sum(1)
    said = (torch.from_numpy(draw.random(len(rater))) < torch.sigmoid(gap)).float()
    ids = tuple(f"{seed}-{r}" for r in range(raters))
    write(
        Comparisons.pairs(Items(features), pair[:, 0], pair[:, 1], rater, said, rater_ids=ids),
        folder,
        form="csv",
    )
    people = pd.DataFrame({"rater_id": ids, "age": age, "job": draw.choice(["cook", "nurse"], raters)})
    people.to_csv(folder / "raters.csv", index=False)
    return folder


def test_a_leaderboard_tells_every_member(tmp_path):
    folder = told_folder(tmp_path / "answers")
    board = leaderboard(
        folder,
        tmp_path / "run",
        populations=("hierarchical",),
        covariates=("age",),
        samples=100,
        progress=False,
    )
    rows = board.table[(board.table.metric == "log_loss") & (board.table.answers == "0")].set_index(
        "population"
    )
    assert rows.loc["covariates", "difference_low"] > 0
    assert rows.loc["hierarchical", "difference_low"] > 0
    assert "covariates used" in (tmp_path / "run" / "report.html").read_text()


def test_the_next_folder_is_coded_as_the_first_was(tmp_path):
    run = fit("hierarchical", told_folder(tmp_path / "one"), tmp_path / "run", covariates=("age", "job"))
    belief, facts = open_run(run)
    assert belief.diagnostics["use"] is True
    assert "What people's covariates change" in (run / "report.html").read_text().replace("&#x27;", "'")
    assert [column["name"] for column in facts["coding"]] == ["age", "job"]
    old = told_folder(
        tmp_path / "old", raters=30, seed=1, ages=(50, 60)
    )  # coded afresh, they would be average
    table = evaluate_run(run, old)["all"]
    plain = fit("hierarchical", tmp_path / "one", tmp_path / "plain")
    assert table["log_loss"].value < evaluate_run(plain, old)["all"]["log_loss"].value - 0.1


def test_a_column_that_is_not_there(tmp_path, capsys):
    folder = told_folder(tmp_path / "answers", raters=12)
    assert main(["leaderboard", str(folder), "--covariates", "aeg", "--out", str(tmp_path / "run")]) == 2
    assert "did you mean 'age'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    (folder / "raters.csv").unlink()
    with pytest.raises(DataError, match=r"raters.csv needs a column 'age', there is none"):
        read(folder, covariates=["age"])


def test_words_of_the_command_reach_the_fit(tmp_path):
    folder = told_folder(tmp_path / "answers")
    out = tmp_path / "run"
    assert main(["fit", "pooled", str(folder), "--covariates", "age, job", "--out", str(out)]) == 0
    assert json.loads((out / "config.json").read_text())["covariates"] == ["age", "job"]
