"""The command line. Nothing heavy is imported before a verb needs it, so that help comes at once."""

import argparse
import errno
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pluralign import __version__

HELP = """\
pluralign: models of raters who differ, and policies that are fair to them.

Try it:
  pluralign simulate --out answers           # people in two camps answer questions about options
  pluralign leaderboard answers              # who predicts them best? table, verdict, report.html
  pluralign experiment maze --quick          # from answers to policies that leave nobody behind

Usage: pluralign VERB ...         (pluralign VERB --help tells more)

  experiment WORLD            simulate raters, fit, optimise, judge, and write a report with pictures
  leaderboard FOLDER          every population model on anybody's answers, one protocol, a plain verdict
  simulate --out FOLDER       answers of simulated people whose tastes are known
  fit POPULATION FOLDER       fit one population model and save what it believes
  evaluate RUN FOLDER         how well a fitted model predicts a folder of answers
  adapt RUN FOLDER            what a few answers say of raters the model never met
  report RUN                  build report.html again from the tables of a run
  list KIND                   populations, recipes, rules, utilities, people, worlds

A FOLDER of answers holds comparisons.csv (rater_id, item_a, item_b, label = share of item_a) and items.csv (item_id,
features or text). Every run writes a folder with config.json, metrics.jsonl, versions.txt and report.html; a stopped
run goes on when the same command is typed again, and no folder is overwritten unless --overwrite is given.

Bad input ends with one sentence and exit code 2. PLURALIGN_DEBUG=1 shows where it came from.
"""

# One thread: small matrices gain nothing from more, and several runs can share a machine.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Parser(argparse.ArgumentParser):
    """argparse with one sentence for an error."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; `{self.prog} --help` tells how it goes.")


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
        _say(f"this should not happen: {sentence(problem)} PLURALIGN_DEBUG=1 shows where; please report it.")
        return 1


def sentence(problem: BaseException) -> str:
    """What went wrong, in one sentence."""
    if isinstance(problem, OSError) and problem.errno == errno.ENOSPC:
        return "the disk is full: free some space and type the same command again; what was finished is kept."
    if isinstance(problem, MemoryError):
        return "there is not enough memory: take fewer answers, or a machine with more."
    if isinstance(problem, OSError) and problem.strerror and problem.filename:
        return f"{problem.filename}: {problem.strerror}."
    text = problem.args[0] if isinstance(problem, KeyError) and problem.args else str(problem)
    return " ".join(str(text).split()) or type(problem).__name__


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
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
        return VERBS[verb](rest) or 0
    except SystemExit as end:  # argparse after --help
        return int(end.code or 0)


def _parser(verb: str, about: str, **more: Any) -> Parser:
    return Parser(f"pluralign {verb}", description=about, **more)


def _common(parser: Parser, *, out: str | None = None, overwrite: bool = True) -> None:
    if out is not None:
        parser.add_argument("--out", type=Path, help=out)
    if overwrite:
        parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")


def _answers(parser: Parser) -> None:
    parser.add_argument(
        "--answers",
        choices=("auto", "comparisons", "votes"),
        default="auto",
        help="which answers, where a folder has both (default: comparisons)",
    )


def _leaderboard(words: list[str]) -> None:
    parser = _parser(
        "leaderboard",
        "Judge every population model on the answers in FOLDER, by its own split or by one that is made. Writes "
        "leaderboard.csv, verdict.json and report.html.",
    )
    parser.add_argument("folder", type=Path, help="a folder of answers")
    _common(parser, out="the run folder (default: runs/leaderboard-NAME)")
    _answers(parser)
    parser.add_argument(
        "--populations", nargs="+", default=(), metavar="NAME", help="only these, recipes too (and pooled)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of splits, fits and resampling (default: 0)")
    given = parser.parse_args(words)
    from pluralign.lab.leaderboard import leaderboard

    found = leaderboard(
        given.folder,
        given.out,
        answers=given.answers,
        populations=given.populations,
        seed=given.seed,
        overwrite=given.overwrite,
    )
    print(f"{found}\n\n{found.folder / 'report.html'}")


def _simulate(words: list[str]) -> None:
    parser = _parser(
        "simulate",
        "Answers of simulated people, with the truth beside: truth.csv (tastes) and truth_share.npy (chances).",
    )
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    from pluralign.lab.settings import add_settings, settings_of
    from pluralign.lab.simulate import Simulate

    add_settings(parser, Simulate, "people and questions")
    given = parser.parse_args(words)
    world = Simulate(**settings_of(Simulate, given))
    world.write(given.out)
    print(
        f"{world.raters * world.answers:,} answers of {world.raters:,} people ({world.population}) are in {given.out}"
    )


def _fit(words: list[str]) -> None:
    parser = _parser(
        "fit",
        "Fit one population model, or a published recipe, to the training answers of FOLDER and save it. `pluralign fit "
        "POPULATION --help` shows its settings, `pluralign list populations` the names.",
    )
    parser.add_argument("population", help="a population or a recipe, for example camps or maxmin_mixture")
    if words and not words[0].startswith("-"):
        from pluralign.lab.naming import model_named
        from pluralign.lab.settings import add_settings

        base = model_named(words[0])
        add_settings(parser, base, f"settings of {words[0]}")
    parser.add_argument("folder", type=Path, help="a folder of answers")
    _common(parser, out="the run folder (default: runs/fit-POPULATION-NAME)")
    _answers(parser)
    parser.add_argument(
        "--utility", metavar="NAME", help="what an option is worth (default: linear; a recipe's own)"
    )
    parser.add_argument(
        "--choice", metavar="RULE", help="how worths become answers (default: Luce; a recipe's own)"
    )
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    given = parser.parse_args(words)
    from pluralign.lab.fitting import fit, open_run
    from pluralign.lab.settings import settings_of

    settings = settings_of(type(base), given)
    for name in ("seed", "utility", "rule"):
        settings.pop(name, None)
    out = given.out or Path("runs") / f"fit-{given.population}-{given.folder.resolve().name}"
    made = fit(
        given.population,
        given.folder,
        out,
        settings,
        utility=given.utility,
        rule=given.choice,
        answers=given.answers,
        seed=given.seed,
        overwrite=given.overwrite,
    )
    facts = open_run(made)[1]
    print(facts["diagnosis"]["verdict"], *(f"! {text}" for text in facts["warnings"]), sep="\n")
    print(f"the model is in {made}/model, the report is {made / 'report.html'}")


def _evaluate(words: list[str]) -> None:
    parser = _parser(
        "evaluate", "Judge a fitted model on the answers in FOLDER, by its split where it has one."
    )
    parser.add_argument("run", type=Path, help="a run folder that `pluralign fit` wrote")
    parser.add_argument("folder", type=Path, help="a folder of answers")
    parser.add_argument("--out", type=Path, help="write the tables to this .csv, too")
    parser.add_argument("--strict", action="store_true", help="refuse raters that the model never met")
    _common(parser)
    _answers(parser)
    given = parser.parse_args(words)
    if given.out is not None and given.out.exists() and not given.overwrite:
        raise FileExistsError(f"{given.out} exists already; name a new file or give --overwrite.")
    from pluralign.lab.fitting import evaluate_run
    from pluralign.lab.run import write_text

    tables = evaluate_run(given.run, given.folder, answers=given.answers, strict=given.strict)
    label = {"seen": "known raters", "items": "new options", "unseen": "new raters", "all": "all answers"}
    for name, found in tables.items():
        print(f"{label[name]}\n{found}\n")
    if given.out is not None:
        import pandas as pd

        frame = pd.concat([found.frame().assign(raters=name) for name, found in tables.items()])
        write_text(given.out, frame.to_csv(index=False, float_format="%.9g"))


def _adapt(words: list[str]) -> None:
    parser = _parser(
        "adapt", "Tastes of raters the model never met, with intervals, from the answers in FOLDER."
    )
    parser.add_argument("run", type=Path, help="a run folder that `pluralign fit` wrote")
    parser.add_argument("folder", type=Path, help="a folder of answers of the new raters")
    parser.add_argument("--out", type=Path, required=True, help="a new .csv or .json")
    _common(parser)
    _answers(parser)
    given = parser.parse_args(words)
    if given.out.exists() and not given.overwrite:
        raise FileExistsError(f"{given.out} exists already; name a new file or give --overwrite.")
    from pluralign.lab.fitting import adapt_run
    from pluralign.lab.tastes import write_tastes

    found = adapt_run(given.run, given.folder, answers=given.answers)
    write_tastes(found, given.out, overwrite=given.overwrite)
    print(f"tastes of {found.rater_id.nunique():,} raters are in {given.out}")


def _report(words: list[str]) -> None:
    parser = _parser("report", "Build report.html again from the tables in a run folder.")
    parser.add_argument("run", type=Path, help="a run folder")
    given = parser.parse_args(words)
    from pluralign.lab.run import read_config

    command = read_config(given.run).get("command")
    import importlib

    homes = {
        "leaderboard": "leaderboard_report",
        "fit": "fitting",
        "experiment maze": "maze_report",
        "experiment": "experiment_report",
    }
    if command not in homes:
        raise ValueError(f"{given.run} is a run of {command!r}, of which there is no report.")
    write_report = importlib.import_module(f"pluralign.lab.{homes[command]}").write_report
    print(write_report(given.run))


def _list(words: list[str]) -> None:
    parser = _parser("list", "What there is to choose from.")
    parser.add_argument("kind", help="populations, recipes, rules, utilities, people or worlds")
    given = parser.parse_args(words)
    from pluralign.lab.listing import listing

    found = listing(given.kind)
    wide = max(len(name) for name, _ in found) + 2
    for name, about in found:
        print(f"{name:<{wide}}{about}")


def _experiment(words: list[str]) -> None:
    about = (
        "The whole way, from answers to policies, in one world. The maze has an experiment of its own; given a "
        "--population, a --model or a --welfare it is treated like any other world. `pluralign experiment WORLD --help` "
        "shows the settings."
    )
    parser = _parser("experiment", about)
    parser.add_argument(
        "world", help="maze, large-maze, safety, reacher, crowd, pusher, cheetah, walker or ant"
    )
    if not words or words[0].startswith("-"):
        parser.parse_args(words)
        return
    from pluralign.lab.settings import add_settings, settings_of

    try:
        from pluralign.lab.beds import bed
        from pluralign.lab.experiment import Experiment
        from pluralign.lab.maze import Maze
    except ImportError as problem:
        raise ImportError(
            f"experiments need more packages ({problem}); install pluralign with the extra `control`."
        ) from problem
    bed(words[0])
    own = words[0] == "maze" and not {w.partition("=")[0] for w in words} & {
        "--population",
        "--model",
        "--welfare",
    }
    kind: Any = Maze if own else Experiment
    _common(parser, out=f"the run folder (default: runs/{words[0]})")
    add_settings(parser, kind, "settings of the experiment")
    if own:
        more = parser.add_argument_group("like any other world")
        for name in ("population", "model", "welfare"):
            more.add_argument(f"--{name}", metavar="NAME", help="see `pluralign experiment cheetah --help`")
    else:
        parser.add_argument("--jobs", type=int, default=1, help="seeds to run side by side (default: 1)")
    given = parser.parse_args(words)
    out = given.out or Path("runs") / given.world
    if own:
        Maze(**settings_of(Maze, given)).run(out, given.overwrite)
    else:
        Experiment(**settings_of(Experiment, given)).run(out, given.overwrite, given.jobs)


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


VERBS: dict[str, Callable[[list[str]], int | None]] = {
    "experiment": _experiment,
    "leaderboard": _leaderboard,
    "simulate": _simulate,
    "fit": _fit,
    "evaluate": _evaluate,
    "adapt": _adapt,
    "report": _report,
    "list": _list,
}
