"""Where answers come from: simulated people, files in the usual formats, texts that a language model reads."""

import sys
from pathlib import Path

from pluralign.cli.parsing import Verb, add_common, parser_of


def simulate(words: list[str]) -> None:
    parser = parser_of(
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


def import_file(words: list[str]) -> None:
    parser = parser_of(
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
    add_common(parser)
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


def encode(words: list[str]) -> None:
    parser = parser_of(
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
    add_common(parser)
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


VERBS = (
    Verb("simulate [WORLD] --out DIR", simulate, "answers of simulated people whose tastes are known"),
    Verb(
        "import FILE --out FOLDER",
        import_file,
        "preferences about texts in the usual formats become a folder of answers",
    ),
    Verb(
        "encode FOLDER",
        encode,
        "texts become numbers by a language model, each text once, kept in the folder",
    ),
)
