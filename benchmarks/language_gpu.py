"""What one GPU does: a backbone of half a billion random weights trained with its head, and heads over cached states.

Everything is measured in one run on one machine: the matmul peak and the memory bandwidth that shares are taken of, our
steps, and a trainer that pads both texts of each pair and reads them apart (TRL's RewardTrainer itself where trl is
installed). `gpu(toy=True)` runs the same code on a CPU at toy sizes, so that it is known to run.
"""

import gc
import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch


@dataclass(frozen=True)
class Size:
    """Of the model and of the data.

    Attributes:
        hidden, inner, layers, heads, vocabulary: of a Llama.
        prompt, answer: tokens of each; two answers to a prompt and a longer text fill `length`.
        prompts: in a step. raters: who judge each pair on overlapped data.
        matmul, texts, answers, width, rank: of the cached heads; the first is the edge of the product that gives the peak.
    """

    hidden: int = 1536
    inner: int = 4096
    layers: int = 16
    heads: int = 12
    vocabulary: int = 32_000
    prompt: int = 512
    answer: int = 256
    prompts: int = 16
    raters: int = 25
    matmul: int = 8192
    texts: int = 466_000
    answers: int = 233_000
    width: int = 4096
    rank: int = 8


TOY = Size(64, 128, 2, 4, 97, 12, 6, 3, 4, 64, 200, 300, 32, 2)


def gpu(toy: bool = False, size: Size | None = None) -> dict[str, Any] | None:
    """All of it; None without a GPU, unless it is the toy."""
    if not toy and not torch.cuda.is_available():
        print("gpu: there is no GPU here; run this part on a machine that has one.")
        return None
    size = size or (TOY if toy else Size())
    device = "cpu" if toy else "cuda"
    return {
        "device": "cpu (toy)" if toy else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "joint": joint(size, device),
        "heads": heads(size, device),
    }


def joint(size: Size, device: str) -> dict[str, Any]:
    """Forward and backward of backbone and head: share of the matmul peak, useful tokens per second beside padded pairs."""
    number = torch.bfloat16
    peak = matmul_peak(size.matmul, device, number)
    body = backbone(size, device, number)
    parameters = sum(p.numel() for name, p in body.model.named_parameters() if "embed" not in name)
    found: dict[str, Any] = {"parameters": parameters, "matmul_peak_flops": peak}
    for name, raters in (("one_rater", 1), ("overlapped", size.raters)):
        pieces, slate = data(size, raters)
        ours = measured(partial(step, body, pieces, slate), device)
        padded = measured(partial(padded_step, body, pieces, slate, 8), device)
        useful = sum(len(p.answer) for p in pieces) + len({p.prompt for p in pieces}) * size.prompt
        # A token of a packed sequence sees at most its prompt and its own answer: what attention must do, no mask counted.
        seen = sum(len(p.answer) * (size.prompt + len(p.answer) / 2) for p in pieces)
        seen += len({p.prompt for p in pieces}) * size.prompt**2 / 2
        work = 6 * parameters * useful + 12 * size.layers * size.hidden * seen
        found[name] = {
            "answers": len(slate),
            "useful_tokens": useful,
            "seconds": ours["seconds"],
            "useful_tokens_per_second": useful / ours["seconds"],
            "share_of_matmul_peak": work / ours["seconds"] / peak,
            "peak_memory_bytes": ours["memory"],
            "padded_pairs_seconds": padded["seconds"],
            "padded_pairs_memory_bytes": padded["memory"],
            "times_padded_pairs": padded["seconds"] / ours["seconds"],
        }
    found["trl"] = trl(size, device, body)
    if found["trl"] is not None:
        found["times_trl"] = (
            found["one_rater"]["useful_tokens_per_second"] / found["trl"]["useful_tokens_per_second"]
        )
    return found


def backbone(size: Size, device: str, number: torch.dtype) -> Any:
    """A Llama of random weights in training mode, as the package wraps it."""
    import transformers

    from pluralign.language.backbone import wrapped
    from pluralign.language.tiny import tiny_tokenizer

    config = transformers.LlamaConfig(
        vocab_size=size.vocabulary, hidden_size=size.hidden, intermediate_size=size.inner, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, max_position_embeddings=4 * (size.prompt + 2 * size.answer),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[] if device == "cpu" else None):
        torch.manual_seed(0)
        model = transformers.AutoModel.from_config(config).to(device, number)
    return wrapped(model.train(), tiny_tokenizer(["a b c"]), "random", longest=size.prompt + 2 * size.answer)


def data(size: Size, raters: int) -> tuple[list[Any], torch.Tensor]:
    """Tokens of two answers to each prompt, and who was shown what."""
    from pluralign.language.once import Pieces

    noise = torch.Generator().manual_seed(0)
    draw = lambda count: tuple(torch.randint(3, size.vocabulary, (count,), generator=noise).tolist())
    pieces = []
    for _ in range(size.prompts):
        prompt = draw(size.prompt)
        pieces += [Pieces(prompt, draw(size.answer)), Pieces(prompt, draw(size.answer))]
    return pieces, torch.arange(len(pieces)).reshape(-1, 2).repeat_interleave(raters, 0)


def step(body: Any, pieces: list[Any], slate: torch.Tensor) -> None:
    """Every text once, all answers gathered, backwards."""
    from pluralign.language.once import encode

    states = encode(body, pieces, at_once=8192).states
    score = states.float().mean(1)
    gap = score[slate[:, 0].to(score.device)] - score[slate[:, 1].to(score.device)]
    torch.nn.functional.softplus(-gap).mean().backward()
    body.model.zero_grad()


def padded_step(body: Any, pieces: list[Any], slate: torch.Tensor, batch: int) -> None:
    """Both texts of each comparison, padded to the longest of a batch, as a pairwise reward trainer reads them."""
    for part in slate.split(batch):
        texts = [(*pieces[k].prompt, *pieces[k].answer) for k in part.T.reshape(-1).tolist()]
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts], device=body.device)
        mask = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in texts], device=body.device)
        states = body.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        last = states[torch.arange(len(texts)), mask.sum(1) - 1].float().mean(1)
        one, other = last.chunk(2)
        (torch.nn.functional.softplus(other - one).sum() / len(slate)).backward()
    body.model.zero_grad()


def trl(size: Size, device: str, body: Any) -> dict[str, Any] | None:
    """TRL's own trainer on the data of one rater; None where it is not installed."""
    if importlib.util.find_spec("trl") is None or importlib.util.find_spec("datasets") is None:
        return None
    import tempfile

    import datasets
    import transformers
    import trl as library

    pieces, slate = data(size, 1)
    whole = [[*p.prompt, *p.answer] for p in pieces]
    rows = [
        {
            **{f"chosen_{k}": whole[a] for k in ("ids", "input_ids")},
            **{f"rejected_{k}": whole[b] for k in ("ids", "input_ids")},
        }
        for a, b in slate.tolist()
    ]  # both names that its versions gave to tokens
    steps = 6
    config = body.model.config
    model = transformers.AutoModelForSequenceClassification.from_config(config, num_labels=1)
    model.config.pad_token_id = 0
    with tempfile.TemporaryDirectory() as folder:
        settings = library.RewardConfig(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=len(rows), report_to=[], bf16=device != "cpu",
            use_cpu=device == "cpu", max_length=None, save_strategy="no", logging_steps=steps, gradient_checkpointing=False,
        )  # fmt: skip
        trainer = library.RewardTrainer(
            model=model.to(torch.bfloat16), args=settings, processing_class=body.tokenizer,
            train_dataset=datasets.Dataset.from_list(rows * steps),
        )  # fmt: skip
        trainer.train()
        start = time.perf_counter()
        trainer.train()
        took = (time.perf_counter() - start) / steps
    useful = sum(len(p.answer) for p in pieces) + size.prompts * size.prompt
    return {"version": library.__version__, "seconds": took, "useful_tokens_per_second": useful / took}


def heads(size: Size, device: str) -> dict[str, Any]:
    """One gradient of linear and low-rank heads over cached states in bfloat16, beside the time to read them twice."""
    from pluralign.data import Comparisons, Items
    from pluralign.language.cached import Pairs, gradient

    noise = torch.Generator().manual_seed(0)
    states = torch.empty(size.texts, size.width, dtype=torch.bfloat16, device=device)
    states.normal_(generator=torch.Generator(device).manual_seed(0))
    slate = torch.randint(size.texts, (size.answers, 2), generator=noise)
    rater = torch.randint(max(2, size.answers // 200), (size.answers,), generator=noise)
    answers = Comparisons.pairs(
        Items(torch.zeros(size.texts, 0)), slate[:, 0], slate[:, 1], rater,
        torch.randint(2, (size.answers,), generator=noise).float(),
    )  # fmt: skip
    pairs = Pairs.of(answers, device)
    flat = states.view(-1)
    speed = 2 * flat.numel() * 2 / measured(lambda: flat.clone(), device)["seconds"]  # reads and writes
    rows = []
    for name, rank in (("linear", 1), ("low rank", 1 + size.rank)):
        directions = torch.zeros(rank, size.width, device=device)
        tastes = torch.ones(answers.raters, rank, device=device)
        took = measured(partial(gradient, states, pairs, directions, tastes), device)
        moved = 2 * states.numel() * 2 + size.answers * (2 * 4 + 4 + 4) * 2
        rows.append(
            {
                "head": name,
                "answers_per_second": size.answers / took["seconds"],
                "floor_seconds": moved / speed,
                "times_floor": took["seconds"] * speed / moved,
                "peak_memory_bytes": took["memory"],
            }
        )
    return {
        "texts": size.texts,
        "answers": size.answers,
        "width": size.width,
        "bytes_per_second": speed,
        "rows": rows,
    }


def matmul_peak(edge: int, device: str, number: torch.dtype) -> float:
    """Operations per second of a large product."""
    a = torch.ones(edge, edge, device=device, dtype=number)
    return 2 * edge**3 / measured(lambda: a @ a, device, 20)["seconds"]


def measured(work: Callable[[], Any], device: str, repeats: int = 5) -> dict[str, float]:
    """Median seconds after one run to warm up, and the largest memory held meanwhile."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    work()
    wait()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    return {"seconds": statistics.median(times), "memory": float(memory)}
