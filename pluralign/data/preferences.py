"""Preference files in the formats in use become a folder of answers; `pluralign import` is this."""

import gzip
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pluralign.data.errors import DataError, listed, nearest
from pluralign.data.judgements import Judged, Judgement, judged
from pluralign.data.messages import exchanges
from pluralign.data.records import json_lines
from pluralign.data.tables import read_table
from pluralign.data.templates import TEMPLATES
from pluralign.data.writing import Form, write

RATERS = (
    "rater_id", "rater", "annotator_id", "annotator", "user_id", "user", "worker_id", "worker", "labeler_id",
    "labeler", "labeller", "participant_id", "participant", "judge",
)  # fmt: skip
ANSWERS = ("completions", "responses", "answers", "candidates")
ONE = ("completion", "response", "answer", "text")
RANKS = ("ranking", "ranks", "rank")
CHOICES = ("chosen", "best", "choice", "preferred")
SCORES = ("ratings", "scores", "rating", "score")
VOTES = ("vote", "label")
WINS = {"a": 1.0, "model_a": 1.0, "first": 1.0, "b": 0.0, "model_b": 0.0, "second": 0.0, "tie": 0.5}
KEPT = ("session_id", "conversation_id", "set_id", "turn", "split", "role", "source", "language")
_SPLITS = {"train", "val", "valid", "validation", "dev", "test", "query", "adapt", "unused"}
Where = Callable[[int], str]


def import_preferences(
    path: str | Path,
    out: str | Path,
    *,
    rater: str | None = None,
    template: str | None = None,
    form: Form = "parquet",
    skip: bool = False,
    overwrite: bool = False,
) -> Judged:
    """Write the folder of answers that `pluralign.read` reads, from a file of preferences.

    Every different text is held once, with `prompt` and `answer` beside it. Nothing is fetched, and nothing is left
    behind where something is wrong.

    Args:
        path: .jsonl, .json, .parquet or .csv (.gz of the first and the last).
        out: a new folder.
        rater: the column with the rater; by default the first of RATERS that exists.
        template: the name of a well-known set, see `pluralign.data.templates`.
        form: of the tables.
        skip: leave out records that say nothing (an empty answer, the same answer twice), counted in a warning, instead
            of refusing the file.
        overwrite: replace a folder of answers.

    Raises:
        DataError: what is wrong, with file, row and field.
    """
    found = read_preferences(path, rater=rater, template=template, skip=skip)
    beside = found.raters if len(found.raters.columns) else None
    more = found.extra if len(found.extra.columns) else None
    write(
        found.data,
        out,
        form=form,
        extra=more,
        item_attributes=found.items,
        rater_attributes=beside,
        overwrite=overwrite,
    )
    return found


def read_preferences(
    path: str | Path, *, rater: str | None = None, template: str | None = None, skip: bool = False
) -> Judged:
    """The answers in a file of preferences; see `import_preferences`."""
    records, where = records_of(path)
    source = Path(path).name
    if template is not None:
        if template not in TEMPLATES:
            raise DataError(
                f"no template is called {template!r}{nearest(template, TEMPLATES)}; there are {listed(TEMPLATES)}."
            )
        turned: Iterable[tuple[int, Mapping[str, Any]]] = TEMPLATES[template](records, where)
        rater = "rater_id"
    else:
        rater = _rater(records, rater, source)
        turned = enumerate(records)
    every: list[Judgement] = []
    lost, first = 0, ""
    for row, record in turned:
        try:
            every += judgements(record, rater, partial(_field, where, row))
        except DataError as problem:
            if not skip:
                raise
            lost, first = lost + 1, first or str(problem)
    if lost:
        are = "record is" if lost == 1 else "records are"
        warnings.warn(f"{lost} {are} left out, the first because {first}", stacklevel=3)
    if not every:
        raise DataError(f"{source} has no record with an answer; give another file or template.")
    return judged(every)


def records_of(path: str | Path) -> tuple[list[dict[str, Any]], Where]:
    """The records of a file, and how to name one of them.

    Raises:
        DataError: the file cannot be read, or is of no known kind.
    """
    path = Path(path)
    kind = path.name.removesuffix(".gz")
    if not path.is_file():
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        if path.is_dir():
            raise DataError(
                f"{path} is a folder; give a file of preferences (.jsonl, .json, .parquet or .csv)."
            )
        raise DataError(f"{path} is not a file{nearest(path.name, beside)}; give a file of preferences.")
    if kind.endswith((".jsonl", ".ndjson")):
        records, numbers = json_lines(path)
        where: Where = lambda row: f"{path.name}, line {numbers[row]}"
    elif kind.endswith(".json"):
        records, where = _json(path), lambda row: f"{path.name}, record {row + 1}"
    elif path.suffix == ".parquet":
        table = read_table(path)
        records, where = table.data.to_pylist(), table.row
    elif kind.endswith(".csv"):
        records, where = _csv(path), lambda row: f"{path.name}, row {row + 2} (the header is row 1)"
    else:
        raise DataError(
            f"{path.name} should end in .jsonl, .json, .parquet or .csv; rename or convert the file."
        )
    if not records:
        raise DataError(f"{path.name} should hold at least one record, it is empty; add records.")
    for row, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise DataError(
                f"{where(row)}: an object with named fields is expected, got {type(record).__name__}; correct it."
            )
    return records, where


def judgements(record: Mapping[str, Any], rater: str, where: Callable[[str], str]) -> Iterator[Judgement]:
    """What one record says: a pair, a choice of several, a ranking, ratings or a vote.

    Raises:
        DataError: the record says nothing that is known.
    """
    who = record.get(rater)
    if who is None or str(who).strip() == "":
        raise DataError(f"{where(rater)}: a rater is expected, got none; fill it or drop the record.")
    more = {k: v for k in KEPT if (v := record.get(k)) is not None and isinstance(v, str | int | float)}
    if not {str(more.get(name, "")).lower() for name in ("split", "role")} <= _SPLITS | {""}:
        more = {k: v for k, v in more.items() if k not in ("split", "role")}
    about = record.get("rater_attributes") or {}
    prompt = next(
        (record[n] for n in ("prompt", "instruction", "question") if record.get(n) is not None), None
    )
    make = lambda found, form, value: Judgement(str(who), found, form, tuple(map(float, value)), more, about)
    several = _first(record, ANSWERS)
    single = _first(record, ONE)
    choice = _first(record, CHOICES)
    if several is not None:
        given = _list(record[several], where(several))
        found = exchanges(prompt, given, [f"{several}[{k}]" for k in range(len(given))], where)
        ranks, scores = _first(record, RANKS), _first(record, SCORES)
        if ranks is not None:
            yield make(found, "ranking", _ranks(_list(record[ranks], where(ranks)), len(found), where(ranks)))
        elif choice is not None:
            yield make(found, "share", _chosen(record[choice], given, where(choice)))
        elif scores is not None:
            value = _list(record[scores], where(scores))
            yield make(found, "rating", _numbers(value, len(found), where(scores)))
        else:
            raise DataError(
                f"{where(several)}: a ranking ({listed(RANKS)}), a choice ({listed(CHOICES)}) or ratings "
                f"({listed(SCORES)}) must stand beside, the record has {listed(record)}; add one."
            )
    elif record.get("chosen") is not None and record.get("rejected") is not None:
        lost = record["rejected"]
        lost = list(lost) if _texts(lost) else [lost]
        names = [
            "chosen",
            *(["rejected"] if len(lost) == 1 else [f"rejected[{k}]" for k in range(len(lost))]),
        ]
        found = exchanges(prompt, [record["chosen"], *lost], names, where)
        yield make(found, "share", [1.0, *[0.0] * len(lost)])
    elif (pair := _pair(record)) is not None:
        found = exchanges(prompt, [record[name] for name in pair], list(pair), where)
        share = _share(record, where)
        yield make(found, "share", [share, 1 - share])
    elif single is not None and (scored := _first(record, SCORES)) is not None:
        found = exchanges(prompt, [record[single]], [single], where)
        yield make(found, "rating", _numbers([record[scored]], 1, where(scored)))
    elif single is not None and (voted := _first(record, VOTES)) is not None:
        found = exchanges(prompt, [record[single]], [single], where)
        yield make(found, "vote", [_vote(record[voted], where(voted))])
    else:
        for name in ("chosen", "rejected"):
            if name in record and record[name] is None:
                raise DataError(
                    f"{where(name)}: an answer is expected, got none; fill it or drop the record."
                )
        near = nearest("chosen", record)
        raise DataError(
            f"{where('chosen')}: `chosen` and `rejected`, a list of answers with ranks, ratings or a choice, two "
            f"answers and a winner, or one answer with a rating or a vote is expected, the record has "
            f"{listed(record)}{near}; rename the fields or give a template."
        )


def _field(where: Where, row: int, name: str) -> str:
    return f"{where(row)}, field {name!r}"


def _json(path: Path) -> list[Any]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            found = json.load(file)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path.name} cannot be read as JSON ({error}); copy it again.") from error
    if not isinstance(found, list):
        raise DataError(f"{path.name} should be a list of records, it is {type(found).__name__}; use .jsonl.")
    return found


def _csv(path: Path) -> list[Any]:
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (ValueError, OSError, EOFError, pd.errors.ParserError) as error:
        raise DataError(f"{path.name} cannot be read as csv ({error}); export it again.") from error
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _rater(records: list[Any], rater: str | None, source: str) -> str:
    names = list(dict.fromkeys(name for record in records[:100] for name in record))
    if rater is None:
        found = next((name for name in RATERS if name in names), None)
        if found is None:
            raise DataError(
                f"{source} needs a column with the rater, it has {listed(names)}; name it with --rater COLUMN."
            )
        return found
    if rater not in names:
        raise DataError(
            f"{source} has no column {rater!r}{nearest(rater, names)}, it has {listed(names)}; name the rater's."
        )
    return rater


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if record.get(name) is not None), None)


def _pair(record: Mapping[str, Any]) -> tuple[str, str] | None:
    for stem in ("response", "completion", "answer", "conversation", "text", "output"):
        for one, other in (("a", "b"), ("0", "1"), ("1", "2")):
            for join in ("_", ""):
                names = (f"{stem}{join}{one}", f"{stem}{join}{other}")
                if all(record.get(name) is not None for name in names):
                    return names
    return None


def _list(value: Any, where: str) -> list[Any]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list):
        raise DataError(f"{where}: a list is expected, got {str(value)[:40]!r}; convert it.")
    return value


def _texts(value: Any) -> bool:
    """Whether a value is several answers, and not one answer made of messages."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return isinstance(value, list) and bool(value) and not isinstance(value[0], dict)


def _numbers(value: list[Any], count: int, where: str) -> list[float]:
    if len(value) != count:
        raise DataError(f"{where}: {count} numbers are expected, one for each answer, got {len(value)}.")
    try:
        found = [float(one) for one in value]
    except (TypeError, ValueError):
        raise DataError(f"{where}: numbers are expected, got {value!r}; correct them.") from None
    if not all(np.isfinite(found)):
        raise DataError(f"{where}: finite numbers are expected, got {value!r}; correct them.")
    return found


def _ranks(value: list[Any], count: int, where: str) -> list[float]:
    found = _numbers(value, count, where)
    if len(set(found)) < count:
        raise DataError(
            f"{where}: every answer needs a rank of its own, got {value!r}; give ratings for ties."
        )
    return found


def _chosen(value: Any, given: list[Any], where: str) -> list[float]:
    """One share for each answer: the chosen one is told by its place, counted from 0, or by its text."""
    place = given.index(value) if value in given else value
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(given):
        raise DataError(
            f"{where}: a place from 0 to {len(given) - 1} or one of the answers is expected, got {str(value)[:40]!r}; "
            "correct it."
        )
    return [float(k == place) for k in range(len(given))]


def _share(record: Mapping[str, Any], where: Callable[[str], str]) -> float:
    name = _first(record, ("winner", "preference", "preferred", "share", "label"))
    if name is None:
        raise DataError(
            f"{where('winner')}: who won must stand beside two answers, the record has {listed(record)}; add it."
        )
    value = record[name]
    word = str(value).strip().lower()
    if isinstance(value, str) and (word in WINS or word.removeprefix("response_") in WINS):
        return WINS.get(word, WINS.get(word.removeprefix("response_"), 0.5))
    if isinstance(value, str) and word.startswith("tie"):
        return 0.5
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise DataError(
        f"{where(name)}: {listed(WINS)} or the share of the first answer in [0, 1] is expected, got {value!r}; recode it."
    )


def _vote(value: Any, where: str) -> float:
    if isinstance(value, bool):
        return 1.0 if value else -1.0
    if isinstance(value, int | float) and value in (1, -1, 0):
        return float(value)
    raise DataError(f"{where}: true, false, 1, -1 or 0 (a pass) is expected, got {value!r}; recode it.")
