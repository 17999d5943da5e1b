"""Online learning from people who disagree: collect, ask, fit, optimise, and collect again with what was learned.

Like PEBBLE (Lee et al., ICML 2021), with a population in place of one rater. What was collected is kept as factors,
never as rewards, so all of it is priced anew whenever the belief changes; policies go on from those of the round before.
"""

import contextlib
import hashlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Segments
from pluralign.elicitation.choosers import CHOOSERS, choose
from pluralign.elicitation.loop import Answering
from pluralign.lab.run import Run, Stage
from pluralign.metrics.scores import accuracy, log_loss, macro
from pluralign.policies.learner import Learner, Policy, Progress, Start
from pluralign.policies.learners.tabular import Table, Tabular
from pluralign.policies.lottery import Lottery
from pluralign.policies.maxmin import MaxMin
from pluralign.policies.personalised import Personalised
from pluralign.policies.pessimist import Pessimist
from pluralign.policies.saving import load_policy
from pluralign.population import load
from pluralign.population.belief import Belief
from pluralign.population.camps import Camps
from pluralign.population.voices import Voices, cluster
from pluralign.raters import questions
from pluralign.raters.people import quota
from pluralign.rewards.tastes import draw_tastes, known_voices
from pluralign.rewards.transforms import Scale, relative_gain
from pluralign.streams import Seed, Streams

SERVED = 12  # people of each camp by whom a personalised policy is judged


@dataclass(frozen=True)
class Loop:
    """Settings of `closed_loop`.

    Attributes:
        rounds: of collecting, asking, fitting and optimising. asked: questions for each rater in a round.
        pick: how they are chosen: "information", "random", or "disagreement" (of an `Ensemble`); the first by lot.
        candidates: pairs of pieces to choose from, for each rater and round, half of them among the newest.
        pieces: of trajectory collected in a round. length: steps of a piece.
        explore: part of the pieces that come from random actions, after the first round, in which all do.
        population: any model of raters. optimiser: anything that makes policies of voices or of a belief.
        judged: further questions to each rater, by which beliefs are judged.
    """

    rounds: int = 4
    asked: int = 4
    pick: str = "information"
    candidates: int = 40
    pieces: int = 60
    length: int = 25
    explore: float = 0.25
    population: Any = field(default_factory=Camps)
    optimiser: Any = field(default_factory=MaxMin)
    judged: int = 20

    def __post_init__(self) -> None:
        for name in ("rounds", "asked", "candidates", "length", "judged"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.pieces < 3:
            raise ValueError(
                f"`pieces` must be at least 3, or there is little to compare, got {self.pieces}."
            )
        if not 0 <= self.explore <= 1:
            raise ValueError(f"`explore` must be a share in [0, 1], got {self.explore}.")
        if self.pick not in CHOOSERS:
            raise ValueError(f"`pick` must be one of {', '.join(CHOOSERS)}, got {self.pick!r}.")


@dataclass(frozen=True)
class Closed:
    """What came out.

    Attributes:
        table: a row per round: `round`, `questions` answered so far, `accuracy` on further questions with `error`, `log_loss`,
            `changed` (part of the predicted favourites that this round's answers turned over), `mean` and `worst` true
            return of the camps (0 as by chance, 1 their own best policy), and a column for each camp.
        answers: all of them, round by round. belief, policy: of the last round.
    """

    table: pd.DataFrame
    answers: Comparisons
    belief: Belief
    policy: Any


def closed_loop(
    world: Any,
    people: Answering,
    settings: Loop | None = None,
    *,
    seed: Seed = 0,
    learner: Any = None,
    truth: Voices | None = None,
    first: Segments | None = None,
    out: str | Path | None = None,
    progress: bool | None = None,
) -> Closed:
    """Run the loop.

    Args:
        world: an id registered with gymnasium (policies by PPO), or a tabular world or twin (exact).
        people: drawn raters, who answer.
        learner: another way to find policies. truth: the camps by their true tastes; by default read from `people`.
        first: pieces to begin with; by default those of random actions, on a table beginning anywhere.
        out: a run folder; a stopped loop goes on there when called again with the same arguments.
        progress: a bar on stderr; by default where that is a terminal.

    Raises:
        FileExistsError: `out` holds a run of other arguments.
    """
    settings, streams = settings or Loop(), Streams.of(seed).below("closed loop")
    learner = learner or _learner(world)
    truth = truth or camps_of(people)
    with _folder(out) as folder, _bar(settings.rounds, progress) as bar:
        config = {
            "command": "closed loop",
            "world": _print(world),
            "people": _print(people),
            "first": _print(first),
            "learner": _print(learner),
            "settings": repr(settings),
            "seed": streams.base,
        }
        run = Run.open(folder, config)
        run.stage("begin", lambda stage: _begin(stage, learner, people, truth, settings, first, streams))
        rows = []
        for number in range(settings.rounds):
            work = lambda stage, n=number: _round(stage, run, n, learner, people, truth, settings, streams)
            rows.append(run.stage(f"round-{number}", work))
            bar(1)
        run.finish()
        last = run.files(f"round-{settings.rounds - 1}")
        answers, _ = _read(last)
        belief = load(last / "belief")
        return Closed(pd.DataFrame(rows), answers, belief, _policy(last, belief, learner, settings))


def camps_of(people: Any, most: int = 4, seed: Seed = 0) -> Voices:
    """The true voices of simulated people: the mean taste of each camp; without camps, of `most` clusters."""
    if not hasattr(people, "taste"):
        raise TypeError(
            f"{type(people).__name__} has no true tastes to judge by; give truth=known_voices(...)."
        )
    taste = people.taste.double()
    group = getattr(people, "group", None)
    if group is None:
        even = torch.full((len(taste),), 1 / len(taste), dtype=torch.float64)
        spread = taste.T.cov(correction=0).diagonal().clamp_min(1e-12)
        z, share = cluster(taste, even, (1 / spread).diag(), most, generator=Streams.of(seed)("camps"))
        return known_voices(z, share, names=tuple(f"cluster {g}" for g in range(len(z))))
    part = torch.nn.functional.one_hot(group).double()
    part = part[:, part.sum(0) > 0]
    z = (part.T @ taste) / part.sum(0)[:, None]
    return known_voices(z, part.mean(0), names=tuple(f"camp {g}" for g in range(len(z))))


@dataclass(frozen=True)
class GoingOn:
    """A learner whose searches go on from policies that are there already, unless told otherwise."""

    learner: Any
    known: tuple[Policy, ...]

    def improve(
        self,
        voices: Voices,
        weight: Float[Tensor, " G"],
        *,
        seed: Seed = 0,
        start: Start = None,
        progress: Progress | None = None,
    ) -> Policy:
        begin = (self.known or None) if start is None else start
        return self.learner.improve(voices, weight, seed=seed, start=begin, progress=progress)

    def returns(self, policy: Policy, voices: Voices, *, seed: Seed = 0) -> Float[Tensor, "E G"]:
        return self.learner.returns(policy, voices, seed=seed)

    def random(self) -> Policy:
        return self.learner.random()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.learner, name)


def pieces(episodes: Segments, length: int, *, generator: torch.Generator) -> Segments:
    """One piece of at most `length` steps out of each episode, from a random step on."""
    count, steps, _ = episodes.factors.shape
    there = torch.full((count,), steps) if episodes.mask is None else episodes.mask.sum(1)
    room = (there - length).clamp_min(0)
    begin = (torch.rand(count, generator=generator, dtype=torch.float64) * (room + 1)).long()
    index = begin[:, None] + torch.arange(min(length, steps))
    mask = index < there[:, None]
    kept = index.clamp_max(steps - 1)[..., None].expand(-1, -1, episodes.factors.shape[2])
    factors = episodes.factors.gather(1, kept) * mask[..., None]
    return Segments(factors.double(), mask, names=episodes.names)


def _begin(
    stage: Stage,
    learner: Any,
    people: Any,
    truth: Voices,
    settings: Loop,
    first: Segments | None,
    streams: Streams,
) -> dict[str, Any]:
    """What there is to begin with, what each camp could have at best, and the questions to judge by."""
    if first is None:
        first = pieces(
            _anywhere(learner, settings).rollout(
                learner.random(), settings.pieces, seed=streams.number("first")
            ),
            settings.length,
            generator=streams("first pieces"),
        )
    first = Segments(first.factors.double(), first.mask, names=first.names)
    slate, rater = questions(len(first), settings.judged, len(people), streams.number("judge"), repeat=True)
    fresh = people.answer(first, slate, rater, streams.number("judge"))
    _write(stage.folder, fresh, 0)
    random = learner.returns(learner.random(), truth, seed=streams.number("judge")).double().mean(0)
    best = []
    for g, one in enumerate(torch.eye(len(truth), dtype=torch.float64)):
        policy = learner.improve(truth, one, seed=streams.number("own", g))
        best.append(float(learner.returns(policy, truth, seed=streams.number("judge")).double().mean(0)[g]))
    relative_gain(random, torch.tensor(best).double(), names=truth.names)  # raises where a camp gains nothing
    return {"random": random.tolist(), "best": best}


def _round(
    stage: Stage,
    run: Run,
    number: int,
    learner: Any,
    people: Any,
    truth: Voices,
    settings: Loop,
    streams: Streams,
) -> dict[str, Any]:
    here = streams.below("round", number)
    fresh, _ = _read(run.files("begin"))
    shown: Any = fresh.options
    before: Belief | None = None
    known: tuple[Policy, ...] = ()
    if number:
        last = run.files(f"round-{number - 1}")
        answers, _ = _read(last)
        before = load(last / "belief")
        policy = _policy(last, before, learner, settings)
        known = policy.policies if isinstance(policy, Lottery) else ()
        shown = _longer(answers.options, _collect(learner, policy, before, settings, here))
        newest = len(shown) - len(answers.options)
    else:
        answers, newest = None, len(shown)
    asked = torch.zeros(len(people), dtype=torch.long) if answers is None else answers.counts
    pool = _candidates(shown, newest, answers, fresh, settings, here)
    wanted = choose(settings.pick, before, pool, settings.asked, here.number("choose"))
    told = people.answer(shown, wanted.slate, wanted.rater, streams.number("answers"), asked=asked)
    answers = told if answers is None else _joined(answers, told)
    belief = settings.population.fit(answers, here.number("fit"))
    going = GoingOn(learner, known)
    whole = isinstance(settings.optimiser, Pessimist | Personalised)
    voices = belief if whole else belief.voices(seed=here.number("voices"))
    policy = settings.optimiser.optimise(going, voices, seed=here.number("optimise"))
    _write(stage.folder, answers, newest)
    belief.save(stage.folder / "belief")
    if hasattr(policy, "save"):
        policy.save(stage.folder / "policy")
    share = belief.predict(fresh)
    score = macro(accuracy(share, fresh.label), fresh.rater, fresh.raters)
    changed = 1.0
    if before is not None:
        changed = float((before.predict(fresh).argmax(1) != share.argmax(1)).double().mean())
    told_best = run.stage("begin", _never)
    scale = relative_gain(*(torch.tensor(told_best[n], dtype=torch.float64) for n in ("random", "best")))
    gained = _judge(learner, policy, belief, answers, people, truth, scale, streams.number("judge"))
    row: dict[str, Any] = {
        "round": number,
        "questions": len(answers),
        "accuracy": score.value,
        "error": score.standard_error,
        "log_loss": macro(log_loss(share, fresh.label), fresh.rater, fresh.raters).value,
        "changed": changed,
        "mean": float(gained @ truth.weight.double()),
        "worst": float(gained.min()),
    }
    row |= dict(zip(truth.names, gained.tolist()))
    for name in ("accuracy", "log_loss", "mean", "worst", *truth.names):
        stage.record(name, row[name], group="closed loop", step=number)
    return row


def _policy(folder: Path, belief: Belief, learner: Any, settings: Loop) -> Any:
    """As it was kept; a table of everybody's best policies is not, as nothing in it is trained."""
    if (folder / "policy").is_dir():
        return load_policy(folder / "policy")
    return settings.optimiser.optimise(learner, belief)


def _collect(learner: Any, policy: Any, belief: Belief, settings: Loop, here: Streams) -> Segments:
    """New pieces: some by random actions, the others by the policies as the lottery plays them, or for some people."""
    wild = round(settings.explore * settings.pieces)
    plays: list[tuple[Policy, int]] = [(learner.random(), wild)]
    if isinstance(policy, Lottery):
        drawn = torch.as_tensor(policy.draw(settings.pieces - wild, seed=here.number("draw")))
        plays += list(zip(policy.policies, torch.bincount(drawn, minlength=len(policy)).tolist()))
    elif wild < settings.pieces:
        tastes = draw_tastes(belief, settings.pieces - wild, generator=here("served"))
        kinds, times = torch.unique(tastes[:SERVED], dim=0, return_counts=True)
        each = quota(tuple((times / times.sum()).tolist()), settings.pieces - wild)
        plays += [(policy.of(z), int(n)) for z, n in zip(kinds, each)]
    found: Segments | None = None
    for n, (one, count) in enumerate(plays):
        if count:
            seen = learner.rollout(one, count, seed=here.number("collect", n))
            new = pieces(seen, settings.length, generator=here("pieces", n))
            found = new if found is None else _longer(found, new)
    assert found is not None
    return found


def _anywhere(learner: Any, settings: Loop) -> Any:
    """On a table, the same world begun in any state; else the learner itself."""
    if not isinstance(learner, Tabular):
        return learner
    table = learner.table
    start = torch.full_like(table.start, 1 / len(table.start))
    horizon = min(settings.length, table.horizon)
    return Tabular(Table(table.transition, start, table.factors, table.discount, table.factor_names, horizon))


def _candidates(
    shown: Segments,
    newest: int,
    answers: Comparisons | None,
    like: Comparisons,
    settings: Loop,
    here: Streams,
) -> Comparisons:
    """Random pairs for each rater, half among the newest pieces, none that the rater has met."""
    raters, total = like.raters, len(shown)
    half = settings.candidates // 2 if newest >= 3 and newest < total else 0
    parts = [questions(total, settings.candidates - half, raters, here.number("all"), repeat=True)]
    if half:
        slate, rater = questions(newest, half, raters, here.number("newest"), repeat=True)
        parts.append((slate + total - newest, rater))
    slate, rater = (torch.cat(x) for x in zip(*parts))
    key = lambda s, r: (r * total + s.amin(1)) * total + s.amax(1)
    mine = key(slate, rater)
    new = torch.ones(len(mine), dtype=torch.bool)
    if answers is not None:
        new = ~torch.isin(mine, key(answers.slate, answers.rater))
    label = torch.full(slate.shape, 0.5)
    return Comparisons(shown, slate[new], rater[new], label[new], rater_ids=like.rater_ids)


def _judge(
    learner: Learner,
    policy: Any,
    belief: Belief,
    answers: Comparisons,
    people: Any,
    truth: Voices,
    scale: Scale,
    seed: int,
) -> Float[Tensor, " G"]:
    """True normalised return of each camp."""
    if isinstance(policy, Lottery):
        return scale(policy.returns(learner, truth, seed=seed).double().mean(0))
    z = belief.known(answers).mean
    group = getattr(people, "group", None)
    if group is None:  # whose true taste is nearest to which voice
        taste = people.taste.double()
        width = taste.std(0).clamp_min(1e-12)
        group = torch.cdist(taste / width, truth.z.double() / width).argmin(1)
    gained = []
    for g in range(len(truth)):
        mine = (group == torch.unique(group)[g]).nonzero()[:SERVED, 0]
        served = [learner.returns(policy.of(z[r]), truth, seed=seed).double().mean(0) for r in mine]
        gained.append(scale(torch.stack(served))[:, g].mean())
    return torch.stack(gained)


def _learner(world: Any) -> Any:
    if isinstance(world, str):
        from pluralign.policies.learners.ppo import PPO

        return PPO(world)
    return Tabular(world)


def _longer(old: Any, new: Segments) -> Segments:
    """Both sets of pieces; the shorter ones are filled up with steps that do not exist."""
    steps = max(old.factors.shape[1], new.factors.shape[1])

    def padded(x: Segments) -> tuple[Tensor, Tensor]:
        mask = torch.ones(x.factors.shape[:2], dtype=torch.bool) if x.mask is None else x.mask
        more = steps - mask.shape[1]
        pad = torch.nn.functional.pad
        return pad(x.factors.double(), (0, 0, 0, more)), pad(mask, (0, more))

    factors, mask = (torch.cat(x) for x in zip(padded(old), padded(new)))
    return Segments(factors, mask, names=new.names)


def _joined(old: Comparisons, new: Comparisons) -> Comparisons:
    time = None if old.time is None or new.time is None else torch.cat([old.time, new.time])
    return Comparisons(
        new.options,
        torch.cat([old.slate, new.slate]),
        torch.cat([old.rater, new.rater]),
        torch.cat([old.label, new.label]),
        time=time,
        rater_ids=new.rater_ids,
    )


def _write(folder: Path, data: Comparisons, newest: int) -> None:
    """All that the next round needs, to the bit."""
    import json

    assert isinstance(data.options, Segments)
    options = data.options
    mask = torch.ones(options.factors.shape[:2], dtype=torch.bool) if options.mask is None else options.mask
    held = {
        "factors": options.factors.double(),
        "mask": mask,
        "slate": data.slate,
        "rater": data.rater,
        "label": data.label,
    }
    if data.time is not None:
        held["time"] = data.time
    save_file({name: x.contiguous() for name, x in held.items()}, folder / "answers.safetensors")
    names = {"raters": data.rater_ids, "factors": options.names, "newest": newest}
    (folder / "names.json").write_text(json.dumps(names), "utf-8")


def _read(folder: Path) -> tuple[Comparisons, int]:
    import json

    held = load_file(folder / "answers.safetensors")
    names = json.loads((folder / "names.json").read_text("utf-8"))
    shown = Segments(held["factors"], held["mask"], names=tuple(names["factors"]))
    data = Comparisons(
        shown,
        held["slate"],
        held["rater"],
        held["label"],
        time=held.get("time"),
        rater_ids=tuple(names["raters"]),
    )
    return data, int(names["newest"])


def _print(value: Any) -> str:
    """A text that is the same for equal settings and equal numbers."""
    if value is None or isinstance(value, str):
        return str(value)
    if isinstance(value, Tensor):
        return hashlib.blake2b(value.contiguous().numpy().tobytes(), digest_size=8).hexdigest()
    if hasattr(value, "tobytes"):
        return hashlib.blake2b(value.tobytes(), digest_size=8).hexdigest()
    if hasattr(value, "__dataclass_fields__"):
        inside = ", ".join(f"{n}={_print(getattr(value, n))}" for n in value.__dataclass_fields__)
        return f"{type(value).__name__}({inside})"
    return repr(value) if isinstance(value, int | float | tuple | list) else type(value).__name__


def _never(stage: Stage) -> Any:
    raise AssertionError("this stage was done before")


@contextlib.contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made) / "run"


@contextlib.contextmanager
def _bar(rounds: int, progress: bool | None) -> Iterator[Any]:
    from tqdm import tqdm

    quiet = not (sys.stderr.isatty() if progress is None else progress)
    with tqdm(total=rounds, unit="round", disable=quiet, dynamic_ncols=True, file=sys.stderr) as bar:
        yield bar.update
