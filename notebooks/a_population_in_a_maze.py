# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A population in a maze: who is served when a robot asks as it learns?
#
# Forty people want a robot to go to different places: eighteen to the red goal, fourteen to the blue one, eight to
# wherever costs little effort. Nobody tells the robot so. It shows people what it does, asks which they would rather see,
# learns, does something else, and asks again. At the end somebody has to decide what it does for all of them together.
#
# Policies are computed exactly on the maze's tabular twin, so nothing below is noise from training.

# %%
import os

import matplotlib.pyplot as plt
import pandas as pd
import pluralign_envs
import torch

import pluralign
from pluralign.lab.closed_loop import Loop, camps_of, closed_loop
from pluralign.metrics import condorcet_winner, gini, left_behind, pareto_gap, regrets, representation
from pluralign.policies import MaxMin, Single, Tabular
from pluralign.policies.aggregate import RULES, aggregator
from pluralign.policies.voting import preferences
from pluralign.raters import CampPeople, Faults

quick = bool(os.environ.get("PLURALIGN_QUICK"))
seeds = range(1 if quick else 5)
maze = pluralign_envs.twin("pluralign/PointMaze-v0")
people = CampPeople(
    ((1.0, 0.0, -0.02), (0.0, 1.0, -0.02), (0.3, 0.3, -1.0)),
    (0.45, 0.35, 0.2),
    faults=Faults(lapse=0.05),
).draw(40, 0)
truth = camps_of(people)
print(dict(zip(truth.names, truth.weight.tolist())), "tastes for", maze.factor_names)

# %% [markdown]
# ## Ask as you learn
#
# Each round shows new pieces of trajectory, asks everybody one question, fits a population, and finds new policies. What is
# asked is either drawn by lot, or the question from which most would be learned. One taste for all is there to compare with.

# %%
camps = pluralign.Camps(groups=3, ridge=0.1, restarts=4)
ways = {
    "camps, most telling": Loop(rounds=5, asked=1, population=camps, optimiser=MaxMin()),
    "camps, by lot": Loop(rounds=5, asked=1, population=camps, optimiser=MaxMin(), pick="random"),
    "one taste for all": Loop(
        rounds=5, asked=1, population=pluralign.Pooled(ridge=0.1), optimiser=Single(), pick="random"
    ),
    "everybody's own": Loop(rounds=5, asked=1, population=camps, optimiser=pluralign.Personalised()),
}
found = {name: [closed_loop(maze, people, loop, seed=s) for s in seeds] for name, loop in ways.items()}
tables = {
    name: pd.concat([run.table for run in runs]).groupby("round").mean() for name, runs in found.items()
}
for name, table in tables.items():
    print(name, table[["questions", "accuracy", "worst", *truth.names]].round(3), sep="\n", end="\n\n")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
for name, table in tables.items():
    axes[0].plot(table["questions"], table["log_loss"], "o-", markersize=4, label=name)
    axes[1].plot(table["questions"], table["worst"], "o-", markersize=4, label=name)
axes[0].set(xlabel="questions answered", ylabel="log loss on further questions, nats")
axes[1].set(xlabel="questions answered", ylabel="true return of the worst-off camp")
axes[1].legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# One taste for all predicts badly for ever, and however much is asked, some camp gets nothing: more answers do not help a
# model that cannot say who said them. MaxMin finds a compromise, which is as good for the worst-off camp as can be; a policy for
# everybody's own taste needs none.
#
# ## One choice for all: which rule?
#
# Let the options be a few policies: each camp's own best one, the best compromises, and doing nothing. Every person values each
# by their own true taste. What would voting choose, and what a sum, a bargain, a coin?

# %%
learner = Tabular(maze)
own = [learner.improve(truth, one) for one in torch.eye(len(truth)).double()]
between = [
    learner.improve(truth, torch.tensor(w).double()) for w in ((0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5))
]
names = ["red", "blue", "rest", "red-blue", "red-rest", "blue-rest", "by chance"]
policies = [*own, *between, learner.random()]
returns = torch.stack([learner.returns(policy, truth)[0] for policy in policies])  # (options, camps)
regret = regrets(returns, returns[-1], returns[:3].diagonal())
utility = (1 - regret).T[people.group]  # (people, options): 0 by chance, 1 the own best
share = preferences(utility)
winner = condorcet_winner(share)
print("beats every other by majority:", "nothing" if winner is None else names[winner])

# %%
rows = {}
for name in RULES:
    lottery = aggregator(name).choose(utility)
    gain = utility @ lottery
    rows[name] = {
        **{option: round(chance, 2) for option, chance in zip(names, lottery.tolist()) if chance > 0.005},
        "mean": float(gain.mean()),
        "worst": float(gain.min()),
        "Gini": gini(gain.clamp_min(0)),
        "favourites served": representation(utility, lottery),
        "gain left for all": pareto_gap(utility, lottery),
        "worst decile's regret": left_behind(1 - gain[None], samples=200)["worst decile"].value,
    }
print(pd.DataFrame(rows).T.fillna(0).round(2).to_string())

# %% [markdown]
# Nobody's first thought wins by majority: resting is the wish of the smallest camp, and yet beats every other option one by one, as
# each of the large camps would rather see the robot rest than at the other's goal. Rules that look at orders find this, and leave
# the large camps with nothing. A random dictator, and the proportional rule, which does not know who is in which camp, give everybody a part.
# Maxmin and leximin toss a coin between the goals, which costs the average least of all that leaves nobody behind.
# [From many wishes to one choice](../docs/background/social_choice.md) says which rule can do what.
