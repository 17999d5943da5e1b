"""Population models: fitted to a folder of answers, judged on another, adapted to raters they never met."""

import sys
from pathlib import Path

from pluralign.cli.parsing import Verb, add_answers, add_common, add_covariates, parser_of, refuse_to_replace


def fit_model(words: list[str]) -> None:
    parser = parser_of(
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
    add_common(parser, out="the run folder (default: runs/fit-POPULATION-NAME)")
    add_answers(parser)
    add_covariates(parser)
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
    if words[0] != given.population:
        raise ValueError(
            f"{words[0]} comes before the population; write `pluralign fit POPULATION FOLDER`, then options."
        )
    from pluralign.lab.settings import settings_of

    settings = settings_of(type(base), given)
    for name in ("seed", "utility", "rule"):
        settings.pop(name, None)
    out = given.out or Path("runs") / f"fit-{given.population}-{given.folder.resolve().name}"
    if given.backbone is not None:
        if given.covariates:
            raise ValueError(
                "--covariates goes with answers about features or a cache, not with --backbone; drop one."
            )
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
        covariates=given.covariates,
        seed=given.seed,
        overwrite=given.overwrite,
    )
    facts = open_run(made)[1]
    print(facts["diagnosis"]["verdict"], *(f"! {text}" for text in facts["warnings"]), sep="\n")
    print(f"the model is in {made}/model, the report is {made / 'report.html'}")


def evaluate(words: list[str]) -> None:
    parser = parser_of(
        "evaluate", "Judge a fitted model on the answers in FOLDER, by its split where it has one."
    )
    parser.add_argument("run", type=Path, help="a run folder that `pluralign fit` wrote")
    parser.add_argument("folder", type=Path, help="a folder of answers")
    parser.add_argument("--out", type=Path, help="write the tables to this .csv, too")
    parser.add_argument("--strict", action="store_true", help="refuse raters that the model never met")
    add_common(parser)
    add_answers(parser)
    given = parser.parse_args(words)
    refuse_to_replace(given.out, overwrite=given.overwrite)
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


def adapt(words: list[str]) -> None:
    parser = parser_of(
        "adapt", "Tastes of raters the model never met, with intervals, from the answers in FOLDER."
    )
    parser.add_argument("run", type=Path, help="a run folder that `pluralign fit` wrote")
    parser.add_argument("folder", type=Path, help="a folder of answers of the new raters")
    parser.add_argument("--out", type=Path, required=True, help="a new .csv or .json")
    add_common(parser)
    add_answers(parser)
    given = parser.parse_args(words)
    refuse_to_replace(given.out, overwrite=given.overwrite)
    from pluralign.lab.fitting import adapt_run
    from pluralign.lab.tastes import write_tastes

    found = adapt_run(given.run, given.folder, answers=given.answers)
    write_tastes(found, given.out, overwrite=given.overwrite)
    print(f"tastes of {found.rater_id.nunique():,} raters are in {given.out}")


VERBS = (
    Verb("fit POPULATION FOLDER", fit_model, "fit one population model and save what it believes"),
    Verb("evaluate RUN FOLDER", evaluate, "how well a fitted model predicts a folder of answers"),
    Verb("adapt RUN FOLDER", adapt, "what a few answers say of raters the model never met"),
)
