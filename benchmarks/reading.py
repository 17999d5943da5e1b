"""How long reading takes: a million answers of 50,000 raters about 2,000 options of 16 features.

OMP_NUM_THREADS=1 python benchmarks/reading.py
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import pluralign.data as data


def main() -> None:
    """Print seconds per step."""
    generator = torch.Generator().manual_seed(0)
    answers, raters, items = 1_000_000, 50_000, 2_000
    draw = lambda high: torch.randint(high, (answers,), generator=generator)
    first = draw(items)
    second = (first + 1 + draw(items - 1)) % items
    names = tuple(f"item{n:05d}" for n in range(items))
    store = data.Items(torch.randn(items, 16, generator=generator), names)
    people = tuple(f"person{n:06d}" for n in range(raters))
    made = data.Comparisons.pairs(store, first, second, draw(raters), draw(2).float(), rater_ids=people)
    role = np.array(["train", "val", "test"])[np.arange(answers) % 3]
    extra = pd.DataFrame({"cmp_id": [f"c{n:07d}" for n in range(answers)], "role": role})
    with tempfile.TemporaryDirectory() as place:
        for form in ("parquet", "csv.gz"):
            folder = Path(place) / form
            timed(f"write {form}", partial(data.write, made, folder, form=form, extra=extra))
            timed(f"read_folder {form}", partial(data.read_folder, folder))
    timed("describe", partial(data.describe, made))
    for by in ("answer", "rater"):
        timed(f"split by {by}", partial(made.split, by=by))
    frame = timed("to_frame", partial(data.to_frame, made))
    timed("from_frame", partial(data.from_frame, frame, store))


def timed(name: str, work: Callable[[], Any]) -> Any:
    """What `work` returns, and a line with its seconds."""
    start = time.perf_counter()
    found = work()
    print(f"{name:24}{time.perf_counter() - start:6.2f} s")
    return found


if __name__ == "__main__":
    main()
