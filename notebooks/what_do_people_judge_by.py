# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # What do people judge by?
#
# Two couriers walk through a town with a muddy quarter. Asked who did better, one person counts what the walk cost, another
# what it cost beyond the best that could be done from there, a third looks only at how near it ended to the goal. All three want
# the same: reach the goal, avoid the mud. Who judges how, and what happens to a model that takes everybody for the first?

# %%
import os

import matplotlib.pyplot as plt
import torch

import pluralign
from pluralign.metrics.evaluation import evaluate
from pluralign.streams import Streams
from pluralign.utility import Judged
from pluralign.utility.judged import RULES, rule_table, statistics
from pluralign.utility.moves import Moves, optimal_values

quick = bool(os.environ.get("PLURALIGN_QUICK"))
PEOPLE, EACH, WALKS = (90, 30, 600) if quick else (150, 40, 1000)
SIDE, GOAL, STEPS = 6, 35, 7
streams = Streams(0)

# %% [markdown]
# ## The town
#
# Thirty-six cells, four moves, certain to succeed; walls hold. Leaving a cell costs 1, leaving mud costs 3, and the goal is the end.

# %%
row, column = torch.arange(SIDE * SIDE) // SIDE, torch.arange(SIDE * SIDE) % SIDE
mud = (row >= 2) & (row <= 4) & (column >= 1) & (column <= 3)
cost = torch.where(mud, -3.0, -1.0).double()
cost[GOAL] = 0
inside = lambda x: x.clamp(0, SIDE - 1)
leads = torch.stack(
    [inside(row + a) * SIDE + inside(column + b) for a, b in ((-1, 0), (1, 0), (0, -1), (0, 1))], 1
)

# Walkers of all qualities: some wander, some head for the goal.
draw = streams("walks")
cell = torch.randint(SIDE * SIDE, (WALKS, 1), generator=draw)
faith = torch.rand(WALKS, generator=draw)
nearer = ((row[leads] - GOAL // SIDE).abs() + (column[leads] - GOAL % SIDE).abs()).argmin(1)
for _ in range(STEPS):
    here = cell[:, -1]
    move = torch.where(
        torch.rand(WALKS, generator=draw) < faith, nearer[here], torch.randint(4, (WALKS,), generator=draw)
    )
    cell = torch.cat([cell, torch.where(here == GOAL, GOAL, leads[here, move])[:, None]], 1)
walks = pluralign.Segments(
    torch.nn.functional.one_hot(cell[:, :-1], SIDE * SIDE).double(),
    cell[:, :-1] != GOAL,
    observation=cell[:, :-1, None].double(),
    reached=cell[:, -1:].double(),
)

# %% [markdown]
# ## The people
#
# A third judges by each rule. `statistics` gives what they look at, for a known reward.

# %%
NAMES = ("partial return", "regret", "end value")
town = Moves.counted(walks)
looked_at = statistics(walks, town, cost, Judged(discount=0.99))
worth = looked_at @ torch.tensor([RULES[name] for name in NAMES], dtype=torch.float64).T
worth = 2.5 * worth / worth.std(0)
kind = torch.arange(PEOPLE) % 3
ids = tuple(f"person {r}" for r in range(PEOPLE))


def ask(each: int, name: str) -> pluralign.Comparisons:
    draw = streams(name)
    rater = torch.arange(PEOPLE).repeat_interleave(each)
    slate = torch.randint(WALKS, (len(rater), 2), generator=draw)
    slate[:, 1] = torch.where(slate[:, 0] == slate[:, 1], (slate[:, 1] + 1) % WALKS, slate[:, 1])
    gap = worth[slate[:, 0], kind[rater]] - worth[slate[:, 1], kind[rater]]
    first = (torch.rand(len(rater), generator=draw) < torch.sigmoid(gap)).double()
    return pluralign.Comparisons(walks, slate, rater, torch.stack([first, 1 - first], 1), rater_ids=ids)


answers, later = ask(EACH, "answers"), ask(20, "later")

# %% [markdown]
# ## One rule for all, or camps over rules
#
# The reward of every cell is learned in each case. Camps are told neither which rules there are nor who uses which.

# %%
fits = {name: pluralign.Pooled(utility=Judged((name,))).fit(answers) for name in NAMES}
fits["camps over rules"] = pluralign.Camps(groups=3, utility=Judged()).fit(answers)
for name, belief in fits.items():
    score = evaluate(belief, later)["accuracy"]
    print(f"{name:18} predicts {score.value:.3f} +- {score.standard_error:.3f} of later answers")
camps = fits["camps over rules"]
print("who judges by what:", {name: f"{share:.0%}" for name, share in rule_table(camps).items()})

# %%
found = [camps.worth.names[g] for g in camps.draws.weight.argmax(0).tolist()]
table = torch.zeros(3, 3)
for person, name in enumerate(found):
    if name in NAMES:
        table[kind[person], NAMES.index(name)] += 1


def value_of(reward):
    return optimal_values(town, town.factors @ reward, 0.99)[0]


fig, axes = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
axes[0].imshow(table, cmap="Greys")
for a in range(3):
    for b in range(3):
        axes[0].text(b, a, f"{int(table[a, b])}", ha="center", va="center", color="#d55e00")
axes[0].set(title="judges by (rows), found (columns)", xticks=range(3), yticks=range(3))
axes[0].set_xticklabels(NAMES, rotation=30, ha="right")
axes[0].set_yticklabels(NAMES)
maps = {
    "true values": value_of(cost),
    "camps over rules": value_of(camps.worth.reward[0]),
    "all by partial return": value_of(fits["partial return"].worth.reward[0]),
}
for ax, (title, value) in zip(axes[1:], maps.items()):
    ax.imshow(value[: SIDE * SIDE].reshape(SIDE, SIDE), cmap="viridis")
    ax.set(title=title, xticks=(), yticks=())
plt.show()

# %% [markdown]
# Camps over rules predict best, and tell who judges how; the values they imply are those of the town. A model that takes
# everybody for one who adds up costs pays for it twice: in predictions, and in a map of the town that is not the town's.
# Values are compared here rather than rewards, as regret leaves potential shaping open.

# %%
truth = value_of(cost)
alike = {
    name: float(torch.corrcoef(torch.stack([truth, value_of(b.worth.reward[0])]))[0, 1])
    for name, b in fits.items()
}
print({name: round(value, 3) for name, value in alike.items()})
assert alike["camps over rules"] > 0.95
assert float(table.trace()) > 0.8 * PEOPLE
