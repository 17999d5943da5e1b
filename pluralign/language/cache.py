"""Hidden states kept on disk: `pluralign encode` writes them once, and every population reads them as features.

FOLDER/hidden/ holds states.npy (a memory map, one row per different text), done.npy and cache.json: the names of the
texts (hashes of prompt and answer), the backbone's fingerprint, layer, pooling and how texts were cut. While it is
made the folder is called hidden.part; a run that was stopped goes on there. At the end embeddings.npy is written for
`pluralign.read`, one row per row of items.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from tqdm import tqdm

from pluralign.data.errors import DataError
from pluralign.data.tables import find_table, read_table
from pluralign.language.backbone import Backbone, load_backbone
from pluralign.language.once import Pieces, encode, pieces_of

FORMAT = 1
NAME = "hidden"
_DEPENDS = {"fingerprint": "backbone", "layer": "layer", "pooling": "pooling", "longest": "longest text", "side": "side",
            "chat": "chat template"}  # fmt: skip


@dataclass(frozen=True)
class Cached:
    """What a folder's texts were encoded to.

    Attributes:
        folder: of the answers.
        texts: N. fresh: encoded now. tokens, computed: of these, without and with padding. width: D.
    """

    folder: Path
    texts: int
    fresh: int
    tokens: int
    computed: int
    width: int

    def __str__(self) -> str:
        return (
            f"{self.texts:,} texts as {self.width} numbers each are in {self.folder / 'embeddings.npy'}; {self.fresh:,} "
            f"were encoded now, {self.tokens:,} tokens ({self.computed:,} with padding)"
        )


def encode_folder(
    folder: str | Path,
    backbone: str | Path | Backbone,
    *,
    layer: int = -1,
    pooling: Any = None,
    longest: int | None = None,
    side: Any = "left",
    chat: bool = True,
    at_once: int = 8192,
    overwrite: bool = False,
    progress: bool = False,
) -> Cached:
    """Encode every text of a folder of answers once, and write embeddings.npy beside it.

    Args:
        folder: with items.* that has a column `text`, and where known `prompt` and `answer`.
        backbone: a folder, a hub id, or a `Backbone`.
        layer, pooling, longest, side, chat: see `Backbone`.
        at_once: tokens read at a time.
        overwrite: put away hidden states of another backbone, or embeddings from elsewhere.
        progress: show a bar.

    Raises:
        DataError: the folder has no texts, or hidden states of another kind, or embeddings from elsewhere.
        ValueError: there is no such backbone.
    """
    folder = Path(folder)
    prompts, answers = texts_of(folder)
    body = backbone if isinstance(backbone, Backbone) else load_backbone(
        backbone, layer=layer, pooling=pooling, longest=longest, side=side, chat=chat
    )  # fmt: skip
    keys = [key_of(prompt, answer) for prompt, answer in zip(prompts, answers)]
    place, half = folder / NAME, folder / f"{NAME}.part"
    if (folder / "embeddings.npy").exists() and not place.exists() and not half.exists() and not overwrite:
        raise DataError(f"{folder} has an embeddings.npy from elsewhere; move it away or give --overwrite.")
    facts = body.facts()
    if overwrite:
        shutil.rmtree(half, ignore_errors=True)  # what is finished goes when its successor is
        old = None
    else:
        old = read_cache(place, facts) if place.exists() else None
    names = list(dict.fromkeys(keys))
    if old is not None and set(names) <= set(old[0]):
        done, tokens, computed, fresh = old, 0, 0, 0
    else:
        done, fresh, tokens, computed = _fill(
            half, facts, names, old, body, prompts, answers, keys, at_once, progress
        )
        shutil.rmtree(place, ignore_errors=True)
        half.rename(place)
    row = {name: k for k, name in enumerate(done[0])}
    _save(folder / "embeddings.npy", np.asarray(done[1][[row[key] for key in keys]]))
    return Cached(folder, len(keys), fresh, tokens, computed, body.width)


def texts_of(folder: Path) -> tuple[list[str], list[str]]:
    """Prompt and answer of each row of a folder's items; the whole text is the answer where they are not told apart.

    Raises:
        DataError: there are no texts.
    """
    path = find_table(folder, "items") if folder.is_dir() else None
    if path is None:
        raise DataError(
            f"{folder} should be a folder of answers with items that have a text, as `pluralign import` writes."
        )
    table = read_table(path)
    table.need("text")
    pick = lambda name: [text or "" for text in table.texts(name).to_pylist()]
    if {"prompt", "answer"} <= set(table.names):
        return pick("prompt"), pick("answer")
    whole = pick("text")
    return [""] * len(whole), whole


def key_of(prompt: str, answer: str) -> str:
    """The name of a text in a cache."""
    return hashlib.blake2b(f"{prompt}\x1f{answer}".encode(), digest_size=12).hexdigest()


def read_cache(
    place: Path, facts: dict[str, Any] | None = None
) -> tuple[list[str], Float[np.ndarray, "N D"]]:
    """Names and states of a finished cache.

    Raises:
        DataError: it is damaged, half-written, or was made in another way than `facts` say.
    """
    told = _told(place)
    if facts is not None:
        _same(told, facts, place)
    try:
        states = np.load(place / "states.npy", mmap_mode="r")
        done = np.load(place / "done.npy")
    except (OSError, ValueError, EOFError) as problem:
        raise DataError(f"{place} is damaged ({problem}); delete it and encode again.") from problem
    if states.shape != (len(told["texts"]), told["facts"]["width"]) or not done.all():
        raise DataError(
            f"{place} is half-written ({int(done.sum())} of {len(told['texts'])} texts); delete it and encode again."
        )
    return told["texts"], states


def _fill(
    half: Path,
    facts: dict[str, Any],
    names: list[str],
    old: tuple[list[str], np.ndarray] | None,
    body: Backbone,
    prompts: Sequence[str],
    answers: Sequence[str],
    keys: Sequence[str],
    at_once: int,
    progress: bool,
) -> tuple[tuple[list[str], np.ndarray], int, int, int]:
    """Encode what is missing, keeping each part that is finished."""
    if half.exists():
        told = _told(half)
        _same(told, facts, half)
        if told["texts"] != names:
            shutil.rmtree(half)  # the folder's texts have changed since
    if not half.exists():
        half.mkdir()
        try:
            np.lib.format.open_memmap(half / "states.npy", "w+", np.float32, (len(names), body.width)).flush()
            np.lib.format.open_memmap(half / "done.npy", "w+", bool, (len(names),)).flush()
            _reserve(half / "states.npy")
            _write(half / "cache.json", {"format": FORMAT, "facts": facts, "name": body.name, "texts": names})
        except OSError as problem:
            shutil.rmtree(half, ignore_errors=True)
            size = 4 * len(names) * body.width / 1e6
            raise DataError(
                f"{half.parent} needs room for {size:,.1f} MB of hidden states and has none "
                f"({problem.strerror or problem}); free some and encode again, nothing else was touched."
            ) from problem
    try:
        states = np.load(half / "states.npy", mmap_mode="r+")
        done = np.load(half / "done.npy", mmap_mode="r+")
        assert states.shape == (len(names), body.width)
        assert done.shape == (len(names),)
    except (OSError, ValueError, EOFError, AssertionError) as problem:
        raise DataError(f"{half} is damaged ({problem}); delete it and encode again.") from problem
    if old is not None:
        known = {name: k for k, name in enumerate(old[0])}
        there = [(k, known[name]) for k, name in enumerate(names) if name in known and not done[k]]
        for k, other in there:
            states[k] = old[1][other]
            done[k] = True
    first: dict[str, int] = {}
    for number, key in enumerate(keys):
        first.setdefault(key, number)
    left = [k for k in range(len(names)) if not done[k]]
    source = [first[names[k]] for k in left]
    pieces = pieces_of(body, [prompts[n] for n in source], [answers[n] for n in source])
    tokens = computed = 0
    bar = tqdm(
        total=len(names), initial=len(names) - len(left), disable=not progress, desc="encoding", unit="text"
    )
    for part in _parts(pieces, 8 * at_once):
        with torch.no_grad():
            found = encode(body, [pieces[k] for k in part], at_once=at_once)
        value = found.states.float().cpu().numpy()
        if not np.isfinite(value).all():
            raise ValueError(
                f"the backbone {body.name!r} gives hidden states that are not finite; take another layer."
            )
        rows = [left[k] for k in part]
        states[rows] = value
        states.flush()
        done[rows] = True  # after the states, so that a row which is done is whole
        done.flush()
        tokens += found.counts.tokens
        computed += found.counts.computed
        bar.update(len(part))
    bar.close()
    return (names, states), len(left), tokens, computed


def _parts(pieces: Sequence[Pieces], most: int) -> list[list[int]]:
    """Numbers of texts in parts of about `most` tokens; answers to one prompt stay together, long ones come first."""
    order = sorted(range(len(pieces)), key=lambda k: (-len(pieces[k].prompt), pieces[k].prompt, k))
    found: list[list[int]] = []
    size = most
    for k in order:
        if size + len(pieces[k]) > most and not (
            found and pieces[k].prompt and pieces[found[-1][-1]].prompt == pieces[k].prompt
        ):
            found.append([])
            size = 0
        found[-1].append(k)
        size += len(pieces[k])
    return found


def _told(place: Path) -> dict[str, Any]:
    try:
        told = json.loads((place / "cache.json").read_text("utf-8"))
        if told["format"] == FORMAT and isinstance(told["texts"], list) and isinstance(told["facts"], dict):
            return told
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DataError(
        f"{place} is half-written or damaged (its cache.json cannot be read); delete it and encode again."
    )


def _same(told: dict[str, Any], facts: dict[str, Any], place: Path) -> None:
    for name, word in _DEPENDS.items():
        was, now = told["facts"].get(name), facts[name]
        if was != now:
            if name == "fingerprint":
                was, now = told.get("name"), "other weights or another tokenizer"
            raise DataError(
                f"{place} was made with another {word} ({was}; this one: {now}); give --overwrite to encode again."
            )


def _reserve(path: Path) -> None:
    """Ask the disk for the whole file now: a memory map that finds it full later would end the program."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, path.stat().st_size))


def _save(path: Path, value: Float[np.ndarray, "N D"]) -> None:
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with half.open("wb") as file:
            np.save(file, value)
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def _write(path: Path, value: Any) -> None:
    half = path.with_suffix(".part")
    half.write_text(json.dumps(value) + "\n", "utf-8")
    half.replace(path)
