"""The smallest causal model: the chances of the next token are a row of a table. Answers of one token make it a bandit."""

from types import SimpleNamespace

import torch

from pluralign.language.writer import Writer

WORDS = ("<pad>", "<end>", "ask", "left", "right", "both")


class Bigrams(torch.nn.Module):
    """(V, V) logits of the next token, by the last."""

    def __init__(self, table):
        super().__init__()
        self.table = torch.nn.Parameter(table.clone())
        self.config = SimpleNamespace(max_position_embeddings=None, vocab_size=len(table))
        self.generation_config = SimpleNamespace(eos_token_id=None)

    def forward(self, input_ids, **_):
        return SimpleNamespace(logits=self.table[input_ids], past_key_values=None)


class Words:
    """Whole words, as transformers' tokenizers are called."""

    pad_token_id, bos_token_id, chat_template, model_max_length = 0, None, None, 64

    def __init__(self, end=None):
        self.eos_token_id = end

    def __call__(self, texts, **_):
        return {"input_ids": [[WORDS.index(word) for word in text.split()] for text in texts]}

    def batch_decode(self, rows, **_):
        return [" ".join(WORDS[k] for k in row if k > 1) for row in rows]


def bandit():
    """A writer that answers "ask" by "left", "right" or "both", one token, all alike."""
    table = torch.full((6, 6), -30.0)
    table[:, 3:] = 0.0
    return Writer(Bigrams(table), Words(), "bandit", most=1, longest=8)


__all__ = ["WORDS", "Bigrams", "Words", "bandit"]
