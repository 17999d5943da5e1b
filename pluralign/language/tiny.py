"""A tiny honest world of language: texts with planted tastes, small random models, tokenizers trained on the spot.

Everything is made here, offline, in a second or two. What people like in a text is known by construction: how long it
is, how formal, how warm, and what it speaks of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.judgements import text_id
from pluralign.data.options import Items, Texts
from pluralign.language.needs import need
from pluralign.raters.factors import Factors
from pluralign.raters.simulated import SimulatedRaters
from pluralign.streams import Seed, Streams

FACTORS = ("length", "formality", "warmth", "topic")
WORDS = {
    "formal": [
        "therefore",
        "furthermore",
        "regarding",
        "consequently",
        "accordingly",
        "notwithstanding",
        "henceforth",
        "pursuant",
    ],
    "casual": ["yeah", "gonna", "stuff", "okay", "kinda", "cool", "hey", "dude"],
    "warm": ["lovely", "kind", "happy", "gentle", "bright", "friendly", "sweet", "glad"],
    "cold": ["harsh", "grim", "bitter", "bleak", "rude", "stern", "cruel", "dull"],
    "nature": ["river", "forest", "meadow", "heron", "moss", "willow", "otter", "stone"],
    "city": ["tram", "harbour", "market", "tower", "bridge", "station", "alley", "lamp"],
    "plain": [
        "the",
        "a",
        "of",
        "and",
        "in",
        "with",
        "it",
        "that",
        "is",
        "was",
        "for",
        "on",
        "as",
        "at",
        "by",
        "to",
    ],
}
QUESTIONS = [
    "what",
    "tell",
    "describe",
    "explain",
    "how",
    "where",
    "why",
    "who",
    "should",
    "could",
    "is",
    "about",
]
_SIDES = (("formal", "casual"), ("warm", "cold"), ("nature", "city"))
Kind = Literal["llama", "gpt2", "bert"]


@dataclass(frozen=True)
class TinyWorld:
    """P prompts with A answers each, and the people who compare them.

    Attributes:
        prompts: P texts.
        data: M answers over P A texts.
        prompt, answer: N texts each: what was asked, what was answered.
        factors: (N, 4) length, formality, warmth, topic; mean 0, variance 1 over the answers.
        taste: (R, 4) the truth, utils per standard deviation.
        group: (R,) the camp of each rater.
        share: (M, 2) the true chance of each place.
    """

    prompts: tuple[str, ...]
    data: Comparisons
    prompt: tuple[str, ...]
    answer: tuple[str, ...]
    factors: Float[Tensor, "N F"]
    taste: Float[Tensor, "R F"]
    group: Int[Tensor, " R"]
    share: Float[Tensor, "M K"]

    def records(self) -> list[dict[str, Any]]:
        """The answers as lines of a preference file: rater_id, prompt, chosen, rejected."""
        first, second, share = self.data.as_pairs()
        won = torch.where(share > 0.5, first, second).tolist()
        lost = torch.where(share > 0.5, second, first).tolist()
        assert self.data.rater_ids is not None
        return [
            {
                "rater_id": self.data.rater_ids[r],
                "prompt": self.prompt[w],
                "chosen": self.answer[w],
                "rejected": self.answer[x],
            }
            for r, w, x in zip(self.data.rater.tolist(), won, lost)
        ]


def tiny_world(
    *,
    prompts: int = 40,
    answers: int = 4,
    raters: int = 40,
    per_rater: int = 30,
    centres: Sequence[Sequence[float]] = ((1.0, 1.5, 0.0, 0.0), (-1.0, 0.0, 1.5, 0.0)),
    share: Sequence[float] = (0.5, 0.5),
    sharpness: float = 1.0,
    asked: int = 8,
    seed: Seed = 0,
) -> TinyWorld:
    """Draw texts and people, and let them answer by the Bradley-Terry rule.

    Args:
        prompts, answers: P questions, and A answers to each.
        raters, per_rater: people, and answers of each about two answers to one question.
        centres: (G, 4) tastes of the camps, utils per standard deviation of length, formality, warmth, topic.
        share: of the people in each camp.
        sharpness: factor on all tastes.
        asked: words in a question.
        seed: of everything.
    """
    streams = Streams.of(seed)
    draw = np.random.default_rng(streams.number("texts"))
    questions = tuple(
        " ".join(draw.choice(QUESTIONS + WORDS["plain"], asked)) + f" {p} ?" for p in range(prompts)
    )
    prompt, answer, raw = [], [], []
    for question in questions:
        told: dict[str, list[float]] = {}
        while len(told) < answers:
            text, numbers = _written(draw)
            told.setdefault(text, numbers)
        prompt += [question] * answers
        answer += list(told)
        raw += list(told.values())
    factors = torch.tensor(np.array(raw))
    factors = (factors - factors.mean(0)) / factors.std(0, correction=0)
    whole = [f"{one}\n\n{other}" for one, other in zip(prompt, answer)]
    options = Texts(tuple(whole), None, tuple(map(text_id, whole)))
    edges = (torch.tensor(share).cumsum(0) * raters).round().long()
    camps = torch.searchsorted(edges, torch.arange(raters), right=True).clamp(max=len(centres) - 1)
    taste = sharpness * torch.tensor(centres).double()[camps]
    people = SimulatedRaters(Factors(), taste, group=camps)
    who = torch.arange(raters).repeat_interleave(per_rater)
    pick = streams("questions")
    about = torch.randint(prompts, (len(who),), generator=pick)
    first = torch.randint(answers, (len(who),), generator=pick)
    second = (first + 1 + torch.randint(answers - 1, (len(who),), generator=pick)) % answers
    slate = about[:, None] * answers + torch.stack([first, second], 1)
    items = Items(factors, options.ids)
    said = people.answer(items, slate, who, streams("answers"))
    data = Comparisons(options, said.slate, said.rater, said.label, rater_ids=said.rater_ids)
    chance = people.share(items, said.slate, said.rater)
    return TinyWorld(questions, data, tuple(prompt), tuple(answer), factors, taste, camps, chance)


def measured(texts: Sequence[str], like: Sequence[str]) -> Float[Tensor, "N F"]:
    """(N, 4) the factors of any answers in this world's words, on the scale of the answers `like` (mean 0, variance 1)."""
    side = {
        word: (k, sign)
        for k, pair in enumerate(_SIDES)
        for name, sign in zip(pair, (1, -1))
        for word in WORDS[name]
    }

    def numbers(text: str) -> list[float]:
        words = text.split()
        sums = [0, 0, 0]
        for word in words:
            k, sign = side.get(word, (0, 0))
            sums[k] += sign
        return [float(len(words)), *(total / max(len(words), 1) for total in sums)]

    base = torch.tensor([numbers(text) for text in like])
    found = torch.tensor([numbers(text) for text in texts]).reshape(-1, len(FACTORS))
    return ((found - base.mean(0)) / base.std(0, correction=0)).double()


def _written(draw: np.random.Generator) -> tuple[str, list[float]]:
    """An answer, and its four factors: words, and the mean of formal - casual, warm - cold, nature - city words."""
    count = int(draw.integers(3, 15))
    chance = draw.random(3)
    kind = draw.integers(0, 4, count)
    words, sums = [], [0, 0, 0]
    for k in kind.tolist():
        if k == 3:
            words.append(str(draw.choice(WORDS["plain"])))
            continue
        side = draw.random() < chance[k]
        words.append(str(draw.choice(WORDS[_SIDES[k][0 if side else 1]])))
        sums[k] += 1 if side else -1
    return " ".join(words), [float(count), *(total / count for total in sums)]


def tiny_tokenizer(texts: Sequence[str], *, chat: bool = False) -> Any:
    """A tokenizer of whole words, trained on `texts`; with a small chat template where wanted."""
    tokenizers, transformers = need("tokenizers"), need("transformers")
    special = ["<pad>", "<unk>", "<end>", "<user>", "<assistant>"]
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="<unk>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    raw.train_from_iterator(
        texts, tokenizers.trainers.WordLevelTrainer(special_tokens=special, show_progress=False)
    )
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>", eos_token="<end>", model_max_length=512
    )
    if chat:
        made.chat_template = (
            "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} <end> {% endfor %}"
            "{% if add_generation_prompt %}<assistant> {% endif %}"
        )
    return made


def tiny_model(
    vocabulary: int,
    kind: Kind = "llama",
    *,
    width: int = 64,
    layers: int = 2,
    head: bool = False,
    seed: Seed = 0,
) -> Any:
    """A model with random weights; causal ("llama", "gpt2", with a head that predicts tokens where wanted) or an encoder ("bert")."""
    transformers = need("transformers")
    if kind == "llama":
        config = transformers.LlamaConfig(
            vocab_size=vocabulary, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
            num_attention_heads=4, max_position_embeddings=512,
        )  # fmt: skip
    elif kind == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=vocabulary, n_embd=width, n_layer=layers, n_head=4, n_positions=512
        )
    elif kind == "bert":
        config = transformers.BertConfig(
            vocab_size=vocabulary, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
            num_attention_heads=4, max_position_embeddings=512,
        )  # fmt: skip
    else:
        raise ValueError(f'`kind` must be "llama", "gpt2" or "bert", got {kind!r}.')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(Streams.of(seed).number("weights"))
        made = transformers.AutoModelForCausalLM if head else transformers.AutoModel
        model = made.from_config(config)
    return model.float().eval()


def write_tiny_backbone(
    folder: str | Path,
    texts: Sequence[str],
    kind: Kind = "llama",
    *,
    chat: bool = False,
    seed: Seed = 0,
    width: int = 64,
) -> Path:
    """A folder that transformers reads: a random model and a tokenizer trained on `texts`."""
    tokenizer = tiny_tokenizer(texts, chat=chat)
    tiny_model(len(tokenizer), kind, width=width, seed=seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)
