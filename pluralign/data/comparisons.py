"""Comparisons: who was shown what, and what they answered."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.brief import brief
from pluralign.data.errors import need_tensor
from pluralign.data.options import Options

Kind = Literal["choice", "ranking", "rating", "vote"]
ABSENT = -1  # a place on a slate where nothing was shown; slates of different length share one tensor


@dataclass(frozen=True)
class Comparisons:
    """M answers: rater `rater[m]` saw the options `slate[m]` and answered `label[m]`.

    Attributes:
        options: the store that holds each of the N options once.
        slate: (M, K) indices into `options`; -1 where a shorter slate has no option (at the end of the row).
        rater: (M,) in 0..R-1.
        label: (M, K) the share of the choice per place: (1, 0) "the first", (.7, .3) graded, (.5, .5) a tie.
        context: (M,) or (M, C), what else was known when the answer was given; no unit.
        weight: (M,) how much an answer counts; 1 by default.
        time: (M,) when, in any unit that only grows.
        response_time: (M,) seconds.
        rater_ids: R names; by default "0", "1", ...
        covariates: (R, C), what is known of raters beside their answers (country, age), of mean 0 and spread 1.
        kind: what the answers were before they became shares; a ranking of K options is K - 1 answers,
            a vote compares an option with the outside option.
    """

    options: Options
    slate: Int[Tensor, "M K"]
    rater: Int[Tensor, " M"]
    label: Float[Tensor, "M K"]
    context: Tensor | None = None
    weight: Float[Tensor, " M"] | None = None
    time: Float[Tensor, " M"] | None = None
    response_time: Float[Tensor, " M"] | None = None
    rater_ids: tuple[str, ...] | None = None
    kind: Kind = "choice"
    covariates: Float[Tensor, "R C"] | None = None

    def __post_init__(self) -> None:
        if not hasattr(self.options, "pool"):  # isinstance would build the rows of a store to look at them
            raise TypeError(
                f"`options` must be a store, got {type(self.options).__name__}; put features into pluralign.Items(features)."
            )
        for name in ("slate", "rater", "label"):
            need_tensor(name, getattr(self, name), floats=name == "label")
        if self.slate.dim() != 2 or self.slate.shape[1] < 2:
            raise ValueError(f"`slate` must be (M, K) with K >= 2 options, got {tuple(self.slate.shape)}.")
        if self.label.shape != self.slate.shape:
            raise ValueError(
                f"`label` must have one share per place, shape {tuple(self.slate.shape)}, got "
                f"{tuple(self.label.shape)}. If you have one number per pair, the share of the first "
                "option, call Comparisons.pairs(options, first, second, rater, share)."
            )
        for name in ("rater", "context", "weight", "time", "response_time"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.slate):
                raise ValueError(
                    f"`{name}` must have one row per answer: {len(self.slate)}, got {len(value)}."
                )
        self._check_slate()
        self._check_label()
        if len(self.rater) and int(self.rater.min()) < 0:
            raise ValueError(f"`rater` must be 0 or more, got {int(self.rater.min())}.")
        if self.rater_ids is None:
            count = int(self.rater.max()) + 1 if len(self.rater) else 0
            object.__setattr__(self, "rater_ids", tuple(str(r) for r in range(count)))
        elif len(self.rater) and int(self.rater.max()) >= len(self.rater_ids):
            raise ValueError(
                f"`rater` must point into the {len(self.rater_ids)} rater_ids, got {int(self.rater.max())}."
            )
        elif len(set(self.rater_ids)) != len(self.rater_ids):
            raise ValueError("`rater_ids` must be unique; give each rater one name.")
        told = self.covariates
        if told is not None and (told.dim() != 2 or len(told) != self.raters):
            raise ValueError(
                f"`covariates` must have one row for each of the {self.raters} raters, got {tuple(told.shape)}."
            )

    def _check_slate(self) -> None:
        if not len(self.slate):
            return
        low, high = int(self.slate.min()), int(self.slate.max())
        if low < ABSENT or high >= len(self.options):
            bad = int(high if high >= len(self.options) else low)
            row = int((self.slate == bad).any(1).nonzero()[0, 0])
            raise ValueError(
                f"`slate` must point into the {len(self.options)} options (0..{len(self.options) - 1}), "
                f"first row {row}: {bad}. Add the missing option to the store or drop the answer."
            )
        if low == ABSENT:
            shown = self.slate != ABSENT
            if bool((shown[:, 1:] & ~shown[:, :-1]).any()) or bool((shown.sum(1) < 2).any()):
                raise ValueError("`slate` rows must show at least two options, with -1 only at the end.")

    def _check_label(self) -> None:
        label = self.label
        bad = (~torch.isfinite(label) | (label < -1e-6) | (label > 1 + 1e-6)).any(1).nonzero()[:, 0]
        if len(bad):
            raise ValueError(
                f"`label` shares must lie in [0, 1]; {len(bad)} of {len(label)} rows do not, first row "
                f"{int(bad[0])}: {label[bad[0]].tolist()}. Rescale ratings or clean the column first."
            )
        off = ((label.sum(-1) - 1).abs() > 1e-4).nonzero()[:, 0]
        if len(off):
            raise ValueError(
                f"`label` rows must sum to 1; {len(off)} of {len(label)} do not, first row {int(off[0])}: "
                f"{label[off[0]].tolist()}. If you have one number per pair, the share of the first option, "
                "call Comparisons.pairs(options, first, second, rater, share)."
            )
        if bool(((self.slate == ABSENT) & (label > 0)).any()):
            row = int(((self.slate == ABSENT) & (label > 0)).any(1).nonzero()[0, 0])
            raise ValueError(f"`label` gives a share to a place without an option, first row {row}.")

    @staticmethod
    def pairs(
        options: Options,
        first: Int[Tensor, " M"],
        second: Int[Tensor, " M"],
        rater: Int[Tensor, " M"],
        share: Float[Tensor, " M"],
        **more: Any,
    ) -> "Comparisons":
        """The short way in for K = 2: `share` (M,) in [0, 1] is the share of the first option, .5 a tie."""
        for name, value in (("first", first), ("second", second), ("share", share)):
            if not isinstance(value, Tensor):
                need_tensor(name, value, floats=name == "share")
        share = share.float()
        return Comparisons(
            options, torch.stack([first, second], 1), rater, torch.stack([share, 1 - share], 1), **more
        )

    def as_pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """The short way out for K = 2: first (M,), second (M,), share of the first (M,).

        Raises:
            ValueError: a slate has more than two options.
        """
        if self.places != 2:
            raise ValueError(f"as_pairs needs slates of two options, these have {self.places}.")
        return self.slate[:, 0], self.slate[:, 1], self.label[:, 0]

    def __len__(self) -> int:
        return len(self.slate)

    def __repr__(self) -> str:
        return brief(self)

    @property
    def places(self) -> int:
        """K, the size of the largest slate."""
        return self.slate.shape[1]

    @property
    def raters(self) -> int:
        """R, the number of rater ids, with or without answers."""
        assert self.rater_ids is not None
        return len(self.rater_ids)

    @property
    def decided(self) -> Tensor:
        """(M,) true where one place has more of the choice than any other."""
        top = self.label.topk(2, dim=1).values
        return (top[:, 0] - top[:, 1]) > 1e-6

    @property
    def counts(self) -> Int[Tensor, " R"]:
        """(R,) answers per rater."""
        return torch.bincount(self.rater, minlength=self.raters)

    def take(self, rows: Tensor | Sequence[int] | Sequence[bool]) -> "Comparisons":
        """The answers at `rows` (indices, or a mask), with the same options and raters."""
        rows = torch.as_tensor(rows)
        rows = rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows.long()
        pick = {
            name: value[rows]
            for name in ("context", "weight", "time", "response_time")
            if (value := getattr(self, name)) is not None
        }
        return dataclasses.replace(
            self, slate=self.slate[rows], rater=self.rater[rows], label=self.label[rows], **pick
        )

    def of_raters(self, which: Tensor | list[int]) -> "Comparisons":
        """The answers of these raters alone, renumbered 0..len(which)-1 in that order."""
        which = torch.as_tensor(which, dtype=torch.long)
        place = torch.full((self.raters,), -1)
        place[which] = torch.arange(len(which))
        kept = self.take(place[self.rater] >= 0)
        assert self.rater_ids is not None
        ids = tuple(self.rater_ids[r] for r in which.tolist())
        told = None if self.covariates is None else self.covariates[which]
        return dataclasses.replace(kept, rater=place[kept.rater], rater_ids=ids, covariates=told)

    def with_labels(self, label: Float[Tensor, "M K"]) -> "Comparisons":
        """The same questions, answered otherwise."""
        return dataclasses.replace(self, label=label)

    def batches(self, size: int) -> Iterator["Comparisons"]:
        """The answers in pieces of at most `size`, in order."""
        for start in range(0, len(self), size):
            yield self.take(torch.arange(start, min(start + size, len(self))))

    def split(
        self, by: Literal["answer", "rater", "item"] = "answer", share: float = 0.8, seed: Any = 0
    ) -> tuple["Comparisons", "Comparisons"]:
        """Two parts that share no answer (no rater, no option); see `pluralign.data.splits.split`."""
        from pluralign.data.splits import split

        return split(self, by=by, share=share, seed=seed)


def need_comparisons(verb: str, value: Any) -> None:
    """Raise TypeError unless `value` holds answers."""
    if not isinstance(value, Comparisons):
        raise TypeError(
            f"{verb} needs Comparisons, got {type(value).__name__}; pluralign.read(folder) and data.from_frame(table) make them."
        )
