"""Rewards and what optimising them does: distances between rewards, policies learned from answers."""

import sys
from pathlib import Path
from typing import Any

from pluralign.cli.parsing import Verb, add_common, parser_of


def starc(words: list[str]) -> None:
    parser = parser_of(
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
    add_common(parser, out="keep tables and a report here (default, with more than two rewards: runs/starc)")
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


def optimise_answers(words: list[str]) -> None:
    about_texts = "--backbone" in {word.partition("=")[0] for word in words}
    if words[:1] in (["grpo"], ["best-of-n"]) or (about_texts and not words[0].startswith("-")):
        optimise_about_texts(words)
        return
    parser = parser_of(
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
    add_common(parser, out="the run folder (default: runs/optimise-METHOD-NAME)")
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
    if given.backbone is not None or given.rater is not None:
        raise ValueError(
            "--backbone and --rater are of texts; write `pluralign optimise METHOD FOLDER --backbone PATH`."
        )
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


def optimise_about_texts(words: list[str]) -> None:
    from pluralign.lab.settings import add_settings, settings_of
    from pluralign.lab.text_optimise import optimise_texts, settings_class
    from pluralign.lab.text_optimise_report import sentence
    from pluralign.language.processes import Processes

    parser = parser_of(
        "optimise",
        "Tune or steer a language model on the answers in FOLDER for camps of raters, or for one of them, and judge it "
        "against the model as it came on prompts kept apart.",
    )
    parser.add_argument(
        "method", help="dpo, ipo, ... (by answers), grpo (by rewards of its own texts), best-of-n"
    )
    parser.add_argument("folder", type=Path, help="a folder of answers about texts with prompts")
    add_common(parser, out="the run folder (default: runs/optimise-METHOD-NAME)")
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
    if Processes.here().first:
        print(sentence(made))
        print(f"the policy is in {made}/policy, the report is {made / 'report.html'}")


VERBS = (
    Verb(
        "starc A B --env ID", starc, "how far rewards are apart, and what optimising one for the other costs"
    ),
    Verb(
        "optimise METHOD FOLDER",
        optimise_answers,
        "a policy from answers about segments: without a reward (cpl, dpo) or offline (iql, bc); from\n"
        "answers about texts a language model tuned or steered for camps (--backbone; dpo, grpo, best-of-n)",
    ),
)
