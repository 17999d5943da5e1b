"""Who is trained on and who is judged: nobody in two places, the folder's own split honoured."""

import numpy as np
import pytest
import torch

from pluralign.data import DataError
from pluralign.data.reading import read_folder
from pluralign.lab.plan import Fold, plan

ITEMS = "item_id,x\n" + "".join(f"v{n},{n * n % 7}\n" for n in range(12))


def answers(path, rows, columns="rater_id,item_a,item_b,label"):
    path.mkdir()
    (path / "items.csv").write_text(ITEMS)
    (path / "comparisons.csv").write_text("\n".join([columns, *rows]) + "\n")
    return read_folder(path)


def apart(found, data):
    """Every judged answer is out of training, and every new rater too."""
    for fold in found.folds:
        fitted = torch.cat([fold.train, fold.held, *(() if fold.whole is None else (fold.whole,))])
        judged = torch.cat([fold.seen, fold.items, fold.pool, fold.unseen])
        assert not torch.isin(judged, fitted).any()
        assert not torch.isin(fold.pool, fold.unseen).any()
        assert not torch.isin(data.rater[torch.cat([fold.pool, fold.unseen])], data.rater[fitted]).any()
        assert not torch.isin(fold.held, fold.train).any()


def test_a_folder_without_a_split(camps_folder):
    source = read_folder(camps_folder)
    found = plan(source)
    apart(found, source.data)
    (fold,) = found.folds
    share = [
        len(part) / len(source.data) for part in (fold.train, fold.held, fold.seen, fold.pool, fold.unseen)
    ]
    assert share == pytest.approx([0.48, 0.16, 0.16, 0.1, 0.1], abs=0.02)
    assert found.counts == (0, 1, 2, 4, 5, 8, 10)
    assert found.most == 12
    again = plan(source)
    assert all(
        torch.equal(getattr(fold, n), getattr(again.folds[0], n)) for n in ("train", "seen", "pool", "order")
    )
    other = plan(source, seed=1)
    assert not torch.equal(torch.unique(other.folds[0].unseen), torch.unique(fold.unseen))


def test_few_raters_are_cross_validated(tmp_path):
    rows = [f"r{r},v{n},v{n + 1},{(r + n) % 2}" for r in range(4) for n in range(10)]
    source = answers(tmp_path / "few", rows)
    found = plan(source)
    apart(found, source.data)
    assert torch.cat([f.seen for f in found.folds]).sort().values.tolist() == list(range(40))
    assert len([f for f in found.folds if len(f.unseen)]) == 4
    # A question leaves for all raters at once, or it would tell of itself.
    for fold in found.folds[:5]:
        asked = {tuple(s) for s in source.data.slate[fold.seen].tolist()}
        assert not asked & {tuple(s) for s in source.data.slate[fold.whole].tolist()}


def test_roles_are_honoured(tmp_path):
    role = ["train", "train", "train", "val", "test_seen"]
    rows = [f"r{r},v{n},v{n + 1},{(r + n) % 2},{role[n]}," for r in range(6) for n in range(5)]
    rows += [f"new,v{n},v{n + 1},1,adapt,{n}" for n in range(3)] + ["new,v5,v6,1,test_unseen,"]
    source = answers(tmp_path / "roles", rows, "rater_id,item_a,item_b,label,role,adapt_order")
    found = plan(source)
    apart(found, source.data)
    (fold,) = found.folds
    assert [len(x) for x in (fold.train, fold.held, fold.seen, fold.pool, fold.unseen)] == [18, 6, 6, 3, 1]
    assert fold.whole is None
    assert found.counts == (0, 1, 2)
    assert found.groups == [
        ("seen", "all"),
        ("unseen", "0"),
        ("unseen", "1"),
        ("unseen", "2"),
        ("unseen", "all"),
    ]


def test_without_val_a_part_of_training_is_held_out(tmp_path):
    rows = [
        f"r{r},v{n},v{n + 1},{(r + n) % 2},{'train' if n < 8 else 'test_seen'}"
        for r in range(6)
        for n in range(11)
    ]
    source = answers(tmp_path / "noval", rows, "rater_id,item_a,item_b,label,role")
    (fold,) = plan(source).folds
    apart(plan(source), source.data)
    assert torch.isin(fold.held, fold.whole).all()
    assert len(fold.whole) == 48


def test_sessions_stay_together(tmp_path):
    rows = [
        f"r{r},v{2 * (n // 2)},v{2 * (n // 2) + 1 + n % 2},{(r + n) % 2},s{r}-{n // 2}"
        for r in range(30)
        for n in range(10)
    ]
    source = answers(tmp_path / "sets", rows, "rater_id,item_a,item_b,label,session_id")
    found = plan(source)
    apart(found, source.data)
    (fold,) = found.folds
    where = {}
    for name in ("train", "held", "seen", "pool", "unseen"):
        for session in np.asarray(source.session)[getattr(fold, name).numpy()]:
            assert where.setdefault(session, name) == name
    # k counts sessions: both answers of a session come at once.
    assert torch.bincount(fold.order).tolist() == [2 * len(torch.unique(source.data.rater[fold.pool]))] * 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,v0,v1,1,test_seen", "b,v1,v2,0,test_seen"], "nothing to train on"),
        (["a,v0,v1,1,train", "b,v1,v2,0,train"], "nothing to judge by"),
        ([*(f"a,v{n},v{n + 1},1,train" for n in range(9)), "a,v2,v9,0,test_unseen"], "called unseen"),
        (["a,v0,v1,1,train"], "two decided answers"),
        (["a,v0,v1,0.5,train", "a,v0,v2,0.5,test_seen"], "two decided answers"),
    ],
)
def test_splits_that_make_no_sense(tmp_path, rows, message):
    source = answers(tmp_path / "bad", rows, "rater_id,item_a,item_b,label,role")
    with pytest.raises(DataError, match=message):
        plan(source)


def test_a_fold_that_leaks_is_refused(camps_folder):
    data = read_folder(camps_folder).data
    with pytest.raises(DataError, match="both to be fitted and to be judged"):
        Fold(torch.arange(10), torch.arange(10, 12), seen=torch.tensor([3])).check(data)
    with pytest.raises(DataError, match="adapt on and to be judged"):
        Fold(torch.arange(3), torch.arange(3, 5), pool=torch.tensor([90]), unseen=torch.tensor([90])).check(
            data
        )


def test_a_rater_that_repeats_a_question_is_told(tmp_path):
    rows = [f"r{r},v{n},v{n + 1},{(r + n) % 2},train" for r in range(6) for n in range(8)]
    rows += ["r0,v1,v0,1,test_seen", "r1,v9,v10,1,test_seen"]
    source = answers(tmp_path / "twice", rows, "rater_id,item_a,item_b,label,role")
    assert "the split leaks" in plan(source).warnings[0]
