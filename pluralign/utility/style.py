"""How a text is written, as plain numbers: what can be said of its quality without reading it."""

import math
import re
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

STYLE = (
    "words", "sentences", "words_per_sentence", "letters_per_word", "different_words", "long_words", "questions",
    "exclamations", "commas", "marks", "numbers", "quotes", "links", "shouted_words", "starts_large", "ends_closed",
    "reasons", "self", "reader", "careless",
)  # fmt: skip
_WORD = re.compile(r"[\w'’]+")
_END = re.compile(r"[.!?…。！？]+(?:\s|$)")
_REASONS = frozenset(["because", "since", "therefore", "thus", "hence", "so", "however", "although", "but"])
_SELF = frozenset(["i", "i'm", "me", "my", "mine", "myself"])
_READER = frozenset(["you", "your", "yours", "yourself", "u"])
_CARELESS = frozenset(["lol", "u", "ur", "im", "dont", "cant", "wont", "thats"])


def style(texts: tuple[str, ...]) -> Float[Tensor, "N P"]:
    """(N, P) the numbers of `STYLE` for each text; counts as log(1 + count). The last four know English words alone."""
    if not texts:
        return torch.zeros(0, len(STYLE), dtype=torch.float64)
    return torch.tensor([_of(text) for text in texts], dtype=torch.float64)


@lru_cache(maxsize=1 << 16)
def _of(text: str) -> tuple[float, ...]:
    found = _WORD.findall(text)
    low = [word.lower() for word in found]
    many = max(1, len(found))
    sentences = max(1, len(_END.findall(text)))
    plain = text.strip()
    counts = [
        text.count("?"),
        text.count("!"),
        text.count(","),
        sum(not (c.isalnum() or c.isspace()) for c in text),
        sum(word.isdigit() for word in found),
        sum(text.count(mark) for mark in '"“«'),
    ]
    english = [sum(word in known for word in low) for known in (_REASONS, _SELF, _READER)]
    return (
        math.log1p(len(found)),
        math.log(sentences),
        math.log(many / sentences),
        sum(map(len, found)) / many,
        len(set(low)) / many**0.8,  # the share falls as texts grow; this hardly does
        sum(len(word) >= 7 for word in found) / many,
        *map(math.log1p, counts),
        float("http" in text or "www." in text),
        sum(word.isupper() and len(word) > 2 for word in found) / many,
        float(plain[:1].isupper()),
        float(bool(plain) and plain[-1] in ".!?…\"'”)"),
        *map(math.log1p, english),
        float(any(word in _CARELESS for word in low)),
    )
