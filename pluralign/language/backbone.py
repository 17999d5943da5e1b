"""Backbones: language models that turn a text into one vector, its hidden state."""

import hashlib
import socket
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from torch import Tensor

from pluralign.language import processes
from pluralign.language.needs import need

Pooling = Literal["last", "mean"]
Side = Literal["left", "right"]
_ENOUGH = 1 << 20  # what some tokenizers say where a model has no longest text


@dataclass(frozen=True)
class Backbone:
    """A model, its tokenizer, and how a text becomes one vector.

    Attributes:
        model: a base model of transformers, without a head.
        tokenizer: of the same.
        name: where it came from.
        layer: of the hidden states, -1 the last.
        pooling: "last", the state of the last token, or "mean", over the tokens of prompt and answer.
        longest: tokens of a text at most.
        side: from which side a longer text is cut.
        chat: whether the chat template is used, where there is one.
        causal: whether a token sees those before it alone.
        sharing: whether answers to one prompt can stand in one sequence (found out by trying).
    """

    model: Any
    tokenizer: Any
    name: str
    layer: int = -1
    pooling: Pooling = "last"
    longest: int = 1024
    side: Side = "left"
    chat: bool = True
    causal: bool = True
    sharing: bool = True

    def __post_init__(self) -> None:
        if self.pooling not in ("last", "mean"):
            raise ValueError(f'`pooling` must be "last" or "mean", got {self.pooling!r}.')
        if self.side not in ("left", "right"):
            raise ValueError(f'`side` must be "left" or "right", got {self.side!r}.')
        if self.longest < 2:
            raise ValueError(f"`longest` must be at least 2 tokens, got {self.longest}.")
        layers = getattr(self.model.config, "num_hidden_layers", None)
        if layers is not None and not -layers - 1 <= self.layer <= layers:
            raise ValueError(f"`layer` must be in {-layers - 1}..{layers} for this model, got {self.layer}.")

    @property
    def width(self) -> int:
        """D, numbers in a hidden state."""
        return int(self.model.config.hidden_size)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def states(self, **inputs: Tensor) -> Tensor:
        """(B, T, D) the hidden states of the chosen layer."""
        if self.layer == -1:
            return (
                self.model(**inputs, use_cache=False).last_hidden_state
                if self.causal
                else self.model(**inputs).last_hidden_state
            )
        return self.model(**inputs, output_hidden_states=True).hidden_states[self.layer]

    def facts(self) -> dict[str, Any]:
        """What a hidden state depends on, beside the text."""
        return {
            "fingerprint": fingerprint(self.model, self.tokenizer),
            "layer": self.layer,
            "pooling": self.pooling,
            "longest": self.longest,
            "side": self.side,
            "chat": self.chat and getattr(self.tokenizer, "chat_template", None) is not None,
            "width": self.width,
        }


def load_backbone(
    name: str | Path,
    *,
    layer: int = -1,
    pooling: Pooling | None = None,
    longest: int | None = None,
    side: Side = "left",
    chat: bool = True,
    device: str | None = None,
) -> Backbone:
    """A backbone from a folder that `transformers` reads, from a folder with adapters of `peft`, or by a hub id.

    In bfloat16 where there is a GPU, else in float32.

    Args:
        name: a folder, or the id of a model on the hub, which transformers fetches where it is not at hand.
        layer, pooling, longest, side, chat: see `Backbone`; pooling is "last" for causal models, else "mean".
        device: "cpu", "cuda", ...; by default a GPU where there is one.

    Raises:
        ValueError: there is no such model, or it cannot be had.
    """
    transformers = need("transformers")
    device = device or processes.device()
    kind = torch.bfloat16 if device.startswith("cuda") else torch.float32
    source = str(name)
    asking = {} if Path(name).exists() or not _unreachable() else {"local_files_only": True}
    try:
        if (Path(name) / "adapter_config.json").is_file():
            model = _adapted(Path(name), kind)
        else:
            model = transformers.AutoModel.from_pretrained(source, dtype=kind, **asking)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **asking)
    except (OSError, ValueError, KeyError) as problem:
        raise ValueError(f"no backbone at {source!r}: {_why(Path(name), problem)}") from problem
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return wrapped(model.to(device).eval(), tokenizer, source, layer, pooling, longest, side, chat)


def _unreachable() -> bool:
    """Whether the hub's host has no address here, so that asking it, again and again, is in vain; a proxy may know it."""
    from huggingface_hub import constants

    if getproxies():
        return False
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        return True
    return False


def wrapped(
    model: Any,
    tokenizer: Any,
    name: str,
    layer: int = -1,
    pooling: Pooling | None = None,
    longest: int | None = None,
    side: Side = "left",
    chat: bool = True,
) -> Backbone:
    """A backbone of a model that is loaded; whether it is causal and can share prompts is found out by trying."""
    limits = [getattr(model.config, "max_position_embeddings", None), tokenizer.model_max_length, longest]
    found = min((int(x) for x in limits if x is not None and 0 < x < _ENOUGH), default=1024)
    causal = _causal(model)
    made = Backbone(
        model,
        tokenizer,
        name,
        layer,
        pooling or ("last" if causal else "mean"),
        found,
        side,
        chat,
        causal,
        False,
    )
    if not causal:
        return made
    return replace(made, sharing=_shares(made))


def fingerprint(model: Any, tokenizer: Any) -> str:
    """A hash of a model's weights (up to 4,096 numbers of each) and of its tokenizer."""
    told = hashlib.blake2b(digest_size=16)
    for name, value in sorted(model.state_dict().items()):
        flat = value.detach().reshape(-1)
        some = flat[:: max(1, len(flat) // 4096)].float().cpu().numpy()
        told.update(f"{name} {tuple(value.shape)}".encode() + some.tobytes())
    told.update(str(sorted(tokenizer.get_vocab().items())).encode())
    return told.hexdigest()


def _adapted(folder: Path, kind: torch.dtype) -> Any:
    peft = need("peft")
    config = peft.PeftConfig.from_pretrained(str(folder))
    base = need("transformers").AutoModel.from_pretrained(config.base_model_name_or_path, dtype=kind)
    with (
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
    ):  # peft draws adapters before it reads them
        warnings.simplefilter("ignore", FutureWarning)
        return peft.PeftModel.from_pretrained(base, str(folder))


def _why(path: Path, problem: BaseException) -> str:
    if path.is_dir():
        first = str(problem).splitlines()[0].rstrip(".")
        return (
            f"the folder holds no model and tokenizer that transformers can read ({first}); save both there."
        )
    return (
        "there is no such folder, and no model of this name could be had from the hub; check the name, or where there "
        "is no network download it elsewhere and give the folder."
    )


def _try(model: Any, tokens: Sequence[Sequence[int]], **more: Tensor) -> Tensor:
    where = next(model.parameters()).device
    with torch.no_grad():
        inputs = torch.tensor(tokens, device=where)
        return model(input_ids=inputs, **{k: v.to(where) for k, v in more.items()}).last_hidden_state.float()


def _causal(model: Any) -> bool:
    """Whether the first token's state knows nothing of the second."""
    last = int(model.config.vocab_size) - 1
    found = _try(model, [[last // 2, last // 3], [last // 2, last // 5]])
    return bool(torch.allclose(found[0, 0], found[1, 0], atol=1e-6))


def _shares(backbone: Backbone) -> bool:
    """Whether two answers behind one prompt are what they are alone: not so for models that read in windows or states."""
    from pluralign.language.once import Pieces, encode

    last = int(backbone.model.config.vocab_size) - 1
    prompt = tuple(last * k // 17 for k in range(1, 7))
    pieces = [Pieces(prompt, (last // 2, last // 3)), Pieces(prompt, (last // 5, last // 7, last // 9))]
    try:
        with torch.no_grad():
            both = encode(replace(backbone, sharing=True), pieces).states
            alone = encode(backbone, pieces).states
    except (TypeError, ValueError, RuntimeError):
        return False
    room = 1e-4 if both.dtype == torch.float32 else 0.05
    return bool((both - alone).norm() <= room * alone.norm())
