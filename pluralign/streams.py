"""Random streams by name: adding a draw in one stage moves no other stage's numbers."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Streams:
    """A family of independent generators, one for every name, all fixed by one `seed`."""

    base: int

    @staticmethod
    def of(seed: "Seed") -> "Streams":
        """Read a seed as users give it: an int, or a torch.Generator (of which one number is drawn).

        Raises:
            TypeError: `seed` is neither.
        """
        if isinstance(seed, Streams):
            return seed
        if isinstance(seed, torch.Generator):
            return Streams(int(torch.randint(2**62, (1,), generator=seed, device=seed.device)))
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise TypeError(f"`seed` must be an int or a torch.Generator, got {seed!r}; give seed=0.")
        return Streams(seed)

    def number(self, *names: object) -> int:
        """A number in [0, 2**62) for this name; for libraries that want an integer seed of their own."""
        text = "\x1f".join([str(self.base), *map(str, names)])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 2

    def __call__(self, *names: object) -> torch.Generator:
        """A generator for this name, fresh each time it is asked for."""
        return torch.Generator().manual_seed(self.number(*names))

    def below(self, *names: object) -> "Streams":
        """The family for a part of the work, for example one restart."""
        return Streams(self.number(*names))


Seed = int | torch.Generator | Streams


@contextmanager
def quiet_globals() -> Iterator[None]:
    """Some libraries seed and draw from the global streams: put them back as they were."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
