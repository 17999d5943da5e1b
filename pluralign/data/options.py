"""Option stores: what raters compared, each option held once.

A store turns rows of features into options by `pool`: an item is one row, a segment the discounted sum of
its steps. So a utility needs to know rows only, and works on every store.
"""

import dataclasses
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.data.brief import brief
from pluralign.data.errors import need_tensor


@runtime_checkable
class Options(Protocol):
    """N options that can be compared."""

    @property
    def ids(self) -> tuple[str, ...] | None: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def rows(self) -> Float[Tensor, "*rows D"]: ...

    @property
    def blocks(self) -> tuple[int, ...]: ...

    def pool(self, value: Float[Tensor, "*rows Z"], discount: float) -> Float[Tensor, "N Z"]: ...

    def take(self, index: Int[Tensor, " n"]) -> "Options": ...

    def __len__(self) -> int: ...


def check_finite(what: str, value: Tensor, names: tuple[str, ...], ids: tuple[str, ...] | None) -> None:
    """Raise with the first place where `value` is NaN or infinite."""
    if torch.isfinite(value).all():
        return
    off = (~torch.isfinite(value)).nonzero()
    row, column = int(off[0, 0]), int(off[0, -1])
    name = f" ({names[column]})" if column < len(names) else ""
    item = f" ({ids[row]})" if ids else ""
    raise ValueError(
        f"`{what}` must be finite; {len(off)} of {value.numel()} numbers are not, first row {row}{item}, "
        f"column {column}{name}: {float(value[tuple(off[0])])}. Fill or drop them before you build the store."
    )


def _check_table(what: str, value: Tensor, axes: int, shape: str) -> None:
    need_tensor(what, value, floats=True)
    if value.dim() != axes:
        raise ValueError(f"`{what}` must be {shape}, got the shape {tuple(value.shape)}.")


def _check_names(rows: int, width: int, ids: tuple[str, ...] | None, names: tuple[str, ...]) -> None:
    if ids is not None and len(ids) != rows:
        raise ValueError(f"`ids` must name each of the {rows} options, got {len(ids)} ids.")
    if ids is not None and len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        raise ValueError(f"`ids` must be unique; {twice!r} comes twice. Keep one row for each option.")
    if names and len(names) != width:
        raise ValueError(f"`names` must name each of the {width} columns, got {len(names)}: {names[:5]}.")


@dataclass(frozen=True)
class Items:
    """N options described by D numbers each; D = 0 for options known by name only.

    Attributes:
        features: (N, D), any units; utilities standardise them.
        embedding: how many of the last columns are one embedding: they share one scale and one prior.
        ids: N names, unique; needed to meet the same option again in another data set.
        names: D column names.
    """

    features: Float[Tensor, "N D"]
    ids: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    embedding: int = 0

    def __post_init__(self) -> None:
        _check_table("features", self.features, 2, "(N, D), a row for each option")
        check_finite("features", self.features, self.names, self.ids)
        _check_names(len(self.features), self.features.shape[-1], self.ids, self.names)

    @property
    def rows(self) -> Float[Tensor, "N D"]:
        return self.features

    @property
    def blocks(self) -> tuple[int, ...]:
        """Widths of the column groups that share a scale: one per described column, one for an embedding."""
        wide = self.embedding
        return (1,) * (self.features.shape[-1] - wide) + ((wide,) if wide else ())

    def pool(self, value: Float[Tensor, "N Z"], discount: float) -> Float[Tensor, "N Z"]:
        """One row is one option: nothing to do."""
        return value

    def take(self, index: Int[Tensor, " n"]) -> "Items":
        """The options at `index`, in that order."""
        return dataclasses.replace(self, features=self.features[index], ids=_take(self.ids, index))

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        return brief(self)


@dataclass(frozen=True)
class Segments:
    """N pieces of trajectory, T steps at most.

    Attributes:
        factors: (N, T, F) what raters may care about, per step, in the units the environment declares.
        mask: (N, T) true where a step exists; steps are left-aligned.
        dt: seconds per step.
        observation: (N, T, O) and action: (N, T, A), where known; learners without a reward need them.
        ids, names: of the N segments and the F factors.
        reached: (N, O) the observation after the last step that exists, where known.
    """

    factors: Float[Tensor, "N T F"]
    mask: Bool[Tensor, "N T"] | None = None
    dt: float = 1.0
    observation: Float[Tensor, "N T O"] | None = None
    action: Float[Tensor, "N T A"] | None = None
    ids: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    reached: Float[Tensor, "N O"] | None = None

    def __post_init__(self) -> None:
        _check_table("factors", self.factors, 3, "(N, T, F), a row for each step of each segment")
        check_finite("factors", self.factors, self.names, self.ids)
        _check_names(len(self.factors), self.factors.shape[-1], self.ids, self.names)
        if self.dt <= 0:
            raise ValueError(f"`dt` must be a positive number of seconds, got {self.dt}.")
        if self.mask is not None and bool((self.mask[:, 1:] & ~self.mask[:, :-1]).any()):
            raise ValueError("`mask` must be left-aligned: a step that exists came after one that does not.")

    @property
    def rows(self) -> Float[Tensor, "N T F"]:
        return self.factors

    @property
    def blocks(self) -> tuple[int, ...]:
        """One group for each factor."""
        return (1,) * self.factors.shape[-1]

    def pool(self, value: Float[Tensor, "N T Z"], discount: float) -> Float[Tensor, "N Z"]:
        """The discounted sum over the steps that exist; step t weighs discount**t."""
        weight = discount ** torch.arange(value.shape[1], dtype=value.dtype, device=value.device)
        if self.mask is None:
            return torch.einsum("t,ntz->nz", weight, value)
        return torch.einsum("nt,ntz->nz", weight * self.mask.to(value), value)

    def take(self, index: Int[Tensor, " n"]) -> "Segments":
        """The segments at `index`, in that order."""
        pick = lambda x: None if x is None else x[index]
        return dataclasses.replace(
            self,
            factors=self.factors[index],
            mask=pick(self.mask),
            observation=pick(self.observation),
            action=pick(self.action),
            ids=_take(self.ids, index),
            reached=pick(self.reached),
        )

    def __len__(self) -> int:
        return len(self.factors)

    def __repr__(self) -> str:
        return brief(self)


@dataclass(frozen=True)
class Texts:
    """N texts, with an embedding each once an encoder has seen them.

    Attributes:
        texts: N strings.
        embedding: (N, D), or None before encoding: then only the length is known to a utility.
        ids: N names.
    """

    texts: tuple[str, ...]
    embedding: Float[Tensor, "N D"] | None = None
    ids: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        width = 0 if self.embedding is None else self.embedding.shape[-1]
        _check_names(len(self.texts), width, self.ids, ())
        if self.embedding is not None:
            check_finite("embedding", self.embedding, (), self.ids)
            if len(self.embedding) != len(self.texts):
                raise ValueError(
                    f"`embedding` must have one row per text: {len(self.texts)} texts, "
                    f"{len(self.embedding)} rows. Encode the texts again, in this order."
                )

    @property
    def names(self) -> tuple[str, ...]:
        width = 0 if self.embedding is None else self.embedding.shape[-1]
        return ("log_length", *(f"e{d}" for d in range(width)))

    @property
    def rows(self) -> Float[Tensor, "N D1"]:
        """(N, 1 + D): the logarithm of the number of characters, then the embedding."""
        length = torch.tensor([len(text) + 1.0 for text in self.texts])[:, None].log()
        if self.embedding is None:
            return length
        return torch.cat([length.to(self.embedding), self.embedding], 1)

    @property
    def blocks(self) -> tuple[int, ...]:
        """The length, then the embedding as one group."""
        return (1,) if self.embedding is None else (1, self.embedding.shape[-1])

    def pool(self, value: Float[Tensor, "N Z"], discount: float) -> Float[Tensor, "N Z"]:
        """One row is one option: nothing to do."""
        return value

    def take(self, index: Int[Tensor, " n"]) -> "Texts":
        """The texts at `index`, in that order."""
        pick = tuple(self.texts[i] for i in index.tolist())
        embedding = None if self.embedding is None else self.embedding[index]
        return Texts(pick, embedding, _take(self.ids, index))

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return brief(self)


def _take(ids: tuple[str, ...] | None, index: Tensor) -> tuple[str, ...] | None:
    return None if ids is None else tuple(ids[i] for i in index.tolist())
