"""The command line. Nothing heavy is imported before a verb needs it, so that help comes at once.

A verb is a function in one of the files here and an entry of that file's `VERBS`; nothing else lists it.
"""

import errno
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from pluralign import __version__
from pluralign.cli import answers, jobs, looking, models, policies

VERBS = {verb.name: verb for group in (jobs, answers, models, policies, looking) for verb in group.VERBS}

HELP = """\
pluralign: models of raters who differ, and policies that are fair to them.

Try it:
  pluralign simulate --out answers           # people in two camps answer questions about options
  pluralign leaderboard answers              # who predicts them best? table, verdict, report.html
  pluralign experiment maze --quick          # from answers to policies that leave nobody behind

Usage: pluralign VERB ...         (pluralign VERB --help tells more)

{verbs}

A FOLDER of answers holds comparisons.csv (rater_id, item_a, item_b, label = share of item_a) and items.csv (item_id,
features or text). Every run writes a folder with config.json, metrics.jsonl, versions.txt and report.html; a stopped
run goes on when the same command is typed again, and no folder is overwritten unless --overwrite is given.

Bad input ends with one sentence and exit code 2. PLURALIGN_DEBUG=1 shows where it came from.
"""

# One thread: small matrices gain nothing from more, and several runs can share a machine.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for bad input, 130 when stopped by Ctrl-C."""
    words = list(sys.argv[1:] if words is None else words)
    debug = os.environ.get("PLURALIGN_DEBUG") not in (None, "", "0")
    for name in THREADS:
        os.environ.setdefault(name, "1")
    warnings.showwarning = _note  # a sentence, not a place in somebody's code
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        _say("stopped. What was finished is kept: type the same command again to go on.")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, KeyError, OSError, ImportError, MemoryError) as problem:
        if debug:
            raise
        _say(sentence(problem))
        return 2
    except Exception as problem:
        if debug:
            raise
        if full(problem):
            _say(sentence(problem))
            return 2
        _say(f"this should not happen: {sentence(problem)} PLURALIGN_DEBUG=1 shows where; please report it.")
        return 1


# The words of numpy, and of the library that writes models, for a full disk.
_UNWRITTEN = re.compile(
    r"problem writing element|requested and \d+ written|serializing: I/O error.*os error (27|28|122)"
)


def full(problem: BaseException) -> bool:
    """Whether there was no room to write."""
    room = isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return room or bool(_UNWRITTEN.search(str(problem)))


def sentence(problem: BaseException) -> str:
    """What went wrong, in one sentence."""
    if full(problem):
        return "the disk is full, or files may not grow further: free some space and type the same command again; what was finished is kept."
    if isinstance(problem, MemoryError):
        return "there is not enough memory: take fewer answers, or a machine with more."
    if isinstance(problem, OSError) and problem.strerror and problem.filename:
        return _finished(f"{problem.filename}: {problem.strerror}{_MENDS.get(problem.errno or 0, '')}.")
    text = problem.args[0] if isinstance(problem, KeyError) and problem.args else str(problem)
    return _finished(" ".join(str(text).split())) or type(problem).__name__


_MENDS = {
    errno.EACCES: "; change its permissions, or name another place",
    errno.EPERM: "; change its permissions, or name another place",
    errno.EROFS: "; name a place that can be written to",
    errno.ENOENT: "; name a place that is there",
    errno.ENOTDIR: "; a file stands where a folder should: name another place",
    errno.EISDIR: "; a folder stands where a file should: name another place",
}


def _finished(text: str) -> str:
    """The sentence with the names that files will have, once they are whole."""
    part = re.compile(r"(?:^|(?<=[/'\s]))\.([^/\s']+)\.[0-9a-f]{8}\.part")
    while (found := part.sub(r"\1", text)) != text:
        text = found
    return text


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP.format(verbs="\n".join(verb.line() for verb in VERBS.values())), end="")
        return 0
    if words[0] in ("-V", "--version", "version"):
        print(f"pluralign {__version__}")
        return 0
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        import difflib

        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"no verb {verb!r}{hint}; there are {', '.join(VERBS)}.")
    try:
        VERBS[verb].run(rest)
        return 0
    except SystemExit as end:  # argparse after --help
        return int(end.code or 0)


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: Any = None,
) -> None:
    if issubclass(category, UserWarning) and not issubclass(category, DeprecationWarning):
        _say(" ".join(str(message).split()))


def _say(text: str) -> None:
    print(f"pluralign: {text}", file=sys.stderr)
