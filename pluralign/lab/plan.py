"""Who is trained on, who is judged, on which answers: fixed before any model is fitted, the same for all."""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.errors import DataError
from pluralign.data.reading import Folder
from pluralign.data.splits import check_disjoint, split
from pluralign.population.held_out import hold_out
from pluralign.streams import Streams

COUNTS = (0, 1, 2, 4, 5, 8, 10, 16, 32)  # answers of a new rater; 5 and 10 are what others publish
FEW = 12  # fewer raters than this are cross-validated


@dataclass(frozen=True)
class Fold:
    """One fit and what it is judged on; all numbers are rows of the folder's answers.

    Attributes:
        train: to fit on. held: to choose settings and members by. whole: to fit on once these are chosen, where
            `held` is a part of the training answers.
        seen, items: judged with what training says of the raters; `items` are options of no training answer.
        pool: what new raters say before they are judged, `order` (P,) in which order. unseen: judged then.
    """

    train: Int[Tensor, " T"]
    held: Int[Tensor, " H"]
    whole: Int[Tensor, " W"] | None = None
    seen: Int[Tensor, " S"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    items: Int[Tensor, " I"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    pool: Int[Tensor, " P"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    order: Int[Tensor, " P"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    unseen: Int[Tensor, " U"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))

    def check(self, data: Comparisons) -> None:
        """Raise where a judged answer, or a rater called unseen, was trained on.

        Raises:
            DataError: with the first.
        """
        fitted = torch.cat([self.train, self.held, *(() if self.whole is None else (self.whole,))])
        for name in ("seen", "items", "pool", "unseen"):
            both = torch.isin(getattr(self, name), fitted)
            if bool(both.any()):
                row = int(getattr(self, name)[both][0])
                raise DataError(f"answer {row} is both to be fitted and to be judged ({name}); split again.")
        if bool(torch.isin(self.unseen, self.pool).any()):
            raise DataError("an answer is both to adapt on and to be judged on; split again.")
        known = torch.isin(data.rater[torch.cat([self.pool, self.unseen])], data.rater[fitted])
        if bool(known.any()):
            rater = int(data.rater[torch.cat([self.pool, self.unseen])][known][0])
            assert data.rater_ids is not None
            raise DataError(
                f"rater {data.rater_ids[rater]!r} is called unseen and has answers to train on; give all of a "
                "rater's answers to training, or none."
            )


@dataclass(frozen=True)
class Plan:
    """The folds of a folder, how they came about, and what to be careful about."""

    folds: tuple[Fold, ...]
    counts: tuple[int, ...]
    words: str
    warnings: tuple[str, ...] = ()

    @property
    def most(self) -> int:
        """The largest number of answers (of sessions, where answers come in sessions) of a new rater to adapt on."""
        return max((int(f.order.max()) + 1 for f in self.folds if len(f.order)), default=0)

    @property
    def groups(self) -> list[tuple[str, str]]:
        """(raters, answers) of every row: seen, items, unseen by number of answers; as far as there are any."""
        out = [(name, "all") for name in ("seen", "items") if any(len(getattr(f, name)) for f in self.folds)]
        if any(len(f.unseen) for f in self.folds):
            out += [("unseen", str(k)) for k in self.counts] + [("unseen", "all")]
        return out


def plan(folder: Folder, seed: int = 0) -> Plan:
    """Honour the roles or folds of a folder; make roles where it has none.

    Raises:
        DataError: the roles leave nothing to fit or nothing to judge by, or they leak.
    """
    data = folder.data
    if int(data.decided.sum()) < 2:
        raise DataError(
            f"a leaderboard needs two decided answers at least, {len(data)} answers have "
            f"{int(data.decided.sum())}; gather more."
        )
    if folder.role is not None:
        made = _from_roles(folder, seed)
    elif folder.fold is not None or int((data.counts > 0).sum()) < FEW:
        made = _crossed(folder, seed)
    else:
        made = _from_nothing(folder, seed)
    for fold in made.folds:
        fold.check(data)
    return made


def _from_roles(folder: Folder, seed: int) -> Plan:
    data, role = folder.data, folder.role
    assert role is not None
    at = {name: torch.from_numpy(np.flatnonzero(role == name)) for name in dict.fromkeys(role.tolist())}
    none = torch.zeros(0, dtype=torch.long)
    train = at.get("train", none)
    if not len(train):
        raise DataError(
            f"{folder.name}: the split gives nothing to train on; it has the roles {', '.join(sorted(at))}."
        )
    judged = {name: at.get(role, none) for name, role in _JUDGED.items()}
    if not sum(len(rows) for rows in judged.values()):
        raise DataError(
            f"{folder.name}: the split gives nothing to judge by; name some answers test_seen or test_unseen, or take "
            "the split away to have one made."
        )
    pool = at.get("adapt", none)
    order = torch.zeros(0, dtype=torch.long)
    if len(pool):
        assert folder.adapt_order is not None
        order = torch.from_numpy(folder.adapt_order[pool.numpy()]).long()
    every, held, whole = train, at.get("val", none), None
    if not bool(data.take(held).decided.any()):
        train, held, whole = *_held(data, every, seed), every
    notes = []
    try:
        check_disjoint(data.take(every), data.take(torch.cat([judged["seen"], judged["items"]])))
    except DataError as leak:
        notes.append(f"the split leaks: {leak}")
    fold = Fold(train, held, whole, pool=pool, order=order, **judged)
    words = "the folder's own split" + (
        "" if whole is None else ", settings chosen on a part of its training answers"
    )
    return Plan((fold,), _counts(order), words, tuple(notes))


_JUDGED = {"seen": "test_seen", "items": "test_items", "unseen": "test_unseen"}


def _held(data: Comparisons, train: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Training answers in two parts: to fit on and to choose by."""
    numbered = dataclasses.replace(data.take(train), time=train.double())
    kept, held = hold_out(numbered, Streams.of(seed).below("plan"))
    if not len(kept) or not bool(held.decided.any()):
        raise DataError(f"{len(train)} answers to train on are too few to choose a model by; gather more.")
    assert kept.time is not None
    assert held.time is not None
    return kept.time.long(), held.time.long()


def _counts(order: Tensor) -> tuple[int, ...]:
    most = int(order.max()) + 1 if len(order) else 0
    return tuple(k for k in COUNTS if k <= most)


def _crossed(folder: Folder, seed: int) -> Plan:
    """Few raters: seen ones by cross-validation over questions, unseen ones by leaving one out."""
    data = folder.data
    people = torch.unique(data.rater)
    folds = []
    code = _question_folds(folder, seed) if folder.fold is None else torch.from_numpy(folder.fold)
    parts = [f for f in torch.unique(code).tolist() if f >= 0]
    if len(parts) < 2:
        raise DataError("cross-validation needs two folds at least; answer more questions.")
    for part in parts:
        whole = (code != part).nonzero()[:, 0]
        folds.append(Fold(*_held(data, whole, seed), whole, seen=(code == part).nonzero()[:, 0]))
    order = _pool_order(folder, seed) if folder.adapt_order is None else torch.from_numpy(folder.adapt_order)
    most = torch.zeros(0, dtype=torch.long)
    if len(people) > 2:
        most = order[order >= 0]
        for rater in people.tolist():
            mine = data.rater == rater
            pool, judged = (mine & (order >= 0)).nonzero()[:, 0], (mine & (order < 0)).nonzero()[:, 0]
            if len(judged):
                whole = (~mine).nonzero()[:, 0]
                folds.append(
                    Fold(*_held(data, whole, seed), whole, pool=pool, order=order[pool].long(), unseen=judged)
                )
    words = f"{len(parts)} folds of questions for known raters; one rater left out at a time for new ones"
    return Plan(tuple(folds), _counts(most), words)


def _question_folds(folder: Folder, seed: int, parts: int = 5) -> Tensor:
    from pluralign.data.questions import grouped, joined, question

    asked = question(folder.data)
    if folder.session is not None:
        asked = joined(asked, grouped(folder.data.rater.numpy(), folder.session))
    names, where = np.unique(asked, return_inverse=True)
    mixed = torch.randperm(len(names), generator=Streams.of(seed)("question folds"))
    return (mixed % parts)[torch.from_numpy(where)]


def _pool_order(folder: Folder, seed: int) -> Tensor:
    """(M,) half of each rater's sessions in random order, to adapt on; -1 for the half to be judged on."""
    data = folder.data
    order = torch.full((len(data),), -1)
    for rater in torch.unique(data.rater).tolist():
        mine = (data.rater == rater).nonzero()[:, 0]
        unit = np.arange(len(mine)) if folder.session is None else folder.session[mine.numpy()]
        names, where = np.unique(unit, return_inverse=True)
        mixed = torch.randperm(len(names), generator=Streams.of(seed)("pool", rater))
        mixed = torch.where(mixed < len(names) // 2, mixed, -1)
        order[mine] = mixed[torch.from_numpy(where)]
    return order


def _from_nothing(folder: Folder, seed: int) -> Plan:
    """A fifth of the raters is new; the others' answers are split 60 / 20 / 20 by session."""
    data, session = folder.data, folder.session
    rows = torch.arange(len(data))
    streams = Streams.of(seed).below("plan")
    numbered = dataclasses.replace(data, time=rows.double())
    taken = lambda part: part.time.long()
    # Only raters with four answers or more can be new: two to adapt on, two to be judged by.
    many = (data.counts >= 4)[data.rater]
    seen_rows = rows
    unseen, pool, order = (torch.zeros(0, dtype=torch.long) for _ in range(3))
    if int((data.counts >= 4).sum()) >= FEW:
        _, new = split(numbered.take(many), by="rater", share=0.8, seed=streams.below("raters"))
        order_all = _pool_order(folder, seed)
        new_rows = taken(new)
        seen_rows = rows[~torch.isin(rows, new_rows)]
        pool, unseen = new_rows[order_all[new_rows] >= 0], new_rows[order_all[new_rows] < 0]
        order = order_all[pool]
    names = lambda part: None if session is None else session[taken(part).numpy()]
    try:
        fitted, seen = split(
            numbered.take(seen_rows),
            share=0.8,
            seed=streams.below("seen"),
            session=names(numbered.take(seen_rows)),
        )
        train, held = split(fitted, share=0.75, seed=streams.below("held"), session=names(fitted))
    except DataError as problem:
        raise DataError(f"{folder.name} has too few answers to train, choose and judge: {problem}") from None
    fold = Fold(taken(train), taken(held), seen=taken(seen), pool=pool, order=order, unseen=unseen)
    return Plan(
        (fold,),
        _counts(order),
        "the folder has no split; 60 / 20 / 20 % of each rater's answers to train, choose and judge"
        + (
            ", a fifth of the raters kept apart as new, half of their answers to adapt on"
            if len(unseen)
            else ""
        ),
    )
