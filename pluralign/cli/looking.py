"""What is there: a run's report built again, the names to choose from."""

from pathlib import Path

from pluralign.cli.parsing import Verb, parser_of


def report(words: list[str]) -> None:
    parser = parser_of("report", "Build report.html again from the tables in a run folder.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "--paper", type=Path, metavar="FOLDER", help="pictures as PDF and PNG, tables as CSV and LaTeX, too"
    )
    given = parser.parse_args(words)
    from pluralign.lab.run import read_config

    if given.paper is not None and given.paper.exists() and not given.paper.is_dir():
        raise FileExistsError(f"{given.paper} is a file; name a folder for --paper.")
    command = read_config(given.run).get("command")
    if command == "fit texts":
        from pluralign.lab.text_fitting import write_report as text_report

        print(text_report(given.run, given.paper))
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
        print(write_report(given.run, given.paper))
    except FileNotFoundError as problem:
        lost = Path(problem.filename or "a table").name
        raise ValueError(
            f"{given.run} has no {lost}: the run has not ended; type its command again to finish it."
        ) from problem
    except KeyError as problem:
        raise ValueError(
            f"{given.run} does not hold {problem.args[0]!r}, which this version reports: an older one wrote it; type its "
            "command again with a new --out."
        ) from problem


def list_kind(words: list[str]) -> None:
    parser = parser_of("list", "What there is to choose from.")
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


VERBS = (
    Verb(
        "report RUN",
        report,
        "build report.html again from the tables of a run; --paper: figures and tables to print",
    ),
    Verb("list KIND", list_kind, "populations, recipes, rules, utilities, raters, worlds, welfare, methods"),
)
