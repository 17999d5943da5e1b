"""Worths that also depend on when, or in which context, an answer was given; laid out so that every fit can use them."""

import dataclasses
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import ABSENT, Comparisons
from pluralign.data.options import Items, Options


@runtime_checkable
class Conditional(Protocol):
    """A worth whose basis differs from answer to answer.

    `basis` and `steps` are those of one stated circumstance (the latest time, the usual context), for whoever asks
    what an option is worth without saying when; `shown` is that of the circumstance of each answer.
    """

    @property
    def width(self) -> int: ...

    def basis(self, options: Options) -> Float[Tensor, "N Z"]: ...

    def steps(self, rows: Float[Tensor, "*b D"]) -> Float[Tensor, "*b Z"]: ...

    def shown(self, data: Comparisons) -> Float[Tensor, "M K Z"]: ...


def laid_out(data: Comparisons, worth) -> tuple[Comparisons, Float[Tensor, "N Z"]]:
    """The answers, and the basis that their slates point into.

    For most worths these are `data` and the basis of its options. Under a conditional worth every place of every
    slate has a row of its own, so that what comes after need not know about circumstances.
    """
    if not isinstance(worth, Conditional):
        data = only_shown(data, worth)
        return data, worth.basis(data.options)
    shown = worth.shown(data)
    slate = torch.arange(shown.shape[0] * shown.shape[1]).reshape(shown.shape[:2])
    slate = slate.masked_fill(data.slate == ABSENT, ABSENT)
    rows = shown.flatten(0, 1)
    nameless = Items(torch.zeros(len(rows), 0))
    return dataclasses.replace(data, options=nameless, slate=slate), rows


def only_shown(data: Comparisons, worth) -> Comparisons:
    """The answers with the options that they show and no others, where these are fewer by far.

    Options that are known by their number alone stay as they are.
    """
    if (
        not len(data)
        or data.slate.numel() >= len(data.options)
        or (data.options.ids is None and getattr(worth, "vocabulary", None) is not None)
    ):
        return data
    met, place = torch.unique(data.slate.clamp_min(0), return_inverse=True)
    slate = place.reshape(data.slate.shape).masked_fill(data.slate == ABSENT, ABSENT)
    return dataclasses.replace(data, options=data.options.take(met), slate=slate)
