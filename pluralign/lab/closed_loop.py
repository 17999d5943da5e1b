"""Online learning from people who disagree: collect, ask, fit, optimise, and collect again with what was learned.

Like PEBBLE (Lee et al., ICML 2021), with a population in place of one rater. What was collected is kept as factors,
never as rewards, so all of it is priced anew whenever the belief changes; policies go on from those of the round before.
`pluralign experiment WORLD --rounds N` is this loop on a test bed, see `lab.rounds`.
"""

import contextlib
import hashlib
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.data.comparisons import Comparisons
from pluralign.data.options import Segments
from pluralign.elicitation.choosers import CHOOSERS, choose
from pluralign.lab.run import Run, Stage
from pluralign.lab.serving import GoingOn
from pluralign.lab.shown import longer, pieces
from pluralign.metrics.scores import accuracy, log_loss, macro
from pluralign.policies.learner import Policy
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
from pluralign.raters.asking import Answering
from pluralign.raters.people import quota
from pluralign.rewards.tastes import draw_tastes, known_voices
from pluralign.rewards.transforms import relative_gain
from pluralign.saving import read, write
from pluralign.streams import Seed, Streams

SERVED = 12  # people of each camp by whom a personalised policy is judged
LOOKED = 32  # episodes by which it is guessed whom a policy would please


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
            return of the camps (0 as by chance, 1 the best that any camp would have trained for itself; camps that could
            gain nothing are left out), and a column for each camp.
        people: a row per round and rater: the true returns `policy` of what the optimiser answered with (missing for whom
            it was not tried), `choice` of the policy found or played in this round that the belief thinks the rater would like
            best, `best` of any of these; and `random` and `own`, of random actions and of the best of what
            the camps would have trained for themselves, which are the same in every round.
        answers: all of them, round by round. belief, policy: of the last round.
    """

    table: pd.DataFrame
    people: pd.DataFrame
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
    # Who changes is judged as they are in the end.
    now: Any = people.at(settings.rounds * settings.asked) if hasattr(people, "at") else people
    truth = truth or camps_of(now)
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
        begin = lambda stage: _begin(stage, learner, people, now, truth, settings, first, streams)
        told = run.stage("begin", begin)
        rows, each = [], []
        for number in range(settings.rounds):
            work = lambda stage, n=number: _round(
                stage, run, n, learner, people, now, truth, settings, streams
            )
            row = run.stage(f"round-{number}", work)
            served = {**told["people"], **row.pop("people")}
            columns = {name: np.array(values, dtype=float) for name, values in served.items()}
            each.append(pd.DataFrame({"round": number, "rater": range(len(now)), **columns}))
            rows.append({name: math.nan if value is None else value for name, value in row.items()})
            bar(1)
        run.finish()
        last = run.files(f"round-{settings.rounds - 1}")
        belief = load(last / "belief")
        policy = _policy(last, belief, learner, settings)
        return Closed(pd.DataFrame(rows), pd.concat(each, ignore_index=True), _answers(last), belief, policy)


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


def _begin(
    stage: Stage,
    learner: Any,
    people: Any,
    now: Any,
    truth: Voices,
    settings: Loop,
    first: Segments | None,
    streams: Streams,
) -> dict[str, Any]:
    """What there is to begin with, what each camp could have at best, and the questions to judge by."""
    if first is None:
        seen = _anywhere(learner, settings).rollout(
            learner.random(), settings.pieces, seed=streams.number("first")
        )
        first = pieces(seen, settings.length, generator=streams("first pieces"))
    judge = streams.number("judge")
    slate, rater = questions(len(first), settings.judged, len(people), judge, repeat=True)
    write(people.answer(_plain(first), slate, rater, judge), stage.folder / "answers", "answers")
    back = lambda policy, voices: learner.returns(policy, voices, seed=judge).double().mean(0)
    own = [
        learner.improve(truth, one, seed=streams.number("own", g))
        for g, one in enumerate(torch.eye(len(truth), dtype=torch.float64))
    ]
    random, best = back(learner.random(), truth), torch.stack([back(p, truth) for p in own]).amax(0)
    if not bool((best > random).any()):
        relative_gain(random, best, names=truth.names)  # says what to do
    everyone = known_voices(now.taste.double())
    each = torch.stack([back(p, everyone) for p in own]).amax(0)
    people_told = {"random": back(learner.random(), everyone).tolist(), "own": each.tolist()}
    return {"random": random.tolist(), "best": best.tolist(), "people": people_told}


def _round(
    stage: Stage,
    run: Run,
    number: int,
    learner: Any,
    people: Any,
    now: Any,
    truth: Voices,
    settings: Loop,
    streams: Streams,
) -> dict[str, Any]:
    here = streams.below("round", number)
    fresh = _answers(run.files("begin"))
    shown: Any = fresh.options
    answers: Comparisons | None = None
    before: Belief | None = None
    known: tuple[Policy, ...] = ()
    newest = len(shown)
    if number:
        last = run.files(f"round-{number - 1}")
        answers, before, known = _answers(last), load(last / "belief"), load_policy(last / "found").policies
        policy = _policy(last, before, learner, settings)
        shown, new = answers.options, _collect(learner, policy, before, settings, here)
        shown, newest = longer(shown, new), len(new)
    memory = getattr(learner, "memory", None)
    if memory is not None:  # of these people's rounds alone, also where a stopped loop goes on
        memory.seen = read(last / "memory", "memory", "run the loop again") if number else None
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
    write(answers, stage.folder / "answers", "answers")
    belief.save(stage.folder / "belief")
    if hasattr(policy, "save"):
        policy.save(stage.folder / "policy")
    played = policy.policies if isinstance(policy, Lottery) else ()
    found = [*going.found, *(p for p in played if not any(p is q for q in going.found))]
    even = torch.full((len(found),), 1 / len(found), dtype=torch.float64)
    Lottery(tuple(found), even).save(stage.folder / "found")
    if memory is not None:
        write(memory.seen, stage.folder / "memory", "memory")
    share = belief.predict(fresh)
    score = macro(accuracy(share, fresh.label), fresh.rater, fresh.raters)
    changed = 1.0
    if before is not None:
        changed = float((before.predict(fresh).argmax(1) != share.argmax(1)).double().mean())
    judge = streams.number("judge")
    camp, person = _judge(learner, policy, found, belief, answers, now, truth, judge)
    ends = run.stage("begin", _never)
    random, best = (torch.tensor(ends[n], dtype=torch.float64) for n in ("random", "best"))
    gains = best > random
    gained, weight = (camp - random) / torch.where(gains, best - random, torch.nan), truth.weight.double()
    row: dict[str, Any] = {
        "round": number,
        "questions": len(answers),
        "accuracy": score.value,
        "error": score.standard_error,
        "log_loss": macro(log_loss(share, fresh.label), fresh.rater, fresh.raters).value,
        "changed": changed,
        "mean": float((gained * weight)[gains].sum() / weight[gains].sum()),
        "worst": float(gained[gains].min()),
    }
    row |= dict(zip(truth.names, gained.tolist()))
    for name in ("accuracy", "log_loss", "mean", "worst", *truth.names):
        stage.record(name, row[name], group="closed loop", step=number)
    return {**row, "people": person}


def _answers(folder: Path) -> Comparisons:
    """What a stage kept, to the bit."""
    found: Comparisons = read(folder / "answers", "answers", "run the loop again")
    return found


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
            found = new if found is None else longer(found, new)
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
    learner: Any,
    policy: Any,
    found: list[Policy],
    belief: Belief,
    answers: Comparisons,
    now: Any,
    truth: Voices,
    seed: int,
) -> tuple[Float[Tensor, " G"], dict[str, list[float]]]:
    """True return of each camp, and of every person; see `Closed`."""
    draws, everyone = belief.known(answers), known_voices(now.taste.double())
    mean = lambda policy, voices: policy.returns(learner, voices, seed=seed).double().mean(0)
    if isinstance(policy, Lottery):
        camp, person = mean(policy, truth), mean(policy, everyone)
    else:
        person = torch.full((len(now),), torch.nan, dtype=torch.float64)
        camp, group = torch.zeros(len(truth), dtype=torch.float64), _nearest(now, truth)
        for g in range(len(truth)):
            mine = (group == torch.unique(group)[g]).nonzero()[:SERVED, 0].tolist()
            for r in mine:
                one = Lottery((policy.of(draws.mean[r]),), torch.ones(1))
                camp[g] += mean(one, truth)[g] / len(mine)
                person[r] = mean(one, everyone)[r]
    true = torch.stack([learner.returns(p, everyone, seed=seed).double().mean(0) for p in found])
    liked = [belief.utility(_plain(learner.rollout(p, LOOKED, seed=seed)), draws).mean(1) for p in found]
    choice = true.gather(0, torch.stack(liked).argmax(0)[None])[0]
    return camp, {"policy": person.tolist(), "choice": choice.tolist(), "best": true.amax(0).tolist()}


def _nearest(now: Any, truth: Voices) -> Tensor:
    """(R,) the camp of each rater; without camps, the voice that their true taste is nearest to."""
    group = getattr(now, "group", None)
    if group is not None:
        return torch.as_tensor(group)
    taste = now.taste.double()
    width = taste.std(0).clamp_min(1e-12)
    return torch.cdist(taste / width, truth.z.double() / width).argmin(1)


def _plain(seen: Segments) -> Segments:
    """Factors alone, in double precision, as people are shown."""
    return Segments(seen.factors.double(), seen.mask, names=seen.names)


def _learner(world: Any) -> Any:
    if isinstance(world, str):
        from pluralign.policies.learners.ppo import PPO

        return PPO(world)
    return Tabular(world)


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
