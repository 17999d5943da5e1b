"""Populations: who is drawn, and what is refused."""

import math

import pandas as pd
import pytest
import torch
from scipy.stats import kstest

from pluralign.choice import Luce
from pluralign.raters import CampPeople, Faults, GaussianPeople, PeopleFromFile, questions
from pluralign.raters.people import quota

CENTRES = ((1.0, 0.0), (0.0, 1.0), (-1.0, -1.0))


def test_camps_have_exactly_their_share():
    people = CampPeople(CENTRES, (0.5, 0.3, 0.2)).draw(30, 0)
    assert torch.bincount(people.group).tolist() == [15, 9, 6]
    assert torch.equal(people.taste, torch.tensor(CENTRES, dtype=torch.float64)[people.group])
    assert not torch.equal(people.group, people.group.sort().values)  # in random order
    assert quota((1 / 3, 1 / 3, 1 / 3), 10).tolist() == [4, 3, 3]


def test_persons_spread_around_the_centre_of_their_camp():
    people = CampPeople(CENTRES, (0.5, 0.3, 0.2), spread=(0.5, 2.0)).draw(3000, 0)
    off = (people.taste - torch.tensor(CENTRES, dtype=torch.float64)[people.group]) / torch.tensor([0.5, 2.0])
    assert kstest(off[:, 0].numpy(), "norm").pvalue > 1e-3
    assert kstest(off[:, 1].numpy(), "norm").pvalue > 1e-3


def test_the_cloud_has_its_mean_and_covariance_also_at_low_rank():
    covariance = ((1.0, 0.5, 0.0), (0.5, 2.0, 0.0), (0.0, 0.0, 0.0))
    taste = GaussianPeople((1.0, 2.0, 3.0), covariance).draw(4000, 0).taste
    error = taste.std(0) / math.sqrt(4000)
    assert ((taste.mean(0) - torch.tensor([1.0, 2.0, 3.0])).abs() <= 4 * error + 1e-6).all()
    # Standard error of a sample covariance: sqrt((s_ij^2 + s_ii s_jj) / n).
    want = torch.tensor(covariance, dtype=torch.float64)
    spread = ((want**2 + want.diag()[:, None] * want.diag()) / 4000).sqrt()
    assert ((torch.cov(taste.T) - want).abs() <= 4 * spread + 1e-6).all()


def test_a_person_is_the_same_whatever_the_count():
    cloud = GaussianPeople((0.0,), ((1.0,),), faults=Faults(rationality=2.0, rationality_spread=0.5))
    few, many = cloud.draw(3, 7), cloud.draw(50, 7)
    assert torch.equal(few.taste, many.taste[:3])
    assert torch.equal(few.rationality, many.rationality[:3])
    assert not torch.equal(cloud.draw(3, 8).taste, few.taste)
    # Adding a fault draws no other taste.
    assert torch.equal(GaussianPeople((0.0,), ((1.0,),)).draw(3, 7).taste, few.taste)


def test_rationality_varies_around_its_median():
    cloud = GaussianPeople((0.0,), ((1.0,),), faults=Faults(rationality=2.0, rationality_spread=0.5))
    z = (cloud.draw(3000, 0).rationality / 2).log() / 0.5
    assert kstest(z.numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CampPeople(CENTRES, (0.5, 0.3, 0.3)), "`share` must sum to 1, .*sums to 1.1"),
        (lambda: CampPeople(CENTRES, (0.5, 0.5)), "one number for each of 3 camps"),
        (lambda: CampPeople(CENTRES, (0.5, 0.5, 0.0)), "leave out a camp with nobody"),
        (lambda: CampPeople(((1.0,), (1.0, 2.0)), (0.5, 0.5)), "of one length"),
        (lambda: CampPeople(CENTRES, (0.8, 0.1, 0.1)).draw(3, 0), "3 people are too few .* camp 1"),
        (lambda: GaussianPeople((0.0, 0.0), ((1.0,),)), "2 by 2 numbers"),
        (lambda: GaussianPeople((0.0, 0.0), ((1.0, 2.0), (2.0, 1.0))), "no negative eigenvalue, got -1"),
        (lambda: GaussianPeople((0.0, 0.0), ((1.0, 0.2), (0.1, 1.0))), "symmetric"),
        (lambda: Faults(rationality=-1.0), "`rationality` must be 0 or more"),
        (lambda: Faults(lapse=1.2), "`lapse` must be a probability"),
        (lambda: Faults(discount=0.0), "`discount` must be in"),
        (lambda: questions(1, 1, 1, 0), "2 or more different options, got 1 for 2 places"),
        (lambda: questions(2, 1, 1, 0, places=3), "got 2 for 3 places"),
        (lambda: questions(4, 7, 1, 0), "4 options make 6 different questions of 2, fewer than 7"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "per_rater", "places"), [(30, 20, 2), (5, 10, 2), (6, 12, 3), (100, 5, 4)]
)
def test_questions_never_show_an_option_with_itself_nor_a_set_twice(options, per_rater, places):
    slate, rater = questions(options, per_rater, 50, 0, places=places)
    assert slate.shape == (50 * per_rater, places)
    assert torch.bincount(rater).tolist() == [per_rater] * 50
    assert int(slate.min()) >= 0
    assert int(slate.max()) < options
    ordered = slate.sort(1).values
    assert (ordered[:, 1:] > ordered[:, :-1]).all()
    assert len({(r, *s) for r, s in zip(rater.tolist(), ordered.tolist())}) == len(slate)
    assert torch.equal(questions(options, per_rater, 50, 0, places=places)[0], slate)
    fewer = questions(options, per_rater, 7, 0, places=places)[0]
    assert torch.equal(fewer, slate[: 7 * per_rater])  # earlier raters are asked the same


def test_every_ordered_pair_is_as_likely():
    slate, _ = questions(4, 5, 2400, 0)
    count = torch.bincount(slate[:, 0] * 4 + slate[:, 1], minlength=16).view(4, 4)
    assert count.diag().sum() == 0
    # 12 ordered pairs, 1000 each; without replacement the spread is below the multinomial's 30.
    assert ((count[~torch.eye(4, dtype=torch.bool)] - 1000).abs() < 5 * 30).all()
    assert questions(3, 50, 2, 0, repeat=True)[0].shape == (100, 2)


def table(folder, text):
    path = folder / "people.csv"
    path.write_text(text)
    return path


def test_people_from_a_table(tmp_path):
    path = table(
        tmp_path,
        "rater_id,group,speed,safety,lapse\nann,city,1,0.5,0\nbob,land,2,0,0.1\ncy,city,-1,3,0\n",
    )
    people = PeopleFromFile(path).draw(3, 0)
    assert people.taste.tolist() == [[1, 0.5], [2, 0], [-1, 3]]
    assert people.group.tolist() == [0, 1, 0]
    assert people.lapse.tolist() == [0, 0.1, 0]
    two = PeopleFromFile(path, factors=("safety",), rule=Luce(0.5)).draw(2, 1)
    assert two.taste[:, 0].tolist() == people.taste[two.stream, 1].tolist()
    frame = pd.read_csv(path)
    frame.to_parquet(tmp_path / "people.parquet")
    assert torch.equal(PeopleFromFile(tmp_path / "people.parquet").draw(3, 0).taste, people.taste)


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("a\n1\n", {}, "has 1 people, fewer than the 2 wanted"),
        ("a\n1\nx\n", {}, "column 'a', row 2: 'x' is not a number"),
        ("a\n1\n2\n", {"factors": ("b",)}, "no column 'b'; it has"),
        ("group\n1\n2\n", {}, "no column for a taste"),
        ("a,group\n1,x\n2,\n", {}, "column 'group': row 2 is empty"),
    ],
)
def test_tables_that_do_not_hold_people(tmp_path, text, settings, message):
    with pytest.raises(ValueError, match=message):
        PeopleFromFile(table(tmp_path, text), **settings).draw(2, 0)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no people at"):
        PeopleFromFile(tmp_path / "nobody.csv").draw(1, 0)
