"""The stages of an experiment in turn; the last judges everybody by what they truly want."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pluralign.lab.beds import bed
from pluralign.lab.experiment import Experiment, Work, answers_of, shown_of, wanted
from pluralign.lab.experiment_training import (
    FEW,
    ask_and_fit,
    policies_of,
    show,
    train_camps,
    train_lottery,
    train_personal,
    train_pooled,
    train_voices,
)
from pluralign.lab.run import Run, Stage, write_text
from pluralign.lab.serving import EACH, episodes_lost, factor_returns, regret, served
from pluralign.metrics import Estimate, bootstrap, worst_decile
from pluralign.metrics.social import middle
from pluralign.policies import Lottery, Policy
from pluralign.population import load
from pluralign.population.voices import Voices
from pluralign.streams import Streams

SUMMARIES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "interquartile mean": middle,
    "worst decile": partial(worst_decile, worst="high"),
}


def film_of(settings: Experiment, run: Run, seed: int) -> None:
    """films/ with what the policies of a seed do, or with the reason why nothing can be rendered."""
    from pluralign.lab.films import film

    folder = run.folder / "films"
    if (folder / "film.gif").exists():
        return
    folder.mkdir(exist_ok=True)
    voices = load(run.files(f"belief-{seed}") / "model").voices(seed=seed)
    policies = policies_of(settings, run, seed)
    cast: dict[str, Policy] = {"the average's": policies["pooled"].policies[0]}
    for g, z in list(enumerate(voices.z))[:FEW]:
        cast[f"voice {g}'s"] = policies["personalised"].of(z)
    problem = film(bed(settings.world), cast, folder, Streams(seed).number("film"))
    if problem is not None:
        write_text(folder / "problem.txt", problem + "\n")


def judge(settings: Experiment, run: Run, stage: Stage, seed: int) -> dict[str, Any]:
    """Everybody's regret: 0 what the best policy known for their true taste brings, 1 what random actions do."""
    shown, learner = shown_of(run, seed), settings.learner()
    people, train, _ = answers_of(settings, shown, seed)
    taste, number = wanted(settings, people), Streams(seed).number("judge")
    policies = policies_of(settings, run, seed)
    personal = policies.pop("personalised")
    belief = load(run.files(f"belief-{seed}") / "model")
    known, voices = belief.known(train).mean, belief.voices(seed=seed)
    seen: dict[str, Tensor] = {}  # (E, F) discounted factors of every policy, all from the same first states
    lost, world = 0, bed(settings.world).world
    alone = {"random": learner.random(), **policies}
    alone |= {f"personal for voice {g}": personal.of(z) for g, z in enumerate(voices.z)}
    for name, policy in alone.items():
        parts = policy.policies if isinstance(policy, Lottery) else (policy,)
        chance = policy.chance.tolist() if isinstance(policy, Lottery) else [1.0]
        each = []
        for part in parts:
            segments = learner.rollout(part, settings.episodes, seed=number)
            lost += episodes_lost(segments, world)
            each.append(factor_returns(segments, learner.discount))
        if len(parts) > 1:
            seen |= {f"{name}, part {p}": x for p, x in enumerate(each)}
        seen[name] = torch.stack([c * x for c, x in zip(chance, each)]).sum(0)
    mine = served(learner, personal, known, number)
    lost += episodes_lost(mine, world)
    returns = {name: taste @ x.T for name, x in seen.items()}  # (R, E)
    own = torch.stack([x.mean(1) for x in returns.values()]).argmax(0)
    best = torch.stack(list(returns.values()))[own, torch.arange(len(own))]
    each_own = factor_returns(mine, learner.discount).reshape(len(taste), EACH, -1)
    returns["personalised"] = torch.einsum("rf,ref->re", taste, each_own)
    random = returns["random"].mean(1)
    regrets = {name: regret(value, random, best) for name, value in returns.items()}
    mine_by = _nearest(known, voices.z)
    regrets["own voice"] = torch.stack([regrets[f"voice {g}"] for g in range(len(voices))])[
        mine_by, torch.arange(len(mine_by))
    ]
    group = None if people.group is None else people.group.tolist()
    for name in ("pooled", settings.welfare, "personalised"):
        _note(stage, name, regrets[name], people.group, seed)
    against = None
    if people.group is not None:
        own_camp = _own_camp(returns, people.group)
        against = regret(returns["personalised"], random, own_camp).tolist()
    return {
        "regret": {name: value.tolist() for name, value in regrets.items()},
        "against own camp": against,
        "group": group,
        "taste": (taste * shown.scale).tolist(),
        "voices": (_linear(voices, taste.shape[1]) * shown.scale).tolist(),
        "lost": lost,
        "scale": shown.scale.tolist(),
    }


def _own_camp(returns: Mapping[str, Tensor], group: Int[Tensor, " R"]) -> Float[Tensor, "R E"]:
    """(R, E) what everybody gets from the policy that was trained for their own true camp alone."""
    place = torch.searchsorted(group.unique(), group)  # nothing was trained for a camp with nobody in it
    each = torch.stack([returns[f"camp {g}"] for g in range(int(place.max()) + 1)])
    return each[place, torch.arange(len(group))]


def _nearest(known: Float[Tensor, "R Z"], z: Float[Tensor, "G Z"]) -> Int[Tensor, " R"]:
    """(R,) the voice that points where each person does, as far as their answers tell."""
    unit = lambda rows: torch.nn.functional.normalize(rows.double(), dim=-1)
    return (unit(known) @ unit(z).T).argmax(1)


def _linear(voices: Voices, width: int) -> Float[Tensor, "G F"]:
    """(G, F) what each voice pays per unit of each factor."""
    still = torch.zeros(1, width)
    return (voices.reward(torch.eye(width)) - voices.reward(still)).T.double()


def summary(regrets: Float[Tensor, " R"]) -> dict[str, Estimate]:
    """Interquartile mean and worst decile of people's regrets, with intervals over people."""
    return {name: bootstrap(regrets, statistic) for name, statistic in SUMMARIES.items()}


def _note(stage: Stage, name: str, regrets: Tensor, group: Tensor | None, seed: int) -> None:
    for what, value in summary(regrets).items():
        stage.record(
            f"regret, {what}", value.value, group=name, seed=seed, standard_error=value.standard_error
        )
    for g in [] if group is None else group.unique().tolist():
        mine = Estimate.mean(regrets[group == g])
        stage.record(
            "regret", mine.value, group=f"{name}, camp {g}", seed=seed, standard_error=mine.standard_error
        )


STAGES: Mapping[str, tuple[str, Work]] = {
    "shown": ("behaviour to show", show),
    "belief": ("asking people and fitting", ask_and_fit),
    "camps": ("each camp's own best policy", train_camps),
    "voices": ("each voice's own best policy", train_voices),
    "pooled": ("one policy for the average", train_pooled),
    "personal": ("one policy that serves everybody by their taste", train_personal),
    "welfare": ("one lottery for all", train_lottery),
    "judged": ("judging by true tastes", judge),
}
