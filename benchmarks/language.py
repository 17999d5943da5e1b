"""What the language part must show, measured: `python benchmarks/language.py [part ...]`.

tokens  tokens computed for the same answers, against a trainer that pads both texts of each comparison
heads   answers per second on cached states of width 384, linear and low-rank, beside the bandwidth of the memory
welfare MaxMin against pooled on writers of planted texts: worst camp's win rate, mean, distance from the reference; 5 seeds
gpu     joint training of a model of half a billion random weights in bfloat16: tokens per second and the share of the
        measured matmul peak (says so where there is no GPU)

Writes benchmarks/results/language-PART.json. One thread; medians of repeats.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

HERE = Path(__file__).resolve().parent


def seconds(work: Callable[[], Any], repeats: int = 5) -> float:
    """Median wall time of `work` after one run to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


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
    """One gradient of the log-likelihood of all answers, per answer; the floor reads the gathered states' scores once.

    The gradient of a linear head needs X once forwards and once backwards, whatever the number of answers: its floor
    is the time to read X twice, and three numbers of each answer.
    """
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(texts, width, generator=noise)
    slate = torch.randint(texts, (answers, 2), generator=noise)
    rater = torch.randint(1000, (answers,), generator=noise)
    y = torch.randint(2, (answers,), generator=noise).float()
    big = torch.randn(64 * 1024 * 1024 // 4, generator=noise)
    speed = big.numel() * 4 / seconds(lambda: big.sum())  # bytes per second

    def linear() -> None:
        w = torch.zeros(width, requires_grad=True)
        score = x @ w
        gap = score[slate[:, 0]] - score[slate[:, 1]]
        torch.nn.functional.binary_cross_entropy_with_logits(gap, y).backward()

    def low_rank() -> None:
        v = torch.full((width, rank), 0.01, requires_grad=True)
        z = torch.full((1000, rank), 0.1, requires_grad=True)
        basis = x @ v
        gap = ((basis[slate[:, 0]] - basis[slate[:, 1]]) * z[rater]).sum(1)
        torch.nn.functional.binary_cross_entropy_with_logits(gap, y).backward()

    rows = []
    for name, work, wide in (("linear", linear, 1), ("low rank", low_rank, rank)):
        took = seconds(work)
        moved = 2 * x.numel() * 4 + answers * (2 * 8 + 8 + 4) * 2 + 4 * answers * wide * 4
        rows.append(
            {"head": name, "answers_per_second": answers / took, "floor_seconds": moved / speed,
             "times_floor": took * speed / moved}
        )  # fmt: skip
    return {"texts": texts, "answers": answers, "width": width, "bytes_per_second": speed, "rows": rows}


def welfare() -> dict[str, Any]:
    """See language_welfare.py."""
    import language_welfare

    return language_welfare.welfare()


def gpu(length: int = 1024, batch: int = 8) -> dict[str, Any] | None:
    """Forward and backward of a random half-billion model; None without a GPU."""
    if not torch.cuda.is_available():
        print("gpu: there is no GPU here; run this part on a machine that has one.")
        return None
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=32_000, hidden_size=1536, intermediate_size=4096, num_hidden_layers=16, num_attention_heads=12,
        max_position_embeddings=2048,
    )  # fmt: skip
    model = transformers.AutoModel.from_config(config).to("cuda", torch.bfloat16)
    size = sum(p.numel() for name, p in model.named_parameters() if "embed" not in name)
    ids = torch.randint(32_000, (batch, length), device="cuda")

    def step() -> None:
        model(input_ids=ids, use_cache=False).last_hidden_state[:, -1].float().sum().backward()
        torch.cuda.synchronize()

    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)

    def product() -> None:
        _ = a @ a
        torch.cuda.synchronize()

    peak = 2 * 8192**3 / seconds(product, 20)
    took = seconds(step)
    work = (
        6 * size * batch * length
        + 12 * config.num_hidden_layers * config.hidden_size * batch * length**2 // 2
    )
    return {
        "parameters": size,
        "tokens_per_second": batch * length / took,
        "share_of_matmul_peak": work / took / peak,
        "peak_memory_bytes": torch.cuda.max_memory_allocated(),
        "device": torch.cuda.get_device_name(),
    }


def main() -> None:
    """Run the parts that are named, or all."""
    torch.set_num_threads(1)
    parts: dict[str, Callable[[], dict[str, Any] | None]] = {
        "tokens": tokens,
        "heads": heads,
        "welfare": welfare,
        "gpu": gpu,
    }
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("parts", nargs="*", help="by default all")
    for name in words.parse_args().parts or parts:
        if name not in parts:
            raise SystemExit(f"there is no part {name!r}; there are {', '.join(parts)}")
        found = parts[name]()
        if found is not None:
            (HERE / "results" / f"language-{name}.json").write_text(json.dumps(found, indent=1) + "\n")
            print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
