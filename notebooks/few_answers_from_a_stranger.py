# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Few answers from a stranger: how much do they tell?
#
# Somebody walks in whom no model has met. After no answer, one, five, or thirty: what is known of their taste,
# how well are they served, and what should they be asked? It is the same call, whatever the population:
# `belief.adapt(answers)`.

# %%
import os
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch

import pluralign
from pluralign.elicitation import interview
from pluralign.metrics import bootstrap, paired
from pluralign.raters import CampPeople, GaussianPeople, SimulatedRaters, questions
from pluralign.streams import Streams

quick = bool(os.environ.get("PLURALIGN_QUICK"))
KNOWN, STRANGERS, ROUNDS = (100, 60, 8) if quick else (300, 200, 15)
RED, BLUE, GREY = "#c8453b", "#2c6fbb", "#8a939c"
streams = Streams(0)

# %% [markdown]
# ## Three towns
#
# Sixty flats, described by four numbers in standard deviations. In the first town people stand in three camps. In
# the second tastes are a cloud around a common mean. In the third everybody has a flat in mind that would be just
# right, somewhere between three prototypes. In each town some people have answered thirty questions each, and a
# population was fitted to them.

# %%
NAMES = ("rent", "size", "quiet", "distance")
flats = pluralign.Items(
    torch.randn(60, 4, generator=streams("flats"), dtype=torch.float64),
    tuple(f"flat {n}" for n in range(60)),
    NAMES,
)


@dataclass(frozen=True)
class Closeness:
    """Worth falls with the squared distance: -|x - p|^2 is 2 p . x - |x|^2, and a constant that shows nowhere."""

    def basis(self, options):
        rows = options.rows.double()
        return torch.cat([rows, -rows.square().sum(1, keepdim=True)], 1)


def picky(count: int, seed: int) -> SimulatedRaters:
    corners = torch.tensor(
        [[-1.2, 1.2, 0, 0], [0.8, -0.6, 1.2, 0.4], [0, 0, -1.2, -1.2]], dtype=torch.float64
    )
    part = torch.rand(count, 3, generator=Streams(seed)("mix"), dtype=torch.float64).pow(3)
    points = 0.7 * part / part.sum(1, keepdim=True) @ corners
    return SimulatedRaters(Closeness(), torch.cat([1.4 * points, torch.full((count, 1), 0.7)], 1))


centres = ((-1.5, 0.5, 0.0, 0.5), (0.0, 1.0, 1.2, -0.5), (0.5, -0.5, -0.5, -1.5))
spread = tuple(tuple(float(a == b) for b in range(4)) for a in range(4))
TOWNS = {
    "camps": (CampPeople(centres, (0.5, 0.3, 0.2)).draw, pluralign.Camps(groups=3, ridge=1.0)),
    "a cloud": (
        GaussianPeople((-0.8, 0.5, 0.3, -0.3), spread).draw,
        pluralign.Hierarchical(method="normal", temper=1.0, draws=256),
    ),
    "ideal points": (
        picky,
        pluralign.Prototypes(3, utility=pluralign.Ideal(), ridge=0.2, concentration="learned", rounds=12),
    ),
}


def asked(people: SimulatedRaters, each: int, seed: int) -> pluralign.Comparisons:
    slate, rater = questions(len(flats), each, len(people), seed)
    return people.answer(flats, slate, rater, seed)


beliefs, strangers = {}, {}
for town, (draw, model) in TOWNS.items():
    beliefs[town] = model.fit(asked(draw(KNOWN, 0), 30, 1), seed=0)
    strangers[town] = draw(STRANGERS, 7)

# Two sets of questions for the strangers: those that may be asked, and those that predictions are judged by.
candidates, judged = (asked(strangers["a cloud"], each, seed) for each, seed in ((40, 2), (40, 3)))

# %% [markdown]
# ## No answer, one, five, thirty
#
# One stranger of the second town. What is known is `Draws`, weighted tastes; `interval` makes of them a range for
# each number. Without an answer it is the range of the whole town.

# %%
cloud, people = beliefs["a cloud"], strangers["a cloud"]
scale = cloud.worth.scale  # tastes are in utils per sd of the options shown; people have them per unit
talk = interview(cloud, people, candidates, 30, seed=0, pick="random")
COUNTS = (0, 1, 5, 30)
told = {count: cloud.adapt(talk.until(count)) for count in COUNTS}

figure, ax = plt.subplots(figsize=(6.4, 3.8))
for step, (count, draws) in enumerate(told.items()):
    low, high = (end[0] * scale for end in draws.interval(0.9))
    at = torch.arange(4) + 0.16 * (step - 1.5)
    shade = str(0.72 - 0.24 * step)
    ax.vlines(at, low, high, color=shade, linewidth=5, label=f"after {count}")
ax.hlines(people.taste[0], torch.arange(4) - 0.4, torch.arange(4) + 0.4, color=RED, label="truth")
ax.axhline(0, color=GREY, linewidth=0.5)
ax.set_xticks(range(4), NAMES)
ax.set(ylabel="worth, utils per sd", title="One stranger: 90 % intervals of the taste by number of answers")
ax.legend(frameon=False, fontsize=8, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.1))
plt.show()

# %% [markdown]
# Is an interval of 90 % right in 90 of 100 cases? And what is the knowledge good for? Over all strangers of this
# town: how often intervals hold the truth, how wide they are, what predictions lose against someone who knows the
# taste, and how much worse the flat ranked first is than the person's true best.


# %%
def lost(town: str, draws: pluralign.Draws) -> torch.Tensor:
    """(R,) nats per answer that predictions lose to the truth, for each stranger."""
    truth = strangers[town].share(flats, judged.slate, judged.rater)
    share = beliefs[town].predict(judged, draws)
    gap = (truth * (truth.clamp_min(1e-12).log() - share.clamp_min(1e-12).log())).sum(1)
    return torch.zeros(STRANGERS).double().index_add_(0, judged.rater, gap) / judged.counts


worth = people.utility(flats)
print(
    f"{'answers':>8}{'90 % intervals hold':>24}{'width, utils':>16}{'lost, nats':>20}{'first choice, utils lost':>28}"
)
for count, draws in told.items():
    low, high = (end * scale for end in draws.interval(0.9))
    holds = bootstrap(((low <= people.taste) & (people.taste <= high)).double(), samples=500)
    first = cloud.utility(flats, draws).argmax(1)
    regret = bootstrap(worth.amax(1) - worth.gather(1, first[:, None])[:, 0], samples=500)
    cells = (
        f"{holds.value:.0%} ± {holds.standard_error:.0%}",
        f"{(high - low).mean():.2f}",
        f"{(loss := bootstrap(lost('a cloud', draws), samples=500)).value:.3f} ± {loss.standard_error:.3f}",
        f"{regret.value:.2f} ± {regret.standard_error:.2f}",
    )
    print(f"{count:8}{cells[0]:>24}{cells[1]:>16}{cells[2]:>20}{cells[3]:>28}")

# %% [markdown]
# The first answer buys little here: it is one of two words. Five already serve better; after thirty the intervals
# are less than half as wide, and still wide. That is no fault: thirty noisy answers do not hold more about four
# numbers. They hold the truth nearly as often as they promise, not quite: the spread of the town is itself an
# estimate, which a person's interval takes for granted (`Ensemble` does not), and tails need many draws. With the
# default of 64, intervals hold two points less.
#
# ## Ask well
#
# `next_question` takes the question whose answer is expected to tell the most about this person, which is neither
# the one that is most uncertain (a coin would be asked about for ever) nor the most extreme. Its promise is in
# nats.

# %%
nothing = cloud.adapt(talk.until(0))
ask = pluralign.next_question(cloud, nothing, candidates)
gain = pluralign.information_gain(cloud, nothing, candidates)
print(f"the best first question promises {gain.max():.3f} nats, the average one {gain.mean():.3f}")
print("(an answer can hold ln 2 = .693)")
print("it asks about", " or ".join(flats.ids[n] for n in ask.slate[0].tolist()))

# %% [markdown]
# A whole interview, question by question, beside one that asks at random; in all three towns.

# %%
figure, panels = plt.subplots(1, 3, figsize=(10.5, 3.5), sharey=True)
counts = range(ROUNDS + 1)
for ax, (town, belief) in zip(panels, beliefs.items(), strict=True):
    loss = {}
    for pick, colour in (("random", GREY), ("information", BLUE)):
        talk = interview(belief, strangers[town], candidates, ROUNDS, seed=1, pick=pick)
        loss[pick] = [lost(town, belief.adapt(talk.until(count))) for count in counts]
        curve = [bootstrap(each, samples=500) for each in loss[pick]]
        ax.plot(counts, [e.value for e in curve], color=colour, label=f"chosen by {pick}")
        ax.fill_between(counts, [e.low for e in curve], [e.high for e in curve], color=colour, alpha=0.2)
    ax.set(title=town, xlabel="answers of a stranger", xticks=range(0, ROUNDS + 1, 5))
    saved = paired(loss["random"][5], loss["information"][5])
    print(f"{town:14} after 5 answers, random less chosen questions: {saved} nats per answer")
panels[0].set(ylabel="lost to knowing the taste,\nnats per answer", ylim=(0, 1.05 * panels[0].get_ylim()[1]))
panels[0].legend(frameon=False)
figure.suptitle("What each answer is worth (bands: 95 % intervals over strangers)")
figure.tight_layout()
plt.show()

# %% [markdown]
# The same model, the same number of answers; good questions tell more. How much depends on the town. Where a few
# camps are all there is, a handful of good questions tells nearly everything. In a cloud there is always more to
# learn, and the curve only flattens. Where people already agree on much, as in the third town, there is less to
# gain.
#
# ## What few answers cannot say
#
# **That you are of no kind we know.** A population can only recognise what it holds. Let somebody move to the
# first town who is of none of its three camps. Camps must call them one of the three, and soon do so with great
# certainty. A cloud, fitted to the very same people, leaves room between and beyond.

# %%
movers = CampPeople(((1.5, 1.5, -1.2, 0.5),), (1.0,)).draw(STRANGERS, 9)
wide = pluralign.Hierarchical(method="normal", temper=1.0).fit(
    asked(TOWNS["camps"][0](KNOWN, 0), 30, 1), seed=0
)
truth = movers.share(flats, judged.slate, judged.rater)
answers = asked(movers, 30, 4)
number = torch.arange(len(answers)) % 30  # answers come rater by rater

figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.5))
steps = (0, 1, 2, 3, 5, 8, 12, 20, 30)
for name, belief, colour in (("camps", beliefs["camps"], BLUE), ("a cloud", wide, RED)):
    loss = []
    for count in steps:
        draws = belief.adapt(answers.take(number < count))
        share = belief.predict(judged, draws)
        loss.append(-float((truth * share.clamp_min(1e-12).log()).sum(1).mean()))
        if name == "camps":
            right.plot(count, draws.weight.amax(0).mean(), "o", color=colour)
    left.plot(steps, loss, "o-", color=colour, label=name, markersize=4)
left.axhline(torch.tensor(2.0).log(), color=GREY, linestyle=":", label="a coin")
left.set(
    xlabel="answers of a stranger",
    ylabel="log loss, nats per answer",
    title="Movers: how well they are predicted",
)
left.legend(frameon=False)
right.set(xlabel="answers of a stranger", ylabel="chance of the likeliest camp", ylim=(0, 1.05))
right.set_title("Movers: how sure camps are of them")
figure.tight_layout()
plt.show()

# %% [markdown]
# Both begin worse than a coin, since the movers want much of what the town does not. The cloud comes round,
# slowly; camps grow surer, and worse.
#
# Certainty is certainty *given that the population is right*. Two things help. Look whether the answers fit:
# predict each answer before it is heard, and compare the loss with what the model itself expects. And fit more
# than one population; the [leaderboard](../docs/howto/leaderboard.md) judges all of them on people kept apart.

# %%
for name, crowd in (("people of the town", strangers["camps"]), ("movers", movers)):
    heard = asked(crowd, 30, 4)
    late = heard.take(number >= 15)  # the first fifteen are told, the others predicted
    share = beliefs["camps"].predict(late, beliefs["camps"].adapt(heard.take(number < 15)))
    surprise = -(late.label.double() * share.log()).sum(1) - torch.special.entr(share).sum(1)
    each = torch.zeros(STRANGERS).double().index_add_(0, late.rater, surprise) / 15
    print(f"{name:20} surprise beyond what was expected: {bootstrap(each, samples=500)} nats per answer")

# %% [markdown]
# **How strong a taste is.** One answer per question tells direction before strength, and a person who answers
# carelessly looks like a person who hardly minds.
#
# **More than they hold.** A yes or no carries at most ln 2 = .69 nats. To tell eight camps apart takes three
# answers at the very least, and with people who err, many more. Intervals that are honest about it are wide; a
# method that shows a point after one answer is not better informed, only less frank.
#
# **Anything about those who did not answer.** Strangers who drop out after two questions are not a random part of
# a town.
