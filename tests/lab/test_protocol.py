"""One protocol for every member: nothing of the judged answers reaches a fit, and controls do what they must."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from pluralign.data.reading import read_folder
from pluralign.lab.choosing import choose_member, compare
from pluralign.lab.plan import plan
from pluralign.lab.protocol import Result, Shuffled, judge, judge_truth, settled
from pluralign.population.camps import Camps
from pluralign.population.pooled import Pooled


class Spy:
    """Fits a pooled model and remembers all it was ever shown."""

    def __init__(self):
        self.fitted, self.asked, self.adapted = [], [], []

    def fit(self, data, seed=0, *, held=None):
        self.fitted += [data] if held is None else [data, held]
        return SpyBelief(self, Pooled(ridge=1.0).fit(data, seed))


@dataclass
class SpyBelief:
    spy: Spy
    inside: object

    def predict(self, data, draws=None):
        self.spy.asked.append(data)
        return self.inside.predict(data, draws)

    def adapt(self, answers, seed=0):
        self.spy.adapted.append(answers)
        return self.inside.adapt(answers, seed)


def keys(data):
    return {(data.rater_ids[r], *s) for r, s in zip(data.rater.tolist(), data.slate.tolist())}


def test_no_judged_answer_is_ever_shown(camps_folder):
    source, spy = read_folder(camps_folder), Spy()
    found = plan(source)
    judge("spy", spy, source.data, found, samples=10)
    (fold,) = found.folds
    test = source.data.take(torch.cat([fold.seen, fold.unseen]))
    # Questions may come twice to different raters, never twice to one: rater and slate name an answer.
    for shown in spy.fitted + spy.adapted:
        assert not keys(shown) & keys(test)
    for shown in spy.fitted:
        assert not keys(shown) & keys(source.data.take(fold.pool))
    # What is asked has no label to peek at, but for the held-out answers, which were given already.
    fitted = set().union(*(keys(shown) for shown in spy.fitted))
    for asked in spy.asked:
        assert keys(asked) <= fitted or bool((asked.label == 0.5).all())


def test_answers_of_new_raters_come_in_order(camps_folder):
    source, spy = read_folder(camps_folder), Spy()
    found = plan(source)
    judge("spy", spy, source.data, found, samples=10)
    (fold,) = found.folds
    sizes = [len(answers) for answers in spy.adapted]
    people = len(torch.unique(source.data.rater[fold.unseen]))
    assert sizes == [k * people for k in found.counts] + [len(fold.pool)]
    for small, large in zip(spy.adapted, spy.adapted[1:]):
        assert keys(small) <= keys(large)


def test_every_group_is_scored_for_the_same_people(camps_folder):
    source = read_folder(camps_folder)
    found = plan(source)
    pooled = judge("pooled", Pooled(ridge=1.0), source.data, found, samples=10)
    camps = judge("camps", Camps(groups=2, ridge=1.0, restarts=4), source.data, found, samples=10)
    assert list(pooled.people.groupby(["raters", "answers"]).groups) == list(
        camps.people.groupby(["raters", "answers"]).groups
    )
    seen = {(r, k) for r, k in zip(pooled.scores.raters, pooled.scores.answers)}
    assert seen == set(found.groups)
    gain = compare(camps, pooled, samples=100).set_index(["raters", "answers", "metric"])
    after = gain.loc[("unseen", "all", "log_loss")]
    assert after.difference_low > 0  # two camps that want opposite things
    assert gain.loc[("unseen", "0", "log_loss")].difference < after.difference
    assert gain.loc[("seen", "all", "accuracy")].difference > 0.1
    assert (compare(pooled, pooled, samples=20).difference == 0).all()


def test_shuffled_raters_predict_as_pooled(camps_folder):
    source = read_folder(camps_folder)
    found = plan(source)
    pooled = judge("pooled", Pooled(), source.data, found, samples=10)
    mixed = judge("shuffled", Shuffled(Camps()), source.data, found, samples=10)
    gain = compare(mixed, pooled, samples=200).set_index(["raters", "answers", "metric"])
    row = gain.loc[("seen", "all", "log_loss")]
    assert abs(row.difference) <= 3 * row.difference_error + 1e-3


def test_shuffling_keeps_the_answers_and_the_counts(camps_folder):
    data, spy = read_folder(camps_folder).data, Spy()
    Shuffled(spy).fit(data, 0, held=data)
    mixed = spy.fitted[0]
    assert torch.equal(mixed.label, data.label)
    assert torch.equal(mixed.slate, data.slate)
    assert torch.equal(mixed.counts, data.counts)
    assert not torch.equal(mixed.rater, data.rater)


def test_the_oracle_by_hand(camps_folder):
    source = read_folder(camps_folder)
    found = plan(source)
    first = torch.from_numpy(np.load(camps_folder / "truth_share.npy"))
    oracle = judge_truth(torch.stack([first, 1 - first], 1), source.data, found, samples=10)
    rows = found.folds[0].seen
    chance = torch.where(source.data.label[rows, 0] > 0.5, first[rows], 1 - first[rows])
    frame = pd.DataFrame({"rater": source.data.rater[rows], "loss": -chance.log()})
    by_hand = frame.groupby("rater").loss.mean().mean()
    scores = oracle.scores.set_index(["raters", "metric"])
    assert scores.loc[("seen", "log_loss")].value == pytest.approx(by_hand)
    pooled = judge("pooled", Pooled(ridge=1.0), source.data, found, samples=10)
    gain = compare(oracle, pooled, samples=100)
    assert (gain[(gain.raters == "seen") & (gain.metric == "log_loss")].difference_low > 0).all()


def held(name, losses):
    empty = pd.DataFrame()
    people = pd.DataFrame({"rater_id": [str(n) for n in range(len(losses))], "n": 1, "log_loss": losses})
    return Result(name, empty, empty, empty, people, {})


def test_the_choice_by_hand():
    pooled = held("pooled", [0.6, 0.6, 0.6, 0.6])
    # Gains .1, .1, .1, .3: mean .15, standard error .05; and .4, -.3, .3, -.2: mean .05, standard error .18.
    clear, lucky = held("clear", [0.5, 0.5, 0.5, 0.3]), held("lucky", [0.2, 0.9, 0.3, 0.8])
    found = choose_member({"pooled": pooled, "lucky": lucky, "clear": clear})
    assert (found.name, found.best) == ("clear", "clear")
    row = found.table.set_index("population").loc["clear"]
    assert (row.gain, row.error) == (pytest.approx(0.15), pytest.approx(0.05))
    found = choose_member({"pooled": pooled, "lucky": lucky})
    assert (found.name, found.best) == ("pooled", "lucky")
    assert choose_member({"pooled": pooled}).best is None


def test_what_has_no_names_must_earn_its_place():
    pooled, single = held("pooled", [0.6, 0.6, 0.6, 0.6]), held("camps", [0.4, 0.4, 0.4, 0.4])
    # Gains over camps .1, -.05, .05, -.05: mean .0125, standard error .036; and .02, .01, .02, .01: mean .015, error .003.
    lucky, clear = held("stacked", [0.3, 0.45, 0.35, 0.45]), held("stacked", [0.38, 0.39, 0.38, 0.39])
    assert choose_member({"pooled": pooled, "camps": single, "stacked": lucky}).name == "camps"
    assert choose_member({"pooled": pooled, "camps": single, "stacked": clear}).name == "stacked"
    assert choose_member({"pooled": pooled, "stacked": clear}).name == "stacked"
    assert (
        choose_member({"pooled": pooled, "camps": single, "variational": lucky, "stacked": single}).name
        == "camps"
    )
    assert choose_member({"pooled": pooled, "camps": single, "in_context": clear}).name == "in_context"


def test_settled_settings_are_those_that_were_chosen(camps_folder):
    data = read_folder(camps_folder).data
    belief = Camps(restarts=4).fit(data, 0)
    fixed = settled(Camps(restarts=4), belief)
    assert fixed.groups == belief.diagnostics["groups"] == 2
    assert fixed.ridge == belief.diagnostics["ridge"]
    assert settled(Shuffled(Camps()), belief).model.groups == 2
