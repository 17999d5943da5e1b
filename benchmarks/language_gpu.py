"""What one GPU does: a backbone of half a billion random weights (and one of 1.3 billion, where there is room) trained with
its head, and heads over cached states.

Everything is measured in one run on one machine: the matmul peak and the memory bandwidth that shares are taken of, our
steps, and a trainer that pads both texts of each pair and reads them apart (TRL's RewardTrainer itself where trl is
installed). All steps are with AdamW. `python benchmarks/language.py gpu --toy` runs the same code on a CPU at toy sizes,
so that it is known to run.
"""

import copy
import gc
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch

BATCH = 8  # pairs that the trainer of padded pairs reads at a time
ROOM = 60e9  # bytes of a GPU for the larger model


@dataclass(frozen=True)
class Size:
    """Of the model and of the data.

    Attributes:
        hidden, inner, layers, heads, vocabulary: of a Llama.
        prompt, answer: tokens of each, in the mean; two answers to a prompt fill 1,024.
        prompts: in a step. raters: who judge each pair on overlapped data.
        matmul: edge of the product that gives the peak.
        texts, answers, width, rank: of the cached heads.
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


SIZES = {"0.5 B": Size(), "1.3 B": Size(hidden=2048, inner=5632, layers=24, heads=16)}
TOY = Size(64, 128, 2, 4, 97, 12, 6, 3, 4, 64, 200, 300, 32, 2)


def gpu(toy: bool = False) -> dict[str, Any] | None:
    """All of it; None without a GPU, unless it is the toy."""
    if not toy and not torch.cuda.is_available():
        print("gpu: there is no GPU here; run this part on a machine that has one, or try it out by --toy.")
        return None
    device = "cpu" if toy else "cuda"
    sizes = {"toy": TOY} if toy else SIZES
    if not toy and torch.cuda.get_device_properties(0).total_memory < ROOM:
        sizes = {"0.5 B": SIZES["0.5 B"]}
    size = next(iter(sizes.values()))
    return {
        "device": "cpu (toy)" if toy else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "joint": {name: joint(one, device) for name, one in sizes.items()},
        "heads": heads(size, device),
    }


def joint(size: Size, device: str) -> dict[str, Any]:
    """Steps of backbone and head: share of the matmul peak, useful tokens per second beside padded pairs.

    `even`: two answers to a prompt, 1,024 tokens with it, all of one length: for the share of the peak. `one_rater`: four
    answers to a prompt, of different lengths, each compared once. `overlapped`: the same, every pair judged by many.
    """
    peak = matmul_peak(size.matmul, device, torch.bfloat16)
    found: dict[str, Any] = {"matmul_peak_flops": peak}
    body = backbone(size, device, torch.bfloat16)
    moving = [p for p in body.model.parameters() if p.requires_grad]
    # Random data teach nothing: a rate of zero costs the same and leaves the weights as they are.
    adam = torch.optim.AdamW(moving, lr=0.0, fused=device == "cuda")
    found["parameters"] = sum(p.numel() for name, p in body.model.named_parameters() if "embed" not in name)
    for name, many, spread, raters in (
        ("even", 2, 0.0, 1),
        ("one_rater", 4, 0.75, 1),
        ("overlapped", 4, 0.75, size.raters),
    ):
        pieces, slate = data(size, many, spread, raters)
        ours = measured(partial(step, body, pieces, slate, adam), device)
        padded = measured(partial(padded_step, body, pieces, slate, adam), device, 1 if raters > 1 else 5)
        work = flops(size, found["parameters"], pieces)
        found[name] = {
            "answers": len(slate),
            "useful_tokens": useful(pieces),
            "seconds": ours["seconds"],
            "useful_tokens_per_second": useful(pieces) / ours["seconds"],
            "share_of_matmul_peak": work / ours["seconds"] / peak,
            "peak_memory_bytes": ours["memory"],
            "padded_pairs_seconds": padded["seconds"],
            "padded_pairs_memory_bytes": padded["memory"],
            "times_padded_pairs": padded["seconds"] / ours["seconds"],
        }
    config, tokenizer = body.model.config, body.tokenizer
    del adam, moving, body
    if importlib.util.find_spec("trl") is None or importlib.util.find_spec("datasets") is None:
        print("gpu: TRL's trainer is left out; it takes `pip install trl`.")
        return found
    for name, raters in (("one_rater", 1), ("overlapped", size.raters)):
        theirs = trl(device, config, tokenizer, *data(size, 4, 0.75, raters))
        found[name]["trl"] = theirs
        found[name]["times_trl"] = theirs["seconds"] / found[name]["seconds"]
    return found


def useful(pieces: list[Any]) -> int:
    """Tokens of different prompts and answers, each once."""
    return sum(len(p.answer) for p in pieces) + sum(map(len, {p.prompt for p in pieces}))


def flops(size: Size, parameters: int, pieces: list[Any]) -> float:
    """Operations that a step must do: 6 for a weight and a token, and attention.

    A token of a packed sequence sees at most its prompt and its own answer; no mask is counted.
    """
    seen = sum(len(p.answer) * (len(p.prompt) + len(p.answer) / 2) for p in pieces)
    seen += sum(len(prompt) ** 2 / 2 for prompt in {p.prompt for p in pieces})
    return 6.0 * parameters * useful(pieces) + 12.0 * size.layers * size.hidden * seen


def backbone(size: Size, device: str, number: torch.dtype) -> Any:
    """A Llama of random weights in training mode, as the package wraps it."""
    import transformers

    from pluralign.language.backbone import wrapped
    from pluralign.language.tiny import tiny_tokenizer

    longest = 2 * size.prompt + 4 * size.answer
    config = transformers.LlamaConfig(
        vocab_size=size.vocabulary, hidden_size=size.hidden, intermediate_size=size.inner, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, max_position_embeddings=longest,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[] if device == "cpu" else None):
        torch.manual_seed(0)
        model = transformers.AutoModel.from_config(config).to(device, number)
    tokenizer = tiny_tokenizer(["a b c"])
    tokenizer.model_max_length = longest
    return wrapped(model.train(), tokenizer, "random", longest=longest)


def data(size: Size, answers: int, spread: float, raters: int) -> tuple[list[Any], torch.Tensor]:
    """Tokens of an even number of answers to each prompt, and who was shown what: the first two, the next two, ...

    Lengths of answers are spread evenly by so much of their mean about it.
    """
    from pluralign.language.once import Pieces

    noise = torch.Generator().manual_seed(0)
    draw = lambda count: tuple(torch.randint(3, size.vocabulary, (count,), generator=noise).tolist())
    pieces = []
    for _ in range(size.prompts):
        prompt = draw(size.prompt)
        for _ in range(answers):
            off = spread * size.answer * (2 * float(torch.rand((), generator=noise)) - 1)
            pieces.append(Pieces(prompt, draw(max(1, round(size.answer + off)))))
    return pieces, torch.arange(len(pieces)).reshape(-1, 2).repeat_interleave(raters, 0)


def step(body: Any, pieces: list[Any], slate: torch.Tensor, adam: torch.optim.Optimizer) -> None:
    """Every text once, all answers gathered, backwards."""
    from pluralign.language.once import encode

    states = encode(body, pieces, at_once=8192).states
    score = states.float().mean(1)
    where = slate.to(score.device)
    gap = score[where[:, 0]] - score[where[:, 1]]
    torch.nn.functional.softplus(-gap).mean().backward()
    adam.step()
    body.model.zero_grad()


def padded_step(body: Any, pieces: list[Any], slate: torch.Tensor, adam: torch.optim.Optimizer) -> None:
    """Both texts of each comparison, padded to the longest of a batch, as a pairwise reward trainer reads them."""
    for part in slate.split(BATCH):
        texts = [(*pieces[k].prompt, *pieces[k].answer) for k in part.T.reshape(-1).tolist()]
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts], device=body.device)
        mask = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in texts], device=body.device)
        states = body.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        rows = torch.arange(len(texts), device=body.device)
        last = states[rows, mask.sum(1) - 1].float().mean(1)
        one, other = last.chunk(2)
        (torch.nn.functional.softplus(other - one).sum() / len(slate)).backward()
    adam.step()
    body.model.zero_grad()


def trl(device: str, config: Any, tokenizer: Any, pieces: list[Any], slate: torch.Tensor) -> dict[str, Any]:
    """A step of TRL's own trainer on the same answers, gathered over batches of them; without the first one."""
    import datasets
    import transformers
    import trl as library

    whole = [[*p.prompt, *p.answer] for p in pieces]
    steps, batch = 4, min(BATCH, len(slate))
    rows = [{"chosen_ids": whole[a], "rejected_ids": whole[b]} for a, b in slate.tolist()]
    config = copy.deepcopy(config)
    config.num_labels, config.pad_token_id = 1, tokenizer.pad_token_id
    afresh(device)
    model = transformers.AutoModelForSequenceClassification.from_config(config).to(device, torch.bfloat16)
    ends: list[float] = []

    class Watch(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            waiting(device)()
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        settings = library.RewardConfig(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=batch,
            gradient_accumulation_steps=len(slate) // batch, report_to=[], bf16=device != "cpu", use_cpu=device == "cpu",
            max_length=None, save_strategy="no", logging_strategy="no", gradient_checkpointing=False, learning_rate=0.0,
            disable_tqdm=True,
        )  # fmt: skip
        trainer = library.RewardTrainer(
            model=model, args=settings, processing_class=tokenizer, callbacks=[Watch()],
            train_dataset=datasets.Dataset.from_list(rows * steps),
        )  # fmt: skip
        trainer.train()
    took = statistics.median(b - a for a, b in pairwise(ends))
    return {
        "version": library.__version__,
        "seconds": took,
        "useful_tokens_per_second": useful(pieces) / took,
        "peak_memory_bytes": memory(device),
    }


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
    speed = 2 * states.numel() * 2 / measured(states.clone, device)["seconds"]  # reads and writes
    rows = []
    for name, rank in (("low rank", 1 + size.rank), ("linear", 1)):
        if rank == 1:  # as `Cached` lays them out
            states = states.T.contiguous().T
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
    """Operations per second of a large product; of noise, as a GPU is faster with equal numbers."""
    a = torch.empty(edge, edge, device=device, dtype=number)
    a.normal_(generator=torch.Generator(device).manual_seed(0))
    return 2 * edge**3 / measured(lambda: a @ a, device, 20)["seconds"]


def measured(work: Callable[[], Any], device: str, repeats: int = 5) -> dict[str, float]:
    """Median seconds after one run to warm up, and the largest memory held meanwhile."""
    wait = waiting(device)
    afresh(device)
    work()
    wait()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times), "memory": memory(device)}


def waiting(device: str) -> Callable[[], None]:
    """What waits until the device has done what it was told."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def afresh(device: str) -> None:
    """Give back memory that nobody holds, and count its peak anew."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def memory(device: str) -> float:
    """Bytes held at most since."""
    return float(torch.cuda.max_memory_allocated()) if device == "cuda" else 0.0
