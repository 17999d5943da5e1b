"""Folders of answers by people who judge trips by different rules."""

import numpy as np
import pandas as pd
import pytest
import torch

import pluralign
from pluralign.lab.simulate_grid import TASTE, SimulateGrid
from pluralign.utility.judged import RULES, Judged, statistics
from pluralign.utility.moves import Moves


def test_people_answer_by_their_rule_and_the_folder_says_whose_is_which(tmp_path):
    made = SimulateGrid(raters=30, answers=20, segments=300, share=(0.5, 0.3, 0.2))
    made.write(tmp_path / "trips")
    data = pluralign.read(tmp_path / "trips")
    truth = pd.read_csv(tmp_path / "trips" / "truth.csv").set_index("rater_id").loc[list(data.rater_ids)]
    assert truth.judges_by.value_counts().to_dict() == {"partial return": 15, "regret": 9, "end value": 6}
    # Utils by each rule, worked out from what the folder holds, give the chances that lie beside it.
    world = made.world
    moves = Moves.of(world.transition, world.factors)
    told = statistics(data.options, moves, torch.tensor(TASTE).double(), Judged(discount=made.discount))
    worth = told @ torch.tensor([RULES[name] for name in made.rules]).double().T
    worth = worth / worth.std(0) * made.strength / 2**0.5
    rule = torch.tensor(truth.group.to_numpy())[data.rater]
    gap = worth[data.slate[:, 0], rule] - worth[data.slate[:, 1], rule]
    share = np.load(tmp_path / "trips" / "truth_share.npy")
    np.testing.assert_allclose(
        torch.sigmoid(gap).numpy(), share, atol=0.02
    )  # pieces nobody was shown are not kept
    first = data.label[:, 0].double().numpy()
    assert abs((first - share).mean()) < 4 * np.sqrt((share * (1 - share)).mean() / len(share))
    with pytest.raises(FileExistsError, match="exists already"):
        made.write(tmp_path / "trips")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"rules": ("regrets",)}, "`rules` must be of partial return"),
        ({"rules": ()}, "`rules` must name one rule at least"),
        ({"discount": 1.0}, r"`discount` must be in \[0, 1\), got 1.0"),
        ({"segments": 1}, "`segments` must be 2 or more, got 1"),
        ({"strength": 0.0}, "`strength` must be a positive number"),
    ],
)
def test_wrong_settings_are_told(wrong, told):
    with pytest.raises(ValueError, match=told):
        SimulateGrid(**wrong)
