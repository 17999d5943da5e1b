"""What was asked and what was answered: plain texts, or lists of messages with a role and a content."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pluralign.data.errors import DataError, listed, nearest

ROLES = ("system", "developer", "user", "assistant", "tool")
_MARK = "\n\nAssistant:"  # of conversations written as one text
Where = Callable[[str], str]


@dataclass(frozen=True)
class Exchange:
    """One answer to one prompt.

    Attributes:
        prompt: a text, or the JSON of a list of messages; "" where there was none.
        answer: the text of the answer.
        text: both, as one text; after messages, "role: content".
    """

    prompt: str
    answer: str
    text: str


def exchanges(prompt: Any, answers: list[Any], names: list[str], where: Where) -> tuple[Exchange, ...]:
    """The answers to a prompt; where the prompt is part of the answers, it is what they share in front.

    Args:
        prompt: a text, a list of messages, or None.
        answers: texts or lists of messages.
        names: of the answers' fields, for messages of error.
        where: the place of a field in somebody's file.

    Raises:
        DataError: an answer is empty, two are the same, a role is unknown, or a field is neither text nor messages.
    """
    asked = messages(prompt, where("prompt"))
    given = [messages(answer, where(name)) for answer, name in zip(answers, names)]
    given = [_without(asked, answer) for answer in given]
    if asked in ("", []) and len(given) > 1:
        asked, given = _shared(given)
    head = said(asked)
    found = []
    for answer, name in zip(given, names):
        plain = _plain(answer)
        if not plain.strip():
            raise DataError(f"{where(name)}: an answer is expected, got an empty text; drop the record.")
        # The same answer is the same text, whether it came as a message or plain.
        turn = plain if isinstance(asked, str) else said(_spoken(answer))
        whole = "\n\n".join(part for part in (head, turn) if part)
        found.append(Exchange(asked if isinstance(asked, str) else dumped(asked), plain, whole))
    texts = [one.text for one in found]
    for place, text in enumerate(texts):
        if text in texts[:place]:
            same = names[texts.index(text)]
            raise DataError(f"{where(names[place])}: is the same text as {same!r}; drop the record.")
    return tuple(found)


def messages(value: Any, where: str) -> Any:
    """A text as it is; a list of messages as dictionaries of `role` and `content`."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray):  # Hugging Face datasets through pandas
        value = value.tolist()
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise DataError(
            f"{where}: a text or a list of messages with `role` and `content` is expected, got "
            f"{str(value)[:60]!r}; convert it."
        )
    for one in value:
        if not isinstance(one.get("role"), str) or not isinstance(one.get("content"), str):
            raise DataError(
                f"{where}: a message needs a `role` and a `content`, both texts, it has {listed(one)}; convert it."
            )
        if one["role"] not in ROLES:
            raise DataError(
                f"{where}: a role among {listed(ROLES)} is expected, got {one['role']!r}"
                f"{nearest(one['role'], ROLES)}; rename it."
            )
    return [{"role": one["role"], "content": one["content"]} for one in value]


def said(turn: Any) -> str:
    """A text as it is; of messages, "role: content"."""
    return turn if isinstance(turn, str) else "\n\n".join(f"{one['role']}: {one['content']}" for one in turn)


def dumped(turns: list[dict[str, str]]) -> str:
    """Messages as the JSON that `prompts` columns hold."""
    return json.dumps(turns, ensure_ascii=False)


def turns_of(prompt: str) -> list[dict[str, str]]:
    """The messages of a prompt; a plain text is one message of the user, an empty one none."""
    if prompt.startswith('[{"role": '):
        return json.loads(prompt)
    return [{"role": "user", "content": prompt}] if prompt else []


def _plain(answer: Any) -> str:
    if isinstance(answer, str):
        return answer
    if all(one["role"] == "assistant" for one in answer):
        return "\n\n".join(one["content"] for one in answer)
    return said(answer)


def _spoken(answer: Any) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": answer}] if isinstance(answer, str) else answer


def _without(asked: Any, answer: Any) -> Any:
    """The answer without the prompt, where it repeats it in front as messages."""
    if not isinstance(answer, list) or not asked:
        return answer
    front = asked if isinstance(asked, list) else [{"role": "user", "content": asked}]
    return answer[len(front) :] if answer[: len(front)] == front else answer


def _shared(given: list[Any]) -> tuple[Any, list[Any]]:
    """What all answers begin with, and the rest of each."""
    if all(isinstance(answer, list) for answer in given):
        length = min(map(len, given)) - 1
        same = 0
        while same < length and all(answer[same] == given[0][same] for answer in given):
            same += 1
        return given[0][:same] if same else "", [answer[same:] for answer in given]
    if all(isinstance(answer, str) and _MARK in answer for answer in given):
        heads = {answer[: answer.rindex(_MARK) + len(_MARK)] for answer in given}
        if len(heads) == 1:
            head = heads.pop()
            return head.strip(), [answer[len(head) :].strip() for answer in given]
    return "", given
