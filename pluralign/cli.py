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
  simulate [WORLD] --out DIR  answers of simulated people whose tastes are known
  fit POPULATION FOLDER       fit one population model and save what it believes
  import FILE --out FOLDER    preferences about texts in the usual formats become a folder of answers
  encode FOLDER               texts become numbers by a language model, each text once, kept in the folder
  evaluate RUN FOLDER         how well a fitted model predicts a folder of answers
  adapt RUN FOLDER            what a few answers say of raters the model never met
  starc A B --env ID          how far rewards are apart, and what optimising one for the other costs
  optimise METHOD FOLDER      a policy from answers about segments: without a reward (cpl, dpo) or offline (iql, bc); from
                              answers about texts a language model tuned or steered for camps (--backbone; dpo, grpo, best-of-n)
  report RUN                  build report.html again from the tables of a run
  list KIND                   populations, recipes, rules, utilities, raters, worlds, welfare, methods

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
        "Answers of simulated people, with the truth beside: truth.csv (tastes) and truth_share.npy (chances). About options "
        "in a table, or with `pluralign simulate WORLD` about pieces of trajectories of a world; `pluralign simulate WORLD "
        "--help` shows its settings, `pluralign list worlds` and `pluralign list raters` the names. `pluralign simulate "
        "delivery` is about trips on a grid, which people judge by different rules.",
    )
    from pluralign.lab.settings import add_settings, settings_of
    from pluralign.lab.simulate import Simulate

    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    if not words or words[0].startswith("-"):
        add_settings(parser, Simulate, "people and questions")
        given = parser.parse_args(words)
        table = Simulate(**settings_of(Simulate, given))
        table.write(given.out)
        print(
            f"{table.raters * table.answers:,} answers of {table.raters:,} people ({table.population}) are in {given.out}"
        )
        return
    if words[0] == "delivery":
        from pluralign.lab.simulate_grid import SimulateGrid

        parser.add_argument("world", help="the delivery grid, where people judge trips by different rules")
        add_settings(parser, SimulateGrid, "people, what they judge by, and what they are shown")
        given = parser.parse_args(words)
        grid = SimulateGrid(**settings_of(SimulateGrid, given))
        grid.write(given.out)
        print(
            f"{grid.raters * grid.answers:,} answers of {grid.raters:,} people, who judge by {', '.join(grid.rules)}, "
            f"are in {given.out}"
        )
        return
    from pluralign.lab.simulate_world import SimulateWorld

    parser.add_argument("world", help="for example maze, cheetah or reacher")
    add_settings(
        parser, SimulateWorld(words[0]), "people, questions and what they are shown", without=("world",)
    )
    given = parser.parse_args(words)
    world = SimulateWorld(**{"world": words[0], **settings_of(SimulateWorld, given)})
    _, data = world.write(given.out)
    print(
        f"{len(data):,} answers of {world.raters:,} people ({world.population}) about {world.world} are in {given.out}"
    )


def _import(words: list[str]) -> None:
    parser = _parser(
        "import",
        "Preferences about texts (prompt/chosen/rejected as texts or messages, rankings, choices of several, ratings, "
        "votes) with a rater column become a folder of answers. Nothing is fetched.",
    )
    parser.add_argument("file", type=Path, help="a .jsonl, .json, .parquet or .csv file")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument(
        "--rater", metavar="COLUMN", help="the column with the rater (default: the usual names)"
    )
    parser.add_argument("--template", metavar="NAME", help="a well-known set, for example prism")
    parser.add_argument(
        "--form", choices=("parquet", "csv.gz", "csv"), default="parquet", help="of the tables"
    )
    parser.add_argument(
        "--skip", action="store_true", help="leave out records that say nothing, and count them"
    )
    _common(parser)
    given = parser.parse_args(words)
    from pluralign.data.preferences import import_preferences

    found = import_preferences(
        given.file,
        given.out,
        rater=given.rater,
        template=given.template,
        form=given.form,
        skip=given.skip,
        overwrite=given.overwrite,
    )
    data = found.data
    print(
        f"{len(data):,} answers of {data.raters:,} raters about {len(data.options):,} texts are in {given.out}"
    )


def _encode(words: list[str]) -> None:
    parser = _parser(
        "encode",
        "Hidden states of every text of FOLDER, kept in FOLDER/hidden and as embeddings.npy, which every population reads. "
        "A run that was stopped goes on where it was.",
    )
    parser.add_argument("folder", type=Path, help="a folder of answers with texts")
    parser.add_argument(
        "--backbone", required=True, metavar="PATH", help="a folder that transformers reads, or a hub id"
    )
    parser.add_argument("--layer", type=int, default=-1, help="of the hidden states (default: -1, the last)")
    parser.add_argument(
        "--pooling", choices=("last", "mean"), help="(default: last for causal models, else mean)"
    )
    parser.add_argument("--longest", type=int, metavar="TOKENS", help="(default: what the model can read)")
    parser.add_argument(
        "--side",
        choices=("left", "right"),
        default="left",
        help="from which longer texts are cut (default: left)",
    )
    parser.add_argument("--tokens", type=int, default=8192, help="read at once (default: 8192)")
    parser.add_argument("--plain", action="store_true", help="do not use the model's chat template")
    _common(parser)
    given = parser.parse_args(words)
    from pluralign.language.cache import encode_folder

    print(
        encode_folder(
            given.folder,
            given.backbone,
            layer=given.layer,
            pooling=given.pooling,
            longest=given.longest,
            side=given.side,
            at_once=given.tokens,
            chat=not given.plain,
            overwrite=given.overwrite,
            progress=sys.stderr.isatty(),
        )
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
    parser.add_argument("--backbone", metavar="PATH", help="train with a language model that reads the texts")
    parser.add_argument(
        "--tune", choices=("lora", "full", "none"), default="lora", help="what of it (default: lora)"
    )
    given = parser.parse_args(words)
    from pluralign.lab.settings import settings_of

    settings = settings_of(type(base), given)
    for name in ("seed", "utility", "rule"):
        settings.pop(name, None)
    out = given.out or Path("runs") / f"fit-{given.population}-{given.folder.resolve().name}"
    if given.backbone is not None:
        from pluralign.lab.text_fitting import fit_texts

        told = fit_texts(given.population, given.folder, out, given.backbone, settings, tune=given.tune, seed=given.seed,
                         overwrite=given.overwrite, progress=sys.stderr.isatty())  # fmt: skip
        if told:
            print(told)
        return
    from pluralign.lab.fitting import fit, open_run

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


def _starc(words: list[str]) -> None:
    parser = _parser(
        "starc",
        "How far rewards are apart in what they make of policies, with a standard error and what it costs to optimise "
        "one instead of another. A reward is a folder of a belief, a .json of weights over factors, a .csv with a row "
        "of weights per person, or a .npy table.",
    )
    parser.add_argument(
        "rewards", nargs="+", type=Path, help="files or folders, each with one reward or several"
    )
    parser.add_argument("--env", required=True, metavar="ID", help="a world, `delivery`, or a .npz table")
    parser.add_argument(
        "--exact", action="store_true", help="on the world's finite twin instead of sampled steps"
    )
    parser.add_argument(
        "--canonical", default="val", metavar="NAME", help="on tables: val, minimal or minimal-weighted"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sampled steps (default: 0)")
    _common(parser, out="keep tables and a report here (default, with more than two rewards: runs/starc)")
    from pluralign.lab.sampling import Cover
    from pluralign.lab.settings import add_settings, settings_of

    add_settings(parser, Cover, "sampled steps")
    given = parser.parse_args(words)
    from pluralign.lab.starc import SCALE, starc_run

    several = len(given.rewards) > 2 and given.out is None
    found = starc_run(
        given.rewards,
        given.env,
        Path("runs") / "starc" if several else given.out,
        cover=Cover(**settings_of(Cover, given)),
        exact=given.exact,
        canonical=given.canonical,
        seed=given.seed,
        overwrite=given.overwrite,
    )
    if len(found.names) == 2:
        error = "exact" if found.exact else f"standard error {float(found.standard_error[0, 1]):.2g}"
        print(f"{found.names[0]} and {found.names[1]}: {float(found.value[0, 1]):.4f} ({error})\n({SCALE})")
        print(found.words(0, 1), found.words(1, 0), sep="\n")
    else:
        print(found.frame().to_string(index=False, float_format="%.3f"))
    if several or given.out is not None:
        print((Path("runs") / "starc" if several else given.out) / "report.html")


def _optimise(words: list[str]) -> None:
    of_texts = [w for w in words if w.partition("=")[0] == "--backbone"] or words[:1] in (
        ["grpo"],
        ["best-of-n"],
    )
    if of_texts and not words[0].startswith("-"):
        _optimise_texts(words)
        return
    parser = _parser(
        "optimise",
        "Learn a policy from the answers in FOLDER and save it; the options must be segments with observations and "
        "actions. Without a reward: cpl, dpo, ipo, slic, rso, f_dpo, rpo, robust_dpo, irepo, tdpo, dppo, ipl, oppo, and "
        "pro or lipo where answers are rankings. By a reward and recorded steps: iql, bc. Answers about texts, with a "
        "language model as --backbone: direct methods for pairs, grpo and best-of-n. `pluralign optimise METHOD --help` shows its "
        "settings, `pluralign optimise METHOD --backbone PATH --help` those for texts.",
    )
    parser.add_argument("--backbone", metavar="PATH", help="of texts: the language model to tune or steer")
    parser.add_argument("--rater", metavar="ID", help="of texts: serve this person alone")
    parser.add_argument("method", help="for example cpl or iql")
    parser.add_argument("folder", type=Path, help="a folder of answers about segments")
    _common(parser, out="the run folder (default: runs/optimise-METHOD-NAME)")
    parser.add_argument("--env", metavar="ID", help="play and judge the policy in this world")
    parser.add_argument(
        "--population",
        metavar="NAME",
        help="tell the policy whom it serves, by this population (default: nobody)",
    )
    parser.add_argument(
        "--welfare",
        metavar="NAME",
        help="of iql and bc: one lottery for all, for example maxmin (default: none)",
    )
    parser.add_argument("--episodes", type=int, default=64, help="to judge by (default: 64)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    from pluralign.lab.optimise import OFFLINE, optimise
    from pluralign.lab.settings import add_settings, settings_of
    from pluralign.policies.direct import Direct
    from pluralign.policies.direct.trainers import OTHERS

    base: Any = {**OFFLINE, **OTHERS}.get(words[0] if words else "", Direct)
    add_settings(parser, base, "training", without=("method", "actions"))
    given = parser.parse_args(words)
    settings = {k: v for k, v in settings_of(base, given).items() if k != "method"}
    out = given.out or Path("runs") / f"optimise-{given.method}-{given.folder.resolve().name}"
    made = optimise(
        given.method,
        given.folder,
        out,
        settings,
        env=given.env,
        population=given.population,
        welfare=given.welfare,
        episodes=given.episodes,
        seed=given.seed,
        overwrite=given.overwrite,
    )
    print(f"the policy is in {made}/policy, the report is {made / 'report.html'}")


def _optimise_texts(words: list[str]) -> None:
    from pluralign.lab.settings import add_settings, settings_of
    from pluralign.lab.text_optimise import optimise_texts, settings_class
    from pluralign.lab.text_optimise_report import sentence

    parser = _parser(
        "optimise",
        "Tune or steer a language model on the answers in FOLDER for camps of raters, or for one of them, and judge it "
        "against the model as it came on prompts kept apart.",
    )
    parser.add_argument(
        "method", help="dpo, ipo, ... (by answers), grpo (by rewards of its own texts), best-of-n"
    )
    parser.add_argument("folder", type=Path, help="a folder of answers about texts with prompts")
    _common(parser, out="the run folder (default: runs/optimise-METHOD-NAME)")
    parser.add_argument(
        "--backbone", required=True, metavar="PATH", help="a causal model: a folder, or a hub id"
    )
    parser.add_argument("--population", default="camps", metavar="NAME", help="(default: camps)")
    parser.add_argument(
        "--welfare", default="maxmin", metavar="NAME", help="of the camps' returns (default: maxmin)"
    )
    parser.add_argument("--rater", metavar="ID", help="serve this person alone")
    parser.add_argument(
        "--judge", type=Path, metavar="RUN", help="a run of `pluralign fit --backbone` whose belief pays"
    )
    parser.add_argument(
        "--returns", choices=("deviation", "wins", "none"), default="deviation",
        help="the scale that camps are compared on (default: deviation, of the reference's answers)",
    )  # fmt: skip
    parser.add_argument(
        "--pooling", choices=("mean", "last"), default="mean", help="of hidden states (default: mean)"
    )
    parser.add_argument("--most", type=int, default=64, metavar="TOKENS", help="of an answer (default: 64)")
    parser.add_argument(
        "--samples",
        type=int,
        default=16,
        help="answers to a prompt to compare with, and to judge by (default: 16)",
    )
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    kind = settings_class(words[0])
    add_settings(parser, kind, f"settings of {words[0]}", without=("method", "welfare", "least"))
    given = parser.parse_args(words)
    settings = {k: v for k, v in settings_of(kind, given).items() if k not in ("method", "welfare")}
    out = given.out or Path("runs") / f"optimise-{given.method}-{given.folder.resolve().name}"
    made = optimise_texts(
        given.method,
        given.folder,
        out,
        given.backbone,
        settings,
        welfare=given.welfare,
        population=given.population,
        rater=given.rater,
        judge=given.judge,
        scale=given.returns,
        pooling=given.pooling,
        most=given.most,
        samples=given.samples,
        seed=given.seed,
        overwrite=given.overwrite,
        progress=sys.stderr.isatty(),
    )
    print(sentence(made))
    print(f"the policy is in {made}/policy, the report is {made / 'report.html'}")


def _report(words: list[str]) -> None:
    parser = _parser("report", "Build report.html again from the tables in a run folder.")
    parser.add_argument("run", type=Path, help="a run folder")
    given = parser.parse_args(words)
    from pluralign.lab.run import read_config

    command = read_config(given.run).get("command")
    if command == "fit texts":
        from pluralign.lab.text_fitting import write_report as text_report

        print(text_report(given.run))
        return
    import importlib

    homes = {
        "leaderboard": "leaderboard_report",
        "fit": "fitting",
        "experiment maze": "maze_report",
        "starc": "starc",
        "optimise": "optimise",
        "optimise texts": "text_optimise_report",
        "experiment": "experiment_report",
        "experiment rounds": "rounds_report",
    }
    if command not in homes:
        raise ValueError(f"{given.run} is a run of {command!r}, of which there is no report.")
    write_report = importlib.import_module(f"pluralign.lab.{homes[command]}").write_report
    try:
        print(write_report(given.run))
    except FileNotFoundError as problem:
        lost = Path(problem.filename or "a table").name
        raise ValueError(
            f"{given.run} has no {lost}: the run has not ended; type its command again to finish it."
        ) from problem


def _list(words: list[str]) -> None:
    parser = _parser("list", "What there is to choose from.")
    parser.add_argument(
        "kind", help="populations, recipes, rules, utilities, raters (or people), worlds, welfare or methods"
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="of worlds: write a page with pictures, too"
    )
    given = parser.parse_args(words)
    from pluralign.lab.listing import listing

    found = listing(given.kind)
    if given.page is not None:
        if given.kind != "worlds":
            raise ValueError(f"--page is for worlds, which have pictures; {given.kind} have none.")
        from pluralign.lab.worlds_page import write_page

        print(f"pictures and factors are in {write_page(given.page)}\n")
    wide = max(len(name) for name, _ in found) + 2
    for name, about in found:
        print(f"{name:<{wide}}{about}")


def _experiment(words: list[str]) -> None:
    about = (
        "The whole way, from answers to policies, in one world. The maze has an experiment of its own; given a "
        "--population, a --model, a --welfare or --rounds it is treated like any other world. `pluralign experiment WORLD --help` "
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
        "--rounds",
    }
    kind: Any = Maze if own else Experiment
    _common(parser, out=f"the run folder (default: runs/{words[0]})")
    add_settings(parser, kind, "settings of the experiment", without=("world",))
    if own:
        more = parser.add_argument_group("like any other world")
        for name in ("population", "model", "welfare", "rounds"):
            more.add_argument(f"--{name}", metavar="NAME", help="see `pluralign experiment cheetah --help`")
    else:
        parser.add_argument("--jobs", type=int, default=1, help="seeds to run side by side (default: 1)")
        from pluralign.lab.rounds import Rounds

        parser.add_argument(
            "--rounds", type=int, metavar="N", help="ask, fit and optimise N times, see below"
        )
        add_settings(parser, Rounds, "with --rounds", without=("rounds",))
    given = parser.parse_args(words)
    out = given.out or Path("runs") / given.world
    if own:
        Maze(**settings_of(Maze, given)).run(out, given.overwrite)
        return
    experiment = Experiment(**settings_of(Experiment, given))
    if given.rounds is None:
        for name in ("pick", "explore"):
            if hasattr(given, name):
                raise ValueError(f"--{name} is for experiments in rounds; give --rounds N, too.")
        experiment.run(out, given.overwrite, given.jobs)
    else:
        Rounds(experiment, **settings_of(Rounds, given)).run(out, given.overwrite, given.jobs)


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
    "import": _import,
    "encode": _encode,
    "fit": _fit,
    "evaluate": _evaluate,
    "adapt": _adapt,
    "starc": _starc,
    "optimise": _optimise,
    "report": _report,
    "list": _list,
}
