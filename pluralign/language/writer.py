"""Writers: causal language models with a head that answer prompts, kept on disk as transformers and peft keep them."""

import copy
import json
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor

from pluralign.language import processes
from pluralign.language.backbone import Backbone, Pooling, Side, _unreachable, _why, wrapped
from pluralign.language.needs import need
from pluralign.language.once import Pieces, pieces_of
from pluralign.language.processes import Processes
from pluralign.saving import appearing
from pluralign.streams import Seed, Streams

Tune = Literal["lora", "full"]
Reward = Callable[[Sequence[str], Sequence[str]], Tensor]  # N prompts and N answers to (N, G) utils of camps
FORMAT = 1
_KEPT = ("longest", "most", "temperature", "side", "chat")


@dataclass(frozen=True)
class Written:
    """Answers that a writer gave, n to each of P prompts, those to one prompt one after the other.

    Attributes:
        prompts, answers: P n texts each.
        pieces: their tokens, with the one that ended the answer.
    """

    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    pieces: tuple[Pieces, ...]

    @property
    def length(self) -> float:
        """Mean number of tokens of an answer."""
        return sum(len(one.answer) for one in self.pieces) / max(len(self.pieces), 1)


@dataclass(frozen=True)
class Writer:
    """A language model that answers prompts.

    Attributes:
        model: a causal model of transformers with its head, or such a model with adapters of peft.
        tokenizer: of the same.
        name: where it came from.
        most: new tokens of an answer at most.
        temperature: of the chances of the next token.
        longest, side, chat: tokens of prompt and answer at most, from which side a prompt is cut, whether the chat
            template is used, where there is one.
    """

    model: Any
    tokenizer: Any
    name: str
    most: int = 64
    temperature: float = 1.0
    longest: int = 1024
    side: Side = "left"
    chat: bool = True
    causal: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.most < self.longest:
            raise ValueError(
                f"`most` must leave room for a prompt among {self.longest} tokens, got {self.most} new ones."
            )
        if not self.temperature > 0:
            raise ValueError(f"`temperature` must be positive, got {self.temperature}.")

    @property
    def padding(self) -> int:
        """The token that fills up rows."""
        return int(self.tokenizer.pad_token_id or 0)

    def pieces(self, prompts: Sequence[str], answers: Sequence[str], *, say: bool = True) -> list[Pieces]:
        """Tokens of given texts, cut to what can be read."""
        return pieces_of(self, prompts, answers, say=say)

    def write(
        self,
        prompts: Sequence[str],
        n: int = 1,
        *,
        seed: Seed = 0,
        at_once: int = 16384,
        group: Processes | None = None,
    ) -> Written:
        """n answers to each prompt, drawn token by token; where processes share the work, each gets all answers.

        Raises:
            ValueError: a prompt is empty, and the model has no token to begin with.
        """
        reading = SimpleNamespace(
            tokenizer=self.tokenizer,
            chat=self.chat,
            causal=True,
            longest=self.longest - self.most,
            side="left",
        )
        begun = [one.prompt for one in pieces_of(reading, prompts, [""] * len(prompts), say=False)]
        empty = [k for k, one in enumerate(begun) if not one]
        if empty:
            raise ValueError(
                f"prompt {empty[0]} is empty, and {self.name} has no token to begin with; give it words."
            )
        rows = [one for one in begun for _ in range(n)]
        streams, group, mine = Streams.of(seed).below("write"), group or Processes(), []
        size = max(1, at_once // (max(map(len, rows), default=0) + self.most))
        size = min(size, -(-len(rows) // group.count))
        for start in list(range(0, len(rows), size))[group.rank :: group.count]:
            part = continued(
                self.model,
                rows[start : start + size],
                most=self.most,
                stops=stops_of(self),
                temperature=self.temperature,
                padding=self.padding,
                seed=streams.number(start),
            )
            mine.append(part)
        found = [one for part in group.joined(mine) for one in part]
        texts = self.tokenizer.batch_decode([list(one) for one in found], skip_special_tokens=True)
        pieces = tuple(Pieces(head, tail) for head, tail in zip(rows, found, strict=True))
        asked = tuple(prompt for prompt in prompts for _ in range(n))
        return Written(asked, tuple(text.strip() for text in texts), pieces)

    def backbone(self, pooling: Pooling = "mean") -> Backbone:
        """The model below the head, to read texts by: the same weights, not a copy."""
        whole = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return wrapped(
            whole.base_model,
            self.tokenizer,
            self.name,
            pooling=pooling,
            longest=self.longest,
            side=self.side,
            chat=self.chat,
        )

    def save(self, folder: str | Path) -> None:
        """Write a new folder, complete or not at all: the model as transformers reads it (or adapters as peft does), the
        tokenizer, and writer.json.

        Raises:
            FileExistsError: the folder exists.
        """
        with appearing(folder) as half:
            half.mkdir(parents=True)
            self.model.save_pretrained(half)
            self.tokenizer.save_pretrained(half)
            told = {"format": FORMAT, "name": self.name} | {name: getattr(self, name) for name in _KEPT}
            (half / "writer.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def load_writer(name: str | Path, *, device: str | None = None, **settings: Any) -> Writer:
    """A writer from a folder that transformers or peft reads, one that `Writer.save` wrote, or by a hub id.

    In bfloat16 where there is a GPU, else in float32.

    Args:
        name: a folder, or the id of a model on the hub, which transformers fetches where it is not at hand.
        device: "cpu", "cuda", ...; by default a GPU where there is one.
        settings: fields of `Writer`: most, temperature, longest, side, chat.

    Raises:
        ValueError: there is no such model, it cannot be had, or it has no head that predicts tokens.
    """
    transformers = need("transformers")
    device = device or processes.device()
    kind = torch.bfloat16 if device.startswith("cuda") else torch.float32
    path = Path(name)
    asking = {} if path.exists() or not _unreachable() else {"local_files_only": True}
    try:
        if (path / "adapter_config.json").is_file():
            model, lost = _adapted(path, kind), set()
        else:
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model, told = transformers.AutoModelForCausalLM.from_pretrained(
                    str(name), dtype=kind, output_loading_info=True, **asking
                )
            lost = set(told["missing_keys"])
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(name), **asking)
    except (OSError, ValueError, KeyError) as problem:
        raise ValueError(f"no language model at {str(name)!r}: {_why(path, problem)}") from problem
    if lost:
        raise ValueError(
            f"{name} holds a model without a head that predicts tokens ({sorted(lost)[0]} is missing); save it as a "
            "causal language model."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    kept: dict[str, Any] = {}
    if (path / "writer.json").is_file():
        told = json.loads((path / "writer.json").read_text("utf-8"))
        if told.get("format") != FORMAT:
            raise ValueError(f"{path} is of format {told.get('format')!r}, this version reads {FORMAT}.")
        kept = {name: told[name] for name in _KEPT}
    return writer_of(model.to(device).eval(), tokenizer, str(name), **{**kept, **settings})


def writer_of(model: Any, tokenizer: Any, name: str, **settings: Any) -> Writer:
    """A writer of a model that is loaded; `longest` by default what it can read."""
    limits = [getattr(model.config, "max_position_embeddings", None), tokenizer.model_max_length]
    given = settings.pop("longest", None)
    found = min((int(x) for x in [*limits, given] if x is not None and 0 < x < 1 << 20), default=1024)
    settings["most"] = min(settings.get("most", Writer.most), found // 2)
    return Writer(model, tokenizer, name, longest=found, **settings)


def continued(
    model: Any,
    prompts: Sequence[tuple[int, ...]],
    *,
    most: int,
    stops: Collection[int],
    temperature: float,
    padding: int,
    seed: int,
) -> list[tuple[int, ...]]:
    """What a model writes after each prompt: up to and with the first token of `stops`, `most` tokens at most.

    The library's own sampling draws from the global random stream; this one has its own.
    """
    where = next(model.parameters()).device
    draw = torch.Generator(where).manual_seed(seed)
    wide = max(map(len, prompts))
    mask = torch.tensor([[0] * (wide - len(row)) + [1] * len(row) for row in prompts], device=where)
    token = torch.tensor([[padding] * (wide - len(row)) + list(row) for row in prompts], device=where)
    ends = torch.tensor(sorted(stops), device=where)
    place, past = (mask.cumsum(1) - 1).clamp_min(0), None
    written = torch.zeros(len(prompts), 0, dtype=torch.long, device=where)
    going = torch.ones(len(prompts), dtype=torch.bool, device=where)
    with torch.no_grad():
        for _ in range(most):
            read = model(
                input_ids=token, attention_mask=mask, position_ids=place, past_key_values=past, use_cache=True
            )
            past = read.past_key_values
            chance = torch.softmax(read.logits[:, -1].float() / temperature, -1)
            token = torch.multinomial(chance, 1, generator=draw)
            written = torch.cat([written, torch.where(going[:, None], token, -1)], 1)
            going = going & ~torch.isin(token[:, 0], ends)
            if not bool(going.any()):
                break
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            place = place[:, -1:] + 1
    return [tuple(k for k in row if k >= 0) for row in written.tolist()]


def stops_of(writer: Writer) -> set[int]:
    """Tokens that end an answer."""
    found: set[int] = set()
    for one in (writer.tokenizer.eos_token_id, getattr(writer.model.generation_config, "eos_token_id", None)):
        found |= set() if one is None else {one} if isinstance(one, int) else set(one)
    return found


def tunable(writer: Writer, tune: Tune, rank: int, seed: int) -> Writer:
    """A copy whose weights can move: all of them, in float32, or adapters over weights that are shared with the original."""
    if tune == "full":
        # Steps of usual size are lost in the three digits of bfloat16.
        return replace(writer, model=copy.deepcopy(writer.model).float().requires_grad_(True))
    if tune != "lora":
        raise ValueError(f'`tune` must be "lora" or "full", got {tune!r}.')
    peft = need("peft")
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    shared = {id(value): value for value in [*writer.model.parameters(), *writer.model.buffers()]}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        made = peft.get_peft_model(copy.deepcopy(writer.model, shared), config)
    made.peft_config["default"].base_model_name_or_path = writer.name
    return replace(writer, model=made.eval())


def moving(writer: Writer) -> list[Tensor]:
    """The weights of a tunable writer that move."""
    return [value for value in writer.model.parameters() if value.requires_grad]


def _adapted(folder: Path, kind: torch.dtype) -> Any:
    peft = need("peft")
    config = peft.PeftConfig.from_pretrained(str(folder))
    base = need("transformers").AutoModelForCausalLM.from_pretrained(
        config.base_model_name_or_path, dtype=kind
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return peft.PeftModel.from_pretrained(base, str(folder))
