"""Populations as TOML and JSON: equal after a journey to the disk, and one sentence where a file is wrong."""

import dataclasses
import json
import math

import pytest
import torch

from pluralign.choice import Davidson, Lapse, Luce
from pluralign.raters import (
    CURVED,
    PRESETS,
    Attention,
    CampPeople,
    ChangingPeople,
    Drift,
    Fatigue,
    Faults,
    GaussianPeople,
    MixedPeople,
    PeopleFromFile,
    Switch,
    population,
    preset,
    read_population,
    write_population,
)

FACTORS = {"red": 0.5, "blue": 2.0, "effort": -1.0}
CAMPS = CampPeople(((1.0, 0.0, -0.1), (0.0, 2.0, -0.1)), (0.6, 0.4), 0.1)
OWN = [
    dataclasses.replace(CAMPS, rule=Lapse(Davidson(0.5), 0.1), worth=Attention((0.0, 1.0))),
    dataclasses.replace(CAMPS, faults=Faults(math.inf, 0.1, 0.2, 0.3, 0.1, 0.05, 0.2, 0.9, -1.0, 2.0, 0.3)),
    GaussianPeople((1.0, 0.0, -1.0), ((1.0, 0.5, 0.0), (0.5, 1.0, 0.0), (0.0, 0.0, 0.0))),
    ChangingPeople(CAMPS, (Drift((0.1, 0.2, 0.0), 0.9), Fatigue(0.01), Switch(((0.0, 1.0, 0.0),) * 3, 0.1))),
    MixedPeople((CAMPS, dataclasses.replace(CAMPS, faults=Faults(lapse=1.0))), (0.75, 0.25)),
    PeopleFromFile("people.csv", ("red", "blue", "effort")),
]
EVERY = [preset(name, FACTORS) for name in PRESETS | CURVED] + OWN


@pytest.mark.parametrize("form", ["toml", "json"])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("people", EVERY, ids=lambda p: type(p).__name__)
def test_what_is_written_is_read(people, form, named, tmp_path):
    path = write_population(people, tmp_path / f"people.{form}", FACTORS if named else ())
    assert read_population(path, FACTORS) == people
    if named and isinstance(people, CampPeople):
        assert "red" in path.read_text()
    with pytest.raises(FileExistsError, match="exists already"):
        write_population(people, path)


def test_the_form_by_hand(tmp_path):
    (tmp_path / "people.toml").write_text("""
kind = "changing"
changes = [{ name = "drift", step = { red = 1 } }, { name = "moods", answers = 5, spread = 0.1 }]

[people]
kind = "camps"
share = [0.7, 0.3]
centres = [{ red = 1, effort = -0.5 }, { blue = 1 }]
faults = { rationality = "inf", pace = 2 }
rule = { name = "Lapse", rate = 0.1, rule = { name = "Luce" } }
""")
    people = read_population(tmp_path / "people.toml", FACTORS)
    assert people.people.centres == ((1.0, 0.0, -0.5), (0.0, 1.0, 0.0))
    assert people.people.rule == Lapse(Luce(), 0.1)
    assert people.people.faults == Faults(rationality=math.inf, pace=2.0)
    assert people.changes[0] == Drift((1.0, 0.0, 0.0))
    assert people.draw(10, 0).taste.shape == (10, 3)


def test_presets_in_files_take_scales_and_faults(tmp_path):
    (tmp_path / "p.json").write_text(
        json.dumps(
            {"preset": "mixed-rules", "strength": 3, "scales": {"blue": 8.0}, "faults": {"mistake": 0.2}}
        )
    )
    people = population(str(tmp_path / "p.json"), FACTORS)
    plain = preset("mixed-rules", FACTORS | {"blue": 8.0}, 3.0)
    assert [kind.faults for kind in people.kinds] == [Faults(mistake=0.2)] * 4
    assert [kind.centres for kind in people.kinds] == [kind.centres for kind in plain.kinds]
    (tmp_path / "q.toml").write_text('preset = "drifting"\nfaults = "mistake"\n')
    assert population(str(tmp_path / "q.toml"), FACTORS).people.faults == Faults(math.inf, mistake=0.1)
    assert population("two-camps", FACTORS) == preset("two-camps", FACTORS)
    (tmp_path / "people.csv").write_text("rater_id,red,blue,effort,pace\na,1,0,-1,2\nb,0,1,-1,1\n")
    table = population(str(tmp_path / "people.csv"), FACTORS).draw(2, 0)
    assert table.taste.tolist() == [[1, 0, -1], [0, 1, -1]]
    assert table.pace.tolist() == [2, 1]
    # A factor may be called as a fault is.
    named = PeopleFromFile(tmp_path / "people.csv", ("red", "pace")).draw(2, 0)
    assert named.taste[:, 1].tolist() == [2, 1]
    assert named.pace is None
    assert torch.equal(table.stream, torch.arange(2))


CAMP = 'kind = "camps"\nshare = [0.5, 0.5]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "camp"', "`kind` must be one of camps, gaussian, ideal, ranked, mixed, changing, table"),
        ('preset = "three-camps"', "There is no population 'three-camps'; there are two-camps, "),
        (CAMP + "centres = [{ green = 1 }, {}]", "`centres` names a factor 'green' that does not exist; there are red, blue, effort."),
        (CAMP + "centres = [[1, 2], [3, 4]]", "`centres` must have a number for each of the 3 factors red, blue, effort, got 2."),
        ('kind = "camps"\nshare = [0.5, 0.6]\ncentres = [{red=1}, {blue=1}]', "`share` must sum to 1, got (0.5, 0.6)"),
        ('kind = "camps"\nshare = [1.0, 0.0]\ncentres = [{red=1}, {blue=1}]', "leave out a camp with nobody in it"),
        (CAMP, "'camps' needs `centres`; add it."),
        (CAMP + "centers = []", "'camps' has no setting 'centers'; it has centres, share, "),
        (CAMP + "centres = [{red=1}, {blue=1}]\nfaults = { laps = 0.1 }", "'faults' has no setting 'laps'; it has rationality, "),
        (CAMP + 'centres = [{red=1}, {blue=1}]\nfaults = "genius"', "there is no teacher 'genius'; there are oracle, "),
        (CAMP + 'centres = [{red=1}, {blue=1}]\nrule = { name = "Lucy" }', "unknown rule 'Lucy'; known are "),
        ('preset = "two-camps"\nscales = { green = 1 }', "`scales` names a factor 'green' that does not exist"),
        ('preset = "ranked"\nfaults = { lapse = 0.1 }', "RankedPeople takes no `faults`; leave it out."),
        ('kind = "ranked"\norders = [["red"]]\nshare = [1]\nmargin = { red = 1 }\nsign = { red = 1 }', "`orders` and `sign` must name"),
        ('kind = "changing"\nchanges = [{ name = "walk" }]', "there is no change 'walk'; there are drift, "),
        ('kind = "camps"\nkind = "camps"', "p.toml: "),
        (CAMP + 'centres = "red"', "p.toml: "),
    ],
)  # fmt: skip
def test_a_wrong_file_is_explained(text, message, tmp_path):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ValueError) as caught:
        read_population(tmp_path / "p.toml", FACTORS)
    assert message in str(caught.value)
    assert str(caught.value).startswith("p.toml: ")


def test_what_a_file_cannot_hold_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no population at .*people\.toml"):
        population(str(tmp_path / "people.toml"), FACTORS)
    with pytest.raises(ValueError, match=r"must end in \.toml or \.json"):
        write_population(CAMPS, tmp_path / "people.yaml")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ValueError, match="settings by name are expected, got a list"):
        read_population(tmp_path / "list.json", FACTORS)


@dataclasses.dataclass(frozen=True)
class Mine:
    def draw(self, count, seed):
        return CAMPS.draw(count, seed)

    def basis(self, options):
        return options.rows


def test_people_of_your_own_are_not_for_files(tmp_path):
    with pytest.raises(ValueError, match="a Mine cannot be written; the kinds are camps"):
        write_population(Mine(), tmp_path / "a.toml")
    with pytest.raises(ValueError, match="`worth` is a Mine of your own, which a file cannot hold"):
        write_population(dataclasses.replace(CAMPS, worth=Mine()), tmp_path / "a.toml")
    assert not (tmp_path / "a.toml").exists()
