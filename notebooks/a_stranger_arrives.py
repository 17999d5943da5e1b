# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A stranger arrives: how soon does the robot serve them as well as an old friend?
#
# A robot lives in a maze with three coloured rooms, and puddles. It has served many people, who differ in the rooms they like. Now
# somebody new walks in. The robot may ask: "this piece of a walk, or that one?" After each answer it walks by what
# it believes. What counts is not what it knows but where it goes: the true return, for this stranger, of the policy it
# picks. (What answers tell of a taste, and what they cannot, is in *Few answers from a stranger*.)

# %%
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import pluralign_envs
import torch

import pluralign
from pluralign.elicitation import interview
from pluralign.metrics import bootstrap, paired
from pluralign.policies import Tabular
from pluralign.population.voices import Voices
from pluralign.raters import ChangingPeople, Fatigue, Uniform, preset, questions
from pluralign.rewards import known_voices
from pluralign.streams import Streams

quick = bool(os.environ.get("PLURALIGN_QUICK"))
KNOWN, STRANGERS, ROUNDS = (150, 40, 8) if quick else (300, 100, 18)
COUNTS = [n for n in (0, 1, 2, 3, 5, 8, 12, 18, 24) if n <= ROUNDS]
RED, BLUE, GREEN, GREY = "#c8453b", "#2c6fbb", "#3a9464", "#8a939c"
streams = Streams(0)

# %% [markdown]
# ## The maze and its people
#
# The maze has an exact tabular twin, so the best policy for a taste is solved for, not trained. People come no
# camps: everybody likes each room in their own measure, or would rather keep away from it, and all mind puddles and effort.
# They were shown pieces of walks that lead to all kinds of places.

# %%
twin = pluralign_envs.twin("pluralign/SharedSafety-v0")
learner = Tabular(twin)
names = twin.factor_names
each = known_voices(torch.eye(len(names)).double(), names=names)
walks = []
for n, wish in enumerate(torch.randn(24, len(names), generator=streams("wishes"), dtype=torch.float64)):
    policy = learner.improve(known_voices(wish[None]), torch.ones(1, dtype=torch.float64))
    walks.append(learner.rollout(policy, 8, seed=n).factors)
whole = torch.cat(walks)
first = torch.randint(whole.shape[1] - 15, (400,), generator=streams("pieces"))
walk = torch.randint(len(whole), (400,), generator=streams("of which walk"))
pieces = pluralign.Segments(whole[walk[:, None], first[:, None] + torch.arange(15)].float(), names=names)

spread = pieces.factors.sum(1).std(0).double() * 2**0.5
scales = {name: (-1 if name in ("effort", "hazard") else 1) * float(s) for name, s in zip(names, spread)}
town = preset("continuum", scales, strength=4.0)
old_friends = town.draw(KNOWN, 1)
belief = pluralign.Hierarchical(method="normal", temper=1.0, draws=128).fit(
    Uniform().ask(old_friends, pieces, 20, 1), seed=0
)

# %% [markdown]
# ## The interview
#
# Everybody is asked twice over: once the questions that promise to tell the most, once random ones. After each answer the
# robot takes the *mean* of what it believes of the taste: returns are linear in the taste, so the best policy for the mean is the
# best policy for an uncertain robot. Regret is 0 for the stranger's own best policy and 1 for random walking.


# %%
def brought(worth, tastes: torch.Tensor) -> torch.Tensor:
    """(R, F) what the best policy for each taste brings of every factor."""
    one = torch.ones(1, dtype=torch.float64)
    wanted = (Voices(worth, taste[None], one) for taste in tastes.double())
    return torch.stack([learner.returns(learner.improve(voices, one), each)[0] for voices in wanted])


def served(people, draws: pluralign.Draws) -> torch.Tensor:
    """(R,) regret of people by the policies that the robot picks for them."""
    mean = torch.einsum("sr,srz->rz", draws.weight, draws.z.expand(-1, draws.raters, -1))
    lost = ((people.own - brought(belief.worth, mean)) * people.taste).sum(1)
    return lost / ((people.own - learner.returns(learner.random(), each)[0]) * people.taste).sum(1)


@dataclass(frozen=True)
class Served:
    """People, and what each one's own best policy brings."""

    answer: Callable
    taste: torch.Tensor
    own: torch.Tensor

    @staticmethod
    def of(people) -> "Served":
        return Served(people.answer, people.taste, brought(each.worth, people.taste))


def candidates(count: int, seed: int) -> pluralign.Comparisons:
    slate, rater = questions(len(pieces), 60, count, seed)
    return pluralign.Comparisons(pieces, slate, rater, torch.full((len(slate), 2), 0.5))


def curves(people, seed: int = 0) -> dict[str, list[torch.Tensor]]:
    found = {}
    for pick in ("random", "information"):
        talk = interview(belief, people, candidates(STRANGERS, seed), ROUNDS, seed=seed, pick=pick)
        found[pick] = [served(people, belief.adapt(talk.until(count))) for count in COUNTS]
    return found


strangers = Served.of(town.draw(STRANGERS, 2))
regret = curves(strangers)

# %% [markdown]
# Two marks to compare with: one policy for everybody (the curves begin there), and old friends, of whom twenty answers to
# random questions are known.

# %%
friends = Served.of(old_friends.take(torch.arange(STRANGERS)))
drawn = belief.draws
rows = torch.arange(STRANGERS)
friend = served(
    friends, pluralign.Draws(drawn.z[:, rows] if drawn.z.shape[1] > 1 else drawn.z, drawn.weight[:, rows])
)
mark = bootstrap(friend, samples=500)


def drawn_curve(ax, values: list[torch.Tensor], colour: str, label: str) -> None:
    means = [bootstrap(value, samples=500) for value in values]
    ax.plot(COUNTS, [e.value for e in means], "o-", color=colour, label=label, markersize=4)
    ax.fill_between(COUNTS, [e.low for e in means], [e.high for e in means], color=colour, alpha=0.2)


figure, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.7), sharey=True)
drawn_curve(left, regret["random"], GREY, "random questions")
drawn_curve(left, regret["information"], BLUE, "questions that tell most")
left.axhline(mark.value, color=GREEN, linestyle=":", label="old friends (20 random answers)")
left.set(
    title="How well strangers are served", xlabel="answers", ylabel="regret of the policy", ylim=(-0.02, None)
)
left.legend(frameon=False, fontsize=8)
for count in (3, 8):
    place = COUNTS.index(count)
    gain = paired(regret["random"][place], regret["information"][place])
    print(f"after {count} answers, random less chosen questions: {gain} of regret")
print(f"old friends: {mark}")

# %% [markdown]
# ## Who waits longest
#
# An average hides people. Sorted by their regret after five good questions: most are served as if they had always been
# here; a few are taken for somebody else, and lose more than half of what there was to gain.

# %%
for count, shade in ((0, "0.75"), (2, "0.5"), (5, "0.0")):
    sorted_regret = regret["information"][COUNTS.index(count)].sort().values
    right.plot(torch.linspace(0, 1, STRANGERS), sorted_regret, color=shade, label=f"after {count} answers")
right.set(title="One stranger after the other", xlabel="strangers, the best served first")
right.legend(frameon=False, fontsize=8)
figure.tight_layout()
plt.show()
late = regret["information"][COUNTS.index(5)]
print(
    f"after 5 answers {float((late < 0.1).double().mean()):.0%} have a regret below .1, {float((late > 0.5).double().mean()):.0%} above .5"
)

# %% [markdown]
# ## Strangers who tire
#
# Questions are not free. Let care be half gone after six answers, and let tired people guess. The robot is not told.

# %%
weary_people = ChangingPeople(town, (Fatigue(rate=0.115, lapse=0.5),)).draw(STRANGERS, 2)
tired = replace(strangers, answer=weary_people.answer)
weary = curves(tired)
figure, ax = plt.subplots(figsize=(5.4, 3.6))
drawn_curve(ax, regret["information"], BLUE, "fresh, good questions")
drawn_curve(ax, weary["information"], RED, "tiring, good questions")
drawn_curve(ax, weary["random"], GREY, "tiring, random questions")
ax.set(xlabel="answers", ylabel="regret of the policy", ylim=(-0.02, None), title="People who tire")
ax.legend(frameon=False, fontsize=8)
figure.tight_layout()
plt.show()
print(
    f"tiring less fresh at the end: {paired(weary['information'][-1], regret['information'][-1])} of regret"
)

# %% [markdown]
# Tired answers point nowhere in particular, so they do not undo what the first ones told; they only say little, and those who
# tire end a little worse served than the fresh. A robot that asks well knows most of it before that.
#
# The same people, the same maze, the same model: what is asked decides how soon a stranger is served like a friend.
