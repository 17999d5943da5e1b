"""A language model tuned, or steered, for camps or for one rater: `pluralign optimise METHOD FOLDER --backbone PATH`."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from pluralign.data.comparisons import Comparisons
from pluralign.data.errors import DataError, nearest
from pluralign.data.options import Texts
from pluralign.data.reading import read_folder
from pluralign.lab.leaderboard import fingerprint
from pluralign.lab.naming import model_named, official
from pluralign.lab.run import Run, Stage, write_json
from pluralign.lab.text_optimise_report import write_report
from pluralign.language.backbone import Pooling
from pluralign.language.backbone import fingerprint as weights_of
from pluralign.language.belonging import belonging, heard, voice_of
from pluralign.language.cache import texts_of
from pluralign.language.candidates import Candidates, best_of_n_kl
from pluralign.language.joint import Joint
from pluralign.language.online import Online, Tuned
from pluralign.language.processes import Processes
from pluralign.language.robust import METHODS, GroupRobust
from pluralign.language.steering import Steered, steered
from pluralign.language.text_belief import TextBelief, load_text_belief
from pluralign.language.weighing import welfare_named
from pluralign.language.writer import Reward, Writer, Written, load_writer
from pluralign.language.yardstick import Scale, Served, Yardstick, judged, served, worths, yardstick
from pluralign.policies.registry import optimiser
from pluralign.population.saving import load as load_belief
from pluralign.population.voices import Voices
from pluralign.streams import Streams

MOST = 400  # prompts that the reference answers, in training and in judging each
KEPT = 0.2  # of the prompts, where a folder has no split


@dataclass(frozen=True)
class Best:
    """Settings of best-of-n.

    Attributes:
        answers: n, drawn from the reference for each prompt.
    """

    answers: int = 16

    def __post_init__(self) -> None:
        if self.answers < 2:
            raise ValueError(f"`answers` must be at least 2 to choose from, got {self.answers}.")


def settings_class(method: str) -> Any:
    """The settings of a method of texts.

    Raises:
        ValueError: there is none of this name.
    """
    if method == "grpo":
        return Online
    if method == "best-of-n":
        return Best
    if method in METHODS:
        return GroupRobust
    raise ValueError(
        f"no method for texts is called {method!r}; there are {', '.join((*METHODS, 'grpo', 'best-of-n'))}."
    )


def optimise_texts(
    method: str,
    folder: str | Path,
    out: str | Path,
    backbone: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    welfare: str = "maxmin",
    population: str = "camps",
    rater: str | None = None,
    judge: str | Path | None = None,
    scale: Scale = "deviation",
    pooling: Pooling = "mean",
    most: int = 64,
    samples: int = 16,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Tune or steer a language model on the answers of a folder of texts, and judge it on prompts kept apart.

    A population is fitted to the hidden states of the model as it came (or read from `judge`); its voices are the camps.
    The policy is in `out`/policy. Under `accelerate launch` or `torchrun` processes share the work of tuning; all read `out`,
    the first of them writes.

    Args:
        method: a name of METHODS, "grpo" or "best-of-n".
        folder: of answers about texts with prompts, as `pluralign import` writes.
        out: the run folder.
        backbone: a causal model with its head: a folder that transformers or peft reads, or a hub id. It is the reference.
        settings: fields of `GroupRobust`, `Online` or `Best`.
        welfare: of the camps' returns.
        population: who the camps are, a name of `pluralign list populations`.
        rater: serve this person alone.
        judge: a run of `pluralign fit POPULATION FOLDER --backbone`, whose belief pays; its population is used.
        scale: on which returns of camps are compared, see `Yardstick`.
        pooling: of hidden states, where the population is fitted here.
        most: new tokens of an answer. samples: answers of the reference to each prompt, and of the policy in judging.
        seed: of everything.
        overwrite: put away another run.
        progress: show a bar.

    Raises:
        ValueError: the folder has no such texts, a name is unknown, or there is no such model.
    """
    kind, settings = settings_class(method), dict(settings or {})
    if kind is Best:
        optimiser(welfare)
        asked = Best(**settings)
    else:
        welfare_named(welfare)
        more = {"method": method} if kind is GroupRobust else {}
        asked = kind(**{"welfare": "mean" if rater is not None else welfare, **more, **settings})
    source = read_folder(folder)
    if not isinstance(source.data.options, Texts):
        raise DataError(f"{folder} has no texts for a language model to learn from; leave --backbone out.")
    prompts, answers = texts_of(Path(folder))
    data = checked(source.data, prompts, answers, Path(folder))
    if rater is not None:
        assert data.rater_ids is not None
        if rater not in data.rater_ids:
            raise DataError(
                f"no rater {rater!r} answered in {folder}{nearest(rater, data.rater_ids)}; give one who did."
            )
    train, apart = prompts_apart(data, prompts, source.role, seed)
    # What is saved names the reference by its place, which should not hang on where the command was typed.
    reference = load_writer(Path(backbone).resolve() if Path(backbone).exists() else backbone, most=most)
    config = {
        "command": "optimise texts",
        "method": method,
        "folder": str(Path(folder).resolve()),
        "fingerprint": fingerprint(folder),
        "backbone": str(backbone),
        "weights": weights_of(reference.model, reference.tokenizer),
        "settings": settings,
        "welfare": None if rater is not None else welfare,
        "population": None if judge is not None else official(population),
        "rater": rater,
        "judge": None if judge is None else str(Path(judge).resolve()),
        "scale": scale,
        "pooling": pooling,
        "most": most,
        "samples": samples,
        "seed": seed,
    }
    group, streams = Processes.whole_models(), Streams.of(seed).below("optimise texts")
    run = Run.open(out, config, overwrite) if group.first else None

    def stage(name: str, work: Callable[[Stage], Any]) -> None:
        """In every process alike; what the first one writes the others read."""
        done = group.agreed(run is not None and run.done(name))
        if run is not None:
            run.stage(name, work)
        elif not done:
            with TemporaryDirectory() as aside:
                work(Stage(Path(aside)))
        group.agreed(None)

    def fitted(stage: Stage) -> dict[str, Any]:
        model = model_named(official(population))
        body = reference.backbone(pooling)
        found = Joint("none").fit(model, body, train, prompts, answers, streams.number("belief"))
        found.save(stage.folder / "model")
        return {"answers": len(train), "raters": int((train.counts > 0).sum())}

    def policy(stage: Stage) -> dict[str, Any]:
        begun = time.perf_counter()
        if isinstance(asked, Best):
            made: Writer | Steered = chosen(
                asked, reference, belief, voices, asking, welfare if rater is None else "mean", streams
            )
            rows: Sequence[Mapping[str, Any]] = ()
        else:
            measure = yardstick(
                reference, asking, reward, samples, scale=scale, seed=streams.number("reference")
            )
            tuned = learned(
                asked, reference, train, prompts, answers, belief, voices, rater, measure, reward, Path(out),
                progress and group.first, streams,
            )  # fmt: skip
            made, rows = tuned.writer, tuned.curve
        if run is None:
            return {}
        shutil.rmtree(run.folder / "policy", ignore_errors=True)
        made.save(run.folder / "policy")
        for row in rows:
            for name in ("kl", "length"):
                if name in row:
                    stage.record(name, row[name], group=method, seed=seed, step=row["step"])
            for name in ("returns", "weight", "loss"):
                for camp, value in zip(voices.names, row.get(name, ())):
                    stage.record(name, value, group=camp, seed=seed, step=row["step"])
        write_json(stage.folder / "curve.json", rows)
        shutil.rmtree(run.folder / "aside", ignore_errors=True)
        return {"seconds": time.perf_counter() - begun}

    def judging(stage: Stage) -> dict[str, Any]:
        from pluralign.language.steering import load_language_policy

        made = load_language_policy(Path(out) / "policy")
        measure = yardstick(reference, apart, reward, samples, scale=scale, seed=streams.number("apart"))
        if isinstance(made, Steered):
            said = made.write(apart, samples, seed=streams.number("said"))
            far = torch.full((len(apart),), best_of_n_kl(made.n), dtype=torch.float64)
            found = judged(worths(said, reward, samples), measure, far, said.length)
        else:
            found = served(made, reference, measure, reward, samples, seed=streams.number("said"))
        for camp, wins, gain in zip(voices.names, found.wins, found.gain, strict=True):
            stage.record("win rate", wins.value, group=camp, seed=seed, standard_error=wins.standard_error)
            stage.record("gain", gain.value, group=camp, seed=seed, standard_error=gain.standard_error)
        stage.record("kl", found.kl.value, group=method, seed=seed, standard_error=found.kl.standard_error)
        few = list(apart[:4])
        before, after = (
            reference.write(few, seed=streams.number("shown")),
            made.write(few, seed=streams.number("shown")),
        )
        return facts_of(found, voices, before, after)

    try:
        if judge is None:
            stage("belief", fitted)
            place = Path(out) / "stages" / "belief" / "model" / "belief"
            belief = TextBelief(load_belief(place), reference.backbone(pooling), "none", reference.name)
        else:
            belief = belief_of(Path(judge))
        voices = (
            named(belief.belief.voices(seed=streams.number("voices")))
            if rater is None
            else voice_of(belief, rater)
        )
        reward, asking = heard(belief, voices), picked(train, prompts)
        stage("policy", policy)
        if run is not None:
            run.stage("judge", judging)
    except (ValueError, KeyError, FileNotFoundError):
        if run is not None:
            run.forget()
        raise
    if run is not None:
        run.finish()
        write_report(run.folder)
    group.agreed(None)
    return Path(out)


def checked(data: Comparisons, prompts: Sequence[str], answers: Sequence[str], folder: Path) -> Comparisons:
    """The answers, once it is sure that a language model can learn from them.

    Raises:
        DataError: slates of more than two, texts without prompts, or an answer that compares a text with itself.
    """
    if data.places != 2 or len(prompts) < len(data.options):
        what = "votes" if len(prompts) < len(data.options) else f"slates of {data.places}"
        raise DataError(f"{folder} should compare pairs of texts, it has {what}; import it as pairs.")
    lost = next((k for k, prompt in enumerate(prompts) if not prompt.strip()), None)
    if lost is not None:
        raise DataError(
            f"{folder}: text {lost} has no prompt to answer; items need the columns prompt and answer, as `pluralign "
            "import` writes them."
        )
    known: dict[tuple[str, str], int] = {}
    same = torch.tensor([known.setdefault(pair, len(known)) for pair in zip(prompts, answers)])[data.slate]
    equal = (same[:, 0] == same[:, 1]).nonzero()[:, 0]
    if len(equal):
        raise DataError(
            f"{folder}: {len(equal)} of {len(data)} answers compare a text with itself, first row {int(equal[0])}: "
            f"{answers[int(data.slate[equal[0], 0])]!r}; leave them out."
        )
    asked = np.asarray(prompts, dtype=object)[data.slate.numpy()]
    apart = np.flatnonzero(asked[:, 0] != asked[:, 1])
    if len(apart):
        raise DataError(
            f"{folder}: {len(apart)} of {len(data)} answers compare texts of two prompts, first row {apart[0]}; a policy "
            "answers one prompt at a time, so leave them out."
        )
    return data


def prompts_apart(
    data: Comparisons, prompts: Sequence[str], role: Any, seed: int
) -> tuple[Comparisons, tuple[str, ...]]:
    """Answers to learn from, and prompts that none of them is about.

    Raises:
        DataError: too few prompts.
    """
    known: dict[str, int] = {}
    number = torch.tensor([known.setdefault(prompt, len(known)) for prompt in prompts])
    mine: Int[Tensor, " M"] = number[data.slate[:, 0]]
    train = (
        torch.ones(len(data), dtype=torch.bool)
        if role is None
        else torch.from_numpy(np.asarray(role == "train"))
    )
    kept = torch.unique(mine[~train][~torch.isin(mine[~train], mine[train])])
    if len(kept) < 2:
        met = torch.unique(mine[train])
        if len(met) < 4:
            raise DataError(f"tuning needs answers about 4 prompts at least, got {len(met)}; gather more.")
        order = met[torch.randperm(len(met), generator=Streams.of(seed)("prompts apart"))]
        kept = order[: max(2, round(KEPT * len(met)))]
    names = list(known)
    return data.take(train & ~torch.isin(mine, kept)), tuple(names[k] for k in kept.tolist()[:MOST])


def picked(train: Comparisons, prompts: Sequence[str]) -> tuple[str, ...]:
    """Prompts to learn on."""
    return tuple(dict.fromkeys(prompts[k] for k in train.slate[:, 0].tolist()))[:MOST]


def named(voices: Voices) -> Voices:
    """Camps by number and share."""
    if len(voices) == 1:
        return replace(voices, names=("everybody",))
    shares = voices.weight.tolist()
    return replace(voices, names=tuple(f"camp {g}: {share:.0%}" for g, share in enumerate(shares)))


def belief_of(run: Path) -> TextBelief:
    """The belief of a run of `pluralign fit --backbone`."""
    place = run / "stages" / "fit" / "model"
    return load_text_belief(place if place.is_dir() else run)


def learned(
    asked: Online | GroupRobust,
    reference: Writer,
    train: Comparisons,
    prompts: Sequence[str],
    answers: Sequence[str],
    belief: TextBelief,
    voices: Voices,
    rater: str | None,
    measure: Yardstick,
    reward: Reward,
    run: Path,
    progress: bool,
    streams: Streams,
) -> Tuned:
    """A tuned writer, with a bar, going on where a stopped run was."""
    bar = tqdm(total=asked.updates, disable=not progress, desc="tuning", unit="step")
    told: dict[str, Any] = {"folder": run, "progress": bar.update}
    number = streams.number("tune")
    try:
        if isinstance(asked, Online):
            return asked.fit(reference, measure, reward, voices.weight, number, **told)
        seen = belief.seen(train, prompts, answers)
        camps = belief.belief.voices(seed=streams.number("voices"))
        member = belonging(belief.belief, camps, seen)
        if rater is not None:
            assert train.rater_ids is not None
            # Somebody else's answers count as far as both are likely to be of one camp.
            member = (member @ member[train.rater_ids.index(rater)])[:, None]
        return asked.fit(
            reference, train, prompts, answers, member, number, measure=measure, reward=reward, **told
        )
    finally:
        bar.close()


def chosen(
    asked: Best,
    reference: Writer,
    belief: TextBelief,
    voices: Voices,
    prompts: Sequence[str],
    welfare: str,
    streams: Streams,
) -> Steered:
    """Best-of-n for the welfare, its weights found on some prompts."""
    drawn = reference.write(prompts, asked.answers, seed=streams.number("candidates"))
    candidates = Candidates(belief.texts(drawn.prompts, drawn.answers), asked.answers)
    lottery = optimiser(welfare).optimise(candidates, voices, seed=streams.number("lottery"))
    return steered(reference, belief, voices, lottery, candidates)


def facts_of(found: Served, voices: Voices, before: Written, after: Written) -> dict[str, Any]:
    """What JSON can hold of how a policy does."""
    told = lambda e: {
        "value": e.value,
        "standard_error": e.standard_error,
        "low": e.low,
        "high": e.high,
        "n": e.n,
    }
    return {
        "camps": list(voices.names),
        "share": voices.weight.tolist(),
        "wins": [told(e) for e in found.wins],
        "gain": [told(e) for e in found.gain],
        "kl": told(found.kl),
        "length": found.length,
        "shown": [list(row) for row in zip(before.prompts, before.answers, after.answers, strict=True)],
    }
