"""What was asked: answers to the same question, and options that are connected by questions."""

import numpy as np
import pandas as pd
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pluralign.data.comparisons import Comparisons


def question(data: Comparisons) -> np.ndarray:
    """(M,) a number for each set of options, in whatever order it was shown; 0, 1, ... by first appearance."""
    slate = data.slate.sort(1).values.numpy()
    key = slate[:, 0].astype(np.int64)
    for place in range(1, data.places):
        key = pd.factorize(key)[0] * (len(data.options) + 2) + slate[:, place] + 1
    return pd.factorize(key)[0]


def chosen(data: Comparisons) -> np.ndarray:
    """(M,) the option with the largest share; for answers that are decided."""
    place = data.label.argmax(1, keepdim=True)
    return data.slate.gather(1, place)[:, 0].numpy()


def grouped(*codes: np.ndarray) -> np.ndarray:
    """(M,) a number for each distinct combination of `codes`."""
    key = pd.factorize(codes[0])[0]
    for code in codes[1:]:
        other, names = pd.factorize(code)
        key = pd.factorize(key.astype(np.int64) * (len(names) + 1) + other)[0]
    return key


def joined(*codes: np.ndarray) -> np.ndarray:
    """(M,) a number for each group of rows that are linked by an equal code, directly or through others."""
    rows = len(codes[0])
    edges, start = [], rows
    for code in codes:
        number = pd.factorize(code)[0]
        edges.append(np.stack([np.arange(rows), start + number]))
        start += int(number.max()) + 1 if rows else 0
    first, second = np.concatenate(edges, 1)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(start, start))
    return connected_components(graph, directed=False)[1][:rows]


def components(data: Comparisons, without: int = -1) -> np.ndarray:
    """(N,) the connected part of the comparison graph each option is in; -1 where it was never shown.

    Args:
        data: the answers.
        without: an option that links nothing; -1 for none.
    """
    count = len(data.options)
    slate = data.slate
    first, second = slate[:, :-1].flatten(), slate[:, 1:].flatten()
    kept = (second >= 0) & (first != without) & (second != without)
    edges = (first[kept].numpy(), second[kept].numpy())
    graph = coo_array((np.ones(len(edges[0]), bool), edges), shape=(count, count))
    part = connected_components(graph, directed=False)[1]
    shown = np.zeros(count, bool)
    shown[slate[slate >= 0].numpy()] = True
    found = np.full(count, -1)
    found[shown] = np.unique(part[shown], return_inverse=True)[1]
    return found


def outside_option(data: Comparisons) -> int:
    """The option that is on every slate of a set of votes; -1 where there is none.

    Where all votes are about one item, it is the later in the store, as `add_outside` puts it.
    """
    if data.kind != "vote" or not len(data):
        return -1
    every = [n for n in data.slate[0].tolist() if bool((data.slate == n).any(1).all())]
    return max(every, default=-1)


def rows_of(mask: np.ndarray) -> torch.Tensor:
    """The places where `mask` is true."""
    return torch.from_numpy(np.flatnonzero(mask))
