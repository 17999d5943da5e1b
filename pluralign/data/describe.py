"""A look at somebody's answers before any model sees them."""

import dataclasses
import html
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pluralign.data.comparisons import Comparisons
from pluralign.data.errors import listed
from pluralign.data.identifiability import NARROW, limits, nameless, separable
from pluralign.data.options import Texts
from pluralign.data.questions import chosen, components, grouped, outside_option, question


@dataclass(frozen=True)
class Description:
    """Counts and warnings about M answers.

    Attributes:
        kind: choice, ranking, rating or vote.
        answers, raters, options: how many; raters who answered and options that were shown.
        silent, unseen: raters without an answer, and options that were never shown.
        features: columns that describe an option.
        answers_per_rater: smallest, quartiles, largest.
        slate_sizes: options shown -> answers.
        ties: answers without a winner.
        graded: answers with a winner that are not all or nothing.
        repeats: answers to a question that the same rater answered before.
        contradictions: questions a rater answered with different winners.
        parts: connected parts of the comparison graph.
        agreement: share of pairs of raters with the same winner, over questions that two raters decided; None
            where no question was asked twice.
        shared: questions that two or more raters decided.
        constant: names of features that are the same for every option.
        separable: raters whose answers a linear taste of their own explains without an error, of the first 1,000;
            None where options have no features, or more than 64.
        limits: what these answers cannot tell, name -> sentence; see `pluralign.data.identifiability`.
        warnings: in plain words, the limits among them.
    """

    kind: str
    answers: int
    raters: int
    silent: int
    options: int
    unseen: int
    features: int
    answers_per_rater: tuple[int, int, int, int, int]
    slate_sizes: dict[int, int]
    ties: int
    graded: int
    repeats: int
    contradictions: int
    parts: int
    agreement: float | None
    shared: int
    constant: tuple[str, ...]
    separable: int | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[tuple[str, str]]:
        """What `print` shows: a name and a value each."""
        low, first, middle, third, high = self.answers_per_rater
        agreement = "no question was asked twice" if self.agreement is None else f"{self.agreement:.1%}"
        return [
            ("answers", f"{self.answers:,} ({self.kind})"),
            ("raters", f"{self.raters:,}" + (f" and {self.silent:,} without answers" if self.silent else "")),
            ("options", f"{self.options:,}" + (f" and {self.unseen:,} never shown" if self.unseen else "")),
            ("features", f"{self.features:,}"),
            (
                "answers per rater",
                f"{low} each"
                if low == high
                else f"{low} to {high}, half of them {first} to {third}, median {middle}",
            ),
            ("options per slate", ", ".join(f"{k} ({n:,} answers)" for k, n in self.slate_sizes.items())),
            ("ties", f"{self.ties:,} ({self.ties / self.answers:.1%})"),
            ("graded answers", f"{self.graded:,} ({self.graded / self.answers:.1%})"),
            ("repeated questions", f"{self.repeats:,}, {self.contradictions:,} answered both ways"),
            ("connected parts", f"{self.parts:,}"),
            (
                "agreement of raters",
                f"{agreement}" + (f" on {self.shared:,} shared questions" if self.shared else ""),
            ),
            *([] if self.separable is None else [("separable raters", f"{self.separable:,}")]),
        ]

    def __str__(self) -> str:
        rows = [f"{name:<21}{value}" for name, value in self.lines()]
        return "\n".join([*rows, *(f"! {warning}" for warning in self.warnings)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self.lines()
        )
        notes = "".join(f"<li>{html.escape(warning)}</li>" for warning in self.warnings)
        return f"<table>{rows}</table>" + (f"<ul>{notes}</ul>" if notes else "")


def describe(data: Comparisons) -> Description:
    """Count what is in `data`, and warn of what a model cannot learn from it.

    Raises:
        ValueError: there are no answers.
    """
    if not len(data):
        raise ValueError("there must be answers to describe, got none; read or ask some first.")
    counts = data.counts.numpy()
    counts = counts[counts > 0]
    label, shown = data.label, data.slate >= 0
    decided = data.decided.numpy()
    whole = (label.max(1).values > 1 - 1e-6).numpy()
    part = components(data)
    rows = data.options.rows
    flat = rows.flatten(0, -2)
    same = (flat == flat[:1]).all(0).numpy()
    described = data.options.blocks.count(1)  # the columns before an embedding
    names = data.options.names or tuple(f"column {d}" for d in range(described))
    asked, winner = question(data), chosen(data)
    by_rater = grouped(data.rater.numpy(), asked)
    agreement, shared = _agreement(asked[decided], data.rater.numpy()[decided], winner[decided])
    sizes, answers = np.unique(shown.sum(1).numpy(), return_counts=True)
    alone = None if nameless(data) or rows.shape[-1] > NARROW else separable(data)
    low, first, middle, third, high = np.quantile(counts, [0, 0.25, 0.5, 0.75, 1], method="nearest").tolist()
    found = Description(
        kind=data.kind,
        answers=len(data),
        raters=len(counts),
        silent=data.raters - len(counts),
        options=int((part >= 0).sum()),
        unseen=int((part < 0).sum()),
        features=rows.shape[-1],
        answers_per_rater=(int(low), int(first), int(middle), int(third), int(high)),
        slate_sizes={int(size): int(count) for size, count in zip(sizes, answers)},
        ties=int((~decided).sum()),
        graded=int((decided & ~whole).sum()),
        repeats=len(data) - int(by_rater.max()) - 1,
        contradictions=_contradictions(by_rater[decided], winner[decided]),
        parts=int(part.max()) + 1,
        agreement=agreement,
        shared=shared,
        constant=tuple(name for name, alike in zip(names[:described], same) if alike),
        separable=None if alone is None else alone[0],
        limits=limits(data, alone),
    )
    return dataclasses.replace(found, warnings=tuple(_warnings(found, data)))


def _agreement(asked: np.ndarray, rater: np.ndarray, winner: np.ndarray) -> tuple[float | None, int]:
    """Share of pairs of raters that agree, each rater's first answer to a question counting once."""
    first = pd.DataFrame({"asked": asked, "rater": rater, "winner": winner}).drop_duplicates(
        ["asked", "rater"]
    )
    votes = first.groupby(["asked", "winner"], sort=False).size()
    total = votes.groupby(level="asked").sum().to_numpy()
    pairs = (total * (total - 1)).sum()
    alike = (votes * (votes - 1)).sum()
    return (float(alike / pairs) if pairs else None), int((total > 1).sum())


def _contradictions(by_rater: np.ndarray, winner: np.ndarray) -> int:
    both = pd.DataFrame({"question": by_rater, "winner": winner}).drop_duplicates()
    return int((both.groupby("question").size() > 1).sum())


def _warnings(found: Description, data: Comparisons) -> list[str]:
    middle = found.answers_per_rater[2]
    notes = [*found.limits.values()]
    if found.answers == 1:
        notes.append("one answer only: nothing can be held out to judge a model.")
    elif found.raters > 1 and middle < 3:
        notes.append(
            f"half of the raters gave {middle} answers or fewer: their own taste will hardly show; expect the pooled "
            "model to be hard to beat."
        )
    if isinstance(data.options, Texts) and data.options.embedding is None:
        notes.append("texts have no embedding: a utility knows their length only; encode them first.")
    if found.constant and outside_option(data) < 0:
        notes.append(f"constant features say nothing: {listed(found.constant, 5)}; drop them.")
    if found.ties == found.answers:
        notes.append("every answer is a tie: there is no preference to learn.")
    if found.shared == 0 and found.raters > 1:
        notes.append("no question was answered by two raters: agreement cannot be counted, only modelled.")
    # Beyond three in ten by two standard deviations: one of two is chance.
    if found.repeats >= 20 and found.repeats > 0.45 * found.answers and not found.contradictions:
        notes.append(
            f"{found.repeats:,} of {found.answers:,} answers repeat one of the same rater, and none otherwise: if the file was put "
            "together twice, leave out one half, or everything will seem surer than it is."
        )
    if found.contradictions > 0.3 * found.repeats + 2 * (0.21 * found.repeats) ** 0.5:
        notes.append(
            f"raters contradict themselves on {found.contradictions} of {found.repeats} repeated questions: the labels "
            "are noisy, or their orientation is mixed up."
        )
    won = data.label[data.decided].argmax(1)
    if found.slate_sizes.keys() == {2} and len(won) >= 50 and not bool(won.any()):
        notes.append("the first option always wins: its place gives the answer away; shuffle the places.")
    return notes
