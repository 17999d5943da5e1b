"""Pearson distances estimated from sampled steps: EPIC, DARD and SRRD, for rewards that say what any step would pay."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.metrics.estimate import Estimate
from pluralign.metrics.sampled import Transitions, apart
from pluralign.population.voices import Voices
from pluralign.streams import Seed, Streams

Lead = Callable[
    [Tensor, Tensor], Any
]  # states (m, O) and actions (m, A) to next states (m, O), drawn where they vary
Term = tuple[
    float, Tensor, Tensor, Tensor
]  # a factor, and the steps (state, action, after) whose pay it multiplies


def sampled_pearson(
    name: str,
    reward_a: Any,
    reward_b: Any,
    steps: Transitions,
    *,
    lead: Lead | None = None,
    rows: int = 4096,
    draws: int = 16,
    seed: Seed = 0,
    level: float = 0.95,
) -> Estimate:
    """EPIC's, DARD's or SRRD's Pearson distance, over `rows` of the sampled steps.

    The means in a canonical reward are over `draws` of each row, the same for both rewards, so a shaped copy comes out at zero
    whatever the potential; products of different draws have no bias from their spread.

    Args:
        reward_a, reward_b: functions of (state, action, after), rows in and one number a row out.
        lead: where an action leads; DARD and SRRD ask.

    Raises:
        ValueError: a reward is no function, is not finite, or `lead` is missing.
    """
    for which, reward in (("reward_a", reward_a), ("reward_b", reward_b)):
        if not callable(reward) or isinstance(reward, Voices):
            raise ValueError(
                f"{name.upper()} asks what steps would pay that nobody took, so `{which}` must be a function of (state, "
                "action, after); take `starc` for what is known on sampled steps alone."
            )
    if name != "epic" and lead is None:
        raise ValueError(
            f"{name.upper()} asks where actions would lead that nobody took: give `lead`, a function of (state, action) to "
            "next states, or take `starc`, which needs none."
        )
    stream = Streams.of(seed)
    some = lambda what, count: torch.randint(len(steps), (count,), generator=stream(what))
    here = torch.randperm(len(steps), generator=stream("rows"))[:rows]
    state, action, after = steps.state[here], steps.action[here], steps.after[here, 0]
    if name == "epic":  # states, actions and next states that have nothing to do with each other
        action, after = steps.action[some("action", len(here))], steps.after[some("after", len(here)), 0]
    many = len(here) * draws
    acts = lambda k: steps.action[some(f"action {k}", many)]
    each = lambda x: x.repeat_interleave(draws, 0)
    if name == "epic":
        terms = _epic(each(state), each(after), acts(0), steps.after[some("to", many), 0], steps.discount)
    elif name == "dard":
        terms = _dard(each(state), each(after), acts(0), lead, steps.discount)
    else:
        start = steps.state[some("start", many)]
        terms = _srrd(each(state), each(after), start, [acts(k) for k in range(7)], lead, steps.discount)
    levels, raw = [], []
    for reward in (reward_a, reward_b):
        now = _asked(reward, state, action, after)
        more = sum(factor * _asked(reward, *step) for factor, *step in terms)
        found = now[:, None] + torch.as_tensor(more).reshape(len(here), draws)
        levels.append(found - found.mean())
        raw.append(now.square().mean())
    units = torch.unique(steps.units[here], return_inverse=True)[1]
    twice = apart(torch.stack(levels, -1), torch.stack(raw), units)
    if not bool((twice.size > 0).all()):  # a reward that ranks nothing correlates with none
        return Estimate(math.sqrt(0.5), 0.0, twice.n, math.sqrt(0.5), math.sqrt(0.5), level)
    end = twice.estimate(0, 1, level=level)
    return Estimate(end.value / 2, end.standard_error / 2, end.n, end.low / 2, end.high / 2, level)


def _epic(state: Tensor, after: Tensor, act: Tensor, to: Tensor, g: float) -> list[Term]:
    """g R(s', A, S) - R(s, A, S)."""
    return [(g, after, act, to), (-1.0, state, act, to)]


def _dard(state: Tensor, after: Tensor, act: Tensor, lead: Any, g: float) -> list[Term]:
    """g R(s', A, S2) - R(s, A, S1) - g R(S1, A, S2), where S1 follows s and S2 follows s'."""
    one, two = lead(state, act), lead(after, act)
    return [(g, after, act, two), (-1.0, state, act, one), (-g, one, act, two)]


def _srrd(state: Tensor, after: Tensor, third: Tensor, act: list[Tensor], lead: Any, g: float) -> list[Term]:
    """As `canonical.srrd`: S1 and S5 follow s', S2 and S6 follow s, S4 follows S3, which is anywhere."""
    one, two, fourth = lead(after, act[0]), lead(state, act[1]), lead(third, act[2])
    fifth, sixth = lead(one, act[3]), lead(two, act[4])
    return [
        (g, after, act[0], one),
        (-1.0, state, act[1], two),
        (-g, third, act[2], fourth),
        (g**2, one, act[3], fifth),
        (-g, two, act[4], sixth),
        (g, third, act[5], sixth),
        (-(g**2), fourth, act[6], fifth),
    ]


def _asked(reward: Any, state: Tensor, action: Tensor, after: Tensor) -> Float[Tensor, " m"]:
    value = torch.as_tensor(reward(state, action, after)).detach().double()
    off = ~torch.isfinite(value)
    if bool(off.any()):
        raise ValueError(
            f"the reward must be finite for every state, action and next state that were sampled; {int(off.sum())} of "
            f"{len(off)} numbers are not."
        )
    return value


__all__ = ["sampled_pearson"]
