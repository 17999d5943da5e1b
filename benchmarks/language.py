"""What the language part must show, measured: `python benchmarks/language.py [part ...]`.

tokens  tokens computed for the same answers, against a trainer that pads both texts of each comparison
heads   answers per second on cached states of width 384, linear and low-rank, beside the bandwidth of the memory
welfare MaxMin against pooled on writers of planted texts: worst camp's win rate, mean, distance from the reference; 5 seeds
planted planted texts, strangers after 8 answers; 5 seeds (see language_planted.py)
texts   real people's judgements of real texts, seen and new ones (see language_texts.py)
gpu     joint training of a model of half a billion random weights, and heads over cached states, in bfloat16 (see
        language_gpu.py; says so where there is no GPU)

Writes benchmarks/results/language-PART.json. One thread, for the heads two; medians of repeats, of the wall's seconds for the heads.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

HERE = Path(__file__).resolve().parent


def seconds(
    work: Callable[[], Any], beside: Callable[[], Any], repeats: int = 41
) -> tuple[float, float, float]:
    """Median times of `work` and of `beside`, run in turn, and the median of their ratios."""
    work(), beside()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        middle = time.perf_counter()
        beside()
        times.append((middle - start, time.perf_counter() - middle))
    ratio = statistics.median(a / b for a, b in times)
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times), ratio


def tokens() -> dict[str, Any]:
    """Token counts; exact, no repeats."""
    from pluralign.language.backbone import wrapped
    from pluralign.language.once import padded_pairs, pieces_of, work
    from pluralign.language.tiny import tiny_model, tiny_tokenizer, tiny_world

    rows = []
    for asked, answers, raters in ((40, 4, 1), (12, 4, 1), (40, 2, 1), (40, 4, 25), (12, 2, 25)):
        world = tiny_world(prompts=64, answers=answers, raters=2, per_rater=1, asked=asked, seed=3)
        tokenizer = tiny_tokenizer([*world.prompt, *world.answer])
        body = wrapped(tiny_model(len(tokenizer)), tokenizer, "tiny")
        pieces = pieces_of(body, world.prompt, world.answer)
        slate = torch.arange(len(pieces)).reshape(-1, 2).repeat_interleave(raters, 0)
        ours = work(pieces, sharing=True)
        theirs = padded_pairs(torch.tensor([len(one) for one in pieces]), slate, batch=8)
        rows.append(
            {
                "prompt_words": asked,
                "answers_per_prompt": answers,
                "raters_per_pair": raters,
                "tokens": ours.tokens,
                "computed": ours.computed,
                "pairwise": theirs,
                "fewer": theirs / ours.computed,
            }
        )
    return {"rows": rows}


def heads(texts: int = 20_000, answers: int = 200_000, width: int = 384, rank: int = 8) -> dict[str, Any]:
    """One gradient of the log-likelihood of all answers, and the time to read what it must read, from memory.

    It needs X once forwards and once backwards, whatever the number of answers: the floor reads X twice, and for each answer
    twice its two texts, its rater and its share (4 bytes each), and once the two rows of scores and the one of tastes that
    its worths are made of (4 bytes x rank each). `times_states` leaves these rows out: here they come from a cache.
    """
    from pluralign.data import Comparisons, Items
    from pluralign.language.cached import Pairs, gradient

    torch.set_num_threads(2)
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(texts, width, generator=noise)
    slate = torch.randint(texts, (answers, 2), generator=noise)
    rater = torch.randint(1000, (answers,), generator=noise)
    y = torch.randint(2, (answers,), generator=noise).float()
    big = torch.randn(64 * 1024 * 1024 // 4, generator=noise)

    told = Comparisons.pairs(Items(torch.zeros(texts, 0)), slate[:, 0], slate[:, 1], rater, y)
    pairs = Pairs.of(told)
    rows = []
    for name, wide in (("linear", 1), ("low rank", 1 + rank)):
        directions, tastes = torch.zeros(wide, width), torch.full((told.raters, wide), 0.1)
        states = x if wide > 1 else x.T.contiguous().T  # as `Cached` lays them out
        took, reading, ratio = seconds(
            partial(gradient, states, pairs, directions, tastes), lambda: big.sum()
        )
        least = 2 * x.numel() * 4 + 2 * answers * 4 * 4
        moved = least + 3 * answers * wide * 4
        rows.append(
            {"head": name, "answers_per_second": answers / took, "bytes_per_second": big.numel() * 4 / reading,
             "times_floor": ratio * big.numel() * 4 / moved, "times_states": ratio * big.numel() * 4 / least}
        )  # fmt: skip
    torch.set_num_threads(1)
    return {"texts": texts, "answers": answers, "width": width, "threads": 2, "rows": rows}


def main() -> None:
    """Run the parts that are named, or all."""
    torch.set_num_threads(1)
    from language_gpu import gpu
    from language_planted import planted
    from language_texts import texts
    from language_welfare import welfare

    parts: dict[str, Callable[[], dict[str, Any] | None]] = {
        "tokens": tokens,
        "heads": heads,
        "planted": planted,
        "texts": texts,
        "welfare": welfare,
        "gpu": gpu,
    }
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("parts", nargs="*", help="by default all")
    words.add_argument("--toy", action="store_true", help="gpu: at toy sizes on a CPU; nothing is written")
    given = words.parse_args()
    if given.toy:
        print(json.dumps(gpu(toy=True), indent=1))
        return
    for name in given.parts or parts:
        if name not in parts:
            raise SystemExit(f"there is no part {name!r}; there are {', '.join(parts)}")
        found = parts[name]()
        if found is not None:
            (HERE / "results" / f"language-{name}.json").write_text(json.dumps(found, indent=1) + "\n")
            print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
