"""The two great jobs: from answers to policies in a world, and every population on anybody's answers."""

from pathlib import Path
from typing import Any

from pluralign.cli.parsing import Verb, add_answers, add_common, add_covariates, parser_of

# Given one of these, the maze is a world like any other.
LIKE_ANY = ("population", "model", "welfare", "rounds")


def experiment(words: list[str]) -> None:
    about = (
        "The whole way, from answers to policies, in one world. The maze has an experiment of its own; given a "
        "--population, a --model, a --welfare or --rounds it is treated like any other world. `pluralign experiment WORLD --help` "
        "shows the settings."
    )
    parser = parser_of("experiment", about)
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
    given_options = {word.partition("=")[0] for word in words}
    own = words[0] == "maze" and not {f"--{name}" for name in LIKE_ANY} & given_options
    kind: Any = Maze if own else Experiment
    add_common(parser, out=f"the run folder (default: runs/{words[0]})")
    add_settings(parser, kind, "settings of the experiment", without=("world",))
    if own:
        more = parser.add_argument_group("like any other world")
        for name in LIKE_ANY:
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
        if hasattr(given, "questions"):
            raise ValueError(
                "--questions is for experiments without rounds; with --rounds, --pick says which pairs."
            )
        Rounds(experiment, **settings_of(Rounds, given)).run(out, given.overwrite, given.jobs)


def judge(words: list[str]) -> None:
    parser = parser_of(
        "leaderboard",
        "Judge every population model on the answers in FOLDER, by its own split or by one that is made. Writes "
        "leaderboard.csv, verdict.json and report.html.",
    )
    parser.add_argument("folder", type=Path, help="a folder of answers")
    add_common(parser, out="the run folder (default: runs/leaderboard-NAME)")
    add_answers(parser)
    add_covariates(parser)
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
        covariates=given.covariates,
        seed=given.seed,
        overwrite=given.overwrite,
    )
    print(f"{found}\n\n{found.folder / 'report.html'}")


VERBS = (
    Verb(
        "experiment WORLD",
        experiment,
        "simulate raters, fit, optimise, judge, and write a report with pictures",
    ),
    Verb(
        "leaderboard FOLDER",
        judge,
        "every population model on anybody's answers, one protocol, a plain verdict",
    ),
)
