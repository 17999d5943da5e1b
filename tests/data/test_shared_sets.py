"""Real people's answers and planted populations, read as they lie there; counts from their descriptions."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from pluralign.data import Items, Texts, describe, read_folder

pytestmark = pytest.mark.filterwarnings("ignore:.*(passes|itself)")


def test_cars(shared):
    with pytest.warns(UserWarning, match=r"row 2042 .* 4 of 24960"):
        found = read_folder(shared / "data" / "car_choice")
    roles = Counter(found.role.tolist())
    assert (roles["test_seen"], roles["test_unseen"]) == (3990, 1670)
    assert (len(found.data.options), found.data.raters, found.data.options.rows.shape[1]) == (10440, 832, 16)
    assert len(set(found.session)) == 12480
    assert found.adapt_order.max() == 9
    # A set of three cars is two rows: ten sets to adapt on.
    assert np.bincount(found.adapt_order[found.role == "adapt"]).max() == 2 * 167
    assert describe(found.data).constant == ()


def test_statements(shared):
    voted = read_folder(shared / "data" / "civic_votes", answers="votes")
    paired = read_folder(shared / "data" / "civic_votes")
    roles, pair_roles = Counter(voted.role.tolist()), Counter(paired.role.tolist())
    assert (len(voted.data), roles["test_seen"], roles["test_unseen"]) == (109_378 + 38_594, 15_980, 22_222)
    assert (len(paired.data), pair_roles["test_seen"], pair_roles["test_unseen"]) == (41_425, 3528, 3457)
    assert isinstance(voted.data.options, Texts)
    assert voted.data.options.embedding.shape == (608, 384)
    assert float(voted.data.label[:, 0].mean()) == pytest.approx(109_378 / 147_972)
    assert "opinion_group" in voted.rater_attributes


def test_arguments(shared):
    found = read_folder(shared / "data" / "convincing_args")
    told = describe(found.data)
    seen, unseen = (
        (found.role == role) & found.data.decided.numpy() for role in ("test_seen", "test_unseen")
    )
    assert (seen.sum(), unseen.sum()) == (3278, 3178)
    assert (told.raters, told.options, told.answers) == (3475, 512, 40_075)
    assert round(told.agreement, 3) == 0.747
    assert round(told.ties / told.answers, 3) == 0.226


def test_drives(shared):
    found = read_folder(shared / "data" / "driving_pedestrian")
    assert found.role is None
    assert isinstance(found.data.options, Items)
    assert Counter(found.fold.tolist()) == dict.fromkeys(range(5), 80)
    assert ((found.adapt_order >= 0).sum(), found.adapt_order.max()) == (80, 9)
    assert round(describe(found.data).agreement, 2) == 0.46


@pytest.mark.parametrize(
    ("name", "places"), [("homogeneous", 2), ("triples", 3), ("text_two_types", 2), ("context_dependent", 2)]
)
def test_planted_populations(shared, tmp_path, name, places):
    script = shared / "bench" / "planted.py"
    if not script.is_file():
        pytest.skip("needs the generator of planted populations")
    subprocess.run([sys.executable, script, name, "--out", tmp_path / name, "--small"], check=True)
    found = read_folder(tmp_path / name)
    assert found.data.places == places
    assert set(found.role.tolist()) <= {"train", "adapt", "test_seen", "test_unseen"}
    adapt = found.role == "adapt"
    for rater in np.unique(found.data.rater.numpy()[adapt])[:5]:
        mine = found.adapt_order[adapt & (found.data.rater.numpy() == rater)]
        assert mine.tolist() == list(range(len(mine)))
    assert (found.data.context is not None) == (name == "context_dependent")
    assert torch.isfinite(found.data.options.rows).all()
