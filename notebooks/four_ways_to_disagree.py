# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Four ways to disagree: which one is in my answers?
#
# People who disagree may do so in very different ways. They may stand in **camps** that want opposite things.
# Each may have an **ideal point** of their own, and like best what is nearest to it. They may weigh a few shared
# **directions** more or less. Or one and the same person may judge differently in different **contexts**.
#
# Here are four crowds, one for each way, and one crowd that does not differ at all. Each crowd is met by the
# population model that was made for it, then by all the others. At the end: which to use when, without knowing
# the truth.

# %%
import os
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import torch

import pluralign
from pluralign.metrics import bootstrap, paired
from pluralign.raters import CampPeople, Factors, SimulatedRaters, questions
from pluralign.streams import Streams

quick = bool(os.environ.get("PLURALIGN_QUICK"))
PEOPLE, ASKED, JUDGED = (60, 30, 20) if quick else (120, 40, 40)
RED, BLUE, GREEN, GREY = "#c8453b", "#2c6fbb", "#0b6e4f", "#8a939c"
streams = Streams(0)

# %% [markdown]
# ## What they are asked
#
# Sixty dishes, each so sweet and so hot, and sixty songs described by twelve numbers; all in standard deviations.
# A question shows two of them. People answer by Luce's rule: a difference of one util in worth is chosen in 73 of
# 100 cases.


# %%
def options(name: str, features: int) -> pluralign.Items:
    drawn = torch.randn(60, features, generator=streams(name), dtype=torch.float64)
    return pluralign.Items(drawn, tuple(f"{name} {n}" for n in range(60)))


dishes, songs = options("dish", 2), options("song", 12)


def asked(people, options, each: int, seed: int):
    """Answers to random pairs, and the true chance of each."""
    slate, rater = questions(len(options), each, len(people), seed)
    return people.answer(options, slate, rater, seed), people.share(options, slate, rater)


# %% [markdown]
# ## Camps
#
# Two thirds want it sweet and not hot, one third the reverse. `Camps` finds how many camps there are, what each
# wants, and whose is whose, from all answers of a person together. For comparison, every person's own ridge
# estimate.

# %%
two_camps = CampPeople(((1.5, -1.0), (-1.0, 1.5)), (0.65, 0.35), spread=0.15).draw(PEOPLE, 0)
answers = asked(two_camps, dishes, ASKED, 1)[0]
camps = pluralign.Camps().fit(answers, seed=0)
alone = pluralign.PerRater(ridge=1.0).fit(answers, seed=0)


def per_unit(belief, taste):
    """Utils per standard deviation of the features, as people have them."""
    return taste * belief.worth.scale


figure, ax = plt.subplots(figsize=(5, 4.4))
own, centre = per_unit(alone, alone.draws.mean), per_unit(camps, camps.prior.z)
mine = camps.draws.weight.argmax(0)
ax.scatter(
    *own.T, c=[(RED, BLUE, GREEN)[g % 3] for g in mine], s=16, alpha=0.6, label="one person's answers alone"
)
ax.plot(*centre.T, "k*", markersize=15, label="camps found")
ax.plot([1.5, -1.0], [-1.0, 1.5], "o", color="black", markersize=13, fillstyle="none", label="truth")
ax.axhline(0, color=GREY, linewidth=0.5)
ax.axvline(0, color=GREY, linewidth=0.5)
ax.set(xlabel="worth of sweetness, utils per sd", ylabel="worth of heat, utils per sd")
ax.set_title(
    f"Camps: {len(centre)} found, of {', '.join(f'{s:.0%}' for s in camps.prior.share)} of the people"
)
ax.legend(frameon=False, fontsize=8)
plt.show()
print("how surely a person's camp is known, on average:", f"{camps.draws.weight.amax(0).mean():.3f}")

# %% [markdown]
# So few answers tell a person's own taste badly: a cloud. They tell the camp well, because only two tastes are
# possible.
#
# ## Ideal points
#
# More is not better: everybody knows a dish that is just right. No weight on sweetness says that, but squared
# distance to a point does. `Ideal` adds the square to the features, and everything that is linear stays linear.
# `Prototypes` says that a person's point is a mix of a few (here three corners, and people anywhere between
# them).


# %%
@dataclass(frozen=True)
class Closeness:
    """Worth falls with the squared distance: -|x - p|^2 is 2 p . x - |x|^2, and a constant that shows nowhere."""

    def basis(self, options):
        rows = options.rows.double()
        return torch.cat([rows, -rows.square().sum(1, keepdim=True)], 1)


corners = torch.tensor([[1.5, 1.2], [-1.6, 0.6], [0.2, -1.7]], dtype=torch.float64)
part = torch.rand(PEOPLE, 3, generator=streams("mix"), dtype=torch.float64).pow(3)
points = part / part.sum(1, keepdim=True) @ corners
picky = SimulatedRaters(Closeness(), torch.cat([2 * points, torch.ones(PEOPLE, 1)], 1))
answers = asked(picky, dishes, ASKED, 1)[0]

ideal = pluralign.Ideal()
mixed = pluralign.Prototypes(3, utility=ideal, ridge=0.2, concentration="learned", rounds=12)
prototypes = mixed.fit(answers, seed=0)
found = ideal.point(prototypes.worth, prototypes.draws.mean)
extreme = ideal.point(prototypes.worth, prototypes.prior.corners)

figure, ax = plt.subplots(figsize=(5, 4.4))
ax.plot(*dishes.rows.T, ".", color="#d5d9dd", label="dishes")
ax.plot(*torch.stack([points, found], 1).permute(2, 1, 0), "-", color=GREY, linewidth=0.7)
ax.plot(*points.T, "o", color=BLUE, markersize=5, fillstyle="none", label="true ideal points")
ax.plot(*found.T, "o", color=BLUE, markersize=3, label="found from answers")
ax.plot(*extreme.T, "k*", markersize=13, label="prototypes found")
ax.plot(*corners.T, "ko", markersize=12, fillstyle="none", label="true corners")
ax.set(xlabel="sweetness, sd", ylabel="heat, sd", title="Ideal points: what would be just right for each")
ax.set(xlim=(-3, 3), ylim=(-3, 3))
ax.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")
plt.show()
print(f"a point is found to within {(found - points).norm(dim=1).median():.2f} sd (median)")

# %% [markdown]
# The people are found. The prototypes lie farther out than the true corners, and that is no contradiction: few
# people stand at a corner, and any triangle around the people explains them. Read prototypes as the edges of a
# crowd, not as kinds of people.
#
# ## Directions
#
# Songs have twelve features, and in principle people could differ in all twelve. They differ in two: say, how
# much they care for loudness, and for words. `LowRank` finds the plane in which people differ, and everybody's
# place on it.

# %%
side = torch.linalg.qr(torch.randn(12, 3, generator=streams("sides"), dtype=torch.float64)).Q.T
place = torch.randn(PEOPLE, 2, generator=streams("places"), dtype=torch.float64) * torch.tensor([1.8, 1.2])
listeners = SimulatedRaters(Factors(), side[0] + place @ side[1:])
answers = asked(listeners, songs, ASKED, 1)[0]
low_rank = pluralign.LowRank(2, ridge=1.0, temper=1.0, rounds=1).fit(answers, seed=0)


def differences(worth):
    """(R, N) how each person's worths depart from the average person's; a constant per person says nothing."""
    worth = worth - worth.mean(1, keepdim=True)
    return worth - worth.mean(0)


true = differences(listeners.utility(songs))
axes = torch.linalg.svd(true, full_matrices=False).Vh[:2].T / len(songs) ** 0.5
place, seen = true @ axes, differences(low_rank.utility(songs, low_rank.draws)) @ axes

figure, panels = plt.subplots(1, 2, figsize=(8, 4), sharex=True, sharey=True)
for d, ax in enumerate(panels):
    ax.plot([-4, 4], [-4, 4], color=GREY, linewidth=0.7)
    ax.plot(place[:, d], seen[:, d], "o", color=GREEN, markersize=4)
    r = torch.corrcoef(torch.stack([place[:, d], seen[:, d]]))[0, 1]
    ax.set(
        title=f"direction {d + 1}: correlation {r:.2f}",
        xlabel="true place of a person, utils",
        aspect="equal",
    )
panels[0].set(ylabel="place found, utils")
figure.suptitle("Directions: everybody's place in the plane where people differ")
plt.show()

# %% [markdown]
# Which two directions span a plane is a matter of convention; the plane, and where people stand on it, are not.
#
# ## Contexts
#
# Early in the day everybody wants it sweet, late in the day hot; each person changes over at an hour of their
# own. The *same person* disagrees with themselves, so no taste per person can explain it. `Routed` reads the
# column `context`.

# %%
early, late = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([[0.0, 2.0]]).double()
change = 15 + 2 * torch.randn(PEOPLE, generator=streams("change"), dtype=torch.float64)
moods = SimulatedRaters(Factors(), torch.cat([early.expand(PEOPLE, -1), late.expand(PEOPLE, -1)]))


def asked_by_hour(each: int, seed: int):
    """Person r is mood r before their hour, and mood PEOPLE + r after it."""
    slate, rater = questions(len(dishes), each, PEOPLE, seed)
    hour = 8 + 14 * torch.rand(len(rater), generator=Streams(seed)("hours"), dtype=torch.float64)
    mood = rater + PEOPLE * (hour > change[rater])
    told = moods.answer(dishes, slate, mood, seed)
    told = replace(told, rater=rater, context=hour, rater_ids=tuple(f"{r}" for r in range(PEOPLE)))
    return told, moods.share(dishes, slate, mood)


answers = asked_by_hour(ASKED, 1)[0]
routed = pluralign.Routed(heads=2, restarts=3).fit(answers, seed=0)
plain = pluralign.Camps(groups=2, ridge=1.0).fit(answers, seed=0)

# Everybody is asked, at every hour, about one sweet dish and one hot one.
pair = pluralign.Items(torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double())
hours = torch.linspace(8, 22, 29).double()
who = torch.arange(PEOPLE).repeat(len(hours))
when = hours.repeat_interleave(PEOPLE)
slate = torch.tensor([[0, 1]]).expand(len(who), -1)
asking = pluralign.Comparisons(
    pair, slate, who, torch.full((len(who), 2), 0.5), context=when, rater_ids=answers.rater_ids
)
curve = lambda share: share[:, 0].reshape(len(hours), PEOPLE).mean(1)

figure, ax = plt.subplots(figsize=(6, 3.6))
ax.plot(
    hours, curve(moods.share(pair, slate, who + PEOPLE * (when > change[who]))), color="black", label="truth"
)
ax.plot(hours, curve(routed.predict(asking)), color=RED, label="routed")
ax.plot(hours, curve(plain.predict(asking)), "--", color=GREY, label="camps, which cannot see the hour")
ax.set(xlabel="hour of the day", ylabel="share who choose the sweet dish", ylim=(0, 1))
ax.set_title("Contexts: the same people, at another hour")
ax.legend(frameon=False)
plt.show()

switching = routed.worth.below != routed.worth.above
weight = routed.draws.weight[switching]
own_hour = routed.worth.threshold[switching] @ weight / weight.sum(0)
print(f"a person's hour is found to within {(own_hour - change).abs().median():.1f} hours (median)")

# %% [markdown]
# ## Every model on every crowd
#
# Now as it is in life: nobody says which crowd it is. Every model is fitted to every crowd and judged on
# questions that were not asked before. The number is what its predictions lose against someone who knows
# everybody's taste, in thousandths of a nat per answer; 0 is perfect. The frame marks whom the answers alone
# would choose, without the truth: the smallest log loss, and pooled unless it is beaten by more than the standard
# error of the paired difference. This is the leaderboard's rule too (there on answers that are not used to judge
# afterwards).

# %%
same = CampPeople(((1.2, 0.4),), (1.0,)).draw(PEOPLE, 0)
crowds = {
    "camps": lambda each, seed: asked(two_camps, dishes, each, seed),
    "ideal points": lambda each, seed: asked(picky, dishes, each, seed),
    "directions": lambda each, seed: asked(listeners, songs, each, seed),
    "contexts": asked_by_hour,
    "nobody differs": lambda each, seed: asked(same, dishes, each, seed),
}
models = {
    "pooled": pluralign.Pooled(),
    "camps": pluralign.Camps(restarts=3, ridge=1.0),
    "prototypes,\nideal points": mixed,
    "low rank": pluralign.LowRank(2, ridge=1.0, temper=1.0, rounds=1),
    "hierarchical": pluralign.Hierarchical(method="normal", temper=1.0, draws=32),
    "routed": pluralign.Routed(heads=2, restarts=3),
}


def of_each(value, data):
    """(R,) the average over each person's answers."""
    return torch.zeros(data.raters).double().index_add_(0, data.rater, value) / data.counts


def cross(label, share):
    """(M,) nats."""
    return -(label.double() * share.clamp_min(1e-12).log()).sum(1)


table, chosen = {}, {}
for crowd, ask in crowds.items():
    train, (test, truth) = ask(ASKED, 1)[0], ask(JUDGED, 2)
    loss = {}
    for name, model in models.items():
        share = model.fit(train, seed=0).predict(test)
        table[crowd, name] = bootstrap(of_each(cross(truth, share) - cross(truth, truth), test), samples=500)
        loss[name] = of_each(cross(test.label, share), test)
    best = min(loss, key=lambda name: round(float(loss[name].mean()), 4))  # of equals the first
    gain = paired(loss["pooled"], loss[best])
    chosen[crowd] = best if gain.value > gain.standard_error else "pooled"

# %%
grid = torch.tensor([[table[c, m].value for m in models] for c in crowds]) * 1000
figure, ax = plt.subplots(figsize=(8.4, 4.2))
ax.imshow(grid.clamp_min(1).log(), cmap="YlOrRd", aspect="auto")
for row, crowd in enumerate(crowds):
    for column, name in enumerate(models):
        found = table[crowd, name]
        text = f"{1000 * found.value:.0f}\n± {1000 * found.standard_error:.0f}"
        dark = grid[row, column] > 100
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
        if chosen[crowd] == name:
            ax.add_patch(plt.Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, linewidth=2.5))
ax.set_xticks(range(len(models)), models)
ax.set_yticks(range(len(crowds)), crowds)
ax.set(ylabel="how the people truly differ", xlabel="model fitted")
ax.set_title("Lost to knowing everybody's taste: thousandths of a nat per answer (± standard error)")
figure.tight_layout()
plt.show()

# %% [markdown]
# Where a crowd has its own model, that model loses least, and pooled most. A neighbour does well where it
# contains the truth: normal tastes cover directions, and nearly cover camps; routed is camps where there is no
# context. Nothing that gives every person *one linear* taste comes near ideal points or contexts. And where
# nobody differs, camps find that there is one camp, and models with more freedom pay a little for it.
#
# ## Do they differ at all?
#
# Ask this before any other question. `diagnose` tells half of each person's answers to the belief and predicts
# the other half, and does the same with people shuffled; what their answers seem to be worth there is noise.

# %%
answers = asked(two_camps, dishes, ASKED, 1)[0]
print(pluralign.diagnose(pluralign.Camps(groups=2, ridge=1.0).fit(answers, seed=0), answers), "\n")
answers = asked(same, dishes, ASKED, 1)[0]
print(pluralign.diagnose(pluralign.Camps(groups=2, ridge=1.0).fit(answers, seed=0), answers).verdict)

# %% [markdown]
# ## Which to use when
#
# | you expect | use |
# |---|---|
# | a few kinds of people, and want to name them or be fair to each | `Camps` |
# | "just right": too much is as bad as too little | `Prototypes` or any other model with `utility=Ideal()` |
# | many features, differences along a few of them | `LowRank`; `Hierarchical` where features are few |
# | judgement that depends on a prompt, an hour, a task | `Routed`, with the `context` of every answer |
# | nothing in particular | `pluralign leaderboard FOLDER`: it tries all, on answers kept apart |
#
# These four crowds were made by the rule that the winning model assumes, and the numbers of prototypes,
# directions and heads were given away; real people are a mixture of all of it, and differ less. More in [Choosing
# a population](../docs/howto/choosing.md); what no model can tell is in [What your data can't
# tell](../docs/background/limits.md).
